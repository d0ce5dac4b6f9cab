using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

// The number of copies changes while the volume serves: what is surplus is journaled out of the in-sync set first, then out of the volume. The journal is
// the only memory of it: who owns the volume next is asked again.
public sealed partial class VolumeMachine
{
    /// <summary>
    /// Drops copies until as many are left as the spec says: those not in sync first, then in the order of <paramref name="first"/>; never the one on
    /// this node, and never a member that the minimum needs.
    /// </summary>
    public void DropSurplus(ImmutableArray<ReplicaId> first)
    {
        if (Phase != VolumePhase.Serving) return;
        var surplus = _state.Replicas.Length - Spec.Replicas - _replicas.Values.Count(session => session.IsDropping);
        foreach (var session in _replicas.Values.Where(session => !IsLocal(session) && !session.IsDropping)
            .OrderBy(IsMember).ThenBy(session => session.Link is not null).ThenBy(session => session.Phase != ReplicaPhase.Lost && session.CatchUp is not null)
            .ThenBy(session => PlaceIn(first, session.Id)).ThenByDescending(session => session.Id.Number).Take(Math.Max(0, surplus)).ToArray())
            BeginDropping(session, $"the volume has {Spec.Replicas} copies now");
    }

    /// <summary>Drops a copy that another one has replaced.</summary>
    public void DropReplaced(ReplicaId id, string reason)
    {
        if (Phase != VolumePhase.Serving) return;
        foreach (var session in _replicas.Values.Where(session => session.Id == id && !session.IsDropping).ToArray()) BeginDropping(session, reason);
    }

    /// <summary>
    /// R22: the node holds an older copy of this volume, under a name that it does not have any more, and deletes it only once the journal has let it go. One that is in the
    /// in-sync set is never let go for that: it may be needed.
    /// </summary>
    private void OnHeldInPlaceOf(ReplicaSession wanted, ulong held)
    {
        if (Phase != VolumePhase.Serving) return;
        foreach (var session in _replicas.Values.Where(session => session.Id.Number == held && session is { Link: null, IsDropping: false } && !IsRequired(session)).ToArray())
            BeginDropping(session, $"{wanted.Placement.NodeName} has it from before it got a new name, and is to hold copy {wanted.Id}");
    }

    private static int PlaceIn(ImmutableArray<ReplicaId> order, ReplicaId id) => order.IndexOf(id) is >= 0 and var place ? place : int.MaxValue;

    private void BeginDropping(ReplicaSession session, string reason)
    {
        (session.IsDropping, session.DropReason) = (true, reason);
        _effects.Log($"the copy on {session.Placement.NodeName} is dropped: {reason}");
        PumpDrops();
    }

    private void PumpDrops()
    {
        if (!IsServing) return;
        foreach (var session in _replicas.Values.Where(session => session is { IsDropping: true, IsDropJournaled: false }).ToArray())
        {
            if (IsMember(session)) Leave(session, session.DropReason);
            // Whether it is in the set or not is being journaled: OnInSyncChanged goes on.
            else if (_proposal is null || !IsAmong(_proposal.Members, session)) JournalDrop(session);
        }
    }

    /// <summary>It is no member, and from here on it can't become one: no catch-up of it ends in a proposal.</summary>
    private void JournalDrop(ReplicaSession session)
    {
        session.IsDropJournaled = true;
        if (session.CatchUp is not null) AbandonCatchUp(session, session.DropReason);
        _effects.Journal(new ReplicaRemoved(Volume, session.Id, session.DropReason));
    }

    private void OnReplicaRemoved(ReplicaRemoved removed)
    {
        foreach (var session in _replicas.Values.Where(session => session.Id == removed.Replica).ToArray())
        {
            Invariant.That(!IsMember(session), "a copy was dropped that is in the in-sync set");
            EndCatchUp(session, isDone: false);
            ForgetMendsOf(session);
            _replicas.Remove(session.Placement.Node);
        }
        StartNextCatchUp();
    }
}
