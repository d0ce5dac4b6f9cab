using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Node.Owner;

// Snapshots (R19): who asked for which, one creation at a time, and the volume's schedule. Which there are is the journal's word; the machine makes them.
public sealed partial class VolumeActor
{
    /// <summary>Those who wait for a snapshot to be made; more are refused.</summary>
    private const int SnapshotAskersMax = 256;

    /// <summary>Less than the time in which REST wants an answer, so that it gets one with a reason.</summary>
    private const long SnapshotWaitMs = 25_000;

    /// <summary>A client that has just disconnected may not be gone from the owner's books, and a marker may be under way: a restore is tried again for so long.</summary>
    private const long RestoreWaitMs = 3_000;

    private static readonly TimeSpan SnapshotBusyPause = TimeSpan.FromMilliseconds(200);

    private readonly List<SnapshotAsker> _snapshotAskers = [];

    /// <summary>The snapshot that the machine works at.</summary>
    private string? _creating;

    /// <summary>Why the machine could not make one when it was last asked.</summary>
    private string _creatingRefusal = "";
    private Restoring? _restoring;

    /// <param name="Who">Nobody: the schedule.</param>
    /// <param name="Joined">Others had asked for it before: what it holds may be older than this question.</param>
    private sealed record SnapshotAsker(string Name, IActorRef Who, bool Joined, long UntilMs)
    {
        public bool IsForClone => Name.StartsWith(ClonePrefix, StringComparison.Ordinal);
    }

    private sealed record Restoring(IActorRef Who, VolumeSnapshot Snapshot, long UntilMs);

    private sealed record SnapshotRefused(IOwnerHandle Owner, string Name, IoStatus Status, string Reason) : INoSerializationVerificationNeeded;

    private sealed record RestoreAnswered(IOwnerHandle Owner, Restoring Restoring, IoStatus Status, string Reason) : INoSerializationVerificationNeeded;

    private sealed record SnapshotTick(SnapshotWork Work) : INoSerializationVerificationNeeded;

    private enum SnapshotWork
    {
        GiveUp,
        CreateAgain,
        RestoreAgain,
        RestoreStill,
        Schedule,
        Clones,
    }

    private void CommandSnapshots()
    {
        Command<VolumeProtocol.CreateSnapshot>(OnCreateSnapshot);
        Command<VolumeProtocol.DeleteSnapshot>(OnDeleteSnapshot);
        Command<VolumeProtocol.RestoreSnapshot>(OnRestoreSnapshot);
        Command<VolumeProtocol.ListSnapshots>(_ => OnListSnapshots());
        Command<VolumeProtocol.ListShared>(_ => OnListShared());
        Command<VolumeProtocol.ChangedBlocks>(OnChangedBlocks);
        Command<SnapshotRefused>(OnSnapshotRefused);
        Command<RestoreAnswered>(OnRestoreAnswered);
        Command<SnapshotTick>(OnSnapshotTick);
        CommandGroups();
        Command<VolumeProtocol.StartClone>(OnStartClone);
        Command<VolumeProtocol.EndClone>(OnEndClone);
    }

    private void OnSnapshotTick(SnapshotTick tick)
    {
        switch (tick.Work)
        {
            case SnapshotWork.GiveUp:
                DropOldSnapshotAskers();
                break;
            case SnapshotWork.CreateAgain:
                StartCreation();
                break;
            case SnapshotWork.RestoreAgain:
                StartRestore();
                break;
            case SnapshotWork.RestoreStill:
                TellStillRestoring($"{SnapshotWaitMs / 1000} s have passed");
                break;
            case SnapshotWork.Clones:
                EndOldClones();
                break;
            default:
                FollowSchedule();
                break;
        }
    }

    // ---- creation ----

    private void OnCreateSnapshot(VolumeProtocol.CreateSnapshot create)
    {
        if (!IsThere(Sender)) return;
        if (SnapshotOf(create.Name) is { } known) Sender.Tell(ViewOf(known, created: false));
        else AskForSnapshot(create.Name, Sender);
    }

