using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// A returning copy is brought up by delta and journaled in (R4, R8).
public sealed partial class VolumeMachine
{
    /// <summary>Bytes read from the local store for a catch-up in one go: what a turn of the loop may spend on it.</summary>
    private const int CatchUpBatchBytes = 512 << 10;

    /// <summary>Batches without a change in them that a turn may read; the next tick goes on.</summary>
    private const int EmptyBatchesMax = 16;

    private const int CatchUpRetryMs = 1000;

    private readonly List<IoBuffer> _batch = [];

    /// <summary>One at a time per volume: the next one starts when it ends.</summary>
    private void StartNextCatchUp()
    {
        if (Phase != VolumePhase.Serving || _effects.Local is null) return;
        var now = _effects.NowMs;
        ReplicaSession? next = null;
        foreach (var session in _replicas.Values)
        {
            if (session.CatchUp is not null) return;
            if (session is { Phase: ReplicaPhase.Promised, PromiseStatus: IoStatus.Ok, Link: not null } && !IsRequired(session)
                && now >= session.CatchUpNotBeforeMs && next is null) next = session;
        }
        if (next is not null) BeginCatchUp(next);
    }

    private void BeginCatchUp(ReplicaSession session)
    {
        var promised = session.Promised;
        var fork = promised.CatchingUp ? promised.LastSequence : _state.Fork(promised.LastRecordEpoch, promised.LastSequence);
        var everInSync = _state.EverInSync.Contains(session.Id);
        // A copy never in sync may still hold blocks of an attempt whose end nobody saw: it starts from nothing.
        // And so does one whose map holds what the order no longer has (all members lost power before it was on media).
        var isMapOfOrder = _state.Fork(promised.LastRecordEpoch, promised.CommitWatermark) == promised.CommitWatermark;
        var reset = fork is null || !isMapOfOrder || (!everInSync && promised.LastSequence == 0);
        var from = reset ? 0 : Math.Min(fork!.Value, Committed);
        BeginCatchUp(session, from, reset);
    }

    private void BeginCatchUp(ReplicaSession session, ulong from, bool reset)
    {
        var catchUp = new CatchUp(from, Committed, reset) { TotalBytes = _effects.Local?.EstimateChanges(from, Committed) ?? 0 };
        (session.CatchUp, session.Phase, session.Aligned, session.Live) = (catchUp, ReplicaPhase.CatchUpBegin, false, false);
        (session.SentUpTo, session.Appended, session.Durable) = (Committed, 0, 0);
        session.OwesSinceMs = _effects.NowMs;
        _effects.Log($"catch-up of {session.Placement.NodeName} from {from} to {Committed}{(reset ? " (in full)" : "")}, about {catchUp.TotalBytes} bytes");
        Span<byte> body = stackalloc byte[32];
        session.Link!.Send(FrameHeader.Of(FrameKind.CatchUpBegin, Volume, _epoch),
            new CatchUpBody(from, Committed, _committedRecordEpoch, reset).Encode(body));
        var windows = BufferPool.Shared.Rent(_windows.EncodedBytes);
        windows.Length = _windows.Encode(windows.Whole);
        SendItem(session, FrameKind.CatchUpWindow, windows);
        // From the join point on it gets every record like a member, while the map's older changes follow behind.
        session.Live = true;
        Resend(session);
    }

    private void SendItem(ReplicaSession session, FrameKind kind, IoBuffer item)
    {
        var catchUp = session.CatchUp!;
        var index = catchUp.NextIndex++;
        catchUp.Unacked.Enqueue((index, item.Length));
        catchUp.UnackedBytes += item.Length;
        catchUp.SentBytes += item.Length;
        session.Link!.Send(Frame(kind, index), item);
        item.Release();
    }

    private void OnCatchUpAck(ReplicaSession session, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (session.CatchUp is not { } catchUp || !AppendAckBody.TryDecode(body, out _)) return;
        if (header.Status != IoStatus.Ok)
        {
            OnCatchUpRefused(session, catchUp, header.Status);
            return;
        }
        if (session.Phase == ReplicaPhase.CatchUpBegin)
        {
            (session.Phase, session.Aligned, session.Confirmed) = (ReplicaPhase.CatchUpStream, true, true);
            (session.Appended, session.Durable) = (catchUp.Join, 0);
        }
        while (catchUp.Unacked.TryPeek(out var item) && item.Index <= header.RequestId)
        {
            catchUp.Unacked.Dequeue();
            catchUp.UnackedBytes -= item.Bytes;
        }
        session.OwesSinceMs = _effects.NowMs;
        if (session.Phase == ReplicaPhase.CatchUpStream) PumpCatchUp(session, catchUp);
        else if (session.Phase == ReplicaPhase.CatchUpEnd && header.RequestId >= catchUp.EndIndex)
        {
            BeginJoining(session);
        }
        _effects.OnChanged();
    }

