using System.Numerics;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Node.Owner;

// Scrub: all written blocks of all in-sync copies, and those that only snapshots hold, are read, compared and mended at a set pace (P6).
public sealed partial class VolumeMachine
{
    /// <summary>The copies keep the cursor anew after so many bytes: what the next owner reads twice at most.</summary>
    private const ulong ScrubMarkBytes = 64UL << 20;

    /// <summary>Null: none is under way, and the mark says when the last one was.</summary>
    private ScrubRun? _scrub;
    private ScrubMark _scrubMark;
    private bool _isScrubMarkRead;
    private ulong _scrubMarkedBytes;
    private string _scrubWaitsFor = "";

    /// <summary>Starts a scrub now, unless one is under way.</summary>
    public void StartScrub()
    {
        if (Phase != VolumePhase.Serving || _scrub is not null) return;
        ReadScrubMark();
        if (_scrub is not null) return;
        BeginScrub(_scrubMark with { Now = new ScrubTally(Math.Max(1, _effects.NowUnixMs), 0, 0, 0, 0), Cursor = 0 });
        _effects.Log("scrub: starts");
        SendScrubMark(_scrub!.Mark);
        PumpScrub();
    }

    /// <summary>A snapshot for the actor and the API.</summary>
    public VolumeProtocol.ScrubView ScrubView()
    {
        if (Phase == VolumePhase.Serving) ReadScrubMark();
        var mark = _scrub?.Mark ?? _scrubMark;
        var interval = (ulong)_effects.Repair.Options.ScrubInterval.TotalMilliseconds;
        var next = _scrub is not null || interval == 0 || mark.LastEndedUnixMs == 0 ? 0 : mark.LastEndedUnixMs + interval;
        var state = _scrub is null ? "idle" : _scrubWaitsFor.Length > 0 ? "waiting" : "running";
        return new VolumeProtocol.ScrubView(Volume, state, _scrubWaitsFor, TallyOf(mark.Now), TallyOf(mark.Last), mark.LastEndedUnixMs, next,
            (ulong)(_effects.Local?.ScrubBytes ?? 0), (ulong)_effects.Repair.Options.ScrubBytesPerSecond);
    }

    private static VolumeProtocol.ScrubCounts TallyOf(ScrubTally tally) =>
        new(tally.StartedUnixMs, tally.CheckedBytes, tally.MendedBlocks, tally.DifferingBlocks, tally.LostBlocks);

    /// <summary>Where the owner before this one left off, as the replica in this process was told.</summary>
    private void ReadScrubMark()
    {
        if (_isScrubMarkRead || _effects.Local is not { } local) return;
        (_scrubMark, _isScrubMarkRead) = (local.Scrub, true);
        if (_scrubMark.IsUnderWay)
        {
            BeginScrub(_scrubMark);
            _effects.Log($"scrub: goes on at block {_scrubMark.Cursor}");
        }
        else if (_scrubMark.LastEndedUnixMs == 0 || _scrubMark.LastEndedUnixMs > _effects.NowUnixMs)
        {
            // A new volume, or one whose last owner's clock was ahead: its interval begins now.
            _scrubMark = _scrubMark with { LastEndedUnixMs = _effects.NowUnixMs };
            SendScrubMark(_scrubMark);
        }
    }

    private void TickScrub()
    {
        if (Phase != VolumePhase.Serving) return;
        ReadScrubMark();
        if (!_isScrubMarkRead) return;
        var interval = (ulong)_effects.Repair.Options.ScrubInterval.TotalMilliseconds;
        if (_scrub is null && interval > 0 && _effects.NowUnixMs >= _scrubMark.LastEndedUnixMs + interval) StartScrub();
        // A copy that was asked and is away now will not answer.
        if (_scrub is { Question: not 0 } && AbsentMember() is not null) _scrub.Retry();
        PumpScrub();
    }