    private void AskForSnapshot(string name, IActorRef who)
    {
        var joined = _creating == name || _snapshotAskers.Exists(asker => asker.Name == name);
        var asker = new SnapshotAsker(name, who, joined, Environment.TickCount64 + SnapshotWaitMs);
        if (_owner is null || !_serving) RefuseAsker(asker, IoStatus.NotOwner, $"{NotServingReason()}; try again");
        else if (_snapshotAskers.Count >= SnapshotAskersMax) RefuseAsker(asker, IoStatus.Busy, $"{SnapshotAskersMax} others wait for snapshots already; try again");
        else
        {
            _snapshotAskers.Add(asker);
            if (_snapshotAskers.Count == 1) GiveUpLater();
            StartCreation();
        }
    }

    /// <summary>One at a time, in the order in which they were asked for.</summary>
    private void StartCreation()
    {
        if (_creating is not null || _snapshotAskers.Count == 0 || _owner is not { } owner || !_serving) return;
        var name = _snapshotAskers[0].Name;
        if (_state.Snapshots.Length >= Limits.SnapshotsMax)
        {
            RefuseAskersOf(name, IoStatus.Conflict, $"the volume has {Limits.SnapshotsMax} of them, the most there can be; delete some first");
            StartCreation();
            return;
        }
        var self = Self;
        _creating = name;
        owner.CreateSnapshot(name, (status, reason) => self.Tell(new SnapshotRefused(owner, name, status, reason), ActorRefs.NoSender));
    }

    private void OnSnapshotRefused(SnapshotRefused refused)
    {
        if (refused.Owner != _owner || refused.Name != _creating) return;
        _creating = null;
        if (refused.Status == IoStatus.Busy)
        {
            // Another marker is under way, say: it is asked again for as long as somebody waits.
            _creatingRefusal = refused.Reason;
            Timers.StartSingleTimer(SnapshotWork.CreateAgain, new SnapshotTick(SnapshotWork.CreateAgain), SnapshotBusyPause);
            return;
        }
        RefuseAskersOf(refused.Name, refused.Status, refused.Reason);
        StartCreation();
    }

    /// <summary>It is journaled: now it exists.</summary>
    private void OnSnapshotCreated(SnapshotCreated created)
    {
        var snapshot = SnapshotOf(created.Name)!.Value;
        foreach (var asker in _snapshotAskers.Where(asker => asker.Name == created.Name).ToArray())
        {
            if (asker.IsForClone) Keep(snapshot, created.Name[ClonePrefix.Length..], asker.Who);
            else asker.Who.Tell(ViewOf(snapshot, !asker.Joined));
        }
        _snapshotAskers.RemoveAll(asker => asker.Name == created.Name);
        if (_creating == created.Name) (_creating, _creatingRefusal) = (null, "");
        AnswerGroup(snapshot);
        FollowSchedule();
        StartCreation();
    }

    private void GiveUpLater() => Timers.StartSingleTimer(SnapshotWork.GiveUp, new SnapshotTick(SnapshotWork.GiveUp),
        TimeSpan.FromMilliseconds(Math.Max(1, _snapshotAskers[0].UntilMs - Environment.TickCount64)));

    private void DropOldSnapshotAskers()
    {
        var now = Environment.TickCount64;
        var because = _creatingRefusal.Length > 0 ? $" ({_creatingRefusal})" : "";
        foreach (var asker in _snapshotAskers.Where(asker => asker.UntilMs <= now))
            RefuseAsker(asker, IoStatus.Offline, $"it was not there within {SnapshotWaitMs / 1000} s{because}; ask for it again");
        _snapshotAskers.RemoveAll(asker => asker.UntilMs <= now);
        if (_snapshotAskers.Count > 0) GiveUpLater();
    }

    private void RefuseAskersOf(string name, IoStatus status, string reason)
    {
        foreach (var asker in _snapshotAskers.Where(asker => asker.Name == name)) RefuseAsker(asker, status, reason);
        _snapshotAskers.RemoveAll(asker => asker.Name == name);
    }

