using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R11: sessions and attachments; R16: reads.
public sealed partial class VolumeMachine
{
    /// <summary>Sessions that may be live at once; fewer than the windows kept, so that no live one is ever forgotten (R12).</summary>
    private const int SessionsMax = Limits.SessionsPerVolumeMax / 2;

    /// <summary>Reads on their way from disk, or held for a lease.</summary>
    private const int ReadsMax = 4096;

    private const int FencedMax = 1024;

    private readonly Dictionary<SessionId, ClientSession> _sessions = [];
    private readonly Dictionary<ulong, ReadInFlight> _reads = [];
    private readonly List<HeldRead> _heldReads = [];

    /// <summary>Sessions of the present exclusive attachment that a newer one has replaced: they never open again.</summary>
    private readonly Queue<SessionId> _fenced = new();
    private readonly List<(BlockRange Range, bool Allocated)> _extents = [];

    /// <summary>Records up to here may be those of fenced sessions.</summary>
    private ulong _fencedUpTo;
    private ulong _readToken;
    private LocalReads? _localReads;

    private sealed class ClientSession(ClientRoute route)
    {
        public ClientRoute Route { get; set; } = route;

        public IFrameLink? Link => Route.Link;

        public ulong HighestRequestId { get; set; }
    }

    private readonly record struct ReadInFlight(ClientRoute To, ulong RequestId, SessionId Session, BlockRange Range);

    private readonly record struct HeldRead(ReadInFlight Read, IoBuffer Reply);

