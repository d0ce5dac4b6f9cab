using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R1: claim, collect promises, choose (R3), reconcile, open, stamp, serve.
public sealed partial class VolumeMachine
{
    /// <summary>How long a takeover waits for a member whose link was lost, or was never up yet, once enough have promised.</summary>
    private const int LostLinkGraceMs = 100;
    private const int NewLinkGraceMs = 750;

    /// <summary>Promises are asked for again after this long.</summary>
    private const int PromiseRetryMs = 1000;

    private readonly List<IoBuffer> _tail = [];
    private readonly List<ReplicaSession> _opening = [];
    private long _promisingSinceMs;
    private long _serveAtMs;
    private ulong _chosen;
    private ulong _chosenRecordEpoch;
    private ulong _lowest;
    private ReplicaSession? _candidate;
    private string _waitReason = "";

    private void OnClaimed(EpochStarted started)
    {
        _epoch = started.Epoch.Value;
        Phase = VolumePhase.Promising;
        _promisingSinceMs = Times.PromiseMs = _effects.NowMs;
        foreach (var placement in _state.Replicas) AddReplica(placement);
    }

    private void AddReplica(ReplicaPlacement placement)
    {
        var session = new ReplicaSession(placement);
        if (!_replicas.TryAdd(placement.Node, session)) throw new InvariantException($"volume {Volume}: two copies on node {placement.NodeName}");
        session.Reset(_effects.LinkTo(placement.Node), _effects.NowMs);
        if (session.Link is not null) SendPromise(session);
    }

    private void SendPromise(ReplicaSession session)
    {
        if (Phase == VolumePhase.Stopped) return;
        // R5: a copy that was never in sync may be made; one that was and has no header is lost, and is made again only outside the set.
        var create = !_state.EverInSync.ContainsKey(session.Id) || (session.PromiseStatus == IoStatus.Missing && !IsMember(session));
        var promise = new PromiseBody(_effects.Node, session.Id, session.Placement.Identity, create, _specBytes);
        (session.Phase, session.PromiseSentMs, session.CreateAsked) = (ReplicaPhase.Promising, _effects.NowMs, create);
        Span<byte> body = new byte[64 + _specBytes.Length];
        SendBody(session.Link!, Frame(FrameKind.Promise, ++session.PromiseNumber), promise.Encode(body));
    }

    private void OnPromised(ReplicaSession session, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (session.Phase != ReplicaPhase.Promising || !PromisedBody.TryDecode(body, out var promised)) return;
        // An answer without a number is a node's that has no such replica.
        if (header.RequestId != 0 && header.RequestId != session.PromiseNumber) return;
        if (header.Status == IoStatus.StaleEpoch)
        {
            OnDeposed(promised.PromisedEpoch);
            return;
        }
        (session.PromiseStatus, session.Promised) = (header.Status, promised);
        session.Phase = header.Status is IoStatus.Ok or IoStatus.Missing ? ReplicaPhase.Promised : ReplicaPhase.Lost;
        session.Confirmed = header.Status == IoStatus.Ok;
        if (header.Status == IoStatus.Conflict) OnHeldInPlaceOf(session, header.Argument);
        if (header.Status == IoStatus.Ok) OnHealth(session);
        if (header.Status == IoStatus.Ok) _serveAtMs = Math.Max(_serveAtMs, _effects.NowMs + promised.LeaseLeftMs);
        if (Phase == VolumePhase.Promising) TryDecide();
        else if (Phase is VolumePhase.Stamping or VolumePhase.Serving or VolumePhase.Draining) OnReturned(session);
    }

    /// <summary>The member answered, and what it has is what its journaled self had: same store, no copy from before (R5), not half copied (R8).</summary>
    private bool IsUsable(ReplicaSession session) =>
        session is { Phase: ReplicaPhase.Promised or ReplicaPhase.Aligning, PromiseStatus: IoStatus.Ok, Promised.CatchingUp: false }
        && !IsForeign(session);

    /// <summary>A clone is not opened with copies that have nothing of its origin: they are filled from one that has (R8).</summary>
    private bool HasBegun(ReplicaSession session) => Spec.Source is not { } source || session.Promised.LastSequence >= source.Sequence;

    /// <summary>R5: its store is not the one that the journal vouched for, nor what became of it: a new one, or a copy that was taken before.</summary>
    private bool IsForeign(ReplicaSession session) =>
        _state.Member(session.Id) is { } member && session.Promised.DescentFrom(member) == StoreDescent.Foreign;