    private void RefuseAsker(SnapshotAsker asker, IoStatus status, string reason)
    {
        if (asker.Who.IsNobody()) _log.Warning("volume {0}: the scheduled snapshot {1} is not made now: {2}", _state.Spec?.FullName, asker.Name, reason);
        else if (asker.IsForClone) Refuse(asker.Who, status, $"it can't be cloned: {reason}");
        else Refuse(asker.Who, status, $"snapshot \"{asker.Name}\" is not made: {reason}");
    }

    /// <summary>The machine ended or stopped serving: what it was asked for may be journaled yet, or never.</summary>
    private void EndSnapshotWork(string reason)
    {
        foreach (var asker in _snapshotAskers) RefuseAsker(asker, IoStatus.Offline, $"{reason}; try again");
        _snapshotAskers.Clear();
        (_creating, _creatingRefusal) = (null, "");
        EndGroups(reason);
        if (_restoring is { } restoring)
        {
            if (_state.RestoringTo == restoring.Snapshot.Sequence) TellStillRestoring(reason);
            else EndRestore(restoring, IoStatus.Offline, $"{reason}; try again");
        }
        foreach (var work in Enum.GetValues<SnapshotWork>()) Timers.Cancel(work);
    }

    // ---- deletion and restore ----

    /// <summary>Journaled first; the machine, or the next one, then has it deleted on every copy.</summary>
    private void OnDeleteSnapshot(VolumeProtocol.DeleteSnapshot delete)
    {
        if (IsThere(Sender) && FindSnapshot(Sender, delete.Name) is { } snapshot) DeleteSnapshot(Sender, snapshot);
    }

    private void DeleteSnapshot(IActorRef sender, VolumeSnapshot snapshot)
    {
        if (WhyKept(snapshot) is { } kept) Refuse(sender, IoStatus.Conflict, kept);
        else if (RestoringTo == snapshot) Refuse(sender, IoStatus.Busy, $"it is being put back to snapshot \"{snapshot.Name}\"; delete that one when this has ended");
        else Commit(new SnapshotDeleted(_volume, snapshot.Sequence), () => sender.Tell(new VolumeProtocol.Done(_volume), ActorRefs.NoSender));
    }

    private void OnRestoreSnapshot(VolumeProtocol.RestoreSnapshot restore)
    {
        if (!IsThere(Sender) || FindSnapshot(Sender, restore.Name) is not { } snapshot) return;
        if (_state.Attachment is { Mode: AttachmentMode.Exclusive } attachment)
            Refuse(Sender, IoStatus.Conflict, $"it is attached to {attachment.NodeName}, and its content can't change under a client; unmount it, detach it "
                + $"(myrmidon volume detach {_state.Spec!.FullName}), and restore snapshot \"{snapshot.Name}\" then");
        else if (RestoringTo is { } other && other != snapshot) Refuse(Sender, IoStatus.Busy, $"it is being put back to snapshot \"{other.Name}\"; try again when that has ended");
        else
        {
            if (_restoring is { } before) Refuse(before.Who, IoStatus.Offline, "somebody else waits for that now; look at the volume to see how it is");
            _restoring = new Restoring(Sender, snapshot, Environment.TickCount64 + RestoreWaitMs);
            Timers.Cancel(SnapshotWork.RestoreAgain);
            TellLater(TimeSpan.FromMilliseconds(SnapshotWaitMs));
            StartRestore();
        }
    }

    /// <summary>Asked for, or under way; until its end nobody attaches the volume for himself, and that snapshot stays.</summary>
    private VolumeSnapshot? RestoringTo
    {
        get
        {
            if (_restoring is { } asked) return asked.Snapshot;
            foreach (var snapshot in _state.Snapshots)
            {
                if (snapshot.Sequence == _state.RestoringTo) return snapshot;
            }
            return null;
        }
    }