    /// <summary>A member that can't be asked now, or null. The scrub waits for it, or until it is out of the set.</summary>
    private ReplicaSession? AbsentMember()
    {
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session is not { Phase: ReplicaPhase.InSync, Aligned: true, Link.IsUp: true }) return session;
        }
        return null;
    }

    private void PumpScrub()
    {
        if (_scrub is not { IsWaiting: false } scrub) return;
        var absent = AbsentMember();
        _scrubWaitsFor = absent is null ? "" : $"the copy on node {absent.Placement.NodeName} does not answer";
        if (absent is not null || !_effects.Repair.Scrub.IsOpen(_effects.NowMs)) return;
        if (scrub.Next(Spec.SizeBlocks) is not { } range)
        {
            EndScrub(scrub);
            return;
        }
        Span<byte> body = stackalloc byte[BlockRangeBody.SizeBytes];
        var asked = new BlockRangeBody(range, scrub.Snapshot).Encode(body);
        scrub.OnAsked(++_repairNumber, range, _replicas.Values.Where(IsMember).Select(session => session.Placement.Node));
        // All in one go: the watermark on each of these frames is the same.
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session)) session.Link!.Send(Frame(FrameKind.ScrubRange, scrub.Question), asked);
        }
    }

    private void OnScrubReport(ReplicaSession session, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (_scrub is not { Question: not 0 } scrub || scrub.Question != header.RequestId) return;
        if (header.Status != IoStatus.Ok || !ScrubReportBody.TryDecode(body, out var report))
        {
            // Busy, or about to leave the set: asked again at the next tick.
            scrub.Retry();
            return;
        }
        var step = scrub.OnReport(session.Placement.Node, header.Argument, in report);
        if (step == ScrubStep.Wait) return;
        _effects.Repair.OnScrubbed(scrub.RangeBytes);
        if (step == ScrubStep.Compare && !BeginGather(RepairCause.Scrub, scrub.Range, scrub.Snapshot, null)) scrub.OnCompareFailed();
        if (scrub.Mark.Now.CheckedBytes - _scrubMarkedBytes >= ScrubMarkBytes) SendScrubMark(scrub.Mark);
        PumpScrub();
    }

    private void OnScrubCompared(Gather gather)
    {
        if (_scrub is not { IsComparing: true } scrub) return;
        // What could not be sent to a copy that is away now is found again once it is back.
        if (!gather.IsOfOneMoment || AbsentMember() is not null) scrub.OnCompareFailed();
        else
        {
            var differing = 0;
            foreach (var session in _replicas.Values)
            {
                if (IsMember(session)) differing += BitOperations.PopCount(gather.Blocks.Differing(session.Placement.Node));
            }
            scrub.OnCompared(differing, gather.Blocks.MissingCount);
        }
        PumpScrub();
    }

    private void EndScrub(ScrubRun scrub)
    {
        // What was sent to be mended is still to be counted.
        if (_mends.Values.Any(mend => mend.Cause == RepairCause.Scrub)) return;
        (_scrub, _scrubMark) = (null, scrub.Ended(_effects.NowUnixMs));
        _effects.Repair.OnScrubEnded(isDone: true);
        var tally = _scrubMark.Last;
        var tookMs = _scrubMark.LastEndedUnixMs - Math.Min(tally.StartedUnixMs, _scrubMark.LastEndedUnixMs);
        _effects.Log($"scrub: ended after {tookMs} ms: {tally.CheckedBytes} bytes read on each of {_state.InSync.Length} copies, "
            + $"{tally.MendedBlocks} blocks mended, {tally.DifferingBlocks} differed, {tally.LostBlocks} are good on no copy");
        SendScrubMark(_scrubMark);
    }

    private void BeginScrub(ScrubMark mark)
    {
        _scrub = new ScrubRun(mark);
        _effects.Repair.OnScrubStarted();
    }

    /// <summary>The machine stops; whoever owns the volume next goes on from the mark.</summary>
    private void DropScrub()
    {
        if (_scrub is null) return;
        _scrub = null;
        _effects.Repair.OnScrubEnded(isDone: false);
    }

    private void SendScrubMark(ScrubMark mark)
    {
        _scrubMarkedBytes = mark.Now.CheckedBytes;
        Span<byte> body = stackalloc byte[ScrubMark.SizeBytes];
        mark.Encode(body);
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session is { Aligned: true, Link.IsUp: true }) session.Link.Send(Frame(FrameKind.ScrubMark), body);
        }
    }
}
