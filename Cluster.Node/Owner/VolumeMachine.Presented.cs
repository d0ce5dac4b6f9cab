using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R13: what living sessions were answered and every copy lost with its power is presented again, and put where it was in the order, before anything new is.
// The argument: docs/consistency.md, C10.
public sealed partial class VolumeMachine
{
    private enum Gathering : byte
    {
        None = 0,
        /// <summary>Sessions present what they keep; none is open.</summary>
        Waiting,
        /// <summary>What was presented goes back into the order; then sessions are opened.</summary>
        Restoring,
    }

    /// <summary>Sessions that wait to be opened.</summary>
    private readonly Dictionary<SessionId, Presenter> _presenters = [];

    /// <summary>By the sequence that each had, all above what was chosen.</summary>
    private readonly Dictionary<ulong, IoBuffer> _presented = [];
    private long _presentedBytes;
    private Gathering _gathering;

    /// <summary>Every copy that this takeover rests on was suspect (R9): what was not flushed may be gone.</summary>
    private bool _mayLack;

    private long _gatheringSinceMs;
    private long _gatherUntilMs;

    /// <summary>Up to here the order of the epoch before is whole again.</summary>
    private ulong _restoredTo;
    private bool _drainsAfterwards;

    private readonly record struct Presenter(ClientRoute From, ulong RequestId, SessionOpenBody Open);

    private bool IsGathering => _gathering != Gathering.None;

    private void StartGathering()
    {
        if (!_mayLack) return;
        (_gathering, _gatheringSinceMs) = (Gathering.Waiting, _effects.NowMs);
        _gatherUntilMs = _gatheringSinceMs + Limits.PresentMs;
        _effects.Log($"every copy was on a host that lost power: sessions have {Limits.PresentMs} ms to present what they were answered above {_chosen}");
    }

    /// <summary>What the session claims was in the order of the epoch before, so that it, and nothing else, belongs at those sequences.</summary>
    private bool WasInOrder(in SessionOpenBody open) => _state.WasInOrder(open.SeenEpoch, open.SeenSequence);

    /// <summary>The session is opened when the gathering is over; until then it may present.</summary>
    private void AwaitGathering(ClientRoute from, ulong requestId, in SessionOpenBody open)
    {
        if (_state.Attachment.Mode == AttachmentMode.Exclusive) FenceOtherPresenters(open.Session);
        if (_presenters.Count >= SessionsMax && !_presenters.ContainsKey(open.Session))
        {
            SendOpened(from, requestId, IoStatus.Busy);
            return;
        }
        _presenters[open.Session] = new Presenter(from, requestId, open);
        if (!IsBeyond(in open)) return;
        Span<byte> body = stackalloc byte[SequenceBody.SizeBytes];
        from.Send(FrameKind.Present, Volume, _epoch, requestId, IoStatus.Ok, new SequenceBody(_chosen).Encode(body));
    }

    private void FenceOtherPresenters(SessionId session)
    {
        foreach (var (id, other) in _presenters.Where(pair => pair.Key != session).ToList())
        {
            SendNotice(other.From, IoStatus.StaleSession);
            _presenters.Remove(id);
            NoteFenced(id);
        }
    }

    private void OnPresented(ClientRoute from, ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        if (_gathering != Gathering.Waiting || RecordHeader.TryDecode(body, out var record) != IoStatus.Ok) return;
        if (!_presenters.TryGetValue(record.Session, out var presenter) || presenter.From != from) return;
        if (record.Volume != Volume || record.Kind == RecordKind.Marker || (record.Flags & RecordFlags.Resync) != 0 || record.Range.End > Spec.SizeBlocks) return;
        if (record.Sequence <= _chosen || record.Sequence > presenter.Open.SeenSequence || !SessionWindows.Admits(record.RequestId, record.AnsweredBelow)) return;
        _gatherUntilMs = Math.Min(_gatheringSinceMs + Limits.PresentMsMax, Math.Max(_gatherUntilMs, _effects.NowMs + Limits.PresentPauseMs));
        if (_presentedBytes >= Limits.PresentedBytesMax || !_presented.TryAdd(record.Sequence, buffer)) return;
        buffer.AddReference();
        _presentedBytes += buffer.CapacityBytes;
    }

    /// <summary>Puts each record where it was; what has a gap before it is not put anywhere.</summary>
    private void PumpPresented()
    {
        if (_gathering == Gathering.Waiting && _effects.NowMs >= _gatherUntilMs) _gathering = Gathering.Restoring;
        if (_gathering != Gathering.Restoring) return;
        while (_presented.TryGetValue(_pending.Last + 1, out var buffer))
        {
            RecordHeader.TryDecode(buffer.Span, out var record);
            if (_pending.IsFull || _state.InSync.Length < _state.InSyncMin || MustHold(in record)) return;
            _presented.Remove(record.Sequence);
            _presentedBytes -= buffer.CapacityBytes;
            Append(default, ref record, buffer);
            buffer.Release();
        }
        if (_pending.Count == 0) EndGathering();
    }

    private void EndGathering()
    {
        (_gathering, _restoredTo) = (Gathering.None, _pending.Last);
        _effects.Log($"{_restoredTo - _chosen} writes that sessions were answered were presented and are in the order again, up to {_restoredTo}; "
            + $"{_presented.Count} came after a gap");
        _effects.OnPresented((int)(_restoredTo - _chosen));
        DropPresented();
        foreach (var presenter in _presenters.Values.ToArray()) Open(presenter.From, presenter.RequestId, presenter.Open);
        _presenters.Clear();
        PumpSnapshots();
        if (_drainsAfterwards) Drain();
    }

    private string GatheringReason() =>
        $"every copy was on a host that lost power: waiting for {_presenters.Count} sessions and others to present what they were answered";

    private void DropPresented()
    {
        foreach (var buffer in _presented.Values) buffer.Release();
        _presented.Clear();
        _presentedBytes = 0;
    }

    /// <summary>Whether there were any.</summary>
    private bool ForgetPresenters(Func<SessionId, Presenter, bool> which, IoStatus? notice)
    {
        var were = _presenters.Count;
        foreach (var (id, presenter) in _presenters.Where(pair => which(pair.Key, pair.Value)).ToList())
        {
            if (notice is { } status) SendNotice(presenter.From, status);
            _presenters.Remove(id);
        }
        return _presenters.Count < were;
    }

    /// <summary>The owner ends: whoever waits looks for the next one.</summary>
    private void StopGathering(IoStatus notice)
    {
        ForgetPresenters((_, _) => true, notice);
        DropPresented();
        _gathering = Gathering.None;
    }
}
