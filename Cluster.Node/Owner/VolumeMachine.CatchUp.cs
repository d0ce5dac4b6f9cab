using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// A returning copy is brought up by delta and journaled in (R4, R8).
public sealed partial class VolumeMachine
{
    /// <summary>Bytes read from the local store for a catch-up in one go: what a turn of the loop may spend on it.</summary>
    private const int CatchUpBatchBytes = 512 << 10;

    /// <summary>The same while clients' writes are under way.</summary>
    private const int CatchUpBusyBatchBytes = 64 << 10;

    /// <summary>Bytes that wait for the link, beyond which a catch-up adds none.</summary>
    private const long CatchUpQueuedBytesMax = 1L << 20;

    /// <summary>Batches without a change in them that a turn may read; the next tick goes on.</summary>
    private const int EmptyBatchesMax = 16;

    private const int CatchUpRetryMs = 1000;

    private readonly List<IoBuffer> _batch = [];

    /// <summary>
    /// One at a time per volume: the next one starts when it ends. Of all volumes of this node, so many long ones at once; a short one waits for none.
    /// </summary>
    private void StartNextCatchUp()
    {
        if (Phase != VolumePhase.Serving || _effects.Local is not { } local) return;
        // Each part of a restore would end it; unless that waits for this one, in place of a member that is gone and that the minimum keeps from leaving.
        if (IsRestoring && MembersToStay() >= _state.InSyncMin) return;
        foreach (var session in _replicas.Values)
        {
            if (session.CatchUp is not null) return;
        }
        foreach (var session in _replicas.Values)
        {
            if (session is not { Phase: ReplicaPhase.Promised, PromiseStatus: IoStatus.Ok, Link: not null, IsDropping: false } || IsRequired(session) || IsHeldOff(session)
                || _effects.NowMs < session.CatchUpNotBeforeMs || PlanAdmitted(session) is not { } plan) continue;
            BeginCatchUp(session, local, plan);
            return;
        }
    }

