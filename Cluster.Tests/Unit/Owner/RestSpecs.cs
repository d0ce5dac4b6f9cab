using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>Ticks of a volume that nobody uses do nothing, and whatever waits for one waits no longer than without rest.</summary>
public sealed class RestSpecs
{
    private const int TickMs = 100;

    [Fact(DisplayName = "An owner of a volume that nobody uses rests, and looks around once a second all the same")]
    public void Rests()
    {
        using var rig = Resting(3);
        // Which no event tells of: a snapshot in the copy's map that the journal does not have.
        rig.Snapshots = [7];
        rig.Tick(TickMs);
        Assert.Equal(0UL, rig.Machine.Sequence);
        for (var waited = 0; waited < VolumeMachine.RestMsMax; waited += TickMs) rig.Tick(TickMs);
        Assert.Equal(1UL, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "R16: a read that is held for a lease goes at the first tick after the lease is back, also of a volume that rested")]
    public void A_held_read()
    {
        using var rig = Resting(3);
        rig.LeaseUntil[1] = 0;
        rig.Read(1, 3);
        rig.AnswerRead();
        rig.Tick(TickMs);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
        rig.LeaseUntil[1] = long.MaxValue;
        rig.Tick(TickMs);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
    }

    [Fact(DisplayName = "R7: a copy that does not acknowledge what comes to a resting volume is out at the first tick after 3 s")]
    public void A_silent_copy()
    {
        using var rig = Resting(3);
        rig.Write(1, 1);
        for (var index = 0; index < 2; index++) rig.Appended(index, 1);
        for (var waited = 0; waited < Limits.ReplicaAckMs; waited += TickMs) rig.Tick(TickMs);
        Assert.Empty(rig.Proposals);
        rig.Tick(TickMs);
        Assert.IsType<InSyncChanged>(Assert.Single(rig.Proposals));
    }

    [Fact(DisplayName = "R7: a copy whose acknowledged writes were all of the volume's leaves a sync unanswered: that counts too")]
    public void A_silent_sync()
    {
        using var rig = Resting(3);
        rig.Write(1, 1);
        for (var index = 0; index < 3; index++) rig.Appended(index, 1);
        rig.Flush(2);
        for (var index = 0; index < 2; index++) rig.Appended(index, 1, durable: 1);
        for (var waited = 0; waited < Limits.ReplicaAckMs; waited += TickMs) rig.Tick(TickMs);
        Assert.Empty(rig.Proposals);
        rig.Tick(TickMs);
        Assert.IsType<InSyncChanged>(Assert.Single(rig.Proposals));
    }

    [Fact(DisplayName = "R4: copies learn at the next tick that the last write of a volume is committed")]
    public void The_last_watermark()
    {
        using var rig = Resting(2);
        rig.Write(1, 1);
        for (var index = 0; index < 2; index++) rig.Appended(index, 1);
        Assert.All(rig.Links, link => Assert.NotEqual(1UL, link.Sent[^1].Header.Argument));
        rig.Tick(TickMs);
        Assert.All(rig.Links, link => Assert.Equal((FrameKind.Sync, 1UL), (link.Sent[^1].Header.Kind, link.Sent[^1].Header.Argument)));
    }

    [Fact(DisplayName = "A copy that is away is looked for at each tick, and its promise asked for at the first one that finds it")]
    public void A_copy_comes_back()
    {
        using var rig = Resting(3);
        rig.LinkDown(2);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
        for (var waited = 0; waited < 2000; waited += TickMs) rig.Tick(TickMs);
        rig.Links[2] = new RecordingLink(rig.Nodes[2]);
        rig.Tick(TickMs);
        Assert.Single(rig.Links[2].Of(FrameKind.Promise));
    }

    [Fact(DisplayName = "C22: a volume that rested is held for a group no longer than the bound")]
    public void A_group_is_given_up()
    {
        using var rig = Resting(2);
        rig.Machine.PrepareSnapshot(Guid.NewGuid(), "g", _ => { });
        for (var index = 0; index < 2; index++) rig.Appended(index, 1, durable: 1);
        var boundMs = Math.Min(Limits.GroupHoldMs, OwnerRig.HoldMs / 2);
        for (var waited = 0; waited < boundMs; waited += TickMs) rig.Tick(TickMs);
        Assert.Equal([(boundMs, false)], rig.GroupHolds);
    }

    [Fact(DisplayName = "A write is reported as held when it has been for a second: not for what was held before it, of a session that went")]
    public void Held_anew()
    {
        var cost = Limits.CreditOf(RecordHeader.SizeBytes + BlockDescriptor.SizeBytes + SimRecords.EncodedBytesMin);
        using var rig = OwnerRig.Serving(1, grants: (ulong)cost);
        rig.CreditBytes = 0;
        rig.Write(1, 1);
        rig.Appended(0, 1, durable: 1);
        rig.Tick(TickMs);
        rig.Write(2, 2);
        Assert.Equal(1, rig.Machine.HeldWrites);
        rig.Machine.OnLinkDown(rig.Front);
        Assert.Equal(0, rig.Machine.HeldWrites);
        for (var waited = 0; waited < 800; waited += TickMs) rig.Tick(TickMs);
        var front = new RecordingLink(rig.Front.Peer);
        rig.Open(rig.Session, front);
        rig.Write(2, 2, from: front);
        Assert.Equal(1, rig.Machine.HeldWrites);
        for (var waited = 0; waited < 900; waited += TickMs) rig.Tick(TickMs);
        Assert.Empty(rig.HeldForRoom);
        rig.Tick(TickMs);
        rig.Tick(TickMs);
        Assert.Single(rig.HeldForRoom);
    }

    /// <summary>Nothing is under way, and the last tick has looked at everything.</summary>
    private static OwnerRig Resting(int copies)
    {
        var rig = OwnerRig.Serving(copies);
        rig.Tick(TickMs);
        return rig;
    }
}
