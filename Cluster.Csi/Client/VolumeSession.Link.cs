using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>The way to the owner: found, opened, lost, found again.</summary>
public sealed partial class VolumeSession
{
    private readonly Action _connect;
    private readonly List<Action<IoStatus, string>> _waiters = [];
    private IOwnerLink? _link;
    private ulong _epoch;
    private ulong _seenEpoch;
    private int _attempts;
    private ulong _random;
    private long _lostAtMs;
    private long _linkedAtMs;
    private bool _lost;
    private ILoopTimer? _retryTimer;
    private ILoopTimer? _openTimer;

    internal void Start() => Connect();

    /// <summary>Calls back once: when I/O flows (Ok, at once if it does), or when the session ended.</summary>
    internal void WhenReady(Action<IoStatus, string> ready)
    {
        if (_state == State.Ready) ready(IoStatus.Ok, "");
        else if (IsOver) ready(EndStatus, $"the session of volume {Info.FullName} ended with {EndStatus}");
        else _waiters.Add(ready);
    }

    void IOwnerEvents.OnLinked(IOwnerLink link)
    {
        if (_state != State.Connecting || _link is not null)
        {
            link.Close();
            return;
        }
        (_link, _state, _linkedAtMs, _hasLeftWrites) = (link, State.Opening, Loop.NowMs, false);
        _openTimer = Loop.Schedule(ClientLimits.SessionOpenMs, OnOpenTimeout);
        SendOpen(FrameKind.SessionOpen);
    }

    void IOwnerEvents.OnNotLinked(IoStatus status, string reason)
    {
        if (_state != State.Connecting) return;
        if (status == IoStatus.Deleted) End(status, reason);
        else Retry();
    }

    void IOwnerEvents.OnLinkLost(IOwnerLink link, string reason)
    {
        if (ReferenceEquals(link, _link)) Lose(reason);
    }

    private void DropLink()
    {
        _link?.Close();
        _link = null;
        _busy.Clear();
        _busyWindow = 1;
        _keptFlush = false;
        _openTimer?.Cancel();
        _openTimer = null;
        ForgetKnown();
    }

    /// <summary>Nobody answers with what is here: it is held by no request while there is no owner, however long that takes.</summary>
    private void ForgetKnown()
    {
        foreach (var request in Unanswered()) request.ForgetKnown();
    }

    private void Connect()
    {
        _retryTimer = null;
        _state = State.Connecting;
        _gateway.Connect(Info.Id, this);
    }

    private void SendOpen(FrameKind kind) =>
        _link!.Send(FrameHeader.Of(kind, Info.Id), new SessionOpenBody(_session, _answeredBelow, _seenEpoch, SeenSequence).Encode(_small));

    /// <summary>0 when all that was acknowledged is known to be on media: no loss of power can take it back (R13).</summary>
    private ulong SeenSequence => AcknowledgedSequence > DurableSequence ? AcknowledgedSequence : 0;

    private void OnOpenTimeout()
    {
        _openTimer = null;
        if (_state == State.Opening) Lose($"no answer to SessionOpen in {ClientLimits.SessionOpenMs} ms");
    }

    /// <summary>
    /// Holds everything and looks for the owner. What was sent stays in its slot and is sent again; what its client left is dropped.
    /// </summary>
    private void Lose(string reason)
    {
        if (_state is not (State.Opening or State.Ready)) return;
        DropLink();
        _state = State.Connecting;
        if (!_lost)
        {
            (_lost, _lostAtMs) = (true, Loop.NowMs);
            Statistics.AddLinkLost();
            SessionLog.Lost(_logger, Info.FullName, _gateway.NodeName, reason, _pending);
        }
        GiveUpAbandoned();
        ForgetContents();
        CloseIfUnused();
        if (_state == State.Connecting) Retry();
    }

    /// <summary>At once the first time, then after a pause. The count starts anew with the first answered request.</summary>
    private void Retry()
    {
        if (_retryTimer is not null) return;
        var doubled = ClientLimits.ReconnectMsMin << Math.Clamp(_attempts - 1, 0, 16);
        var pauseMs = _attempts == 0 ? 0 : Math.Min(ClientLimits.ReconnectMsMax, doubled);
        _attempts++;
        pauseMs -= pauseMs > 1 ? (int)(NextRandom() % (ulong)(pauseMs / 2)) : 0;
        _retryTimer = Loop.Schedule(pauseMs, _connect);
    }

    /// <summary>Xorshift, seeded by the incarnation, so that a run repeats.</summary>
    private ulong NextRandom()
    {
        _random ^= _random << 13;
        _random ^= _random >> 7;
        _random ^= _random << 17;
        return _random;
    }

    private void OnSessionOpened(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (_state != State.Opening) return;
        _openTimer?.Cancel();
        _openTimer = null;
        if (header.Status == IoStatus.StaleSession) OnStale("the owner knows a newer session or attachment");
        else if (header.Status == IoStatus.Deleted) End(IoStatus.Deleted, "the volume was deleted");
        else if (header.Status == IoStatus.DataLost)
            EndAsLost();
        else if (header.Status != IoStatus.Ok) Lose($"the owner answered SessionOpen with {header.Status}");
        else if (!SessionOpenedBody.TryDecode(body, out var opened)) LoseMalformed(header.Kind);
        else Begin(opened);
    }