    /// <summary>A frame of kinds 10-20 from a front end.</summary>
    public void OnClientFrame(IFrameLink link, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        var from = new ClientRoute(link, header.Argument);
        switch (header.Kind)
        {
            case FrameKind.SessionOpen: OnSessionOpen(from, in header, body); break;
            case FrameKind.SessionClose: OnSessionClose(from, body); break;
            case FrameKind.ClientWrite: OnClientWrite(from, in header, body, buffer!); break;
            case FrameKind.ClientFlush: OnClientFlush(from, in header, body); break;
            case FrameKind.ClientRead: OnClientRead(from, in header, body); break;
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
        var status = AdmitOpen(from, in open);
        if (status == IoStatus.Ok)
        {
            if (_state.Attachment.Mode == AttachmentMode.Exclusive) FenceOthers(open.Session);
            // What a fenced session had sequenced is committed before its successor sees anything: nothing may change under the new one's feet.
            if (_pending.Base < _fencedUpTo) status = IoStatus.Offline;
            else if (_sessions.TryGetValue(open.Session, out var known)) known.Route = from;
            else _sessions.Add(open.Session, new ClientSession(from) { HighestRequestId = _pending.HighestRequestOf(open.Session) });
        }
        SendOpened(from, header.RequestId, status);
    }

    private IoStatus AdmitOpen(ClientRoute from, in SessionOpenBody open)
    {
        if (!IsServing) return Phase == VolumePhase.Stopped ? IoStatus.NotOwner : IoStatus.Offline;
        if (Phase == VolumePhase.Draining || _deleting) return IoStatus.Offline;
        if (open.Session.Generation != _state.Attachment.Generation) return IoStatus.StaleSession;
        if (_state.Attachment.Mode == AttachmentMode.Exclusive && _state.Attachment.Node != from.Link!.Peer) return IoStatus.StaleSession;
        if (_fenced.Contains(open.Session)) return IoStatus.StaleSession;
        if (HasLost(in open)) return IoStatus.DataLost;
        // Request ids that begin anew under an old session would be taken for replays (R12).
        if (open.AnsweredBelow < _windows.AnsweredBelow(open.Session)) return IoStatus.StaleSession;
        if (_sessions.ContainsKey(open.Session) || _sessions.Count < SessionsMax) return IoStatus.Ok;
        foreach (var (id, session) in _sessions)
        {
            if (session.Link is not null) continue;
            _sessions.Remove(id);
            return IoStatus.Ok;
        }
        return IoStatus.Busy;
    }

    /// <summary>
    /// R13: the order does not have all that was acknowledged to the session. Its flushes would be answered, and its reads, as if nothing had happened.
    /// </summary>
    private bool HasLost(in SessionOpenBody open)
    {
        if (open.SeenSequence == 0 || (_state.Fork(open.SeenEpoch, open.SeenSequence) ?? 0) >= open.SeenSequence) return false;
        _effects.Log($"session {open.Session} was answered up to {open.SeenSequence} in epoch {open.SeenEpoch}, and not all of it is left: every copy in sync lost "
            + "what was not flushed. The session is ended");
        return true;
    }

    /// <summary>R11: a new session of an exclusive attachment fences the old one before its own first I/O.</summary>
    private void FenceOthers(SessionId session)
    {
        foreach (var (id, other) in _sessions.Where(pair => pair.Key != session).ToList())
        {
            SendNotice(other.Route, IoStatus.StaleSession);
            _sessions.Remove(id);
            _fencedUpTo = _pending.Last;
            if (_fenced.Count == FencedMax) _fenced.Dequeue();
            _fenced.Enqueue(id);
            _effects.Log($"session {id} is fenced by session {session}");
        }
    }

    private void OnSessionClose(ClientRoute from, ReadOnlySpan<byte> body)
    {
        if (!SessionOpenBody.TryDecode(body, out var close)) return;
        if (_sessions.TryGetValue(close.Session, out var session) && session.Route == from) _sessions.Remove(close.Session);
    }

    private IoStatus AdmitSession(IFrameLink from, SessionId id)
    {
        if (Phase != VolumePhase.Serving) return Phase == VolumePhase.Stopped ? IoStatus.NotOwner : IoStatus.Offline;
        if (id.Generation != _state.Attachment.Generation) return IoStatus.StaleSession;
        if (_sessions.TryGetValue(id, out var session)) return session.Link == from ? IoStatus.Ok : IoStatus.Offline;
        // Unknown here: it opens first. Under an exclusive attachment it was fenced, or never was the one.
        return IoStatus.Offline;
    }

    private void OnClientLinkDown(IFrameLink link)
    {
        foreach (var session in _sessions.Values)
        {
            if (session.Link == link) session.Route = default;
        }
        _pending.ForgetLink(link);
    }

    private void OnAttachmentChanged()
    {
        _fenced.Clear();
        _fencedUpTo = _pending.Last;
        foreach (var (id, session) in _sessions.Where(pair => pair.Key.Generation != _state.Attachment.Generation).ToList())
        {
            SendNotice(session.Route, IoStatus.StaleSession);
            _sessions.Remove(id);
        }
        _effects.Log($"attachment generation {_state.Attachment.Generation}: {_state.Attachment.Mode} {_state.Attachment.NodeName}");
    }

    private void OnSpecChanged()
    {
        _specBytes = VolumeSpecCodec.Encode(Spec);
        foreach (var session in _sessions.Values)
        {
            SendNotice(session.Route, IoStatus.Ok);
        }
        if (IsOpened) SendStamps();
    }

    private void EndSessions(IoStatus notice)
    {
        foreach (var session in _sessions.Values)
        {
            SendNotice(session.Route, notice);
        }
        _sessions.Clear();
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
        var volume = new SessionOpenedBody(Spec.SizeBytes, _epoch, (uint)Spec.HoldMs, Spec.Compression, false);
        to.Send(kind, Volume, _epoch, requestId, status, volume.Encode(body));
    }

    // ---- reads ----

    private void OnClientRead(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body)
    {
        var status = AdmitRead(from, body, out var read);
        if (status == IoStatus.Ok && read.Range.Count > Limits.RecordBlocksMax) status = IoStatus.OutOfRange;
        if (status == IoStatus.Ok && (_reads.Count + _heldReads.Count >= ReadsMax || _effects.Local is null)) status = IoStatus.Busy;
        if (status != IoStatus.Ok)
        {
            from.Send(FrameKind.ClientReadReply, Volume, _epoch, frame.RequestId, status, default);
            return;
        }
        var token = ++_readToken;
        _reads.Add(token, new ReadInFlight(from, frame.RequestId, read.Session, read.Range));
        _localReads ??= new LocalReads(this);
        _effects.Local!.Read(read.Range, _localReads, token);
    }

    private IoStatus AdmitRead(ClientRoute from, ReadOnlySpan<byte> body, out ClientReadBody read)
    {
        if (!ClientReadBody.TryDecode(body, out read)) return IoStatus.Malformed;
        var status = AdmitSession(from.Link!, read.Session);
        if (status != IoStatus.Ok) return status;
        return read.Range.Count == 0 || read.Range.End > Spec.SizeBlocks ? IoStatus.OutOfRange : IoStatus.Ok;
    }

    private sealed class LocalReads(VolumeMachine machine) : Messages.Protocol.ILocalReads
    {
        public void OnLocalRead(ulong token, IoStatus status, IoBuffer? reply) => machine.OnLocalRead(token, status, reply);
    }

    private void OnLocalRead(ulong token, IoStatus status, IoBuffer? reply)
    {
        if (!_reads.Remove(token, out var read))
        {
            reply?.Release();
            return;
        }
        if (status != IoStatus.Ok || reply is null)
        {
            reply?.Release();
            if (status is IoStatus.BadChecksum or IoStatus.DeviceError) ReadElsewhere(read);
            else SendReadFailed(read, status);
            return;
        }
        // R16: the lease is looked at after the data was read.
        if (AreLeasesValid()) SendReadReply(read, reply);
        else _heldReads.Add(new HeldRead(read, reply));
    }

    private void SendReadReply(ReadInFlight read, IoBuffer reply)
    {
        // R11: a session that was fenced while its read was on its way gets no data.
        if (read.To.IsUp && read.Session.Generation == _state.Attachment.Generation)
            read.To.Link!.Send(FrameHeader.Of(FrameKind.ClientReadReply, Volume, _epoch, read.RequestId, read.To.Number, IoStatus.Ok), reply);
        reply.Release();
    }

    private void SendReadFailed(ReadInFlight read, IoStatus status) =>
        read.To.Send(FrameKind.ClientReadReply, Volume, _epoch, read.RequestId, status, default);

    /// <summary>A lease that is valid now proves that what was read before now was current then.</summary>
    private void RetryHeldReads()
    {
        if (_heldReads.Count == 0 || !AreLeasesValid()) return;
        foreach (var held in _heldReads) SendReadReply(held.Read, held.Reply);
        _heldReads.Clear();
    }

    private bool AreLeasesValid()
    {
        if (!IsServing) return false;
        var now = _effects.NowMs;
        foreach (var session in _replicas.Values)
        {
            // R6: also of a copy that may be a member already without our having read it back: it may promise to another owner by itself.
            if (!IsRequired(session)) continue;
            if (IsLocal(session))
            {
                if (_effects.Local is not { } local || !local.Commit(_epoch, Committed)) return false;
            }
            else if (session is not { Confirmed: true, Link: { IsUp: true } link } || _effects.LeaseUntilMs(link) <= now) return false;
        }
        return true;
    }

    private void OnClientStatus(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body)
    {
        const int ExtentBytes = 16;
        const int ExtentsMax = 1024;
        var status = AdmitRead(from, body, out var read);
        if (status == IoStatus.Ok && (_effects.Local is null || !AreLeasesValid())) status = IoStatus.Busy;
        if (status != IoStatus.Ok)
        {
            from.Send(FrameKind.ClientStatusReply, Volume, _epoch, frame.RequestId, status, default);
            return;
        }
        _extents.Clear();
        _effects.Local!.Allocated(read.Range, ExtentsMax, _extents);
        var bytes = BufferPool.Shared.Rent(4 + (_extents.Count * ExtentBytes));
        var writer = new BodyWriter(bytes.Span);
        writer.U32((uint)_extents.Count);
        foreach (var (range, allocated) in _extents)
        {
            writer.U64(range.First);
            writer.U32(range.Count);
            writer.U32(allocated ? 1u : 0);
        }
        SendBody(from.Link!, FrameHeader.Of(FrameKind.ClientStatusReply, Volume, _epoch, frame.RequestId, from.Number, IoStatus.Ok), writer.Written);
        bytes.Release();
    }
}
