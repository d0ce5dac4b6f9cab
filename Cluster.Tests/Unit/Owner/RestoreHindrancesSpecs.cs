using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R19: what must not keep a restore from its end.</summary>
public sealed class RestoreHindrancesSpecs
{
    [Theory(DisplayName = "R19: a member at the minimum that is gone for good is replaced by a copy that comes (back), in the middle of a restore as without one")]
    [InlineData(false)]
    [InlineData(true)]
    public void A_dead_member_at_the_minimum(bool restores)
    {
        using var rig = OwnerRig.Serving(3);
        Prepare(rig, 3);
        // Copy 2 leaves: two of three are left, the minimum.
        rig.LinkDown(2);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        if (restores) Restore(rig);
        // It comes back, and copy 1 goes for good.
        rig.LinkDown(1);
        rig.LinkUp(2);
        rig.Promised(2, last: 1, lastEpoch: 1);
        for (var second = 0; second < 60; second++) rig.Tick(1000);
        Assert.NotEmpty(rig.Links[2].Of(FrameKind.CatchUpBegin));
    }

    [Theory(DisplayName = "R19: a volume of which every copy has to be in sync gets another copy in place of one that is gone for good, in the middle of a restore as without one")]
    [InlineData(false)]
    [InlineData(true)]
    public void A_dead_member_of_a_hard_volume(bool restores)
    {
        using var rig = OwnerRig.Serving(2, FailureModeKind.Hard, spareNodes: 1);
        Prepare(rig, 2);
        if (restores) Restore(rig);
        rig.LinkDown(1);
        rig.Machine.Propose(new ReplicaAdded(rig.Machine.Volume, rig.Placement(2)));
        rig.Journal();
        rig.Promised(2);
        for (var second = 0; second < 60; second++) rig.Tick(1000);
        Assert.NotEmpty(rig.Links[2].Of(FrameKind.CatchUpBegin));
    }

    [Theory(DisplayName = "R19: an owner whose predecessor journaled a restore to a snapshot that was deleted just before ends it, as the predecessor would have")]
    [InlineData(1UL, 2UL)]
    [InlineData(2UL, 2UL)]
    public void Deleted_before_a_takeover(ulong first, ulong second)
    {
        var rig = new OwnerRig(2, FailureModeKind.Soft) { Snapshots = first == second ? [first] : [first, second] };
        var volume = rig.Machine.Volume;
        rig.Journaled(new EpochStarted(volume, new Epoch(3), rig.Nodes[1], "n1"), new EpochOpened(volume, new Epoch(3), 0, 1, [rig.Member(0), rig.Member(1)]),
            new SnapshotCreated(volume, 1, "a", 1), new SnapshotCreated(volume, 2, "b", 1), new SnapshotDeleted(volume, 1), new RestoreStarted(volume, 1));
        rig.Machine.Start();
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Promised(index, 8, lastEpoch: 3, inSyncEpoch: 3, tailFrom: 8);
        for (var index = 0; index < 2; index++) rig.Truncated(index, 8);
        rig.Journal();
        for (var index = 0; index < 2; index++) rig.Stamped(index);
        foreach (var (_, body) in rig.Links[1].Of(FrameKind.Append))
        {
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
            Assert.NotNull(SnapshotMarker.TryDecode(body.AsSpan(record.PayloadOffset)));
        }
        Assert.IsType<RestoreEnded>(rig.Journal());
        rig.Dispose();
    }

    [Fact(DisplayName = "R19: a copy of an earlier version that connects in the middle of a restore is sent no marker that it can't read")]
    public void An_earlier_version_in_between()
    {
        using var rig = OwnerRig.Serving(2);
        rig.RestorePart = 24;
        Prepare(rig, 2);
        Restore(rig);
        rig.Links[1].CompatFeatures = ~MeshFeatures.PartialRestores;
        for (var index = 0; index < 2; index++) rig.Appended(index, 2, durable: 2);
        var (_, body) = rig.Links[1].Of(FrameKind.Append).Last();
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(body, out var record));
        Assert.Equal((3UL, 1), (record.Sequence, body[record.PayloadOffset]));
    }

    private static void Prepare(OwnerRig rig, int copies)
    {
        foreach (var link in rig.Links) link.CompatFeatures = MeshFeatures.Current.Compat;
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("a").Status);
        for (var index = 0; index < copies; index++) rig.Appended(index, 1, durable: 1);
        rig.Journal();
        rig.Snapshots = [1];
        rig.Client(null, FrameKind.SessionClose, 0, new SessionOpenBody(rig.Session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));
    }

    private static void Restore(OwnerRig rig)
    {
        rig.Machine.RestoreSnapshot(1, (_, _) => { });
        Assert.IsType<RestoreStarted>(rig.Journal());
        Assert.Equal(2UL, rig.Machine.Sequence);
    }
}
