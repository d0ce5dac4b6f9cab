using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Replica;

// Catch-up of a returning replica (R4, R8), and what the replica says.
public sealed partial class ReplicaMachine
{
    private ulong _catchUpIndex;
    private ulong _catchUpIndexAcked;
    private PendingCatchUp? _catchUp;

    /// <summary>A header on media that a catch-up message waits for; all that was staged before it is on media with it.</summary>
    private readonly record struct PendingCatchUp(ulong HeaderNumber, ulong Index, IFrameLink To);

    private void OnCatchUpBegin(IFrameLink from, ReadOnlySpan<byte> body)
    {
        if (!CatchUpBody.TryDecode(body, out var begin)) return;
        // Nothing of a damaged copy is a prefix of anything: only a copy in full mends it.
        var isDamaged = _store.Damage is not null;
        var isPrefix = begin.From <= _store.LastSequence && begin.From >= _store.CommitWatermark;
        var resumes = _header.CatchingUp && begin.From <= _header.CatchUpFrom;
        var isCursor = begin.Cursor == 0 || (_header.CatchingUp && begin.Cursor <= _header.CatchUpCursor && begin.CursorTo <= _header.CatchUpJoin);
        if (!begin.Reset && (isDamaged || !isCursor || (!resumes && (_header.CatchingUp || !isPrefix))))
        {
            SendCatchUpAck(from, 0, IoStatus.OutOfRange);
            return;
        }
        if (!MayBegin(in begin))
        {
            SendCatchUpAck(from, 0, IoStatus.Busy);
            return;
        }
        // "Catching up from" comes first in the log: a crash between it and the new position must never let that position be reported (I3).
        // Below a cursor the blocks stay complete up to where they were, until a mark says more.
        _header = _header with
        {
            CatchingUp = true,
            CatchUpFrom = begin.Reset ? 0 : begin.From,
            CatchUpJoin = begin.Cursor > 0 ? begin.CursorTo : begin.Join,
            CatchUpCursor = begin.Cursor,
        };
        _store.GiveBack();
        var number = _store.SaveHeader(_header.Encode());
        // What lies at or below From is a prefix of the owner's committed order: the map takes it before the tail is dropped. Also when an earlier catch-up
        // ended between its header and its position: the tail is then still there.
        if (!begin.Reset && begin.From > _store.CommitWatermark) _store.Commit(begin.From);
        var status = _store.SetPosition(begin.Join, begin.JoinEpoch, begin.Reset);
        if (status != IoStatus.Ok)
        {
            SendCatchUpAck(from, 0, status);
            return;
        }
        (_aligned, _catchUpIndex, _catchUpIndexAcked) = (true, 0, 0);
        _catchUp = new PendingCatchUp(number, 0, from);
        _store.RequestSync();
    }

    /// <summary>So that no storm of copies starts: this node takes part in so many long ones at once; its owner asks again.</summary>
    private bool MayBegin(in CatchUpBody begin)
    {
        var repair = _effects.Repair;
        return begin.Bytes <= (ulong)repair.Options.CatchUpShortBytes || repair.CatchUpsIn.TryEnter(this, queues: false);
    }

    /// <summary>
    /// Of the blocks below the cursor all is here that the owner's map had, up to the watermark of this frame. What a newer version, in neither scan nor log, hides from
    /// the scan is not: so the cursor counts only if all is here up to there, and holds as long as the order has that (I5).
    /// </summary>
    private void OnCatchUpMark(ulong index, ulong watermark, ReadOnlySpan<byte> body)
    {
        if (!TakesCatchUp(index)) return;
        var reader = new BodyReader(body);
        var cursor = reader.U64();
        if (reader.AtEnd && cursor > 0 && _store.CommitWatermark >= watermark)
        {
            // Behind all that it covers in the log: a crash that leaves this leaves those. The sync bounds what an interruption costs.
            _header = _header with { CatchUpCursor = cursor, CatchUpJoin = _store.CommitWatermark };
            _store.SaveHeader(_header.Encode());
            _store.RequestSync();
        }
        EndItem(index, reader.AtEnd ? IoStatus.Ok : IoStatus.Malformed);
    }

