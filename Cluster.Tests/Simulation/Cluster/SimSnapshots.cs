using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Plays the users who make, delete and go back to snapshots while the run goes on. Before they go back, front ends close their sessions, if they can.</summary>
internal sealed class SimSnapshots(SimWorld world)
{
    private const int TryUs = 100_000;
    private const int TriesMax = 40;

    private readonly SimRandom _random = new(world.Seed ^ 0x5A495);
    private string _name = "";
    private int _names;
    private int _attempts;
    private bool _isOver;

    /// <summary>Counts restores that were asked for: an answer to an older one means nothing.</summary>
    private int _asked;

    public void Start() => PostNext();

    /// <summary>From here on nobody asks for anything.</summary>
    public void End()
    {
        _isOver = true;
        Wake();
    }

    private void PostNext() => world.At(_random.Between(200_000, 3_000_000), () =>
    {
        if (_isOver) return;
        var roll = _random.Below(100);
        if (Owner() is not { } owner || roll < 50) Create();
        else if (owner.Machine.State.Snapshots is not { Length: > 0 } snapshots) Create();
        else
        {
            var snapshot = snapshots[_random.Below(snapshots.Length)];
            if (roll < 75) Delete(owner, snapshot);
            // What is kept for a clone alone is hidden from users, who can't go back to it: it goes when the clone has begun.
            else if (!SimClones.IsHidden(snapshot))
            {
                foreach (var client in world.Clients) client.Rest();
                TryRestore(snapshot.Sequence, TriesMax);
                return;
            }
        }
        PostNext();
    });

    private SimOwner? Owner() => world.Director is { IsServing: true, Owner: { Host.IsWorking: true } owner } ? owner : null;

    /// <summary>A name whose owner ended, and that nobody has now, is asked for again.</summary>
    private void Create()
    {
        if (Owner() is not { } owner) return;
        if (_name.Length == 0 || owner.Machine.State.Snapshots.Any(snapshot => snapshot.Name == _name)) _name = $"s{++_names}";
        var name = _name;
        if (_random.Percent(40))
        {
            CreateOfGroup(owner, name);
            return;
        }
        owner.Host.Post(0, () =>
        {
            var answer = owner.Machine.CreateSnapshot(name);
            world.Say("snapshots", $"wants {name}: {answer.Status} {answer.Sentence}");
            world.History.Snapshots.Add(answer.Status == IoStatus.Ok ? "Begun" : "Refused");
        });
    }

    /// <summary>
    /// One of several volumes' snapshots (C22): the others have their markers after a while, or never. This owner is told so, also if there is another one by then.
    /// </summary>
    private void CreateOfGroup(SimOwner owner, string name)
    {
        var (attempt, wait, isCommitted) = (new Guid(++_attempts, 0, 0, new byte[8]), _random.Between(0, (Limits.GroupHoldMs + 1000) * 1000L), _random.Percent(80));
        owner.Host.Post(0, () => owner.Machine.PrepareSnapshot(attempt, name, prepared =>
        {
            world.Say("snapshots", $"wants {name} for a group: {prepared.Status} {prepared.Sentence}");
            world.History.Snapshots.Add(prepared.Status == IoStatus.Ok ? "Prepared" : "Refused");
            if (prepared.Status != IoStatus.Ok) return;
            world.History.OnPrepared(prepared.Sequence, name, prepared.UnixMs);
            if (isCommitted) world.At(wait, () => owner.Host.Post(0, () =>
            {
                if (owner.Machine.CommitSnapshot(attempt).Status == IoStatus.Ok) world.History.OnCommitting(name, prepared.UnixMs);
            }));
        }));
    }

    private void Delete(SimOwner owner, VolumeSnapshot snapshot)
    {
        // What the owner knows may be older than the journal; its compare and set then ends it.
        if (owner.IsProposing || owner.Machine.State.Clones.Any(clone => clone.Sequence == snapshot.Sequence) || owner.Machine.RestoringTo == snapshot.Sequence) return;
        world.History.Snapshots.Add("Deleted");
        owner.Host.Post(0, () => owner.Machine.Propose(new SnapshotDeleted(SimWorld.Volume, snapshot.Sequence)));
    }

    private void TryRestore(ulong snapshot, int left)
    {
        if (_isOver || left == 0)
        {
            if (!_isOver) world.History.Snapshots.Add("GivenUp");
            Wake();
            PostNext();
            return;
        }
        var number = ++_asked;
        var isDone = false;
        if (Owner() is { } owner) owner.Host.Post(0, () => owner.Machine.RestoreSnapshot(snapshot, (status, sentence) =>
        {
            if (status != IoStatus.Busy) world.Say("snapshots", $"going back to {snapshot}: {status} {sentence}");
            if (status == IoStatus.Ok) world.History.OnRestored(snapshot);
            var isAttached = status == IoStatus.Busy && sentence.StartsWith("it is attached", StringComparison.Ordinal);
            if (isAttached) world.History.Snapshots.Add("Attached");
            isDone = isAttached || status is IoStatus.Ok or IoStatus.Missing;
            if (!isDone || number != _asked) return;
            _asked++;
            Wake();
            PostNext();
        }));
        world.At(TryUs, () =>
        {
            if (number == _asked && !isDone) TryRestore(snapshot, left - 1);
        });
    }

    /// <summary>A part of a restore is committed: somebody may want to use the volume again, and is not let in before the end.</summary>
    public void OnPart()
    {
        if (_random.Percent(30)) world.Clients.ElementAt(_random.Below(world.Profile.Clients)).Wake();
    }

    private void Wake()
    {
        foreach (var client in world.Clients) client.Wake();
    }
}
