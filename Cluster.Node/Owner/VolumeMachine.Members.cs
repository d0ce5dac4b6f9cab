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

    /// <summary>A member was journaled out: no ack may rely on the smaller set before all of it carries the new version (P7).</summary>
    private bool _stampsOwed;

    /// <summary>Whether an ack of this copy is needed: a member of the journaled set, or of the one proposed.</summary>
    private bool IsRequired(ReplicaSession session)
    {
        if (IsMember(session)) return true;
        if (_proposal is null) return false;
        foreach (var member in _proposal.Members)
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
        foreach (var session in _replicas.Values)
        {
            if (session.Phase == ReplicaPhase.Joining && !IsMember(session))
            {
                members.Add(MemberOf(session));
                reasons.Add($"{session.Placement.NodeName} caught up");
            }
        }
        foreach (var session in _replicas.Values)
        {
            if (!session.ShouldLeave || !IsMember(session)) continue;
            if (!session.MustLeave && members.Count - 1 < Spec.InSyncMin) continue;
            if (members.Count == 1) continue;
            members.RemoveAll(member => member.Id == session.Id);
            reasons.Add(session.LeaveReason);
        }
        if (reasons.Count == 0) return;
        var next = members.OrderBy(member => member.Id.Number).ToImmutableArray();
        _proposal = new InSyncChanged(Volume, new Epoch(_epoch), _state.Version + 1, next, string.Join("; ", reasons));
        _effects.Log($"in-sync set: proposing version {_proposal.Version} with {next.Length} members: {_proposal.Reason}");
        _effects.Journal(_proposal);
    }

    private void OnInSyncChanged(InSyncChanged changed)
    {
        Invariant.That(_proposal is not null && changed.Version == _proposal.Version, "an in-sync set was journaled that was not proposed");
        _proposal = null;
        _effects.Log($"in-sync set is now version {changed.Version} with {changed.Members.Length} members: {changed.Reason}");
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session))
            {
                if (session.Phase == ReplicaPhase.Joining) Joined(session);
                continue;
            }
            if (!session.ShouldLeave) continue;
            _stampsOwed = true;
            (session.ShouldLeave, session.MustLeave) = (false, false);
            if (session.Link is { } link)
            {
                // What was under way with it as a member is over; it starts again as one that returns.
                session.Reset(link, _effects.NowMs);
                SendPromise(session);
            }
        }
        SendStamps();
        if (_state.InSync.Length > 0 && _replicas.TryGetValue(_effects.Node, out var local) && !IsMember(local))
        {
            Relocate("its replica on this node is out of the in-sync set");
            return;
        }
        if (Phase == VolumePhase.Stamping) TryServe();
        PumpProposals();
        TryCommit();
        ReleaseFlushes();
    }

    private static void Joined(ReplicaSession session)
    {
        session.CaughtUpBytes = session.CatchUp!.SentBytes;
        (session.Phase, session.CatchUp) = (ReplicaPhase.InSync, null);
    }

    private void SendStamps()
    {
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session is { Link: not null, Aligned: true }) SendStamp(session);
        }
    }

    private void SendStamp(ReplicaSession session)
    {
        var stamp = new StampBody(_effects.Era, _state.Version, _chosen, true, _specBytes);
        Span<byte> body = new byte[64 + _specBytes.Length];
        SendBody(session.Link!, Frame(FrameKind.Stamp), stamp.Encode(body));
        if (session.OwesSinceMs == 0) session.OwesSinceMs = _effects.NowMs;
    }

    private void OnStamped(ReplicaSession session, ReadOnlySpan<byte> body)
    {
        if (!StampBody.TryDecode(body, out var stamp)) return;
        session.StampedVersion = Math.Max(session.StampedVersion, stamp.Version);
        session.Confirmed = true;
        Progressed(session);
        if (!AreMembersStamped()) return;
        _stampsOwed = false;
        TryServe();
        TryCommit();
        ReleaseFlushes();
    }

    private bool AreMembersStamped()
    {
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session.StampedVersion < _state.Version) return false;
        }
        return true;
    }

    /// <summary>Whether the copy owes an answer: a record, a sync, or a stamp.</summary>
    private bool Owes(ReplicaSession session) => session.Appended < session.SentUpTo || session.Durable < session.SyncAsked
        || (IsMember(session) && IsOpened && session.StampedVersion < _state.Version) || (session.Phase == ReplicaPhase.Aligning && !session.Aligned);

    private void Progressed(ReplicaSession session) => session.OwesSinceMs = Owes(session) ? _effects.NowMs : 0;

    private void TickReplica(ReplicaSession session, long now)
    {
        if (session.Link is null)
        {
            if (_effects.LinkTo(session.Placement.Node) is { IsUp: true } link) OnLinkUp(link);
            return;
        }
        if (session.Phase == ReplicaPhase.Promising && now - session.PromiseSentMs > PromiseRetryMs) SendPromise(session);
        // A copy that can't be used now is asked again with a pause; its node may have mended it.
        if (session.Phase == ReplicaPhase.Lost && !IsMember(session) && now - session.PromiseSentMs > 10 * PromiseRetryMs) SendPromise(session);
        if (session.StalledUntilMs != 0 && now >= session.StalledUntilMs) ResumeStalled(session);
        if (session.OwesSinceMs != 0 && now - session.OwesSinceMs > Limits.ReplicaAckMs && IsOpened)
            Leave(session, $"{session.Placement.NodeName} did not acknowledge for {Limits.ReplicaAckMs} ms");
    }

    /// <summary>A replica without room takes nothing for a moment; then it is offered what it lacks again. Its slowness counts (R7).</summary>
    private void ResumeStalled(ReplicaSession session)
    {
        (session.StalledUntilMs, session.Live, session.SentUpTo) = (0, true, session.Appended);
        Resend(session);
    }

    /// <summary>A copy promised while the epoch is open: a member whose link broke, or one that comes back from outside the set.</summary>
    private void OnReturned(ReplicaSession session)
    {
        if (!IsMember(session))
        {
            if (session.PromiseStatus == IoStatus.Missing) SendPromise(session);
            else StartNextCatchUp();
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

    private void OnReplicaRemoved(ReplicaRemoved removed)
    {
        foreach (var session in _replicas.Values.Where(session => session.Id == removed.Replica).ToList())
            _replicas.Remove(session.Placement.Node);
    }
}
