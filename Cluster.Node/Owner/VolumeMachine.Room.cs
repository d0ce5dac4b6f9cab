using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R21: a write gets its sequence once every required copy has promised room for it. Until then it is held, here, so that trims and deletions, which need no
// promise, are not stuck in the order behind what can't be stored.
public sealed partial class VolumeMachine
{
    /// <summary>Credit is late for a moment now and then; writes held for longer than this are reported.</summary>
    private const int HeldTellMs = 1000;

    /// <summary>Trims and zeroes that may be held, beside as many writes as may be: what waits for room must not keep out what makes it.</summary>
    public const int HeldTrimsMax = 512;

    /// <summary>In the order of their arrival; writes are bounded as the pending records are, trims by <see cref="HeldTrimsMax"/>.</summary>
    private readonly Queue<HeldWrite> _heldWrites = new();
    private long _heldBytes;

    /// <summary>Of those held, the ones that need no room.</summary>
    private int _heldTrims;

    /// <summary>Since when a write has been held without a break; 0: none is.</summary>
    private long _heldSinceMs;

    /// <summary>The world was told so.</summary>
    private bool _isHeldForRoom;

    private readonly record struct HeldWrite(ClientRoute From, RecordHeader Record, IoBuffer Buffer);

    /// <summary>Writes that wait for room, of no sequence yet.</summary>
    public int HeldWrites => _heldWrites.Count;

    /// <param name="isFresh">The copy has just been aligned: what it promised in an earlier process is void.</param>
    private void NoteCredit(ReplicaSession session, in AppendAckBody ack, bool isFresh)
    {
        if (isFresh) session.CreditLimit = 0;
        if (ack.AppendedSequence < _pending.Base || ack.AppendedSequence > _pending.Last) return;
        var granted = (long)Math.Min(ack.CreditBytes, (ulong)Limits.CreditBytesMax * 2);
        session.CreditLimit = Math.Max(session.CreditLimit, _pending.CreditUpTo(ack.AppendedSequence) + granted);
    }

    /// <summary>
    /// Also behind those that are held already: a large write must not wait for ever while small ones pass. And whatever it is while a marker is on its way to media (R19) or waits for
    /// those of other volumes (C22), or what reaches beyond the end to which the volume shrinks.
    /// </summary>
    private bool MustHold(in RecordHeader record) =>
        IsHeldForGroup || IsMarkerOnItsWay || IsBeyondShrink(in record) || (record.Kind == RecordKind.Write && (_heldWrites.Count > 0 || !HasRoomFor(PendingRing.CostOf(in record))));

    private bool HasRoomFor(long cost)
    {
        foreach (var session in _replicas.Values)
        {
            if (IsRequired(session) && !HasRoomFor(session, cost)) return false;
        }
        return true;
    }

    private bool HasRoomFor(ReplicaSession session, long cost) => _pending.CreditTaken + cost <= session.CreditLimit;

    private void Hold(ClientRoute from, in RecordHeader record, IoBuffer buffer)
    {
        if (IsHeldFull(record.Kind))
        {
            SendClientAck(from, record.RequestId, IoStatus.Busy, 0);
            return;
        }
        buffer.AddReference();
        if (_heldSinceMs == 0) _heldSinceMs = _effects.NowMs;
        _heldBytes += buffer.Length;
        if (record.Kind != RecordKind.Write) _heldTrims++;
        _heldWrites.Enqueue(new HeldWrite(from, record, buffer));
    }

    private bool IsHeldFull(RecordKind kind) => kind == RecordKind.Write ? _heldWrites.Count - _heldTrims >= Limits.PendingRecordsMax || _heldBytes >= Limits.PendingBytesMax
        : _heldTrims >= HeldTrimsMax;

    /// <summary>R12: a request that is held and comes again, over a new link, takes its own place.</summary>
    private bool IsHeld(ClientRoute from, in RecordHeader record)
    {
        var isHeld = false;
        for (var left = _heldWrites.Count; left > 0; left--)
        {
            var held = _heldWrites.Dequeue();
            if (held.Record.RequestId == record.RequestId && held.Record.Session == record.Session) (held, isHeld) = (held with { From = from }, true);
            _heldWrites.Enqueue(held);
        }
        return isHeld;
    }

    /// <summary>Each is admitted anew: its session may be fenced by now, its block changed (R15).</summary>
    private void PumpHeldWrites()
    {
        if (_heldTrims > 0) PumpHeldTrims();
        while (_heldWrites.TryPeek(out var held) && (IsGivenUp(in held) || (MayGiveHeld(in held) && HasRoomFor(PendingRing.CostOf(held.Record))))) GiveHeld(_heldWrites.Dequeue());
    }

