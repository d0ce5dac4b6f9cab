using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

/// <summary>The number of copies changes while the volume serves.</summary>
public class VolumeMachineCopiesSpecs
{
    [Fact(DisplayName = "R7: more copies raise the minimum only once so many are in sync: writes go on while the new ones are made")]
    public void R7_more_copies_hold_nothing_up()
    {
        // Guards VolumeState: CopiesInForce in InSyncMin.
        using var rig = OwnerRig.Serving(1, spareNodes: 2);
        Respecify(rig, spec => spec with { Replicas = 3 });
        Add(rig, 1);
        Add(rig, 2);
        Assert.Equal((1, "degraded"), (rig.Machine.View().InSyncMin, rig.Machine.View().State));
        rig.Write(1, 3);
        rig.Appended(0, 1, durable: 1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        CatchUp(rig, 1);
        Assert.Equal(2, ((InSyncChanged)rig.Journal()).Members.Length);
        Assert.Equal((2, "degraded"), (rig.Machine.View().InSyncMin, rig.Machine.View().State));
    }

    [Fact(DisplayName = "A volume of one copy that is to have more acknowledges from media until it has them")]
    public void Acks_from_media()
    {
        using var rig = OwnerRig.Serving(1, spareNodes: 2);
        Respecify(rig, spec => spec with { Replicas = 3 });
        rig.Write(1, 3);
        rig.Appended(0, 1);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
        rig.Appended(0, 1, durable: 1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
    }

    [Fact(DisplayName = "R6: a surplus copy is needed for every ack until its leaving is read back, and is out of the volume only after it is out of the set")]
    public void R6_a_surplus_member_leaves_through_the_journal()
    {
        // Guards BeginDropping: Leave before JournalDrop.
        using var rig = OwnerRig.Serving(3);
        Respecify(rig, spec => spec with { Replicas = 2 });
        rig.Machine.DropSurplus([new ReplicaId(1), new ReplicaId(2), new ReplicaId(3)]);
        // Never the owner's own, though it is first in the order.
        Assert.Equal([rig.Member(0), rig.Member(2)], ((InSyncChanged)Assert.Single(rig.Proposals)).Members.AsEnumerable());
        rig.Write(1, 3);
        rig.Appended(0, 1);
        rig.Appended(2, 1);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
        rig.Journal();
        Assert.Equal(new ReplicaId(2), ((ReplicaRemoved)Assert.Single(rig.Proposals)).Replica);
        rig.Stamped(0);
        rig.Stamped(2);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        rig.Journal();
        Assert.Equal(["n0", "n2"], rig.Machine.View().Replicas.Select(copy => copy.Node));
        Assert.Equal("healthy", rig.Machine.View().State);
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Tick(5000);
        Assert.Empty(rig.Proposals);
    }

    [Fact(DisplayName = "A surplus copy that is not in sync goes before one that is")]
    public void Not_in_sync_first()
    {
        using var rig = OwnerRig.Serving(3);
        rig.LinkDown(1);
        rig.Journal();
        Respecify(rig, spec => spec with { Replicas = 2 });
        rig.Machine.DropSurplus([new ReplicaId(3), new ReplicaId(2)]);
        Assert.Equal(new ReplicaId(2), ((ReplicaRemoved)Assert.Single(rig.Proposals)).Replica);
        rig.Journal();
        rig.Machine.DropSurplus([new ReplicaId(3), new ReplicaId(2)]);
        Assert.Empty(rig.Proposals);
    }

    [Fact(DisplayName = "A copy that is dropped while it catches up can't be journaled in any more, whatever it answers")]
    public void A_dropped_copy_never_joins()
    {
        // Guards JournalDrop: AbandonCatchUp, and IsDropping in StartNextCatchUp and PumpProposals.
        using var rig = OwnerRig.Serving(2, spareNodes: 1);
        Respecify(rig, spec => spec with { Replicas = 3 });
        Add(rig, 2);
        rig.Promised(2);
        var item = rig.Links[2].LastOf(FrameKind.CatchUpWindow).RequestId;
        Respecify(rig, spec => spec with { Replicas = 2 });
        rig.Machine.DropSurplus([]);
        Assert.IsType<ReplicaRemoved>(Assert.Single(rig.Proposals));
        rig.CaughtUp(2, item);
        rig.CaughtUp(2, item + 1);
        rig.Appended(2, 0, durable: 0);
        rig.Promised(2);
        rig.Tick(1500);
        Assert.IsType<ReplicaRemoved>(Assert.Single(rig.Proposals));
        rig.Journal();
        Assert.Equal(2, rig.Machine.View().Replicas.Length);
    }

    [Fact(DisplayName = "A copy that is dropped while its joining is being journaled leaves the set again before it is out of the volume")]
    public void Dropped_while_joining()
    {
        // Guards PumpDrops: IsAmong(_proposal.Members).
        using var rig = OwnerRig.Serving(2, spareNodes: 1);
        Respecify(rig, spec => spec with { Replicas = 3 });
        Add(rig, 2);
        CatchUp(rig, 2);
        Assert.Equal(3, ((InSyncChanged)Assert.Single(rig.Proposals)).Members.Length);
        rig.Machine.DropReplaced(new ReplicaId(3), "surplus");
        Assert.Single(rig.Proposals);
        rig.Journal();
        Assert.Equal(2, ((InSyncChanged)Assert.Single(rig.Proposals)).Members.Length);
        rig.Journal();
        Assert.Equal(new ReplicaId(3), ((ReplicaRemoved)Assert.Single(rig.Proposals)).Replica);
    }

    [Fact(DisplayName = "R7: a surplus copy that the minimum needs stays until another one is in sync")]
    public void R7_never_below_the_minimum()
    {
        // Guards PumpProposals: InSyncMin for copies that are dropped.
        using var rig = OwnerRig.Serving(3, FailureModeKind.Hard);
        Respecify(rig, spec => spec with { Replicas = 2, FailureMode = FailureModeKind.Hard });
        rig.LinkDown(1);
        Assert.Equal(2, ((InSyncChanged)rig.Journal()).Members.Length);
        rig.Machine.DropReplaced(new ReplicaId(3), "replaced");
        rig.Tick(1000);
        Assert.Empty(rig.Proposals);
    }

    [Fact(DisplayName = "R7: a failure mode alone counts at once: hard on a degraded volume holds writes, soft lets them go")]
    public void R7_failure_mode_alone()
    {
        using var rig = OwnerRig.Serving(3);
        rig.LinkDown(1);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(2);
        Respecify(rig, spec => spec with { FailureMode = FailureModeKind.Hard });
        Assert.Equal((3, "held"), (rig.Machine.View().InSyncMin, rig.Machine.View().State));
        rig.Write(1, 3);
        Assert.Equal(IoStatus.Offline, rig.AnswerTo(1));
        Respecify(rig, spec => spec with { FailureMode = FailureModeKind.Soft });
        rig.Write(2, 3);
        rig.Appended(0, 1);
        rig.Appended(2, 1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
    }

    [Fact(DisplayName = "R22: a node that lost its journal holds a copy under its old name: while that is a member nothing lets it go for a new copy there")]
    public void R22_a_member_is_not_dropped_for_a_copy_on_its_node()
    {
        // Guards OnHeldInPlaceOf: IsRequired.
        using var rig = OwnerRig.Serving(2, FailureModeKind.Hard, spareNodes: 1);
        rig.LinkDown(1);
        Respecify(rig, spec => spec with { Replicas = 3, FailureMode = FailureModeKind.Hard });
        Add(rig, 2);
        Hold(rig, 2, held: 2);
        rig.Tick(1500);
        Hold(rig, 2, held: 2);
        Assert.Empty(rig.Proposals);
        Assert.NotNull(rig.State.Member(new ReplicaId(2)));
    }

    [Fact(DisplayName = "R22: once that copy is out of the set, it is journaled out of the volume, and the new one is asked for again until the node has let the old one go")]
    public void R22_a_copy_under_an_old_name_is_journaled_out()
    {
        // Guards OnHeldInPlaceOf, and the pause after Conflict in TickReplica.
        using var rig = OwnerRig.Serving(3, spareNodes: 1);
        rig.LinkDown(1);
        rig.Journal();
        StampAll(rig);
        Add(rig, 3);
        Hold(rig, 3, held: 2);
        Assert.Equal(new ReplicaId(2), ((ReplicaRemoved)Assert.Single(rig.Proposals)).Replica);
        rig.Journal();
        Assert.Null(rig.State.Placement(new ReplicaId(2)));
        var asked = rig.Links[3].Of(FrameKind.Promise).Count();
        rig.Tick(1500);
        Assert.Equal(asked + 1, rig.Links[3].Of(FrameKind.Promise).Count());
        Hold(rig, 3, held: 2);
        Assert.Empty(rig.Proposals);
        rig.Tick(1500);
        CatchUp(rig, 3);
        Assert.Contains(((InSyncChanged)Assert.Single(rig.Proposals)).Members, member => member.Id == new ReplicaId(4));
    }

    [Fact(DisplayName = "A copy that is linked elsewhere is not dropped because another node claims to hold it")]
    public void A_linked_copy_is_not_dropped()
    {
        // Guards OnHeldInPlaceOf: Link.
        using var rig = OwnerRig.Serving(3, spareNodes: 1);
        rig.LinkDown(1);
        rig.Journal();
        StampAll(rig);
        rig.LinkUp(1);
        Add(rig, 3);
        Hold(rig, 3, held: 2);
        Assert.Empty(rig.Proposals);
    }

    /// <summary>The node answers that it holds another copy of the volume.</summary>
    private static void Hold(OwnerRig rig, int index, ushort held)
    {
        var promise = rig.Links[index].LastOf(FrameKind.Promise);
        rig.Machine.OnReplicaFrame(rig.Links[index], FrameHeader.Of(FrameKind.Promised, rig.Machine.Volume, promise.Epoch, argument: held, status: IoStatus.Conflict),
            (default(PromisedBody) with { Opens = StoreOpens.None }).Encode(new byte[PromisedBody.SizeBytesMax]), null);
    }

    private static void Respecify(OwnerRig rig, Func<VolumeSpec, VolumeSpec> change)
    {
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, change(rig.State.Spec!), rig.State.SpecRevision + 1));
        rig.Journal();
        StampAll(rig);
    }

    /// <summary>The newest stamps are on the members' media.</summary>
    private static void StampAll(OwnerRig rig)
    {
        for (var index = 0; index < rig.Links.Length; index++)
        {
            if (rig.Links[index].IsUp && rig.Links[index].Of(FrameKind.Stamp).Any()) rig.Stamped(index);
        }
    }

    private static void Add(OwnerRig rig, int index)
    {
        rig.Machine.Propose(new ReplicaAdded(rig.Machine.Volume, rig.Placement(index)));
        rig.Journal();
    }

    /// <summary>A new copy answers the owner's promise, takes all it is sent, and has it on media.</summary>
    private static void CatchUp(OwnerRig rig, int index)
    {
        rig.Promised(index);
        rig.CaughtUp(index, rig.Links[index].LastOf(FrameKind.CatchUpWindow).RequestId);
        rig.CaughtUp(index, rig.Links[index].LastOf(FrameKind.CatchUpEnd).RequestId);
        rig.Appended(index, rig.Machine.Sequence, durable: rig.Machine.Sequence);
        StampAll(rig);
    }
}