    /// <summary>A member that has said its last word for now, good or bad.</summary>
    private static bool HasAnswered(ReplicaSession session) => session.Phase is not (ReplicaPhase.Down or ReplicaPhase.Promising);

    private void TryDecide()
    {
        var isNew = _state.Opened == Epoch.None;
        var asked = _replicas.Values.Where(session => isNew || IsMember(session)).ToList();
        var answered = asked.Count(HasAnswered);
        var need = Math.Min(_state.InSyncMin, asked.Count);
        var usable = asked.Where(session => IsUsable(session) && (!isNew || HasBegun(session))).ToList();
        if (answered < need || usable.Count == 0 || (answered < asked.Count && !IsGraceOver(asked)))
        {
            _waitReason = !isNew || Spec.Source is not { } source ? $"waiting for promises: {answered} of {asked.Count} members answered, {need} needed{SilentOf(asked)}"
                : answered >= need ? $"no copy that answered could begin from what it is cloned from ({source.OriginName}, at {source.Sequence})"
                : $"waiting for copies to begin: {answered} of {asked.Count} answered, {need} needed{SilentOf(asked)}; where the copy of {source.OriginName} catches up or has failed, that is waited for";
            return;
        }
        if (!isNew && !IsClearOfPowerLoss(asked, usable))
        {
            var awaited = asked.Where(session => session.Phase != ReplicaPhase.Promised).Select(session => session.Placement.NodeName);
            _waitReason = $"every copy that answered was on a host that lost power: waiting for {string.Join(", ", awaited)}, which may hold newer writes";
            return;
        }
        _mayLack = !isNew && usable.TrueForAll(IsSuspect);
        Choose(usable);
    }

    /// <summary>
    /// R9: its host came back without a clean stop since the journal vouched for it: what it had not flushed may be gone. Or its store was opened so often since that it can't
    /// tell any more whether it is that one (R5).
    /// </summary>
    private bool IsSuspect(ReplicaSession session) => _state.Member(session.Id) is { } member
        && (session.Promised.SuspectSince > member.StoreOpenCount || session.Promised.DescentFrom(member) == StoreDescent.Unknown);

    /// <summary>
    /// R9: suspects alone can't tell what was acknowledged. One member that is not suspect can; so can all of them together, since no other can have
    /// what none of them has (one whose copy is gone for good has answered so).
    /// </summary>
    private bool IsClearOfPowerLoss(List<ReplicaSession> asked, List<ReplicaSession> usable) =>
        usable.Exists(session => !IsSuspect(session)) || asked.TrueForAll(session => session.Phase == ReplicaPhase.Promised);

    private static string SilentOf(List<ReplicaSession> asked)
    {
        var silent = asked.Where(session => !HasAnswered(session)).Select(session => session.Placement.NodeName).ToList();
        return silent.Count == 0 ? "" : $"; silent: {string.Join(", ", silent)}";
    }

    private bool IsGraceOver(List<ReplicaSession> asked)
    {
        var now = _effects.NowMs;
        foreach (var session in asked)
        {
            if (HasAnswered(session)) continue;
            var graceMs = session.Link is not null ? Limits.PromiseGraceMs
                : _effects.WasLinked(session.Placement.Node) ? LostLinkGraceMs : NewLinkGraceMs;
            if (now - Math.Max(_promisingSinceMs, session.LinkChangedMs) < graceMs) return false;
        }
        return true;
    }

    /// <summary>
    /// R3: the journal's set says who was confirmed in sync; of its members the one that holds most of the order wins, the local one where they are equal. What a
    /// log has beyond the order (records of an epoch after the next one's start) counts for nothing, however long it is.
    /// </summary>
    private void Choose(List<ReplicaSession> usable)
    {
        var ranked = usable.Where(session => InOrder(session) is not null).OrderByDescending(InOrder).ThenByDescending(IsLocal).ThenBy(session => session.Id.Number);
        if (ranked.FirstOrDefault() is not { } candidate)
        {
            _waitReason = $"every copy that answered is older than the last {VolumeState.OpenedKeptMax} epochs";
            return;
        }
        (_candidate, _chosen, _chosenRecordEpoch) = (candidate, InOrder(candidate)!.Value, candidate.Promised.LastRecordEpoch);
        _opening.Clear();
        _lowest = _chosen;
        foreach (var session in usable)
        {
            var fork = InOrder(session) ?? 0;
            // What this one lacks must be in the candidate's tail; if it is not, it has lost data and comes back by catch-up.
            if (fork < candidate.Promised.TailFrom && fork < _chosen) continue;
            if (_chosen - fork > (ulong)Limits.PendingRecordsMax) continue;
            session.Appended = fork;
            _lowest = Math.Min(_lowest, fork);
            _opening.Add(session);
        }
        if (!_opening.Exists(IsLocal))
        {
            if (IsLocalHopeless()) Relocate("its replica on this node is not in sync");
            else _waitReason = "waiting for the replica on this node";
            return;
        }
        Reconcile();
    }

