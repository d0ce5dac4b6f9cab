using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

// R5: which store of a node counts.
public sealed partial class VolumeMachineRuleSpecs
{
    [Fact(DisplayName = "R5: a store with fewer opens than the journal knows is foreign and takes no part in the choice")]
    public void R5_an_older_store_is_foreign()
    {
        // Guards IsForeign: the comparison of counts.
        using var rig = new OwnerRig(2, FailureModeKind.AlwaysOn);
        var volume = rig.Machine.Volume;
        rig.Journaled(new EpochStarted(volume, new Epoch(3), rig.Nodes[1], "n1"),
            new EpochOpened(volume, new Epoch(3), 5, 1, [rig.Member(0), rig.Member(1, openCount: 4)]));
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0, last: 6, lastEpoch: 3, inSyncEpoch: 3);
        rig.Promised(1, last: 9, lastEpoch: 3, inSyncEpoch: 3, openCount: 3);
        Assert.Empty(rig.Links[1].Of(FrameKind.Truncate));
        rig.Truncated(0, 6);
        Assert.Equal(new ReplicaId(1), ((EpochOpened)rig.Journal()).Members.Single().Id);
    }

    [Fact(DisplayName = "R5: a copy of a store from before the open that the journal knows is foreign, also when it was opened as often since")]
    public void R5_a_reopened_backup_is_foreign()
    {
        // Guards IsForeign: the comparison of marks.
        using var rig = Vouched(openCount: 4);
        rig.Promised(1, last: 4, lastEpoch: 3, inSyncEpoch: 3, opens: new StoreOpens(6, [96, 95, 94, .. OwnerRig.OpensOf(3).Marks]));
        rig.Tick(10_000);
        Assert.Empty(rig.Links[1].Of(FrameKind.Truncate));
        rig.Promised(0, last: 6, lastEpoch: 3, inSyncEpoch: 3);
        Assert.Empty(rig.Links[1].Of(FrameKind.Truncate));
        rig.Truncated(0, 6);
        Assert.Equal(new ReplicaId(1), ((EpochOpened)rig.Journal()).Members.Single().Id);
    }

    [Theory(DisplayName = "R5: a store that was opened again by itself is the one that the journal knows, be it by the marks of its opens or by its replica's header")]
    [InlineData(4UL, false)]
    [InlineData(7UL, false)]
    [InlineData(35UL, false)]
    [InlineData(36UL, true)]
    [InlineData(400UL, true)]
    public void R5_a_reopened_store_is_known(ulong openCount, bool isStamped)
    {
        // Guards StoreOpens.DescentFrom and StampedOpen in PromisedBody.DescentFrom.
        using var rig = Vouched(openCount: 4);
        rig.LinkDown(0);
        rig.Promised(1, last: 9, lastEpoch: 3, inSyncEpoch: 3, openCount: openCount, stampedOpen: isStamped ? new StoreOpenStamp(4, rig.Member(1, 4).StoreOpenMark) : default);
        rig.LinkUp(0);
        rig.Promised(0, last: 6, lastEpoch: 3, inSyncEpoch: 3);
        Assert.Equal(9UL, BitConverter.ToUInt64(rig.Links[1].Of(FrameKind.Truncate).Single().Body));
    }

    [Fact(DisplayName = "R5: a store that was opened too often to tell whether it is the one that the journal knows does not decide alone")]
    public void R5_an_unproven_store_is_suspect()
    {
        // Guards IsSuspect: Unknown.
        using var rig = Vouched(openCount: 4, local: 1);
        rig.Promised(0, last: 6, lastEpoch: 3, inSyncEpoch: 3, openCount: 40);
        rig.LinkDown(1);
        rig.Tick(10_000);
        Assert.Empty(rig.Links[0].Of(FrameKind.Truncate));
        rig.LinkUp(1);
        rig.Promised(1, last: 6, lastEpoch: 3, inSyncEpoch: 3, openCount: 4);
        Assert.NotEmpty(rig.Links[0].Of(FrameKind.Truncate));
    }

    /// <summary>Epoch 4 of two copies is claimed; the journal knows that open of copy 1 (or 0) and the first one of the other.</summary>
    private static OwnerRig Vouched(ulong openCount, int local = 0)
    {
        var rig = new OwnerRig(2, FailureModeKind.AlwaysOn);
        rig.Journaled(new EpochStarted(rig.Machine.Volume, new Epoch(3), rig.Nodes[1], "n1"),
            new EpochOpened(rig.Machine.Volume, new Epoch(3), 5, 1, [rig.Member(0, local == 0 ? 1 : openCount), rig.Member(1, openCount)]));
        rig.Machine.Start();
        rig.Journal();
        return rig;
    }

    [Fact(DisplayName = "R5: a copy that left comes back by delta on its own store, and in full on a copy of it from before it was last vouched for")]
    public void R5_an_older_copy_is_copied_in_full()
    {
        // Guards IsOlder.
        foreach (var isOlder in (bool[])[false, true])
        {
            using var rig = OwnerRig.Serving(3);
            rig.Write(1, 3);
            for (var index = 0; index < 3; index++) rig.Appended(index, 1);
            rig.LinkDown(2);
            rig.Journal();
            rig.Stamped(0);
            rig.Stamped(1);
            rig.LinkUp(2);
            rig.Promised(2, last: 1, lastEpoch: 1, inSyncEpoch: 1, tailFrom: 1, opens: isOlder ? new StoreOpens(2, [8, 7]) : OwnerRig.OpensOf(2));
            Assert.True(CatchUpBody.TryDecode(rig.Links[2].Of(FrameKind.CatchUpBegin).Last().Body, out var begin));
            Assert.Equal(isOlder, begin.Reset);
        }
    }

    [Fact(DisplayName = "R5: no write is acknowledged that relies on an open of a member's store which the journal does not know yet")]
    public void R5_acks_wait_for_the_journal_of_an_open()
    {
        // Guards _opensOwed in TryCommit and ReleaseFlushes.
        using var rig = OwnerRig.Serving(2, FailureModeKind.Hard);
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Promised(1, openCount: 2, inSyncEpoch: 1);
        rig.Truncated(1, 0);
        rig.Stamped(1);
        rig.Write(1, 3);
        rig.Appended(0, 1, durable: 1);
        rig.Appended(1, 1, durable: 1);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
        rig.Journal();
        rig.Appended(1, 1, durable: 1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        Assert.Empty(rig.Proposals);
    }

    [Fact(DisplayName = "R5: a member that was opened again without leaving is journaled anew, or a copy from before would pass for it")]
    public void R5_a_later_open_is_journaled()
    {
        // Guards RenewOpen.
        using var rig = OwnerRig.Serving(2, FailureModeKind.Hard);
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Promised(1, openCount: 2, inSyncEpoch: 1);
        rig.Truncated(1, 0);
        Assert.Equal(2UL, ((InSyncChanged)rig.Journal()).Members[1].StoreOpenCount);
    }
}