    /// <summary>Whoever asked for it hears of it before REST gives up, and can wait on.</summary>
    private void TellStillRestoring(string why)
    {
        if (_restoring is not { } restoring) return;
        if (_state.RestoringTo != restoring.Snapshot.Sequence)
        {
            // Not journaled yet, or refused in a moment.
            TellLater(SnapshotBusyPause);
            return;
        }
        _restoring = null;
        Refuse(restoring.Who, IoStatus.Offline, $"it is still being put back to snapshot \"{restoring.Snapshot.Name}\" ({why}), and that goes on by itself; `myrmidon volume show {_state.Spec!.FullName}` "
            + "tells when it has ended, or ask again, as long as nobody has used it since, to wait for that");
    }

    private void TellLater(TimeSpan after) => Timers.StartSingleTimer(SnapshotWork.RestoreStill, new SnapshotTick(SnapshotWork.RestoreStill), after);

    private void StartRestore()
    {
        if (_restoring is not { } restoring) return;
        if (_owner is not { } owner || !_serving)
        {
            EndRestore(restoring, IoStatus.Offline, $"{NotServingReason()}; try again");
            return;
        }
        var self = Self;
        owner.RestoreSnapshot(restoring.Snapshot.Sequence, (status, reason) => self.Tell(new RestoreAnswered(owner, restoring, status, reason), ActorRefs.NoSender));
    }

    private void OnRestoreAnswered(RestoreAnswered answer)
    {
        if (answer.Owner != _owner || !ReferenceEquals(answer.Restoring, _restoring)) return;
        if (answer.Status == IoStatus.Busy && Environment.TickCount64 < answer.Restoring.UntilMs)
            Timers.StartSingleTimer(SnapshotWork.RestoreAgain, new SnapshotTick(SnapshotWork.RestoreAgain), SnapshotBusyPause);
        else EndRestore(answer.Restoring, answer.Status == IoStatus.Busy ? IoStatus.Conflict : answer.Status, answer.Reason);
    }

    private void EndRestore(Restoring restoring, IoStatus status, string reason)
    {
        _restoring = null;
        Timers.Cancel(SnapshotWork.RestoreStill);
        if (status != IoStatus.Ok) Refuse(restoring.Who, status, $"it is not put back to snapshot \"{restoring.Snapshot.Name}\": {reason}");
        else
        {
            _log.Info("volume {0}: it is put back to snapshot {1} (sequence {2})", _state.Spec?.FullName, restoring.Snapshot.Name, restoring.Snapshot.Sequence);
            restoring.Who.Tell(new VolumeProtocol.Done(_volume));
        }
    }

    // ---- questions ----