    private void OnCatchUpRecord(ulong index, ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        if (!TakesCatchUp(index)) return;
        var decoded = RecordHeader.TryDecode(body, out var record);
        Invariant.That(decoded == IoStatus.Ok && record.Volume == Volume, "a link delivered a record that it had to refuse");
        // Markers are of the order, which a catch-up is not: it says which snapshots there are by itself.
        EndItem(index, record.Kind == RecordKind.Marker ? IoStatus.Malformed : _store.AppendResync(buffer, in record));
    }

    private void OnCatchUpWindow(ulong index, ReadOnlySpan<byte> body)
    {
        if (!TakesCatchUp(index)) return;
        var windows = SessionWindows.TryDecode(body);
        EndItem(index, windows is null ? IoStatus.Malformed : _store.SetWindows(windows));
    }

    /// <summary>R19: what is sent from here on is seen by these snapshots as by the owner's. A volume without any leaves no trace of that in the log.</summary>
    private void OnCatchUpSnapshots(ulong index, ReadOnlySpan<byte> body)
    {
        if (!TakesCatchUp(index)) return;
        var isWhole = SnapshotsBody.TryDecode(body, out var snapshots);
        EndItem(index, !isWhole ? IoStatus.Malformed
            : snapshots.Sequences.Length == 0 && _store.Snapshots.Count == 0 ? IoStatus.Ok
            : _store.SetSnapshots(snapshots.Sequences));
    }

    private void OnCatchUpEnd(ulong index)
    {
        if (!TakesCatchUp(index)) return;
        _catchUpIndex = index;
        // From here on the state is a true prefix of the owner's order again. The header that says so is staged behind all that the catch-up wrote,
        // so the sync that covers it covers them too; the owner journals this replica in only after the answer (R8).
        _header = _header with { CatchingUp = false, CatchUpFrom = 0, CatchUpJoin = 0, CatchUpCursor = 0 };
        _catchUp = new PendingCatchUp(_store.SaveHeader(_header.Encode()), index, _owner!);
        _store.RequestSync();
    }

    private bool TakesCatchUp(ulong index)
    {
        if (_header.CatchingUp && index == _catchUpIndex + 1) return true;
        SendCatchUpAck(_owner!, _catchUpIndex, IoStatus.Gap);
        return false;
    }

    private void EndItem(ulong index, IoStatus status)
    {
        if (status != IoStatus.Ok)
        {
            SendCatchUpAck(_owner!, _catchUpIndex, status);
            return;
        }
        _catchUpIndex = index;
        WantAcknowledge();
    }

    // ---- what the store says ----

    public void OnAppended(ulong appendedSequence) => WantAcknowledge();

    public void OnDurable(ulong durableSequence, ulong headerNumber)
    {
        // R10: what a failed sync covered is not on media, whatever a later one says of it.
        if (IsFailed) return;
        if (_promise is { } promise && promise.HeaderNumber <= headerNumber)
        {
            _promise = null;
            SendPromised(promise.To, _header.PromisedEpoch, promise.RequestId, IoStatus.Ok, promise.LeaseLeftMs);
        }
        if (_stamp is { } stamp && stamp.HeaderNumber <= headerNumber)
        {
            _stamp = null;
            SendStamped(stamp.To, stamp.Body);
        }
        if (_catchUp is { } catchUp && catchUp.HeaderNumber <= headerNumber)
        {
            _catchUp = null;
            if (!_header.CatchingUp) LeaveCatchUp();
            SendCatchUpAck(catchUp.To, catchUp.Index, IoStatus.Ok);
        }
        WantAcknowledge();
    }

    public void OnRoom() => WantAcknowledge();

    public void OnFailed(IoStatus status, string reason)
    {
        if (IsFailed) return;
        _failure = status;
        LeaveCatchUp();
        _effects.OnReplicaFailed(Volume, status, reason);
        if (_owner is { } owner) SendAck(owner, _header.PromisedEpoch, status);
    }

    // ---- what it says ----

    private void WantAcknowledge()
    {
        if (_acknowledgeWanted || _owner is null || IsFailed) return;
        _acknowledgeWanted = true;
        _effects.WantsAcknowledge(this);
    }

