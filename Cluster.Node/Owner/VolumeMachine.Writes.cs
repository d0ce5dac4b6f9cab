using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// The order of writes, and their acknowledgement.
public sealed partial class VolumeMachine
{
    /// <summary>Pause before a replica that had no room is offered the same record again.</summary>
    private const int StallMs = 500;

    private readonly Queue<FlushWaiter> _flushes = new();
    private SessionWindows _windows = new();

    /// <summary>The newest generation of whose sessions one had written before this owner began; null: none had.</summary>
    private ulong? _wroteBefore;
    private ulong _committedRecordEpoch;

    /// <summary>An answer that waits until every member has all up to the target on media (P3).</summary>
    private readonly record struct FlushWaiter(ulong Target, ulong Sequence, ClientRoute To, ulong RequestId);

    /// <summary>P3: a volume meant to have several copies that is down to one acknowledges only from media.</summary>
    private bool AcksFromMedia => Spec.Replicas > 1 && _state.InSync.Length == 1;

    private void OnClientWrite(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        if (RecordHeader.TryDecode(body, out var record) != IoStatus.Ok || record.Volume != Volume || (record.Flags & RecordFlags.Resync) != 0 || record.Kind == RecordKind.Marker)
        {
            SendClientAck(from, frame.RequestId, IoStatus.Malformed, 0);
            return;
        }
        var status = AdmitWrite(from, in record);
        if (status != IoStatus.Ok)
        {
            SendClientAck(from, record.RequestId, status, 0);
            return;
        }
        _sessions[record.Session].NoteAnswered(record.AnsweredBelow);
        if (IsReplay(from, in record)) return;
        if (MustWaitForMemory(in record, buffer.Length))
        {
            _effects.OnRefusedForMemory();
            SendClientAck(from, record.RequestId, IoStatus.Busy, 0);
        }
        else if (Passes(ChargeOf(in record))) Order(from, ref record, buffer);
        else if (!Throttle(record.Session, new Throttled(from, record.RequestId, record, buffer, default, ChargeOf(in record), _effects.NowMs)))
            SendClientAck(from, record.RequestId, IoStatus.Busy, 0);
    }

    /// <summary>
    /// What has data is not taken in while memory is short, nor beyond the volume's part of it, unless nothing of the volume is here: each goes on, one record at a time. Its front end has the record, and
    /// sends it again. The volume's part is what keeps one whose writes are held from taking all that others go on with.
    /// </summary>
    private bool MustWaitForMemory(in RecordHeader record, int bytes) =>
        record.Kind == RecordKind.Write && _pending.Count + _heldWrites.Count + _throttled > 0
        && (_effects.IsMemoryTight || _pending.Bytes + _heldBytes + _throttledBytes + bytes > _effects.VolumeBytesMax);

    private void Order(ClientRoute from, ref RecordHeader record, IoBuffer buffer)
    {
        if (MustHold(in record)) Hold(from, in record, buffer);
        else GiveSequence(from, ref record, buffer);
    }

    private void GiveSequence(ClientRoute from, ref RecordHeader record, IoBuffer buffer)
    {
        if (!IsAsExpected(in record)) SendClientAck(from, record.RequestId, IoStatus.Conflict, 0);
        else if (_pending.IsFull) SendClientAck(from, record.RequestId, IoStatus.Busy, 0);
        else Append(from, ref record, buffer);
    }

    private IoStatus AdmitWrite(ClientRoute from, in RecordHeader record)
    {
        var status = AdmitSession(from.Link!, record.Session);
        if (status != IoStatus.Ok) return status;
        if (_state.InSync.Length < _state.InSyncMin) return IoStatus.Offline;
        if (record.Range.End > Spec.SizeBlocks) return IoStatus.OutOfRange;
        return SessionWindows.Admits(record.RequestId, record.AnsweredBelow) ? IoStatus.Ok : IoStatus.Malformed;
    }

    /// <summary>R12: a request that was applied is answered, one that is pending gets its answer to the new link; neither is applied again.</summary>
    private bool IsReplay(ClientRoute from, in RecordHeader record)
    {
        if (_windows.Contains(record.Session, record.RequestId))
        {
            // Its sequence is not known any more, and a guess could be taken for what the block is at now (R15).
            if ((record.Flags & RecordFlags.ForceUnitAccess) != 0) WaitForMedia(Committed, 0, from, record.RequestId);
            else SendClientAck(from, record.RequestId, IoStatus.Ok, 0);
            return true;
        }
        var session = _sessions[record.Session];
        if (record.RequestId > session.HighestRequestId)
        {
            session.HighestRequestId = record.RequestId;
            return false;
        }
        if (IsHeld(from, in record)) return true;
        var sequence = _pending.Find(record.Session, record.RequestId);
        if (sequence == 0) return false;
        _pending[sequence].ReplyTo = from;
        return true;
    }