    private void Begin(SessionOpenedBody opened)
    {
        _state = State.Ready;
        _epoch = opened.Epoch;
        // All that is claimed is in this owner's order, at the same sequences.
        if (SeenSequence > 0) _seenEpoch = _epoch;
        Adopt(opened);
        var replayed = Replay();
        var owner = _link?.Peer.ToString() ?? "";
        if (_lost) OnFound(owner, replayed);
        else SessionLog.Opened(_logger, Info.FullName, _gateway.NodeName, _session.ToString(), owner, _epoch, SizeBytes);
        if (_state != State.Ready) return;
        _lost = false;
        AnswerWaiters(IoStatus.Ok, "");
        TrimKept();
        Pump();
    }

    private void OnFound(string owner, int replayed)
    {
        var (heldMs, replayMs) = (Loop.NowMs - _lostAtMs, Loop.NowMs - _linkedAtMs);
        SessionLog.Found(_logger, Info.FullName, _gateway.NodeName, heldMs, replayMs, owner, _epoch, replayed);
        _onFound?.Invoke(heldMs, replayMs);
    }

    private void Adopt(SessionOpenedBody opened)
    {
        if (opened.SizeBytes != SizeBytes) SessionLog.Resized(_logger, Info.FullName, _gateway.NodeName, opened.SizeBytes);
        SizeBytes = opened.SizeBytes;
        ReadOnly = opened.ReadOnly;
        _compress = opened.Compression;
        var wasOn = _cached.IsOn;
        _cached.Begin(opened.Epoch, opened.Caches && _link is { } link && link.Peer != _gateway.Node);
        if (wasOn != _cached.IsOn) SessionLog.Caches(_logger, Info.FullName, _gateway.NodeName, _cached.IsOn ? "keeps" : "no longer keeps", _link?.Peer.ToString() ?? "");
        if (opened.HoldMs is > 0 and <= int.MaxValue) _holdMs = (int)opened.HoldMs;
    }

    /// <summary>Sends all that is unanswered again, in order of request id, under the same ids (R12).</summary>
    private int Replay()
    {
        var replayed = 0;
        foreach (var request in Unanswered())
        {
            if (_state != State.Ready) break;
            if (request is { Edit: { } edit, Kind: FrameKind.ClientWrite } && !IsAwaited(edit))
            {
                Forget(request);
                (edit.Merged, edit.Known) = (0, false);
                _readyEdits.Enqueue(edit);
                continue;
            }
            request.Attempts++;
            replayed++;
            Statistics.AddReplayed();
            Send(request);
        }
        return replayed;
    }

    /// <summary>
    /// Fenced (R11). If the attachment merely moved on and still allows this node, a session under its generation takes over what was
    /// not sent. Writes
    /// that were sent fail: another session may have written since, and a second sending could undo that.
    /// </summary>
    private void OnStale(string reason)
    {
        if (_state is State.Ended or State.Closed) return;
        if (IsBound)
        {
            End(IoStatus.StaleSession, reason);
            return;
        }
        DropLink();
        _state = State.Connecting;
        _ = LookUpAgainAsync(reason);
    }

    private async Task LookUpAgainAsync(string reason)
    {
        using var timeout = new CancellationTokenSource(ClientLimits.OpenMs);
        VolumeLookup lookup;
        try
        {
            lookup = await _gateway.LookupAsync(Info.FullName, timeout.Token).ConfigureAwait(false);
        }
        catch (Exception failure)
        {
            lookup = new VolumeLookup(IoStatus.Offline, null, failure.Message);
        }
        Loop.Post(() => OnLookedUp(lookup, reason));
    }

    private void LookUpLater(string reason)
    {
        _retryTimer = null;
        _ = LookUpAgainAsync(reason);
    }

    private void OnLookedUp(VolumeLookup lookup, string reason)
    {
        if (_state != State.Connecting) return;
        if (IsBound)
        {
            End(IoStatus.StaleSession, reason);
            return;
        }
        if (lookup.Status == IoStatus.Offline)
        {
            _retryTimer ??= Loop.Schedule(ClientLimits.ReconnectMsMax, () => LookUpLater(reason));
            return;
        }
        var attachment = lookup.Volume?.Attachment;
        var allowed = attachment is not null && lookup.Volume!.Id == Info.Id && attachment.Generation != _session.Generation &&
            (attachment.Mode == AttachmentMode.Shared || attachment.Node == _gateway.Node);
        if (!allowed)
        {
            End(lookup.Status == IoStatus.Deleted ? IoStatus.Deleted : IoStatus.StaleSession, reason);
            return;
        }
        FailSentWrites();
        ForgetContents();
        _session = new SessionId(attachment!.Generation, _gateway.NewIncarnation());
        // What is kept was the old session's, which may present nothing any more.
        _kept.Clear();
        _kept.Miss(SeenSequence);
        Retry();
    }

    private void FailSentWrites()
    {
        for (var id = _answeredBelow; id < _nextId; id++)
        {
            if (SlotOf(id) is not { Kind: FrameKind.ClientWrite, Sent: true } request) continue;
            if (request.Operation is { } operation) GiveUp(operation, IoStatus.StaleSession);
            else
            {
                var edit = request.Edit!;
                Forget(request);
                edit.Known = false;
                EndParts(edit, edit.Merged, IoStatus.StaleSession);
            }
        }
    }

    private void LoseMalformed(FrameKind kind)
    {
        SessionLog.Malformed(_logger, Info.FullName, _gateway.NodeName, kind.ToString(), _link?.Peer.ToString() ?? "");
        Lose($"a {kind} that does not decode");
    }

    private void AnswerWaiters(IoStatus status, string reason)
    {
        if (_waiters.Count == 0) return;
        var waiters = _waiters.ToArray();
        _waiters.Clear();
        foreach (var ready in waiters) ready(status, reason);
    }
}
