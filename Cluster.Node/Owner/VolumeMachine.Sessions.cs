using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R11: sessions and attachments.
public sealed partial class VolumeMachine
{
    /// <summary>Sessions that may be live at once; fewer than the windows kept, so that no live one is ever forgotten (R12).</summary>
    private const int SessionsMax = Limits.SessionsPerVolumeMax / 2;

    private const int FencedMax = 1024;

    private readonly Dictionary<SessionId, ClientSession> _sessions = [];

    /// <summary>Sessions of the present exclusive attachment that a newer one has replaced: they never open again.</summary>
    private readonly Queue<SessionId> _fenced = new();

    /// <summary>When the newest of those sessions of the present attachment was lost that nothing else is known of any more; null: there is none.</summary>
    private long? _forgottenAtMs;

    /// <summary>Records up to here may be those of fenced sessions.</summary>
    private ulong _fencedUpTo;

    private sealed class ClientSession(ClientRoute route)
    {
        public ClientRoute Route { get; set; } = route;

        public IFrameLink? Link => Route.Link;

        /// <summary>Its connection broke then; null: it is up.</summary>
        public long? LostAtMs { get; set; }

        public ulong HighestRequestId { get; set; }

        /// <summary>The front end waits for no answer below it any more: it was given, or the request given up.</summary>
        public ulong AnsweredBelow { get; private set; }

        public void NoteAnswered(ulong below) => AnsweredBelow = Math.Max(AnsweredBelow, below);

        /// <summary>What waits for the volume's limits, in the order of its arrival.</summary>
        public Queue<Throttled> Waiting { get; } = new();
    }

    /// <summary>A frame of kinds 10-23 from a front end.</summary>
    public void OnClientFrame(IFrameLink link, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        var from = new ClientRoute(link, header.Argument);
        switch (header.Kind)
        {
            case FrameKind.SessionOpen: OnSessionOpen(from, in header, body); break;
            case FrameKind.SessionClose: OnSessionClose(from, body); break;
            case FrameKind.Presented: OnPresented(from, body, buffer!); break;
            case FrameKind.ClientWrite: OnClientWrite(from, in header, body, buffer!); break;
            case FrameKind.ClientFlush: OnClientFlush(from, in header, body); break;
            case FrameKind.ClientRead: OnClientRead(from, in header, body); break;
            case FrameKind.ClientReadCached: OnClientReadCached(from, in header, body); break;
            case FrameKind.ClientStatus: OnClientStatus(from, in header, body); break;
            default: throw new InvariantException($"a frame of kind {header.Kind} was routed to an owner");
        }
    }

