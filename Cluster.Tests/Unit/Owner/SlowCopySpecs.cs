using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R7: slow is down. Copies answer by hand, each as late as the test says.</summary>
public sealed class SlowCopySpecs
{
    private static readonly RepairOptions Options = new()
    {
        SlowLag = TimeSpan.FromMilliseconds(500),
        SlowFor = TimeSpan.FromSeconds(5),
        SlowWait = TimeSpan.FromSeconds(4),
    };

    private ulong _sequence;

    private static OwnerRig Serving(int copies = 3, FailureModeKind mode = FailureModeKind.Soft)
    {
        var rig = OwnerRig.Serving(copies, mode);
        rig.Repair = new NodeRepair(Options);
        return rig;
    }

    /// <summary>A second's worth of writes, one after the other, each answered by each copy after so many milliseconds; none may have been acknowledged before all had it.</summary>
    private void Work(OwnerRig rig, params int[] latencies)
    {
        _sequence++;
        rig.Write(_sequence, 3);
        var answered = 0;
        for (var ms = 0; ms < 1000; ms += 100)
        {
            for (var index = 0; index < latencies.Length; index++)
            {
                if (latencies[index] / 100 * 100 != ms || rig.State.Member(rig.Member(index).Id) is null) continue;
                rig.Appended(index, _sequence, _sequence);
                answered++;
            }
            if (answered < rig.State.InSync.Length) Assert.Equal(IoStatus.Unset, rig.AnswerTo(_sequence));
            rig.Tick();
        }
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(_sequence));
    }

    [Fact(DisplayName = "R7: a copy that answers much later than the others for long enough is journaled out; until that is read back every ack waits for it")]
    public void R7_a_slow_copy_is_out()
    {
        // Guards TickSlow and OnSlow; IsRequired in TryCommit.
        using var rig = Serving();
        for (var second = 0; second < 4; second++) Work(rig, 0, 0, 800);
        Assert.Empty(rig.Proposals);
        for (var second = 0; rig.Proposals.Count == 0 && second < 3; second++) Work(rig, 0, 0, 800);
        Assert.Equal([("n2", false)], rig.Slow);
        var proposed = (InSyncChanged)rig.Proposals.Single();
        Assert.Equal(2, proposed.Members.Length);
        Assert.Contains("n2 is slow", proposed.Reason, StringComparison.Ordinal);
        _sequence++;
        rig.Write(_sequence, 4);
        rig.Appended(0, _sequence);
        rig.Appended(1, _sequence);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(_sequence));
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(_sequence));
        Assert.Equal("slow", rig.Machine.View().Replicas[2].State);
        Assert.Contains("n2 was too slow", rig.Machine.View().Reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "R7: one fine second, or one that asks nothing of it, is no long time of slowness")]
    public void R7_not_for_a_moment()
    {
        // Guards TickSlow: SlowForMs.
        using var rig = Serving();
        for (var second = 0; second < 20; second++) Work(rig, 0, 0, second % 4 == 3 ? 100 : 800);
        Assert.Empty(rig.Proposals);
        Assert.Empty(rig.Slow);
    }

    [Fact(DisplayName = "R7: when all are slow, or most, nobody is journaled out and nothing moves")]
    public void R7_overload_blames_nobody()
    {
        // Guards SlowPolicy: others must be fine.
        using var rig = Serving();
        for (var second = 0; second < 20; second++) Work(rig, 800, 700, 900);
        for (var second = 0; second < 20; second++) Work(rig, 0, 800, 800);
        for (var second = 0; second < 20; second++) Work(rig, 0, 400, 800);
        Assert.Empty(rig.Proposals);
        Assert.Empty(rig.Moves);
    }

    [Fact(DisplayName = "R7: at the volume's minimum a slow copy stays")]
    public void R7_not_below_the_minimum()
    {
        // Guards OnSlow: InSyncMin.
        using var rig = Serving(mode: FailureModeKind.Hard);
        for (var second = 0; second < 20; second++) Work(rig, 0, 0, 800);
        Assert.Empty(rig.Proposals);
        Assert.Empty(rig.Slow);
    }

    [Fact(DisplayName = "R7, R14: when the owner's own copy is the slow one, the owner moves to one that is fine, and asks again only after a while")]
    public void R7_a_slow_owner_moves()
    {
        // Guards OnSlow: IsLocal; MoveFrom.
        using var rig = Serving(mode: FailureModeKind.Hard);
        for (var second = 0; second < 20; second++) Work(rig, 800, 0, 0);
        Assert.Equal([rig.Nodes[1]], rig.Moves);
        Assert.Equal([("n0", true)], rig.Slow);
        Assert.Empty(rig.Proposals);
        for (var second = 0; second < 20; second++) Work(rig, 800, 0, 0);
        Assert.Equal(2, rig.Moves.Count);
    }

    [Fact(DisplayName = "R7: a slow copy is caught up only when it has been healthy for the wait, and at its next offence for twice as long")]
    public void R7_hysteresis()
    {
        // Guards IsHeldOff, OnHealth and Offend.
        using var rig = Serving();
        Assert.InRange(SecondsOut(rig, 0), 4, 6);
        Rejoin(rig);
        Assert.InRange(SecondsOut(rig, 0), 8, 10);
    }

    [Fact(DisplayName = "R7: a sign of health that comes late starts the wait anew")]
    public void R7_unhealthy_meanwhile()
    {
        // Guards OnHealth: IsFine.
        using var rig = Serving();
        Assert.InRange(SecondsOut(rig, lateAt: 3), 7, 9);
    }

    [Fact(DisplayName = "R7: while I/O is held for want of copies a slow one is caught up at once")]
    public void R7_a_slow_copy_is_better_than_none()
    {
        // Guards IsHeldOff: InSyncMin.
        using var rig = Serving();
        MakeSlow(rig);
        rig.Promised(2, last: _sequence, lastEpoch: 1);
        rig.Tick();
        Assert.Empty(rig.Links[2].Of(FrameKind.CatchUpBegin));
        var body = new PromisedBody(rig.Nodes[1].Value, rig.Nodes[1].Value, OwnerRig.OpensOf(1), 1, 0, 0, 0, 0, 0, 0, true, 0, 0, 0, 0);
        rig.LinkDown(1);
        rig.LinkUp(1);
        // It came back without what it had: below the minimum now.
        rig.Machine.OnReplicaFrame(rig.Links[1], FrameHeader.Of(FrameKind.Promised, rig.Machine.Volume, 1, status: IoStatus.Missing), body.Encode(new byte[PromisedBody.SizeBytesMax]), null);
        rig.Journal();
        rig.Stamped(0);
        rig.Tick();
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
    }

    [Fact(DisplayName = "R7: a copy that did not answer at all comes back at once the first time, and is held off the next")]
    public void R7_timeouts()
    {
        // Guards OffendByTimeout.
        using var rig = Serving();
        TimeOut(rig);
        rig.Promised(2);
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
        Rejoin(rig);
        TimeOut(rig);
        rig.Promised(2);
        Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
        Assert.Equal("slow", rig.Machine.View().Replicas[2].State);
    }

    [Fact(DisplayName = "R7: a copy whose node was silent until its connection broke is not slow: it is caught up as soon as it is back, however often")]
    public void R7_silence_is_not_slowness()
    {
        // Guards PardonSilence.
        using var rig = Serving();
        for (var cut = 0; cut < 4; cut++)
        {
            TimeOut(rig);
            rig.LinkDown(2);
            rig.LinkUp(2);
            rig.Promised(2);
            Assert.Single(rig.Links[2].Of(FrameKind.CatchUpBegin));
            Rejoin(rig);
        }
    }

    [Fact(DisplayName = "R7: a copy that did answer in the end, twice late, is slow, also when its connection breaks afterwards")]
    public void R7_late_answers_are_not_forgotten()
    {
        // Guards IsSilent.
        using var rig = Serving();
        for (var time = 0; time < 2; time++)
        {
            TimeOut(rig);
            rig.Promised(2);
            if (time == 0) Rejoin(rig);
        }
        rig.LinkDown(2);
        rig.LinkUp(2);
        rig.Promised(2);
        Assert.Empty(rig.Links[2].Of(FrameKind.CatchUpBegin));
        Assert.Equal("slow", rig.Machine.View().Replicas[2].State);
    }

    private void TimeOut(OwnerRig rig)
    {
        rig.Write(++_sequence, 3);
        rig.Appended(0, _sequence, _sequence);
        rig.Appended(1, _sequence, _sequence);
        rig.Tick(Limits.ReplicaAckMs + 100);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
    }

    private void MakeSlow(OwnerRig rig)
    {
        for (var second = 0; rig.Proposals.Count == 0 && second < 10; second++) Work(rig, 0, 0, 800);
        rig.Journal();
        rig.Stamped(0);
        rig.Stamped(1);
    }

    /// <summary>Seconds from when the copy is out to when it is caught up; each promise that it is asked for it answers within the same 100 ms, but for one.</summary>
    private int SecondsOut(OwnerRig rig, int lateAt)
    {
        MakeSlow(rig);
        var (ticks, answered) = (0, 0);
        var begun = rig.Links[2].Of(FrameKind.CatchUpBegin).Count();
        while (rig.Links[2].Of(FrameKind.CatchUpBegin).Count() == begun && ticks < 300)
        {
            var asked = rig.Links[2].Of(FrameKind.Promise).Count();
            if (asked > answered)
            {
                answered = asked;
                if (lateAt != 0 && ticks / 10 == lateAt)
                {
                    for (var tick = 0; tick < 6; tick++, ticks++) rig.Tick();
                    lateAt = 0;
                }
                rig.Promised(2, last: _sequence, lastEpoch: 1);
            }
            rig.Tick();
            ticks++;
        }
        return ticks / 10;
    }

    private void Rejoin(OwnerRig rig)
    {
        rig.CaughtUp(2, 0);
        rig.CaughtUp(2, rig.Links[2].LastOf(FrameKind.CatchUpEnd).RequestId);
        rig.Appended(2, _sequence, _sequence);
        rig.Stamped(0);
        rig.Journal();
        for (var index = 0; index < 3; index++) rig.Stamped(index);
        Assert.Equal(3, rig.State.InSync.Length);
    }
}