    /// <summary>The local replica answered and can't be used, or has no place in the set at all.</summary>
    private bool IsLocalHopeless() => !_replicas.TryGetValue(_effects.Node, out var local) || HasAnswered(local);

    /// <summary>How far the copy's log is a prefix of the newest opened epoch's order; null when its last record is older than the history kept.</summary>
    private ulong? InOrder(ReplicaSession session) => _state.Fork(session.Promised.LastRecordEpoch, session.Promised.LastSequence);

    private void Reconcile()
    {
        (Phase, Times.AlignMs) = (VolumePhase.Reconciling, _effects.NowMs);
        _pending.Restart(_lowest);
        DropTail();
        foreach (var session in _opening) SendAlign(session, session.Appended);
        if (_lowest == _chosen) return;
        Span<byte> body = stackalloc byte[16];
        _candidate!.Link!.Send(Frame(FrameKind.FetchTail), new FetchTailBody(_lowest, _chosen).Encode(body));
    }

    private void SendAlign(ReplicaSession session, ulong to)
    {
        (session.Phase, session.Aligned, session.SentUpTo, session.OwesSinceMs) = (ReplicaPhase.Aligning, false, to, _effects.NowMs);
        Span<byte> body = stackalloc byte[8];
        var writer = new BodyWriter(body);
        writer.U64(to);
        // Aligning says what the order is; what of it is committed follows once the replica has been cut to it.
        session.Link!.Send(FrameHeader.Of(FrameKind.Truncate, Volume, _epoch), writer.Written);
    }

    private void OnTailRecord(ReplicaSession session, ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        if (Phase != VolumePhase.Reconciling || session != _candidate || _tail.Count >= Limits.PendingRecordsMax) return;
        if (RecordHeader.TryDecode(body, out var record) != IoStatus.Ok || record.Sequence != _lowest + (ulong)_tail.Count + 1) return;
        buffer.AddReference();
        _tail.Add(buffer);
    }

    private void OnTailEnd(ReplicaSession session, in FrameHeader header)
    {
        if (Phase != VolumePhase.Reconciling || session != _candidate) return;
        if (header.Status != IoStatus.Ok || _lowest + (ulong)_tail.Count != _chosen)
        {
            _effects.Log($"the tail of {session.Placement.NodeName} could not be read ({header.Status}); asking again");
            RestartDeciding();
            return;
        }
        foreach (var buffer in _tail)
        {
            RecordHeader.TryDecode(buffer.Span, out var record);
            _pending.Add(buffer, in record, default);
        }
        _tail.Clear();
        foreach (var member in _opening)
        {
            if (member.Aligned) Resend(member);
        }
    }

    private void DropTail()
    {
        foreach (var buffer in _tail) buffer.Release();
        _tail.Clear();
    }

    private void OnTruncated(ReplicaSession session, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (session.Phase != ReplicaPhase.Aligning || session.Aligned || !AppendAckBody.TryDecode(body, out var state)) return;
        if (header.Status != IoStatus.Ok || state.AppendedSequence != session.SentUpTo)
        {
            session.Phase = ReplicaPhase.Lost;
            _effects.Log($"{session.Placement.NodeName} could not cut its log to {session.SentUpTo} ({header.Status}, it has {state.AppendedSequence})");
            if (Phase == VolumePhase.Reconciling) RestartDeciding();
            else LeaveAsLost(session, "its log could not be aligned");
            return;
        }
        (session.Aligned, session.OwesSinceMs, session.Appended) = (true, 0, state.AppendedSequence);
        session.Durable = Math.Min(state.DurableSequence, state.AppendedSequence);
        NoteCredit(session, in state, isFresh: true);
        if (Phase == VolumePhase.Reconciling)
        {
            if (_pending.Last == _chosen) Resend(session);
            TryOpen();
            return;
        }
        session.Phase = ReplicaPhase.InSync;
        session.Live = true;
        _opensOwed = AreOpensOwed();
        Resend(session);
        SendStamp(session);
        PumpProposals();
    }