    /// <summary>
    /// Its front end waits for no answer any more: the hold time is over there, and the user was told that it failed. Later it must not be done: a trim or zeroing of the same blocks has passed it
    /// since (R21), maybe, and was answered.
    /// </summary>
    private bool IsGivenUp(in HeldWrite held) => _sessions.TryGetValue(held.Record.Session, out var session) && held.Record.RequestId < session.AnsweredBelow;

    private bool MayGiveHeld(in HeldWrite held) => Phase == VolumePhase.Serving && !_pending.IsFull && !IsHeldForGroup && !IsMarkerOnItsWay && !IsBeyondShrink(held.Record);

    /// <summary>Trims were held for a marker, and may be what makes room for the writes before them.</summary>
    private void PumpHeldTrims()
    {
        for (var left = _heldWrites.Count; left > 0; left--)
        {
            var held = _heldWrites.Dequeue();
            if (held.Record.Kind != RecordKind.Write && MayGiveHeld(in held)) GiveHeld(held);
            else _heldWrites.Enqueue(held);
        }
    }

    private void GiveHeld(HeldWrite held)
    {
        LeaveHeld(held);
        var record = held.Record;
        if (IsGivenUp(in held))
        {
            held.Buffer.Release();
            return;
        }
        var status = held.From.Link is null ? IoStatus.Offline : AdmitWrite(held.From, in record);
        if (status == IoStatus.Ok) GiveSequence(held.From, ref record, held.Buffer);
        else SendClientAck(held.From, record.RequestId, status, 0);
        held.Buffer.Release();
    }

    private void LeaveHeld(HeldWrite held)
    {
        _heldBytes -= held.Buffer.Length;
        if (held.Record.Kind != RecordKind.Write) _heldTrims--;
    }

    /// <summary>What was held was never sequenced: the front end sends it again, to whoever owns the volume then (R14).</summary>
    /// <param name="ofLink">Null: of all links.</param>
    /// <param name="ofSession">Null: of all sessions.</param>
    private void DropHeldWrites(IFrameLink? ofLink = null, SessionId? ofSession = null)
    {
        for (var left = _heldWrites.Count; left > 0; left--)
        {
            var held = _heldWrites.Dequeue();
            if ((ofLink is not null && held.From.Link != ofLink) || (ofSession is { } session && held.Record.Session != session))
            {
                _heldWrites.Enqueue(held);
                continue;
            }
            LeaveHeld(held);
            held.Buffer.Release();
        }
    }

    /// <summary>
    /// R7: a copy that has had no room for long while the others have is journaled out like one that does not answer. When the others have none either, writes are
    /// held until there is room: leaving would gain nothing.
    /// </summary>
    private void TickRoom(long now)
    {
        PumpHeldWrites();
        TellHeld(now);
        var cost = _heldWrites.TryPeek(out var held) ? PendingRing.CostOf(held.Record) : 0;
        var (full, others) = (0, 0);
        foreach (var session in _replicas.Values)
        {
            if (!IsMember(session)) continue;
            if (cost > 0 && !HasRoomFor(session, cost)) full++;
            else others++;
        }
        foreach (var session in _replicas.Values)
        {
            if (full == 0 || others < _state.InSyncMin || !IsMember(session) || HasRoomFor(session, cost)) session.FullSinceMs = 0;
            else if (session.FullSinceMs == 0) session.FullSinceMs = now;
            else if (now - session.FullSinceMs > Limits.ReplicaAckMs && !session.ShouldLeave)
            {
                OffendByTimeout(session);
                Leave(session, $"{session.Placement.NodeName} has had no room for {Limits.ReplicaAckMs} ms");
            }
        }
    }

    private void TellHeld(long now)
    {
        if (_heldWrites.Count == 0) _heldSinceMs = 0;
        var isLong = _heldWrites.Count > 0 && now - _heldSinceMs >= HeldTellMs;
        if (isLong == _isHeldForRoom) return;
        _isHeldForRoom = isLong;
        _effects.OnHeldForRoom(isLong ? RoomReason() : null);
    }

    /// <summary>For users: who has no room for the writes that are held.</summary>
    private string RoomReason()
    {
        if (!_heldWrites.TryPeek(out var held)) return "";
        if (IsHeldForGroup) return $"{_heldWrites.Count} writes are held until a snapshot of several volumes is made, for {Limits.GroupHoldMs} ms at most";
        if (IsMarkerOnItsWay) return $"{_heldWrites.Count} writes are held until a change of its snapshots is on media on every copy";
        if (IsBeyondShrink(held.Record)) return $"{_heldWrites.Count} writes are held until it is known whether the volume shrinks";
        var cost = PendingRing.CostOf(held.Record);
        var full = _replicas.Values.Where(session => IsRequired(session) && !HasRoomFor(session, cost)).Select(session => session.Placement.NodeName).ToArray();
        return full.Length == 0 ? "" : $"{_heldWrites.Count} writes are held until there is room on node {string.Join(" and ", full)}: trim or delete data, or add disk space";
    }
}
