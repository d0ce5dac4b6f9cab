using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R20: when the owner says that tombstones may go.</summary>
public sealed class TombstoneSpecs
{
    private const int IntervalMs = 5000;

    [Fact(DisplayName = "R20: tombstones may go up to what every copy has on media, and no frame is sent where there are none")]
    public void Up_to_what_all_have_on_media()
    {
        using var rig = Written(hasTombstones: false);
        rig.Tick(IntervalMs);
        Assert.Empty(rig.Links[0].Of(FrameKind.Passed));
        rig.HasTombstones = true;
        rig.Tick(IntervalMs);
        Assert.All(rig.Links, link => Assert.Equal(2UL, PassedOf(link)));
        rig.Tick(IntervalMs);
        Assert.All(rig.Links, link => Assert.Single(link.Of(FrameKind.Passed)));
        rig.Appended(2, 3, durable: 3);
        rig.Tick(IntervalMs);
        Assert.All(rig.Links, link => Assert.Equal(3UL, PassedOf(link)));
    }

    [Fact(DisplayName = "R20: as long as one copy of the volume is out of the in-sync set, tombstones stay, whatever the others have")]
    public void A_copy_is_out()
    {
        using var rig = Written(hasTombstones: true);
        rig.LinkDown(2);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
        rig.Tick(IntervalMs);
        rig.Tick(IntervalMs);
        Assert.Empty(rig.Links[0].Of(FrameKind.Passed));
    }

    [Fact(DisplayName = "R20: as long as a range is gathered for a repair, tombstones stay: what a copy answered before a trim must not come back after it")]
    public void A_range_is_gathered()
    {
        using var rig = Written(hasTombstones: true);
        rig.Read(9, 1);
        rig.FailRead(IoStatus.BadChecksum);
        Assert.NotEmpty(rig.Links[1].Of(FrameKind.ReadReplica));
        rig.Tick(IntervalMs);
        rig.Tick(IntervalMs);
        Assert.Empty(rig.Links[0].Of(FrameKind.Passed));
    }

    [Fact(DisplayName = "R20: a copy that comes back with less than every copy had on media when tombstones went is copied in full")]
    public void A_copy_came_back_with_less()
    {
        using var rig = Written(hasTombstones: true);
        rig.Tick(IntervalMs);
        Assert.Equal(2UL, PassedOf(rig.Links[0]));
        rig.LinkDown(2);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
        rig.LinkUp(2);
        rig.Promised(2, last: 1, lastEpoch: 1, inSyncEpoch: 1);
        rig.Tick();
        Assert.True(CatchUpBody.TryDecode(rig.Links[2].Of(FrameKind.CatchUpBegin).Single().Body, out var begin));
        Assert.True(begin.Reset);
    }

    /// <summary>Three records are committed; one copy has only two of them on media.</summary>
    private static OwnerRig Written(bool hasTombstones)
    {
        var rig = OwnerRig.Serving(3);
        rig.HasTombstones = hasTombstones;
        for (var request = 1UL; request <= 3; request++) rig.Write(request, request);
        rig.Appended(0, 3, durable: 3);
        rig.Appended(1, 3, durable: 3);
        rig.Appended(2, 3, durable: 2);
        Assert.Equal(3UL, rig.Machine.Committed);
        rig.Tick();
        return rig;
    }

    private static ulong PassedOf(RecordingLink link) => BitConverter.ToUInt64(link.Of(FrameKind.Passed).Last().Body);
}
