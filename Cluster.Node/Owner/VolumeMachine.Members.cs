using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R6, R7: who is in the in-sync set, and how that changes.
public sealed partial class VolumeMachine
{
    /// <summary>The change of the set that is on its way to the journal; until it is read back, acks need the union (R6).</summary>
    private InSyncChanged? _proposal;

    /// <summary>The set that the proposal changes.</summary>
    private ImmutableArray<InSyncMember> _beforeProposal = [];

    /// <summary>A member was journaled out, or the spec changed: no ack may rely on that before all members carry it (P7).</summary>
    private bool _stampsOwed;

    /// <summary>A member's store was opened again, and the journal does not know of that yet: no ack may rely on what it takes since (R5).</summary>
    private bool _opensOwed;

    /// <summary>Counts what was stamped in this epoch, and names the newest: version, members, those about to join, spec.</summary>
    private ulong _stampNumber;

    /// <summary>Those about to join that the newest stamp names.</summary>
    private ImmutableArray<StampedMember> _joinersStamped = [];

    /// <summary>Whether an ack of this copy is needed: a member of the journaled set or of the one proposed, or about to be proposed.</summary>
    private bool IsRequired(ReplicaSession session) =>
        IsMember(session) || session.Phase == ReplicaPhase.Joining || (_proposal is not null && IsAmong(_proposal.Members, session));

    private static bool IsAmong(ImmutableArray<InSyncMember> members, ReplicaSession session)
    {
        foreach (var member in members)
        {
            if (member.Id == session.Id) return true;
        }
        return false;
    }

    private void Leave(ReplicaSession session, string reason)
    {
        if (session.ShouldLeave || !IsMember(session)) return;
        (session.ShouldLeave, session.LeaveReason) = (true, reason);
        PumpProposals();
    }

    /// <summary>It proved to lack what it had acknowledged. It leaves whatever the minimum is; below the minimum writes are held (R7).</summary>
    private void LeaveAsLost(ReplicaSession session, string reason)
    {
        if (!IsMember(session)) return;
        (session.MustLeave, session.ShouldLeave, session.LeaveReason) = (true, true, reason);
        PumpProposals();
    }

    /// <summary>Proposes the next in-sync set, if it is another one. One proposal at a time.</summary>
    private void PumpProposals()
    {
        if (_proposal is not null || !IsOpened) return;
        var members = new List<InSyncMember>(_state.InSync);
        var reasons = new List<string>();
        AnnounceJoiners();
        foreach (var session in _replicas.Values)
        {
            if (session is not { Phase: ReplicaPhase.Joining, IsDropping: false } || IsMember(session) || !IsAnnounced(session)) continue;
            members.Add(MemberOf(session));
            reasons.Add($"{session.Placement.NodeName} caught up");
        }
        foreach (var session in _replicas.Values) RenewOpen(session, members, reasons);
        foreach (var session in _replicas.Values)
        {
            if (!session.ShouldLeave || !IsMember(session)) continue;
            if (!session.MustLeave && members.Count - 1 < _state.InSyncMin) continue;
            if (members.Count == 1) continue;
            members.RemoveAll(member => member.Id == session.Id);
            reasons.Add(session.LeaveReason);
        }
        if (reasons.Count == 0) return;
        var next = members.OrderBy(member => member.Id.Number).ToImmutableArray();
        _beforeProposal = _state.InSync;
        _proposal = new InSyncChanged(Volume, new Epoch(_epoch), _state.Version + 1, next, string.Join("; ", reasons));
        _effects.Log($"in-sync set: proposing version {_proposal.Version} with {next.Length} members: {_proposal.Reason}");
        _effects.Journal(_proposal);
    }

    /// <summary>
    /// C12: before a copy can be journaled in, a present member names it in its header on media. Else those who leave right after could be taken for all there are
    /// by a recovery that never saw the newcomer. One that does not join after all is named no more.
    /// </summary>
    private void AnnounceJoiners()
    {
        // Also when the last stamp names it still, from an attempt to join that its link cut short: it waits for this stamp (seed 408845).
        var isNew = false;
        foreach (var session in _replicas.Values)
        {
            if (session.AnnouncedAs != 0 || session.Phase != ReplicaPhase.Joining || IsMember(session) || session.Durable < session.JoinTarget) continue;
            (session.AnnouncedAs, isNew) = (_stampNumber + 1, true);
        }
        if (isNew || !Joiners().SequenceEqual(_joinersStamped)) Stamp();
    }