    /// <summary>One cumulative ack for all of a turn.</summary>
    public void Acknowledge()
    {
        _acknowledgeWanted = false;
        if (_owner is not { IsUp: true } owner || _promise is not null || IsFailed) return;
        SendAck(owner, _header.PromisedEpoch, _ackStatus);
        (_ackStatus, _ackExpected) = (IoStatus.Ok, 0);
        // Begin and end of a catch-up are answered from media (OnDurable), never here.
        if (!_header.CatchingUp || _catchUpIndex == _catchUpIndexAcked || _catchUp is not null) return;
        SendCatchUpAck(owner, _catchUpIndex, IoStatus.Ok);
    }

    private void SendAck(IFrameLink to, ulong epoch, IoStatus status)
    {
        if (!to.IsUp) return;
        Span<byte> body = stackalloc byte[32];
        // R10: of what a failed store holds nothing is known.
        var ack = IsFailed ? default : new AppendAckBody(_store.AppendedSequence, _store.DurableSequence, _ackExpected,
            to == _owner && !_header.CatchingUp ? (ulong)(_store.Grant() + _store.UnwrittenCredit) : 0);
        var argument = status == IoStatus.StaleEpoch ? _header.PromisedEpoch : 0;
        to.Send(FrameHeader.Of(FrameKind.AppendAck, Volume, epoch, argument: argument, status: status), ack.Encode(body));
    }

    private void SendState(IFrameLink to, FrameKind kind, IoStatus status)
    {
        Span<byte> body = stackalloc byte[32];
        var state = new AppendAckBody(_store.LastSequence, _store.DurableSequence, 0, _header.CatchingUp ? 0 : (ulong)_store.Grant());
        to.Send(FrameHeader.Of(kind, Volume, _header.PromisedEpoch, status: status), state.Encode(body));
    }

    private void SendCatchUpAck(IFrameLink to, ulong index, IoStatus status)
    {
        if (!to.IsUp) return;
        _catchUpIndexAcked = index;
        Span<byte> body = stackalloc byte[32];
        var state = new AppendAckBody(_store.AppendedSequence, _store.DurableSequence, 0, 0);
        to.Send(FrameHeader.Of(FrameKind.CatchUpAck, Volume, _header.PromisedEpoch, index, status: status), state.Encode(body));
    }

    private void SendPromised(IFrameLink to, ulong epoch, ulong requestId, IoStatus status, uint leaseLeftMs)
    {
        if (!to.IsUp) return;
        // I3: while catching up, only what was certain at its beginning is reported.
        var last = _header.CatchingUp ? _header.CatchUpFrom : _store.LastSequence;
        var hasCursor = _header.CatchingUp && _store.Damage is null && _header.CatchUpJoin <= _store.CommitWatermark;
        var promised = new PromisedBody(_header.Identity, _effects.StoreId, _effects.StoreOpens, _header.PromisedEpoch, _header.InSyncEpoch,
            _store.LastRecordEpoch, last, _store.DurableSequence, _store.CommitWatermark, _store.TailFrom, _header.CatchingUp, leaseLeftMs,
            _effects.StoreSuspectSince, hasCursor ? _header.CatchUpJoin : 0, hasCursor ? _header.CatchUpCursor : 0, _header.StampedOpen(_effects.StoreId));
        if (_store.Damage is not null)
            promised = promised with { LastRecordEpoch = 0, LastSequence = 0, DurableSequence = 0, CommitWatermark = 0, TailFrom = 0 };
        Span<byte> body = stackalloc byte[PromisedBody.SizeBytesMax];
        to.Send(FrameHeader.Of(FrameKind.Promised, Volume, epoch, requestId, status: status), promised.Encode(body));
    }

    private void SendStamped(IFrameLink to, StampBody stamp)
    {
        if (!to.IsUp) return;
        // Spec and members stay here: the answer is small.
        Span<byte> body = stackalloc byte[64];
        to.Send(FrameHeader.Of(FrameKind.Stamped, Volume, _header.PromisedEpoch, status: IoStatus.Ok), (stamp with { Spec = [], Members = [] }).Encode(body));
    }
}
