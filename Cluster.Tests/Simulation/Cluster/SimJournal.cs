using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

internal enum SimOutcome
{
    Unset = 0,
    Success,
    Conflict,
    /// <summary>Nobody will ever tell the proposer whether it is in.</summary>
    Forgotten,
}

/// <summary>
/// The volume's stream in the metadata journal: compare and set on its length, with delays before and after the decision.
/// </summary>
internal sealed class SimJournal
{
    private const int ReachPauseUs = 200_000;
    private const int ReachAttemptsMax = 25;

    private readonly SimWorld _world;
    private readonly List<VolumeEvent> _events = [];
    private readonly bool _isMain;

    public SimJournal(SimWorld world, VolumeCreated created)
    {
        (_world, _isMain) = (world, created.Volume == SimWorld.Volume);
        Append(created);
    }

    public IReadOnlyList<VolumeEvent> Events => _events;

    /// <summary>The fold of all that is journaled.</summary>
    public VolumeState State { get; private set; } = VolumeState.Empty;

    /// <summary>Proposals are decided only after that long.</summary>
    public long DelayUs { get; set; }

    /// <summary>What was decided is told only after that long.</summary>
    public long AnswerDelayUs { get; set; }

    /// <summary>Answers on the node, once it reaches the journal: the stream as it is then.</summary>
    public void Read(SimNode node, Action<VolumeState, int> answer) => Reach(node, 0, () => node.Post(_world.Random.Between(100, 3000),
        () => answer(State, _events.Count)), () => { });

    /// <summary>Proposals that may still be journaled.</summary>
    public int Undecided { get; private set; }

    public void Propose(SimNode node, int expectedLength, VolumeEvent e, Action<SimOutcome> answer) => Reach(node, 0, () =>
    {
        Undecided++;
        _world.At(DelayUs + _world.Random.Between(300, 6000), () =>
        {
            Undecided--;
            var outcome = _events.Count == expectedLength ? SimOutcome.Success : SimOutcome.Conflict;
            if (outcome == SimOutcome.Success) Append(e);
            var delay = AnswerDelayUs + (_world.Random.Percent(4) ? _world.Random.Between(50_000, 2_000_000) : _world.Random.Between(200, 4000));
            _world.At(delay, () => Reach(node, 0, () => node.Post(0, () => answer(outcome)), () => node.Post(0, () => answer(SimOutcome.Forgotten))));
        });
    }, () => node.Post(0, () => answer(SimOutcome.Forgotten)));

    private void Reach(SimNode node, int attempt, Action reached, Action given)
    {
        if (!node.IsAlive) return;
        if (_world.Network.ReachesJournal(node)) reached();
        else if (attempt == ReachAttemptsMax) given();
        else _world.At(ReachPauseUs, () => Reach(node, attempt + 1, reached, given));
    }

    private void Append(VolumeEvent e)
    {
        _events.Add(e);
        var before = State;
        State = State.Apply(e);
        if (_isMain) Tell(e, before);
        _world.Say(_isMain ? "journal" : $"j{e.Volume}", $"{_events.Count}: {Describe(e)}");
        _world.Trace((ulong)_events.Count << 32);
        if (_isMain && e is SnapshotCreated created) _world.History.OnJournaled(created, before);
        if (_isMain && e is RestoreEnded) _world.History.OnRestoreEnded(before.RestoringTo);
        if (_isMain && e is SnapshotDeleted deleted) _world.Clones.OnSnapshotDeleted(deleted.Sequence);
        if (_isMain && e is AttachmentChanged attached) _world.Director.OnAttached(attached.Attachment);
        if (_isMain && e is (EpochOpened or InSyncChanged)) _world.History.OnInSyncSet(State, e is EpochOpened);
        var isOpened = State.Opened != Epoch.None;
        if (isOpened) Invariant.That(State.InSync.Length > 0, "the in-sync set is empty");
        if (e is InSyncChanged changed) Invariant.That(changed.Epoch == State.Epoch, "a deposed owner changed the in-sync set");
    }

    private void Tell(VolumeEvent e, VolumeState before)
    {
        if (e is SpecChanged or ReplicaAdded or ReplicaRemoved or InSyncChanged or EpochOpened) _world.History.OnCopies(before, State, e);
        if (e is SpecChanged) _world.History.OnResized(before, State);
        if (e is ReplicaAdded added) _world.Nodes.First(node => node.Id == added.Replica.Node || node.Name == added.Replica.NodeName).OnPlaced(added.Replica);
    }

    private static string Describe(VolumeEvent e) => e switch
    {
        EpochStarted started => $"epoch {started.Epoch} started by {started.NodeName}",
        EpochOpened opened => $"epoch {opened.Epoch} opened at {opened.StartSequence} with {string.Join(",", opened.Members.Select(member => member.Id))}",
        InSyncChanged changed => $"in-sync {changed.Version}: {string.Join(",", changed.Members.Select(member => member.Id))} ({changed.Reason})",
        SnapshotCreated created => $"snapshot {created.Sequence} is '{created.Name}'",
        CloneStarted started => $"clone '{started.CloneName}' of {started.Sequence} begins",
        CloneEnded ended => $"clone '{ended.CloneName}' is there",
        RestoreStarted started => $"back to snapshot {started.Sequence}",
        SnapshotDeleted deleted => $"snapshot {deleted.Sequence} is deleted",
        _ => e.GetType().Name,
    };
}
