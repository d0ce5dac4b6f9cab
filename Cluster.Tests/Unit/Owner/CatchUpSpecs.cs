using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Owner;

/// <summary>How an owner catches a copy up: in order, at its pace, in its turn, and from where it was interrupted.</summary>
public sealed class CatchUpSpecs
{
    private const int KiB = 1024;

    /// <summary>Copies 0 and 1 serve and have one write; copy 2 is out.</summary>
    private static OwnerRig Degraded(RepairOptions? options = null, long markBytes = 16 << 20)
    {
        var rig = OwnerRig.Serving(3);
        rig.Repair = new NodeRepair(options ?? new RepairOptions()) { CatchUpMarkBytes = markBytes };
        rig.LinkDown(2);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
        rig.Write(1, 3);
        rig.Appended(0, 1);
        rig.Appended(1, 1);
        return rig;
    }

    private static CatchUpBody BegunWith(OwnerRig rig)
    {
        Assert.True(CatchUpBody.TryDecode(rig.Links[2].Of(FrameKind.CatchUpBegin).Last().Body, out var begin));
        return begin;
    }

    private static int SentRecords(OwnerRig rig) => rig.Links[2].Of(FrameKind.CatchUpRecord).Count();

    [Fact(DisplayName = "R8: an interrupted catch-up goes on from the copy's cursor: below it only what is newer than the mark, above it what is newer than the start")]
    public void R8_goes_on_from_the_cursor()
    {
        // Guards PlanCatchUp: resumes; CatchUp.Since and OnBatch.
        using var rig = Degraded();
        rig.Changes.Enqueue((new ChangePosition(true, 45), KiB));
        rig.Changes.Enqueue((null, KiB));
        rig.LinkUp(2);
        rig.Promised(2, catchingUp: true, catchUpTo: 1, catchUpCursor: 40);
        Assert.Equal(new CatchUpBody(0, 1, 1, false, 40, 1, 0), BegunWith(rig));
        rig.CaughtUp(2, 0);
        rig.Tick();
        rig.CaughtUp(2, 3);
        Assert.Equal([(1UL, 1UL, null), (0UL, 1UL, new ChangePosition(true, 40))], rig.Scans);
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpEnd));
        Assert.Equal((1, 1), (rig.Repair.CatchUpsStarted, rig.Repair.CatchUpsResumed));
    }

    [Fact(DisplayName = "An owner that is caught up from does not follow who uses the volume: that would cut the catch-up off")]
    public void Stays_meanwhile()
    {
        using var rig = Degraded();
        rig.Changes.Enqueue((new ChangePosition(true, 45), KiB));
        rig.Changes.Enqueue((null, KiB));
        rig.LinkUp(2);
        rig.Promised(2, catchingUp: true, catchUpTo: 1, catchUpCursor: 40);
        rig.CaughtUp(2, 0);
        Assert.Equal(1, rig.Repair.CatchUpsStarted);
        rig.Machine.OnLinkDown(rig.Front);
        rig.Open(new SessionId(0, 6), rig.Links[1]);
        Assert.Null(rig.Machine.Away);
        Assert.Contains("a catch-up", rig.Machine.View().Usage, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "R8: a cursor of another order, or beyond this one's end, counts for nothing")]
    public void R8_a_cursor_of_another_order()
    {
        // Guards PlanCatchUp: isMapOfOrder, and CatchUpTo.
        using var rig = Degraded();
        rig.LinkUp(2);
        rig.Promised(2, tailFrom: 9, catchingUp: true, catchUpTo: 1, catchUpCursor: 40);
        Assert.Equal((true, 0UL), (BegunWith(rig).Reset, BegunWith(rig).Cursor));

        using var other = Degraded();
        other.LinkUp(2);
        other.Promised(2, catchingUp: true, catchUpTo: 2, catchUpCursor: 40);
        Assert.Equal(0UL, BegunWith(other).Cursor);
    }

    [Fact(DisplayName = "R8: the copy is told its cursor after so many bytes, not among the trims and not while the part below the last cursor is sent")]
    public void R8_marks()
    {
        // Guards CatchUp.DueMark.
        using var rig = Degraded(markBytes: 4 * KiB);
        rig.Changes.Enqueue((new ChangePosition(false, 99), 8 * KiB));
        rig.Changes.Enqueue((new ChangePosition(true, 10), 8 * KiB));
        rig.Changes.Enqueue((new ChangePosition(true, 11), KiB));
        rig.Changes.Enqueue((new ChangePosition(true, 14), 4 * KiB));
        rig.LinkUp(2);
        rig.Promised(2);
        for (ulong item = 0; item <= 6; item++)
        {
            rig.CaughtUp(2, item);
            rig.Tick();
        }
        Assert.Equal([10UL, 14UL], Marks(rig));

        using var again = Degraded(markBytes: 4 * KiB);
        again.Changes.Enqueue((new ChangePosition(true, 20), 8 * KiB));
        again.Changes.Enqueue((new ChangePosition(true, 41), KiB));
        again.LinkUp(2);
        again.Promised(2, catchingUp: true, catchUpTo: 1, catchUpCursor: 40);
        again.CaughtUp(2, 0);
        again.Tick();
        again.CaughtUp(2, 2);
        Assert.Equal([40UL], Marks(again));
    }

    private static IEnumerable<ulong> Marks(OwnerRig rig) => rig.Links[2].Of(FrameKind.CatchUpMark).Select(mark => BitConverter.ToUInt64(mark.Body));

    [Fact(DisplayName = "A catch-up is sent at the node's pace, and a client's write is answered meanwhile")]
    public void Pace_bounds_it()
    {
        // Guards MaySend.
        using var rig = Degraded(new RepairOptions { CatchUpBytesPerSecond = 1000 });
        for (ulong block = 1; block < 60; block++) rig.Changes.Enqueue((new ChangePosition(true, block), 1000));
        rig.LinkUp(2);
        rig.Promised(2);
        rig.CaughtUp(2, 0);
        Assert.Equal(1, SentRecords(rig));
        for (var tick = 0; tick < 100; tick++)
        {
            rig.Tick();
            rig.CaughtUp(2, 1 + (ulong)SentRecords(rig));
        }
        Assert.InRange(SentRecords(rig), 10, 12);
        Assert.InRange(rig.Repair.CaughtUpBytes, 10_000, 12_000);
        rig.Write(2, 4);
        rig.Appended(0, 2);
        rig.Appended(1, 2);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
        var view = rig.Machine.View().Replicas[2];
        Assert.Equal("catching-up", view.State);
        Assert.InRange(view.CatchUpBytesPerSecond, 900UL, 1100UL);
    }

    [Fact(DisplayName = "An owner from whose bad blocks no copy can be caught up moves to another member, and not again and again")]
    public void Bad_blocks_move_the_owner()
    {
        // Guards SendBatch: MoveFromBadBlocks.
        using var rig = Degraded();
        rig.ChangesStatus = IoStatus.DeviceError;
        rig.LinkUp(2);
        rig.Promised(2);
        rig.CaughtUp(2, 0);
        Assert.Empty(rig.Moves);
        rig.ChangesStatus = IoStatus.BadChecksum;
        for (var attempt = 0; attempt < 3; attempt++)
        {
            rig.Promised(2);
            rig.Tick(1000);
            rig.CaughtUp(2, 0);
        }
        Assert.Equal([rig.Nodes[1]], rig.Moves);
        Assert.True(rig.Scans.Count > 2, $"{rig.Scans.Count} attempts were made");
    }

    [Fact(DisplayName = "A long catch-up waits for its turn at the owner's node, a short one does not; in the end the turn is given back")]
    public void Turns()
    {
        // Guards PlanAdmitted, and EndCatchUp.
        using var rig = Degraded(new RepairOptions { CatchUpsOutMax = 1, CatchUpShortBytes = 100 });
        var other = new object();
        Assert.True(rig.Repair.CatchUpsOut.TryEnter(other));
        rig.ChangedBytes = 101;
        rig.LinkUp(2);
        rig.Promised(2);
        Assert.Empty(rig.Links[2].Of(FrameKind.CatchUpBegin));
        Assert.Equal(("queued", 1), (rig.Machine.View().Replicas[2].State, rig.Repair.CatchUpsWaiting));
        rig.Repair.CatchUpsOut.Leave(other);
        rig.Tick();
        Assert.Equal(101UL, BegunWith(rig).Bytes);
        rig.CaughtUp(2, 0);
        Assert.Equal((1, 1), (rig.Repair.CatchUpsOut.InsideCount, rig.Repair.CatchUpsUnderWay));
        rig.LinkDown(2);
        Assert.Equal((0, 0), (rig.Repair.CatchUpsOut.InsideCount, rig.Repair.CatchUpsUnderWay));

        Assert.True(rig.Repair.CatchUpsOut.TryEnter(other));
        rig.ChangedBytes = 100;
        rig.LinkUp(2);
        rig.Promised(2);
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
    }

    [Fact(DisplayName = "A copy whose node takes part in enough catch-ups is asked again later, and its place here is free for others meanwhile")]
    public void Refused_for_now()
    {
        // Guards OnCatchUpRefused: Busy.
        using var rig = Degraded(new RepairOptions { CatchUpsOutMax = 1, CatchUpShortBytes = 0 });
        rig.ChangedBytes = 1;
        rig.LinkUp(2);
        rig.Promised(2);
        Refuse(rig, IoStatus.Busy);
        Assert.Equal(0, rig.Repair.CatchUpsOut.InsideCount);
        rig.Promised(2);
        Assert.Equal("queued", rig.Machine.View().Replicas[2].State);
        rig.Tick(500);
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
        rig.Tick(600);
        Assert.Equal(2, rig.Links[2].Of(FrameKind.CatchUpBegin).Count());
        rig.CaughtUp(2, 0);
        Assert.Equal("catching-up", rig.Machine.View().Replicas[2].State);
    }

    [Fact(DisplayName = "R8: a copy that can't go on from what it has is copied in full, also when it has to wait for that")]
    public void R8_in_full_after_a_wait()
    {
        // Guards OnCatchUpRefused: NeedsFullCopy.
        using var rig = Degraded(new RepairOptions { CatchUpsOutMax = 1, CatchUpShortBytes = 100 });
        var other = new object();
        Assert.True(rig.Repair.CatchUpsOut.TryEnter(other));
        rig.LinkUp(2);
        rig.Promised(2);
        Assert.False(BegunWith(rig).Reset);
        rig.ChangedBytes = 1000;
        Refuse(rig, IoStatus.OutOfRange);
        rig.Repair.CatchUpsOut.Leave(other);
        rig.Promised(2);
        rig.Tick(1100);
        Assert.True(BegunWith(rig).Reset);
    }

    [Fact(DisplayName = "An owner that stops gives its turns back")]
    public void A_stop_gives_back()
    {
        // Guards Stop: EndCatchUp.
        using var rig = Degraded(new RepairOptions { CatchUpsOutMax = 1, CatchUpShortBytes = 0 });
        rig.ChangedBytes = 1;
        rig.LinkUp(2);
        rig.Promised(2);
        rig.CaughtUp(2, 0);
        rig.Machine.Stop();
        Assert.Equal((0, 0), (rig.Repair.CatchUpsOut.InsideCount, rig.Repair.CatchUpsUnderWay));
    }

    [Fact(DisplayName = "R8: a copy that is sent everything joins only once that is on its media")]
    public void R8_joins_from_media()
    {
        // Guards PumpProposals: JoinTarget.
        using var rig = Degraded();
        rig.LinkUp(2);
        rig.Promised(2);
        rig.CaughtUp(2, 0);
        rig.CaughtUp(2, rig.Links[2].LastOf(FrameKind.CatchUpEnd).RequestId);
        rig.Appended(2, 1);
        Assert.Empty(rig.Proposals);
        rig.Appended(2, 1, durable: 1);
        rig.Stamped(0);
        Assert.Equal(3, ((InSyncChanged)rig.Proposals.Single()).Members.Length);
        rig.Journal();
        Assert.Equal((1, 0), (rig.Repair.CatchUpsEnded, rig.Repair.CatchUpsUnderWay));
    }

    private static void Refuse(OwnerRig rig, IoStatus status) => rig.Machine.OnReplicaFrame(rig.Links[2],
        FrameHeader.Of(FrameKind.CatchUpAck, rig.Machine.Volume, rig.Machine.EpochNumber, 0, status: status), new AppendAckBody(0, 0, 0, 0).Encode(new byte[32]), null);
}