    /// <summary>Sends all pending records above what the replica has been sent.</summary>
    private void Resend(ReplicaSession session)
    {
        for (var sequence = Math.Max(session.SentUpTo, _pending.Base) + 1; sequence <= _pending.Last; sequence++)
            SendAppend(session, sequence, _pending[sequence].Buffer!);
    }

    private void SendAppend(ReplicaSession session, ulong sequence, IoBuffer record)
    {
        session.Link!.Send(Frame(FrameKind.Append), record);
        (session.SentUpTo, session.WatermarkSent) = (sequence, Committed);
        if (session.OwesSinceMs == 0) session.OwesSinceMs = _effects.NowMs;
        session.Answers.OnSent(sequence, _effects.NowMs);
    }

    private void TryOpen()
    {
        if (Phase != VolumePhase.Reconciling || _pending.Last != _chosen) return;
        foreach (var session in _opening)
        {
            if (!session.Aligned || session.Appended < _chosen) return;
        }
        Times.OpenMs = _effects.NowMs;
        Phase = VolumePhase.Opening;
        var members = _opening.Select(MemberOf).OrderBy(member => member.Id.Number).ToImmutableArray();
        _effects.Journal(new EpochOpened(Volume, new Epoch(_epoch), _chosen, _state.Version + 1, members));
    }

    private static InSyncMember MemberOf(ReplicaSession session) =>
        new(session.Id, session.Promised.StoreId, session.Promised.Opens.Count, session.Promised.Opens.Mark);

    private void OnOpened(EpochOpened opened)
    {
        Invariant.That(Phase == VolumePhase.Opening && opened.Epoch.Value == _epoch, "an epoch was opened that was not proposed");
        (Phase, Times.StampMs) = (VolumePhase.Stamping, _effects.NowMs);
        foreach (var session in _opening)
        {
            if (session is { Link: not null, Aligned: true }) (session.Phase, session.Live) = (ReplicaPhase.InSync, true);
        }
        _opening.Clear();
        Stamp();
        foreach (var session in _replicas.Values)
        {
            if (!IsMember(session)) continue;
            if (session.Link is null) Leave(session, $"the connection to {session.Placement.NodeName} is down");
            else if (session.Phase == ReplicaPhase.Promised) OnReturned(session);
        }
        PumpProposals();
    }

    /// <summary>All members carry the epoch; the leases of the deposed owner have run out.</summary>
    private void TryServe()
    {
        if (Phase == VolumePhase.Stamping && Times.LeaseMs == 0 && AreMembersStamped()) Times.LeaseMs = _effects.NowMs;
        if (Phase != VolumePhase.Stamping || !AreMembersStamped() || _effects.NowMs < _serveAtMs) return;
        // Every member of the opened set holds the prefix: it is committed.
        if (!CommitPrefix()) return;
        (Phase, _servingSinceMs, Times.ServedMs) = (VolumePhase.Serving, _effects.NowMs, _effects.NowMs);
        StartGathering();
        _effects.Log($"serving in epoch {_epoch} from sequence {_chosen}, in-sync set version {_state.Version} of {_state.InSync.Length}");
        _effects.OnServing(true);
        SendIdleWatermarks();
        foreach (var session in _replicas.Values)
        {
            if (session.Phase == ReplicaPhase.Promised) OnReturned(session);
        }
        PumpSnapshots();
        PumpRestore();
        StartNextCatchUp();
    }

    private bool CommitPrefix()
    {
        if (_effects.Local is not { } local || !local.Commit(_epoch, _chosen))
        {
            Relocate("the replica on this node failed during the takeover");
            return false;
        }
        _windows = CopyOf(local.Windows);
        _wroteBefore = _windows.NewestGeneration;
        _committedRecordEpoch = _chosenRecordEpoch;
        _pending.Restart(_chosen);
        return true;
    }

    private static SessionWindows CopyOf(SessionWindows windows)
    {
        var bytes = new byte[windows.EncodedBytes];
        var length = windows.Encode(bytes);
        return SessionWindows.TryDecode(bytes.AsSpan(0, length)) ?? throw new InvariantException("session windows do not survive their own encoding");
    }

    /// <summary>A member was lost while the prefix was being made: begin again with who is left.</summary>
    private void RestartDeciding()
    {
        Phase = VolumePhase.Promising;
        _promisingSinceMs = _effects.NowMs;
        _candidate = null;
        _opening.Clear();
        DropTail();
        _pending.Restart(0);
        foreach (var session in _replicas.Values)
        {
            if (session is { Link: not null, Phase: ReplicaPhase.Aligning or ReplicaPhase.Promised }) SendPromise(session);
        }
    }
}