    /// <summary>
    /// From now on acks, flushes and leases need this copy too. What was committed before must be on its media before it is journaled in (P1, P3, R8): the
    /// journal may then name it as the only member that is left.
    /// </summary>
    private void BeginJoining(ReplicaSession session)
    {
        (session.Phase, session.JoinTarget) = (ReplicaPhase.Joining, Committed);
        Progressed(session);
        AskSync(AcksFromMedia ? _pending.Last : Committed);
        PumpProposals();
    }

    private void OnCatchUpRefused(ReplicaSession session, CatchUp catchUp, IoStatus status)
    {
        if (status == IoStatus.OutOfRange && session.Phase == ReplicaPhase.CatchUpBegin && !catchUp.Reset)
        {
            _effects.Log($"{session.Placement.NodeName} can't be caught up from {catchUp.From}: it is copied in full");
            BeginCatchUp(session, 0, true);
            return;
        }
        if (status == IoStatus.Gap) return;
        AbandonCatchUp(session, $"{session.Placement.NodeName} answered {status}");
    }

    /// <summary>Ends the attempt; the copy promises again, and the next attempt begins where its header says (R8).</summary>
    private void AbandonCatchUp(ReplicaSession session, string reason)
    {
        _effects.Log($"catch-up of {session.Placement.NodeName} abandoned: {reason}");
        var link = session.Link;
        session.Reset(link, _effects.NowMs);
        session.CatchUpNotBeforeMs = _effects.NowMs + CatchUpRetryMs;
        if (link is not null) SendPromise(session);
    }

    private void PumpCatchUp(ReplicaSession session, CatchUp catchUp)
    {
        if (session.Link!.QueuedBytes > Limits.PendingBytesMax)
        {
            AbandonCatchUp(session, "it takes records more slowly than they are written");
            return;
        }
        // A batch may find nothing; with nothing sent, no ack would call for the next one.
        for (var batch = 0; batch < EmptyBatchesMax && !catchUp.ScanDone && (batch == 0 || catchUp.Unacked.Count == 0); batch++)
        {
            if (catchUp.UnackedBytes < Limits.CatchUpWindowBytes && !SendBatch(session, catchUp)) return;
        }
        if (!catchUp.ScanDone || session.Phase != ReplicaPhase.CatchUpStream) return;
        session.Phase = ReplicaPhase.CatchUpEnd;
        catchUp.EndIndex = catchUp.NextIndex++;
        session.Link!.Send(Frame(FrameKind.CatchUpEnd, catchUp.EndIndex), ReadOnlySpan<byte>.Empty);
    }

    private bool SendBatch(ReplicaSession session, CatchUp catchUp)
    {
        _batch.Clear();
        if (_effects.Local is not { } local)
        {
            AbandonCatchUp(session, "the replica on this node failed");
            return false;
        }
        var (status, next) = local.ReadChanges(catchUp.From, catchUp.Join, catchUp.Position, CatchUpBatchBytes, _batch);
        if (status != IoStatus.Ok)
        {
            foreach (var record in _batch) record.Release();
            _batch.Clear();
            AbandonCatchUp(session, $"the replica on this node could not be read: {status}");
            return false;
        }
        foreach (var record in _batch) SendItem(session, FrameKind.CatchUpRecord, record);
        _batch.Clear();
        (catchUp.Position, catchUp.ScanDone) = (next, next is null);
        return true;
    }

    // ---- what users see ----

    /// <summary>A snapshot for the actor and the API; the caller passes it on.</summary>
    public VolumeView View()
    {
        var replicas = _state.Replicas.Select(ViewOf).ToImmutableArray();
        var state = Phase switch
        {
            VolumePhase.Serving => _state.InSync.Length < Spec.InSyncMin ? "held" : _state.InSync.Length < Spec.Replicas ? "degraded" : "healthy",
            VolumePhase.Draining => "moving",
            VolumePhase.Stopped => _state.Deleted ? "deleted" : "offline",
            _ => "recovering",
        };
        return new VolumeView(Volume, Spec, state, IsServing ? _effects.NodeName : "", _epoch, _state.Version, Committed, replicas, _state.Attachment,
            IsServing ? "" : _waitReason);
    }

    private ReplicaView ViewOf(ReplicaPlacement placement)
    {
        var member = _state.Member(placement.Id) is not null;
        if (!_replicas.TryGetValue(placement.Node, out var session)) return new ReplicaView(placement.Id.ToString(), placement.NodeName, "placed", 0, 0, 0);
        var state = member ? session.Link is null ? "unreachable" : "in-sync"
            : session.CatchUp is not null ? "catching-up"
            : session.Phase == ReplicaPhase.Lost ? "lost"
            : session.Link is null ? "offline" : "placed";
        return new ReplicaView(placement.Id.ToString(), placement.NodeName, state, session.Appended,
            (ulong)(session.CatchUp?.SentBytes ?? session.CaughtUpBytes), (ulong)(session.CatchUp?.TotalBytes ?? session.CaughtUpBytes));
    }
}