    private void OnSessionOpen(ClientRoute from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!SessionOpenBody.TryDecode(body, out var open) || !open.Session.IsValid)
        {
            SendOpened(from, header.RequestId, IoStatus.Malformed);
            return;
        }
        Open(from, header.RequestId, in open);
    }

    private void Open(ClientRoute from, ulong requestId, in SessionOpenBody open)
    {
        var status = AdmitOpen(from, in open);
        if (status == IoStatus.Ok && IsGathering)
        {
            AwaitGathering(from, requestId, in open);
            return;
        }
        if (status == IoStatus.Ok)
        {
            if (_state.Attachment.Mode == AttachmentMode.Exclusive) FenceOthers(open.Session);
            // What a fenced session had sequenced is committed before its successor sees anything: nothing may change under the new one's feet.
            if (_pending.Base < _fencedUpTo) status = IoStatus.Offline;
            else if (_sessions.TryGetValue(open.Session, out var known)) Reopen(open.Session, known, from);
            else _sessions.Add(open.Session, new ClientSession(from) { HighestRequestId = _pending.HighestRequestOf(open.Session) });
            if (status == IoStatus.Ok) _sessions[open.Session].NoteAnswered(open.AnsweredBelow);
        }
        SendOpened(from, requestId, status);
    }

    /// <summary>All that it still waits for comes again (R12); what it has given up meanwhile must not be done later.</summary>
    private void Reopen(SessionId id, ClientSession session, ClientRoute from)
    {
        DropThrottled(session);
        DropHeldWrites(ofSession: id);
        (session.Route, session.LostAtMs) = (from, null);
    }

    private void RemoveSession(SessionId id)
    {
        if (_sessions.Remove(id, out var session)) DropThrottled(session);
    }

    private IoStatus AdmitOpen(ClientRoute from, in SessionOpenBody open)
    {
        if (!IsServing) return Phase == VolumePhase.Stopped ? IoStatus.NotOwner : IoStatus.Offline;
        if (Phase == VolumePhase.Draining || _deleting) return IoStatus.Offline;
        // Nothing changes under a session's feet, and what it reads is on media (R13).
        if (IsRestoring) return IoStatus.Offline;
        if (Generation(open.Session) is not IoStatus.Ok and var other) return other;
        if (_state.Attachment.Mode == AttachmentMode.Exclusive && _state.Attachment.Node != from.Link!.Peer) return IoStatus.StaleSession;
        if (_fenced.Contains(open.Session)) return IoStatus.StaleSession;
        if (HasLost(in open)) return IoStatus.DataLost;
        // Request ids that begin anew under an old session would be taken for replays (R12).
        if (open.AnsweredBelow < _windows.AnsweredBelow(open.Session)) return IoStatus.StaleSession;
        if (_sessions.ContainsKey(open.Session) || _sessions.Count < SessionsMax) return IoStatus.Ok;
        foreach (var (id, session) in _sessions)
        {
            if (session.Link is not null) continue;
            _forgottenAtMs = Math.Max(_forgottenAtMs ?? 0, session.LostAtMs ?? 0);
            RemoveSession(id);
            return IoStatus.Ok;
        }
        return IoStatus.Busy;
    }

    /// <summary>
    /// R13: the order does not have all that was acknowledged to the session. Its flushes would be answered, and its reads, as if nothing had happened.
    /// </summary>
    private bool HasLost(in SessionOpenBody open)
    {
        if (!IsBeyond(in open) || (WasInOrder(in open) && (IsGathering || open.SeenSequence <= _restoredTo))) return false;
        _effects.Log($"session {open.Session} was answered up to {open.SeenSequence} in epoch {open.SeenEpoch}, and not all of it is left: every copy in sync lost "
            + "what was not flushed. The session is ended");
        return true;
    }

    /// <summary>Of what the session claims, something was not chosen by this takeover.</summary>
    private bool IsBeyond(in SessionOpenBody open) =>
        open.SeenSequence != 0 && (_state.Fork(open.SeenEpoch, open.SeenSequence) ?? 0) < open.SeenSequence;

    /// <summary>R11: a new session of an exclusive attachment fences the old one before its own first I/O.</summary>
    private void FenceOthers(SessionId session)
    {
        foreach (var (id, other) in _sessions.Where(pair => pair.Key != session).ToList())
        {
            SendNotice(other.Route, IoStatus.StaleSession);
            RemoveSession(id);
            _fencedUpTo = _pending.Last;
            NoteFenced(id);
            _effects.Log($"session {id} is fenced by session {session}");
        }
    }

    private void NoteFenced(SessionId id)
    {
        if (_fenced.Count == FencedMax) _fenced.Dequeue();
        _fenced.Enqueue(id);
    }

    private void OnSessionClose(ClientRoute from, ReadOnlySpan<byte> body)
    {
        if (!SessionOpenBody.TryDecode(body, out var close)) return;
        if (_sessions.TryGetValue(close.Session, out var session) && session.Route == from) RemoveSession(close.Session);
        ForgetPresenters((id, presenter) => id == close.Session && presenter.From == from, null);
    }

    /// <summary>One that is newer than any known here was given by the journal, so that this is not the volume's owner any more (R18): the session is not over.</summary>
    private IoStatus Generation(SessionId id) => id.Generation == _state.Attachment.Generation ? IoStatus.Ok
        : id.Generation < _state.Attachment.Generation ? IoStatus.StaleSession : IoStatus.NotOwner;

    private IoStatus AdmitSession(IFrameLink from, SessionId id)
    {
        if (Phase != VolumePhase.Serving) return Phase == VolumePhase.Stopped ? IoStatus.NotOwner : IoStatus.Offline;
        if (Generation(id) is not IoStatus.Ok and var other) return other;
        if (_sessions.TryGetValue(id, out var session)) return session.Link == from ? IoStatus.Ok : IoStatus.Offline;
        // Unknown here: it opens first. Under an exclusive attachment it was fenced, or never was the one.
        return IoStatus.Offline;
    }

    private void OnClientLinkDown(IFrameLink link)
    {
        foreach (var session in _sessions.Values)
        {
            if (session.Link != link) continue;
            DropThrottled(session);
            (session.Route, session.LostAtMs) = (default, _effects.NowMs);
        }
        _pending.ForgetLink(link);
        DropHeldWrites(link);
        if (ForgetPresenters((_, presenter) => presenter.From.Link == link, null)) _forgottenAtMs = _effects.NowMs;
    }

    private void OnAttachmentChanged()
    {
        _fenced.Clear();
        _forgottenAtMs = null;
        _fencedUpTo = _pending.Last;
        foreach (var (id, session) in _sessions.Where(pair => pair.Key.Generation != _state.Attachment.Generation).ToList())
        {
            SendNotice(session.Route, IoStatus.StaleSession);
            RemoveSession(id);
        }
        ForgetPresenters((id, _) => id.Generation != _state.Attachment.Generation, IoStatus.StaleSession);
        _effects.Log($"attachment generation {_state.Attachment.Generation}: {_state.Attachment.Mode} {_state.Attachment.NodeName}");
    }

    private void OnSpecChanged(SpecChanged journaled)
    {
        (_specBytes, _readLease) = (VolumeSpecCodec.Encode(Spec), Spec.ReadLease);
        SetLimits();
        foreach (var session in _sessions.Values)
        {
            SendNotice(session.Route, IoStatus.Ok);
        }
        SettleShrink(journaled);
        PumpThrottled();
        if (!IsOpened) return;
        // P7: what is written beyond the old size must not be lost with the journal.
        _stampsOwed = true;
        Stamp();
    }

    private void EndSessions(IoStatus notice)
    {
        foreach (var session in _sessions.Values)
        {
            SendNotice(session.Route, notice);
            DropThrottled(session);
        }
        _sessions.Clear();
        StopGathering(notice);
        _flushes.Clear();
        _reads.Clear();
        foreach (var held in _heldReads) held.Reply.Release();
        _heldReads.Clear();
    }

    private void SendOpened(ClientRoute to, ulong requestId, IoStatus status) => SendVolume(to, FrameKind.SessionOpened, requestId, status);

    private void SendNotice(ClientRoute to, IoStatus status) => SendVolume(to, FrameKind.SessionNotice, 0, status);

    private void SendVolume(ClientRoute to, FrameKind kind, ulong requestId, IoStatus status)
    {
        Span<byte> body = stackalloc byte[SessionOpenedBody.EncodedBytes];
        var caches = Spec.Caches && to.Link is { } link && (link.CompatFeatures & MeshFeatures.CachedReads) != 0;
        var volume = new SessionOpenedBody(Spec.SizeBytes, _epoch, (uint)Spec.HoldMs, Spec.Compression, false, caches);
        to.Send(kind, Volume, _epoch, requestId, status, volume.Encode(body));
    }
}
