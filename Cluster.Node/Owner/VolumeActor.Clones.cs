using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

// Clones: the origin keeps the snapshot until the clone has begun. docs/adr/0011 has the whole of it.
public sealed partial class VolumeActor
{
    /// <summary>Whoever makes a clone has ended it, or is gone: the clone has begun long since, or never will.</summary>
    private const ulong CloneMaxMs = 10 * 60 * 1000;

    private static readonly TimeSpan CloneLook = TimeSpan.FromMinutes(1);

    /// <summary>Not a name that a user can give: snapshots that are made for a clone, and seen by nobody.</summary>
    private const string ClonePrefix = "~";

    private static bool IsHidden(VolumeSnapshot snapshot) => snapshot.Name.StartsWith(ClonePrefix, StringComparison.Ordinal);

    /// <summary>Those that users see.</summary>
    private IEnumerable<VolumeSnapshot> ShownSnapshots => _state.Snapshots.Where(snapshot => !IsHidden(snapshot));

    private void OnStartClone(VolumeProtocol.StartClone start)
    {
        var sender = Sender;
        if (!IsThere(sender)) return;
        if (_owner is null || !_serving) Refuse(sender, IoStatus.NotOwner, $"{NotServingReason()}; try again");
        else if (_owner.CloneDepth >= Limits.CloneDepthMax)
            Refuse(sender, IoStatus.Conflict, $"it can't be cloned: it stands on {_owner.CloneDepth} others, each a clone of the next, and {Limits.CloneDepthMax} is the most; clone one that stands on fewer, or copy its data to a new volume");
        else if (_state.Clones.Length >= VolumeState.ClonesMax)
            Refuse(sender, IoStatus.Busy, $"{VolumeState.ClonesMax} clones of it are being made; try again when some of them are there");
        else if (start.Snapshot.Length > 0)
        {
            if (FindSnapshot(sender, start.Snapshot) is { } snapshot) Keep(snapshot, start.CloneName, sender);
        }
        else if (SnapshotOf(ClonePrefix + start.CloneName) is { } made) Keep(made, start.CloneName, sender);
        else AskForSnapshot(ClonePrefix + start.CloneName, sender);
    }

    private bool IsCloneAsked => _snapshotAskers.Exists(asker => asker.IsForClone);

    private void Keep(VolumeSnapshot snapshot, string clone, IActorRef who)
    {
        var (spec, inSync) = (_state.Spec!, _state.InSync.Select(member => _state.Placement(member.Id)).OfType<ReplicaPlacement>().Select(replica => replica.Node));
        var source = new VolumeSource(_volume, snapshot.Sequence, spec.FullName, IsHidden(snapshot) ? "" : snapshot.Name);
        var answer = new VolumeProtocol.CloneOrigin(_volume, source, spec.SizeBytes, [.. inSync]);
        Commit(new CloneStarted(_volume, snapshot.Sequence, clone, NowUnixMs()), () => who.Tell(answer, ActorRefs.NoSender));
        LookAtClones();
    }

    private void OnEndClone(VolumeProtocol.EndClone end)
    {
        if (_state.Spec is not null && !_state.Deleted) EndClone(end.CloneName);
        Sender.Tell(new VolumeProtocol.Done(_volume));
    }

    private void EndClone(string clone)
    {
        if (_state.Clones.Any(known => known.Name == clone)) Commit(new CloneEnded(_volume, clone));
        if (SnapshotOf(ClonePrefix + clone) is { } made) Commit(new SnapshotDeleted(_volume, made.Sequence));
    }

    /// <summary>What nobody ended: its maker was killed on the way.</summary>
    private void EndOldClones()
    {
        if (!_serving || _state.Deleted) return;
        var now = NowUnixMs();
        ImmutableArray<string> old = [.. _state.Clones.Where(clone => IsOld(clone.UnixMs)).Select(clone => clone.Name),
            .. _state.Snapshots.Where(snapshot => IsHidden(snapshot) && IsOld(snapshot.UnixMs)).Select(snapshot => snapshot.Name[ClonePrefix.Length..])];
        foreach (var clone in old.Distinct())
        {
            _log.Warning("volume {0}: the making of clone {1} was never ended; its snapshot is kept for it no more", _state.Spec?.FullName, clone);
            EndClone(clone);
        }
        LookAtClones();

        bool IsOld(ulong unixMs) => unixMs + CloneMaxMs < now || unixMs > now + CloneMaxMs;
    }

    private void LookAtClones()
    {
        if (_state.Clones.Length > 0 || _state.Snapshots.Any(IsHidden))
            Timers.StartSingleTimer(SnapshotWork.Clones, new SnapshotTick(SnapshotWork.Clones), CloneLook);
    }

    /// <summary>Null, or why the snapshot can't go now.</summary>
    private string? WhyKept(VolumeSnapshot snapshot)
    {
        var clone = _state.Clones.FirstOrDefault(known => known.Sequence == snapshot.Sequence).Name;
        return clone is null ? null : $"volume {clone} is being cloned from snapshot \"{snapshot.Name}\"; delete it when that has ended";
    }

    private static ulong NowUnixMs() => (ulong)DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
}