    private bool IsAnnounced(ReplicaSession joiner)
    {
        if (joiner.AnnouncedAs == 0) return false;
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session.StampedNumber >= joiner.AnnouncedAs) return true;
        }
        return false;
    }

    /// <summary>Who may be in the set soon: announced, or proposed with an outcome that is not known yet (R6).</summary>
    private ImmutableArray<StampedMember> Joiners()
    {
        var joiners = ImmutableArray<StampedMember>.Empty;
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session)) continue;
            if (session.AnnouncedAs != 0) joiners = joiners.Add(StampedOf(MemberOf(session), isJoining: true));
            else if (_proposal?.Members.FirstOrDefault(member => member.Id == session.Id) is { } proposed) joiners = joiners.Add(StampedOf(proposed, isJoining: true));
        }
        return joiners;
    }

    private StampedMember StampedOf(InSyncMember member, bool isJoining)
    {
        var copy = _state.Placement(member.Id) ?? throw new InvariantException($"volume {Volume}: member {member.Id} of the in-sync set has no place");
        return new StampedMember(copy, member.StoreId, member.StoreOpenCount, isJoining, member.StoreOpenMark);
    }

    /// <summary>R5: a member came back without having left. Unless the journal learns of the later open, a copy from before it passes for the store that was left.</summary>
    private void RenewOpen(ReplicaSession session, List<InSyncMember> members, List<string> reasons)
    {
        if (!IsOpenOwed(session) || _state.Member(session.Id) is not { } known) return;
        members[members.IndexOf(known)] = MemberOf(session);
        reasons.Add($"the store of {session.Placement.NodeName} was opened again");
    }

    private bool IsOpenOwed(ReplicaSession session) =>
        session.Phase == ReplicaPhase.InSync && _state.Member(session.Id) is { } known && known != MemberOf(session);

    private bool AreOpensOwed()
    {
        foreach (var session in _replicas.Values)
        {
            if (IsOpenOwed(session)) return true;
        }
        return false;
    }

    private void OnInSyncChanged(InSyncChanged changed)
    {
        Invariant.That(_proposal is not null && changed.Version == _proposal.Version, "an in-sync set was journaled that was not proposed");
        _proposal = null;
        _effects.Log($"in-sync set is now version {changed.Version} with {changed.Members.Length} members: {changed.Reason}");
        foreach (var session in _replicas.Values)
        {
            var was = IsAmong(_beforeProposal, session);
            if (was && !IsMember(session)) Left(session);
            else if (!was && IsMember(session)) Joined(session);
        }
        _opensOwed = AreOpensOwed();
        Stamp();
        if (_state.InSync.Length > 0 && _replicas.TryGetValue(_effects.Node, out var local) && !IsMember(local))
        {
            Relocate("its replica on this node is out of the in-sync set");
            return;
        }
        if (Phase == VolumePhase.Stamping) TryServe();
        PumpDrops();
        PumpProposals();
        TryCommit();
        ReleaseFlushes();
        PumpMarker();
        PumpHeldWrites();
    }

    /// <summary>What was under way with it as a member is over, also if it came back since the proposal; it starts again as one that returns.</summary>
    private void Left(ReplicaSession session)
    {
        _stampsOwed = true;
        (session.ShouldLeave, session.MustLeave) = (false, false);
        if (session.Link is not { } link) return;
        Reset(session, link);
        SendPromise(session);
    }

    private void Joined(ReplicaSession session)
    {
        session.AnnouncedAs = 0;
        if (session.Phase == ReplicaPhase.Joining)
        {
            session.CaughtUpBytes = session.CatchUp!.SentBytes;
            (session.Phase, session.NeedsFullCopy, session.HoldOffMs) = (ReplicaPhase.InSync, false, 0);
            EndCatchUp(session, isDone: true);
        }
        // Its link broke while it was being journaled in.
        else if (session.Link is null) (session.ShouldLeave, session.LeaveReason) = (true, $"the connection to {session.Placement.NodeName} is down");
        else if (session.Phase is ReplicaPhase.Promised or ReplicaPhase.Lost) OnReturned(session);
    }

    /// <summary>What the headers must say has changed.</summary>
    private void Stamp()
    {
        _stampNumber++;
        _joinersStamped = Joiners();
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session is { Link: not null, Aligned: true }) SendStamp(session);
        }
    }

    private void SendStamp(ReplicaSession session)
    {
        ImmutableArray<StampedMember> members = [.. _state.InSync.Select(member => StampedOf(member, isJoining: false)), .. _joinersStamped];
        var stamp = new StampBody(_effects.Era, _state.Version, _stampNumber, _chosen, true, _specBytes, members);
        Span<byte> body = new byte[stamp.EncodedBytes];
        SendBody(session.Link!, Frame(FrameKind.Stamp), stamp.Encode(body));
        if (session.OwesSinceMs == 0) session.OwesSinceMs = _effects.NowMs;
    }

    private void OnStamped(ReplicaSession session, ReadOnlySpan<byte> body)
    {
        if (!StampBody.TryDecode(body, out var stamp)) return;
        session.StampedNumber = Math.Max(session.StampedNumber, stamp.Number);
        session.Confirmed = true;
        Progressed(session);
        PumpProposals();
        if (!AreMembersStamped()) return;
        _stampsOwed = false;
        TryServe();
        TryCommit();
        ReleaseFlushes();
        PumpMarker();
    }

    private bool AreMembersStamped()
    {
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session.StampedNumber < _stampNumber) return false;
        }
        return true;
    }

    /// <summary>Whether the copy owes an answer: a record, a sync, or a stamp.</summary>
    private bool Owes(ReplicaSession session) => session.Appended < session.SentUpTo || session.Durable < session.SyncAsked
        || (IsMember(session) && IsOpened && session.StampedNumber < _stampNumber) || (session.Phase == ReplicaPhase.Aligning && !session.Aligned);

    private void Progressed(ReplicaSession session)
    {
        session.OwesSinceMs = Owes(session) ? _effects.NowMs : 0;
        // It was slow, at the minimum, and has made up for it: nothing speaks against it any more.
        if (session is { OwesSinceMs: 0, ShouldLeave: true, MustLeave: false, IsDropping: false, Aligned: true } && _proposal is null) session.ShouldLeave = false;
    }

    private void TickReplica(ReplicaSession session, long now)
    {
        if (session.Link is null)
        {
            if (_effects.LinkTo(session.Placement.Node) is { IsUp: true } link) OnLinkUp(link);
            return;
        }
        if (session.Phase == ReplicaPhase.Promising && now - session.PromiseSentMs > PromiseRetryMs) SendPromise(session);
        // A copy that can't be used now is asked again with a pause; its node may have mended it.
        // One whose place is taken by an older copy waits only for the journal and the node's reaper.
        var pauseMs = session.PromiseStatus == IoStatus.Conflict ? PromiseRetryMs : 10 * PromiseRetryMs;
        if (session.Phase == ReplicaPhase.Lost && (!IsMember(session) || Phase == VolumePhase.Promising) && now - session.PromiseSentMs > pauseMs) SendPromise(session);
        if (session.StalledUntilMs != 0 && now >= session.StalledUntilMs) ResumeStalled(session);
        if (session is { Phase: ReplicaPhase.CatchUpStream, CatchUp: { } catchUp }) PumpCatchUp(session, catchUp);
        session.CatchUp?.OnTick(now);
        if (session.OwesSinceMs == 0 || now - session.OwesSinceMs <= Limits.ReplicaAckMs || !IsOpened) return;
        if (session.Phase == ReplicaPhase.Joining && (_proposal is null || !IsAmong(_proposal.Members, session)))
            AbandonCatchUp(session, $"it did not acknowledge for {Limits.ReplicaAckMs} ms");
        else if (IsMember(session) && !session.ShouldLeave)
        {
            OffendByTimeout(session);
            Leave(session, $"{session.Placement.NodeName} did not acknowledge for {Limits.ReplicaAckMs} ms");
        }
    }

    /// <summary>A replica without room takes nothing for a moment; then it is offered what it lacks again. Its slowness counts (R7).</summary>
    private void ResumeStalled(ReplicaSession session)
    {
        (session.StalledUntilMs, session.Live, session.SentUpTo) = (0, true, session.Appended);
        // A sync asked for meanwhile did not cover what was refused.
        session.SyncAsked = Math.Min(session.SyncAsked, session.Appended);
        Resend(session);
        if (AcksFromMedia) AskSync(_pending.Last);
    }

    /// <summary>A copy promised while the epoch is open: a member whose link broke, or one that comes back from outside the set.</summary>
    private void OnReturned(ReplicaSession session)
    {
        if (!IsMember(session))
        {
            // In a proposal whose outcome is not known yet it is neither member nor not: OnInSyncChanged goes on with it.
            if (IsRequired(session)) return;
            if (session.PromiseStatus != IoStatus.Missing) StartNextCatchUp();
            else if (!session.CreateAsked) SendPromise(session);
            else session.Phase = ReplicaPhase.Lost;
            return;
        }
        var promised = session.Promised;
        if (session.Phase == ReplicaPhase.Lost || session.PromiseStatus != IoStatus.Ok || promised.CatchingUp || IsForeign(session))
        {
            LeaveAsLost(session, $"{session.Placement.NodeName} came back without the replica that was in sync ({session.PromiseStatus})");
            return;
        }
        // It holds a prefix of this epoch's order, or of the prefix that this epoch was opened with.
        var fork = _state.Fork(promised.LastRecordEpoch, promised.LastSequence) ?? 0;
        if (fork < Committed || fork < session.Appended)
        {
            LeaveAsLost(session, $"{session.Placement.NodeName} came back with {promised.LastSequence} but had acknowledged {Math.Max(Committed, session.Appended)}");
            return;
        }
        session.ShouldLeave = false;
        SendAlign(session, Math.Min(fork, _pending.Last));
    }

    private void OnReplicaAdded(ReplicaAdded added)
    {
        if (Phase is VolumePhase.Claiming or VolumePhase.Idle) return;
        AddReplica(added.Replica);
    }
}