    /// <summary>R15: a read-modify-write is refused when the block changed since it was read.</summary>
    private bool IsAsExpected(in RecordHeader record)
    {
        if ((record.Flags & RecordFlags.Conditional) == 0) return true;
        var newest = _pending.NewestOver(record.Range.First);
        if (newest == 0) newest = _effects.Local?.SequenceOf(record.Range.First) ?? ulong.MaxValue;
        return newest == record.ExpectedSequence;
    }

    private void Append(ClientRoute from, ref RecordHeader record, IoBuffer buffer)
    {
        record.Epoch = _epoch;
        record.Sequence = _pending.Last + 1;
        record.CommitWatermark = Committed;
        record.Encode(buffer.Span);
        buffer.AddReference();
        _pending.Add(buffer, in record, from);
        foreach (var session in _replicas.Values)
        {
            if (session is { Live: true, Link: not null }) SendAppend(session, record.Sequence, buffer);
        }
        if (AcksFromMedia) AskSync(_pending.Last);
    }

    private void OnAppendAck(ReplicaSession session, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!AppendAckBody.TryDecode(body, out var ack)) return;
        if (header.Status == IoStatus.StaleEpoch)
        {
            if (header.Argument > _epoch) OnDeposed(header.Argument);
            return;
        }
        session.Confirmed = true;
        if (!session.Aligned) return;
        session.Appended = Math.Max(session.Appended, Math.Min(ack.AppendedSequence, _pending.Last));
        session.Durable = Math.Max(session.Durable, Math.Min(ack.DurableSequence, session.Appended));
        NoteCredit(session, in ack, isFresh: false);
        session.Answers.OnAnswer(session.Appended, session.Durable, _effects.NowMs);
        Progressed(session);
        if (header.Status != IoStatus.Ok) OnAppendRefused(session, header.Status, ack.ExpectedSequence);
        if (Phase == VolumePhase.Reconciling) TryOpen();
        if (session.Phase == ReplicaPhase.Joining) PumpProposals();
        TryCommit();
        ReleaseFlushes();
        PumpMarker();
        PumpShrink();
        PumpHeldWrites();
        PumpPresented();
        if (Phase == VolumePhase.Draining) TryFinishDraining();
    }

    private void OnAppendRefused(ReplicaSession session, IoStatus status, ulong expected)
    {
        if (status == IoStatus.Gap)
        {
            // Frames on one link come in order or not at all: what is missing was sent on this link and must still be pending.
            if (session.StalledUntilMs != 0 || expected <= _pending.Base || expected > session.SentUpTo) return;
            session.SentUpTo = expected - 1;
            Resend(session);
            return;
        }
        if (session.StalledUntilMs != 0) return;
        _effects.Log($"{session.Placement.NodeName} refused a record: {status}");
        if (status is IoStatus.NoSpace or IoStatus.Busy)
        {
            (session.Live, session.StalledUntilMs) = (false, _effects.NowMs + StallMs);
            return;
        }
        session.Phase = ReplicaPhase.Lost;
        session.Live = false;
        EndCatchUp(session, isDone: false);
        LeaveAsLost(session, $"{session.Placement.NodeName} failed: {status}");
    }

    /// <summary>O1: commits what every required member has, then answers.</summary>
    private void TryCommit()
    {
        if (!IsServing || _stampsOwed || _opensOwed || _pending.Count == 0 || _state.InSync.Length < _state.InSyncMin) return;
        var upTo = _pending.Last;
        var media = AcksFromMedia;
        foreach (var session in _replicas.Values)
        {
            if (IsRequired(session)) upTo = Math.Min(upTo, session.Aligned ? session.Sure(media) : 0);
        }
        if (upTo <= _pending.Base) return;
        KeepFromRestores(upTo);
        // The local map first: a read that starts after an answer must see what was answered.
        if (_effects.Local is not { } local || !local.Commit(_epoch, upTo))
        {
            Relocate("the replica on this node no longer takes this epoch");
            return;
        }
        var durable = DurableEverywhere();
        while (_pending.Base < upTo) CommitNext(durable);
    }

    private void CommitNext(ulong durable)
    {
        var sequence = _pending.Base + 1;
        ref var record = ref _pending[sequence];
        var header = record.Header;
        var replyTo = record.ReplyTo;
        _windows.Apply(header.Session, header.RequestId, header.AnsweredBelow, sequence);
        _committedRecordEpoch = header.Epoch;
        _pending.Remove();
        if (replyTo.Link is null) return;
        if ((header.Flags & RecordFlags.ForceUnitAccess) != 0 && durable < sequence)
        {
            SendCommitted(replyTo, header.RequestId, sequence);
            WaitForMedia(sequence, sequence, replyTo, header.RequestId);
        }
        else SendClientAck(replyTo, header.RequestId, IoStatus.Ok, sequence);
    }

    private void OnClientFlush(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body)
    {
        if (!ClientFlushBody.TryDecode(body, out var flush))
        {
            SendClientAck(from, frame.RequestId, IoStatus.Malformed, 0);
            return;
        }
        var status = AdmitSession(from.Link!, flush.Session);
        if (status == IoStatus.Ok) _sessions[flush.Session].NoteAnswered(flush.AnsweredBelow);
        if (status == IoStatus.Ok && _flushes.Count >= Limits.SessionWindowRequestsMax * 4) status = IoStatus.Busy;
        if (status != IoStatus.Ok) SendClientAck(from, frame.RequestId, status, 0);
        else WaitForMedia(Committed, Committed, from, frame.RequestId);
    }

    /// <summary>P3: answers once fdatasync covers the target on every member. Targets never fall, so the queue is in order.</summary>
    private void WaitForMedia(ulong target, ulong sequence, ClientRoute to, ulong requestId)
    {
        _flushes.Enqueue(new FlushWaiter(target, sequence, to, requestId));
        AskSync(target);
        ReleaseFlushes();
    }

    private void AskSync(ulong target)
    {
        Span<byte> body = stackalloc byte[8];
        var writer = new BodyWriter(body);
        writer.U64(target);
        foreach (var session in _replicas.Values)
        {
            if (IsRequired(session)) AskSync(session, target, writer.Written);
        }
    }

    private void AskSync(ReplicaSession session, ulong target, ReadOnlySpan<byte> body)
    {
        if (!session.Aligned || session.Link is null || session.Durable >= target || session.SyncAsked >= target) return;
        session.SyncAsked = target;
        if (session.OwesSinceMs == 0) session.OwesSinceMs = _effects.NowMs;
        session.Answers.OnSyncAsked(target, _effects.NowMs);
        session.Link.Send(Frame(FrameKind.Sync), body);
    }

    private ulong DurableEverywhere()
    {
        var durable = ulong.MaxValue;
        foreach (var session in _replicas.Values)
        {
            if (IsRequired(session)) durable = Math.Min(durable, session.Aligned ? session.Durable : 0);
        }
        return durable;
    }

    private void ReleaseFlushes()
    {
        if (_flushes.Count == 0 || !IsServing || _stampsOwed || _opensOwed) return;
        var durable = DurableEverywhere();
        while (_flushes.TryPeek(out var waiter) && waiter.Target <= durable)
        {
            _flushes.Dequeue();
            SendClientAck(waiter.To, waiter.RequestId, IoStatus.Ok, waiter.Sequence);
        }
        // A member that joined or returned since was not asked yet.
        if (_flushes.TryPeek(out var next)) AskSync(next.Target);
    }

    private void SendClientAck(ClientRoute to, ulong requestId, IoStatus status, ulong sequence)
    {
        if (!to.IsUp) return;
        Span<byte> body = stackalloc byte[24];
        var durable = status == IoStatus.Ok ? Math.Min(DurableEverywhere(), Committed) : 0;
        to.Send(FrameKind.ClientAck, Volume, _epoch, requestId, status, new ClientAckBody(sequence, durable, CommittedForSessions).Encode(body));
    }

    /// <summary>R13: what comes after it may be answered before it is; the front end must know its place to present it.</summary>
    private void SendCommitted(ClientRoute to, ulong requestId, ulong sequence)
    {
        Span<byte> body = stackalloc byte[SequenceBody.SizeBytes];
        to.Send(FrameKind.ClientCommitted, Volume, _epoch, requestId, IoStatus.Ok, new SequenceBody(sequence).Encode(body));
    }

    /// <summary>Replicas learn the watermark from the next frame; when there is none for a while, from this one.</summary>
    private void SendIdleWatermarks()
    {
        Span<byte> none = stackalloc byte[8];
        none.Clear();
        foreach (var session in _replicas.Values)
        {
            if (session is not { Aligned: true, Link: not null } || session.WatermarkSent >= Committed) continue;
            session.WatermarkSent = Committed;
            session.Link.Send(Frame(FrameKind.Sync), none);
        }
    }
}