    private int MembersToStay()
    {
        var count = 0;
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && !session.ShouldLeave) count++;
        }
        return count;
    }

    /// <summary>
    /// A copy that is only partly there must not apply a restore: half of a snapshot would become the newest version of blocks that no later batch looks at. It gets the outcome as changes like any
    /// other, by a catch-up that begins behind the restore. One that began before may have the record, and knows of no watermark that commits it. To wait with catch-ups until a restore is committed
    /// would be no way: where too few copies are in sync it waits for one of them.
    /// </summary>
    private void KeepFromRestores(ulong upTo)
    {
        foreach (var session in _replicas.Values)
        {
            if (session is { CatchUp: not null, Phase: not ReplicaPhase.Joining } && HasRestore(upTo)) AbandonCatchUp(session, "the volume is put back to a snapshot");
        }
    }

    private bool HasRestore(ulong upTo)
    {
        for (var sequence = _pending.Base + 1; sequence <= upTo; sequence++)
        {
            ref var record = ref _pending[sequence];
            if (record.Header.Kind == RecordKind.Marker && SnapshotMarker.TryDecode(record.Buffer!.Span[record.Header.PayloadOffset..]) is { RestoreFrom: not 0 }) return true;
        }
        return false;
    }

    /// <summary>Null: it waits for its turn.</summary>
    private CatchUp? PlanAdmitted(ReplicaSession session)
    {
        var admission = _effects.Repair.CatchUpsOut;
        // It is not measured again for as long as it waits.
        if (admission.IsWaiting(session) && !admission.TryEnter(session)) return null;
        var plan = PlanCatchUp(session);
        var isAdmitted = plan.TotalBytes <= _effects.Repair.Options.CatchUpShortBytes || admission.TryEnter(session);
        _effects.Repair.OnCatchUpQueue();
        return isAdmitted ? plan : null;
    }

    private CatchUp PlanCatchUp(ReplicaSession session)
    {
        var promised = session.Promised;
        var fork = promised.CatchingUp ? promised.LastSequence : _state.Fork(promised.LastRecordEpoch, promised.LastSequence);
        var everInSync = _state.EverInSync.ContainsKey(session.Id);
        // A copy never in sync may still hold blocks of an attempt whose end nobody saw: it starts from nothing, or where that attempt's cursor is.
        // And one whose map holds what the order no longer has (all members lost power before it was on media) has no use for a cursor either.
        var isMapOfOrder = _state.Fork(promised.LastRecordEpoch, promised.CommitWatermark) == promised.CommitWatermark;
        var resumes = promised is { CatchingUp: true, CatchUpCursor: > 0 } && promised.CatchUpTo <= Committed;
        var reset = session.NeedsFullCopy || fork is null || !isMapOfOrder || (!everInSync && promised.LastSequence == 0 && !resumes);
        reset = reset || IsOlder(session);
        // A copy that is behind what every copy had on media when tombstones went has lost it: its disk lied (R20).
        reset = reset || (!promised.CatchingUp && Math.Min(fork!.Value, Committed) < _passed);
        var from = reset ? 0 : Math.Min(fork!.Value, Committed);
        var (cursor, to) = resumes && !reset ? (promised.CatchUpCursor, promised.CatchUpTo) : (0UL, 0UL);
        var local = _effects.Local;
        var bytes = local?.EstimateChanges(from, Committed, cursor) ?? 0;
        if (cursor > 0) bytes += local?.EstimateChanges(to, Committed, 0) ?? 0;
        return new CatchUp(from, Committed, reset, cursor, to) { TotalBytes = bytes };
    }

    /// <summary>
    /// R5: a copy of the store from before it was last vouched for, or an old disk in place of that store. What it says of itself was true at another time; tombstones that it
    /// needs may be gone since (R20).
    /// </summary>
    private bool IsOlder(ReplicaSession session)
    {
        if (!_state.EverInSync.TryGetValue(session.Id, out var known)) return false;
        var promised = session.Promised;
        return known.StoreId == promised.StoreId ? promised.DescentFrom(known) == StoreDescent.Foreign : promised.InSyncEpoch > 0;
    }

    private void BeginCatchUp(ReplicaSession session, ILocalReplica local, CatchUp catchUp)
    {
        // The others of this volume come after it: none of them holds a place that it can't use.
        foreach (var other in _replicas.Values)
        {
            if (other != session) _effects.Repair.CatchUpsOut.Leave(other);
        }
        _effects.Repair.OnCatchUpQueue();
        (session.CatchUp, session.Phase, session.Aligned, session.Live) = (catchUp, ReplicaPhase.CatchUpBegin, false, false);
        (session.SentUpTo, session.Appended, session.Durable, session.CreditLimit) = (catchUp.Join, 0, 0, 0);
        session.OwesSinceMs = _effects.NowMs;
        if (!session.IsRefusedNow)
        {
            var how = catchUp.Reset ? " (in full)" : catchUp.Cursor > 0 ? $" (again, from block {catchUp.Cursor} on)" : "";
            _effects.Log($"catch-up of {session.Placement.NodeName} from {catchUp.From} to {catchUp.Join}{how}, about {catchUp.TotalBytes} bytes");
        }
        Span<byte> body = stackalloc byte[CatchUpBody.SizeBytes];
        session.Link!.Send(FrameHeader.Of(FrameKind.CatchUpBegin, Volume, _epoch), new CatchUpBody(catchUp.From, catchUp.Join, _committedRecordEpoch,
            catchUp.Reset, catchUp.Cursor, catchUp.CursorTo, (ulong)catchUp.TotalBytes).Encode(body));
        var windows = BufferPool.Shared.Rent(_windows.EncodedBytes);
        windows.Length = _windows.Encode(windows.Whole);
        SendItem(session, FrameKind.CatchUpWindow, windows);
        SendSnapshots(session, local.Snapshots);
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
        if (kind == FrameKind.CatchUpRecord) _effects.Repair.OnCaughtUp(item.Length);
        session.Link!.Send(Frame(kind, index), item);
        item.Release();
    }

    /// <summary>The copy keeps how far it is: an attempt that is interrupted goes on from there.</summary>
    private void SendMark(ReplicaSession session, CatchUp catchUp)
    {
        var cursor = catchUp.DueMark(_effects.Repair.CatchUpMarkBytes);
        if (cursor == 0) return;
        catchUp.MarkedBytes = catchUp.SentBytes;
        Span<byte> body = stackalloc byte[sizeof(ulong)];
        var writer = new BodyWriter(body);
        writer.U64(cursor);
        catchUp.Unacked.Enqueue((catchUp.NextIndex, 0));
        session.Link!.Send(Frame(FrameKind.CatchUpMark, catchUp.NextIndex++), body);
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
            (session.IsRefusedNow, catchUp.HasBegun) = (false, true);
            _effects.Repair.OnCatchUpStarted(resumes: catchUp.Cursor > 0);
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
            session.NeedsFullCopy = true;
            if (_effects.Local is { } local && PlanAdmitted(session) is { } full) BeginCatchUp(session, local, full);
            else AbandonCatchUp(session, "it waits for its turn");
            return;
        }
        if (status == IoStatus.Gap) return;
        if (status == IoStatus.Busy && session.Phase == ReplicaPhase.CatchUpBegin)
        {
            AbandonCatchUp(session, session.IsRefusedNow ? "" : $"{session.Placement.NodeName} takes part in as many as it may; it is asked again");
            session.IsRefusedNow = true;
            return;
        }
        AbandonCatchUp(session, $"{session.Placement.NodeName} answered {status}");
    }

    /// <summary>Ends the attempt; the copy promises again, and the next attempt begins where its header says (R8).</summary>
    private void AbandonCatchUp(ReplicaSession session, string reason)
    {
        if (reason.Length > 0) _effects.Log($"catch-up of {session.Placement.NodeName} abandoned: {reason}");
        var link = session.Link;
        Reset(session, link);
        session.CatchUpNotBeforeMs = _effects.NowMs + CatchUpRetryMs;
        if (link is not null) SendPromise(session);
    }

    /// <summary>All that the old link said is forgotten, and what was under way over it.</summary>
    private void Reset(ReplicaSession session, IFrameLink? link)
    {
        EndCatchUp(session, isDone: false);
        session.Reset(link, _effects.NowMs);
    }

    private void EndCatchUp(ReplicaSession session, bool isDone)
    {
        if (session.CatchUp is { HasBegun: true }) _effects.Repair.OnCatchUpEnded(isDone);
        session.CatchUp = null;
        _effects.Repair.CatchUpsOut.Leave(session);
        _effects.Repair.OnCatchUpQueue();
    }

    /// <summary>Within the node's pace, and not where client I/O would have to wait behind it.</summary>
    private bool MaySend(ReplicaSession session, CatchUp catchUp) => catchUp.UnackedBytes < Limits.CatchUpWindowBytes
        && session.Link!.QueuedBytes <= CatchUpQueuedBytesMax && (!_effects.IsMemoryTight || catchUp.UnackedBytes == 0) && _effects.Repair.CatchUp.IsOpen(_effects.NowMs);

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
            if (!MaySend(session, catchUp) || !SendBatch(session, catchUp)) return;
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
        // Client I/O goes first: while there is some, a turn is kept short.
        var bytesMax = _pending.Count > 0 ? CatchUpBusyBatchBytes : CatchUpBatchBytes;
        var (status, next) = local.ReadChanges(catchUp.Since, catchUp.Join, catchUp.Position, bytesMax, _batch);
        if (status != IoStatus.Ok)
        {
            foreach (var record in _batch) record.Release();
            _batch.Clear();
            AbandonCatchUp(session, $"the replica on this node could not be read: {status}");
            if (status == IoStatus.BadChecksum) MoveFromBadBlocks();
            return false;
        }
        foreach (var record in _batch) SendItem(session, FrameKind.CatchUpRecord, record);
        _batch.Clear();
        catchUp.OnBatch(next);
        SendMark(session, catchUp);
        return true;
    }

    /// <summary>
    /// A block that is bad here would keep every other copy from being caught up for as long as nothing mends it, and what only snapshots hold no scrub looks at. Another member
    /// may have it good.
    /// </summary>
    private void MoveFromBadBlocks()
    {
        if (_effects.NowMs < _moveNotBeforeMs) return;
        foreach (var session in _replicas.Values)
        {
            if (IsLocal(session) || !IsMember(session) || session is not { Phase: ReplicaPhase.InSync, Aligned: true, Link.IsUp: true } || session.ShouldLeave) continue;
            _moveNotBeforeMs = _effects.NowMs + MoveRetryMs;
            _effects.Log($"blocks of the copy on this node are bad, and no copy can be caught up from them: the owner moves to {session.Placement.NodeName}");
            _effects.MoveOwner(session.Placement.Node, session.Placement.NodeName, "blocks of its own copy are bad, and another copy is to be caught up");
            return;
        }
    }
}