    private void OnListSnapshots()
    {
        var (sender, snapshots, volume) = (Sender, ShownSnapshots.ToImmutableArray(), _volume);
        if (!IsThere(sender)) return;
        if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.NotOwner, NotServingReason());
        else owner.SnapshotUsages((storedBytes, usages) =>
        {
            var known = usages.ToDictionary(usage => usage.Snapshot);
            var entries = snapshots.Select(snapshot => EntryOf(snapshot, known.GetValueOrDefault(snapshot.Sequence)));
            sender.Tell(new VolumeProtocol.SnapshotList(volume, (ulong)storedBytes, [.. entries]), ActorRefs.NoSender);
        });
    }

    private static VolumeProtocol.SnapshotEntry EntryOf(VolumeSnapshot snapshot, (ulong Snapshot, long Bytes, long Blocks, long? SharedBytes) usage) =>
        new(snapshot.Name, snapshot.Sequence, snapshot.UnixMs, (ulong)usage.Bytes, (ulong)usage.Blocks);

    private void OnListShared()
    {
        var (sender, volume) = (Sender, _volume);
        if (!IsThere(sender)) return;
        if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.NotOwner, NotServingReason());
        else owner.SnapshotUsages((_, usages) =>
        {
            var known = usages.Where(usage => usage.SharedBytes is not null).Select(usage => new VolumeProtocol.SnapshotShare(usage.Snapshot, (ulong)usage.SharedBytes!.Value));
            sender.Tell(new VolumeProtocol.SharedList(volume, [.. known]), ActorRefs.NoSender);
        });
    }

    private void OnChangedBlocks(VolumeProtocol.ChangedBlocks ask)
    {
        var (sender, volume, refusal) = (Sender, _volume, Refusal(IoStatus.Offline, "what changed can't be told now; try again"));
        if (!IsThere(sender) || EdgeOf(sender, ask.From) is not { } from || EdgeOf(sender, ask.To) is not { } to) return;
        var size = _state.Spec!.SizeBytes;
        var blocks = (size + Limits.BlockBytes - 1) / Limits.BlockBytes;
        if (from > 0 && to > 0 && from >= to)
            Refuse(sender, IoStatus.OutOfRange, $"snapshot \"{ask.From}\" is not older than snapshot \"{ask.To}\"; name the older one first");
        else if (ask.First > blocks) Refuse(sender, IoStatus.OutOfRange, $"there is nothing at block {ask.First}: it has {blocks} blocks");
        else if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.NotOwner, NotServingReason());
        else owner.ChangedBlocks(from, to, ask.First, told =>
        {
            IControlMessage answer = told is { } runs ? new VolumeProtocol.ChangedRuns(volume, [.. runs.Runs], runs.UpTo, runs.UpTo >= blocks, size) : refusal;
            sender.Tell(answer, ActorRefs.NoSender);
        });
    }

    /// <summary>The sequence of the snapshot of that name, 0 for none; null when there is no such snapshot, and that was answered.</summary>
    private ulong? EdgeOf(IActorRef sender, string name) => name.Length == 0 ? 0 : FindSnapshot(sender, name)?.Sequence;

    private bool IsThere(IActorRef sender)
    {
        if (_state.Spec is not null && !_state.Deleted) return true;
        Refuse(sender, IoStatus.Missing, "it does not exist");
        return false;
    }

    private VolumeSnapshot? FindSnapshot(IActorRef sender, string name)
    {
        // One that is kept for a clone alone goes with it: nobody else builds on it.
        if (SnapshotOf(name) is { } found && !IsHidden(found)) return found;
        Refuse(sender, IoStatus.Missing, $"it has no snapshot \"{name}\"; it has {CountOfSnapshots()} (myrmidon snapshot list {_state.Spec!.FullName})");
        return null;
    }

    private VolumeSnapshot? SnapshotOf(string name)
    {
        foreach (var snapshot in _state.Snapshots)
        {
            if (snapshot.Name == name) return snapshot;
        }
        return null;
    }

    private string CountOfSnapshots() => ShownSnapshots.Count() is var count && count == 1 ? "1 snapshot" : $"{count} snapshots";

    private VolumeProtocol.SnapshotView ViewOf(VolumeSnapshot snapshot, bool created) => new(_volume, snapshot.Name, snapshot.Sequence, snapshot.UnixMs, created);

    // ---- schedule ----

    /// <summary>Does what the labels ask for now, and looks again when that may be due.</summary>
    private void FollowSchedule()
    {
        Timers.Cancel(SnapshotWork.Schedule);
        if (!_serving || _state.Deleted || _state.Spec is not { } spec || VolumeLabels.Read(spec.Labels).Policy is not { } policy) return;
        var now = (ulong)DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        var plan = SnapshotSchedule.Plan(_state.Snapshots, policy.SnapshotEvery, policy.SnapshotKeep, now);
        ImmutableArray<VolumeSnapshot> surplus = [.. plan.Delete.Where(snapshot => snapshot != RestoringTo && WhyKept(snapshot) is null)];
        foreach (var snapshot in surplus)
        {
            _log.Info("volume {0}: its schedule deletes snapshot {1}", spec.FullName, snapshot.Name);
            Commit(new SnapshotDeleted(_volume, snapshot.Sequence));
        }
        var isAsked = _snapshotAskers.Exists(asker => asker.Who.IsNobody()) || (_creating is not null && SnapshotSchedule.IsScheduled(_creating));
        if (plan.Create is { } due && !isAsked && SnapshotOf(due) is null) AskForSnapshot(due, ActorRefs.Nobody);
        if (plan.Next is { } next) Timers.StartSingleTimer(SnapshotWork.Schedule, new SnapshotTick(SnapshotWork.Schedule), next);
    }
}
