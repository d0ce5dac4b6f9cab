using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

// Snapshots of several volumes: the two halves of this volume's. Who makes the group, and keeps the books of it: Hosting/Control/SnapshotGroups.
public sealed partial class VolumeActor
{
    /// <summary>Commits that wait for the journal. One marker is under way at a time, and a commit may be asked for again.</summary>
    private const int GroupAskersMax = 16;

    private readonly List<GroupAsker> _groupAskers = [];

    private sealed record GroupAsker(VolumeProtocol.CommitSnapshot Commit, IActorRef Who);

    private sealed record CommitRefused(IOwnerHandle Owner, Guid Attempt, IoStatus Status, string Reason) : INoSerializationVerificationNeeded;

    private void CommandGroups()
    {
        Command<VolumeProtocol.PrepareSnapshot>(OnPrepareSnapshot);
        Command<VolumeProtocol.CommitSnapshot>(OnCommitSnapshot);
        Command<VolumeProtocol.AbortSnapshot>(OnAbortSnapshot);
        Command<CommitRefused>(OnCommitRefused);
    }

    private void OnPrepareSnapshot(VolumeProtocol.PrepareSnapshot prepare)
    {
        var sender = Sender;
        if (!IsThere(sender)) return;
        var (volume, fullName, attempt, name) = (_volume, _state.Spec!.FullName, prepare.Attempt, prepare.Name);
        if (SnapshotOf(name) is not null) Refuse(sender, IoStatus.Conflict, $"it has a snapshot \"{name}\" already; choose another name, or delete that one first");
        else if (_state.Snapshots.Length >= Limits.SnapshotsMax)
            Refuse(sender, IoStatus.Conflict, $"snapshot \"{name}\" is not made: the volume has {Limits.SnapshotsMax} of them, the most there can be; delete some first");
        else if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.Offline, $"snapshot \"{name}\" is not made: {NotServingReason()}; try again");
        else owner.PrepareSnapshot(attempt, name, prepared =>
        {
            IControlMessage answer = prepared.Status == IoStatus.Ok
                ? new VolumeProtocol.SnapshotPrepared(volume, attempt, prepared.Sequence, prepared.UnixMs)
                : new VolumeProtocol.Refused(volume, prepared.Status, $"Volume {fullName}: snapshot \"{name}\" is not made: {prepared.Sentence}.");
            sender.Tell(answer, ActorRefs.NoSender);
        });
    }

    private void OnCommitSnapshot(VolumeProtocol.CommitSnapshot commit)
    {
        if (!IsThere(Sender)) return;
        if (Journaled(commit.Sequence, commit.CreatedUnixMs) is { } done) Sender.Tell(ViewOf(done, created: false));
        else if (_owner is not { } owner || !_serving) Refuse(Sender, IoStatus.Offline, $"{NotServingReason()}; try again");
        else if (_groupAskers.Count >= GroupAskersMax) Refuse(Sender, IoStatus.Busy, $"{GroupAskersMax} others wait for that already; try again");
        else
        {
            var self = Self;
            _groupAskers.Add(new GroupAsker(commit, Sender));
            owner.CommitSnapshot(commit.Attempt, (status, reason) => self.Tell(new CommitRefused(owner, commit.Attempt, status, reason), ActorRefs.NoSender));
        }
    }

    private void OnCommitRefused(CommitRefused refused)
    {
        if (refused.Owner != _owner) return;
        foreach (var asker in _groupAskers.Where(asker => asker.Commit.Attempt == refused.Attempt))
            Refuse(asker.Who, refused.Status, $"snapshot \"{asker.Commit.Name}\" is not made: {refused.Reason}");
        _groupAskers.RemoveAll(asker => asker.Commit.Attempt == refused.Attempt);
    }

    private void OnAbortSnapshot(VolumeProtocol.AbortSnapshot abort)
    {
        var sender = Sender;
        // A volume that is gone has taken its snapshots with it.
        if (_state.Spec is null || _state.Deleted) sender.Tell(new VolumeProtocol.Done(_volume));
        // One that is behind the times may not know of the snapshot that its successor journaled.
        else if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.Offline, $"{NotServingReason()}; try again");
        else if (_groupAskers.Exists(asker => asker.Commit.Attempt == abort.Attempt)) Refuse(sender, IoStatus.Busy, "its snapshot is being journaled; try again");
        else
        {
            owner.AbortSnapshot(abort.Attempt);
            if (Journaled(abort.Sequence, abort.CreatedUnixMs) is not { } snapshot) sender.Tell(new VolumeProtocol.Done(_volume));
            else DeleteSnapshot(sender, snapshot);
        }
    }

    private VolumeSnapshot? Journaled(ulong sequence, ulong unixMs)
    {
        foreach (var snapshot in _state.Snapshots)
        {
            if (snapshot.Sequence == sequence && snapshot.UnixMs == unixMs) return snapshot;
        }
        return null;
    }

    private void AnswerGroup(VolumeSnapshot snapshot)
    {
        foreach (var asker in _groupAskers.Where(IsIt)) asker.Who.Tell(ViewOf(snapshot, created: true));
        _groupAskers.RemoveAll(asker => IsIt(asker));

        bool IsIt(GroupAsker asker) => asker.Commit.Sequence == snapshot.Sequence && asker.Commit.CreatedUnixMs == snapshot.UnixMs;
    }

    /// <summary>What was to be committed may be journaled yet, or never: who asked asks again.</summary>
    private void EndGroups(string reason)
    {
        foreach (var asker in _groupAskers) Refuse(asker.Who, IoStatus.Offline, $"{reason}; try again");
        _groupAskers.Clear();
    }
}
