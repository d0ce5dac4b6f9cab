using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Simulation.Catalogues;

/// <summary>
/// The catalogue's journal and its singletons: one for each time that the catalogue moved or was started anew, each with the state that it has read and gone on from. The older ones live on beside the newest, frozen
/// or awake, until they lose a compare and set. What is told to a singleton comes in order, late or never, and ends with it, as with actors: what was told to one is not taken by its successor.
/// </summary>
internal sealed class CatalogueWorld
{
    private const int NodesMax = 3;
    private const int FrozenMsMax = 20_000;

    private readonly SimRandom _random;
    private readonly List<Singleton> _singletons = [];
    private readonly ImmutableArray<CandidateNode> _nodes;
    private readonly Dictionary<int, int> _applied = [];
    private int _guids;
    private long _confirmAtMs;

    public CatalogueWorld(SimRandom random)
    {
        _random = random;
        var report = new NodeReport(1L << 40, 0, 1L << 40, 1, Guid.Empty, "0.1.0");
        _nodes = [.. Enumerable.Range(0, NodesMax).Select(number => new CandidateNode(Describe(number), Up: true, Cordoned: false, report, Replicas: 0))];
        foreach (var node in _nodes) State = State.Apply(new NodeRegistered(node.Description));
        Move(0);
    }

    public long NowMs { get; private set; }

    /// <summary>What is committed.</summary>
    public PlacementState State { get; private set; } = PlacementState.Empty;

    /// <summary>Events of the journal.</summary>
    public int Sequence { get; private set; }

    /// <summary>The node that hosts the newest singleton, as the node that asks knows it.</summary>
    public string Host => $"node-{_singletons[^1].Node}";

    public int Moves { get; private set; }

    public int LostSets { get; private set; }

    private sealed class Singleton(int node, PlacementState state, int sequence)
    {
        public int Node => node;

        public PlacementState State { get; set; } = state;

        public int Sequence { get; set; } = sequence;

        public bool IsOver { get; set; }

        public long FrozenUntilMs { get; set; }

        /// <summary>When it hears at the latest that another one is in its place.</summary>
        public long EndsAtMs { get; set; } = long.MaxValue;

        public Queue<Telling> Told { get; } = new();

        public List<(PlacementWait Wait, Telling Telling)> Waiters { get; } = [];
    }

    /// <summary>A command on its way to a singleton, and what becomes of the answer.</summary>
    public sealed record Telling(int Operation, IPlacementCommand Command, long AtMs, Action<IControlMessage> Answer);

    /// <summary>Events that an operation has come to.</summary>
    public int AppliedOf(int operation) => _applied.GetValueOrDefault(operation);

    /// <summary>To the newest singleton, behind all that it was told before.</summary>
    public void Tell(int operation, IPlacementCommand command, Action<IControlMessage> answer)
    {
        var singleton = _singletons[^1];
        if (singleton.IsOver || _random.Percent(10)) return;
        var earliestMs = singleton.Told.Count > 0 ? singleton.Told.Last().AtMs : NowMs;
        singleton.Told.Enqueue(new Telling(operation, command, Math.Max(earliestMs, NowMs + _random.Between(1, _random.Percent(10) ? 2000 : 40)), answer));
    }

    /// <summary>10 ms: faults, then what has come to each singleton, then what owners confirm.</summary>
    public void Tick(bool faults = true)
    {
        NowMs += 10;
        if (faults && _random.Below(300) == 0) Move(_random.Below(NodesMax));
        if (faults && _random.Below(300) == 0) Newest.FrozenUntilMs = NowMs + _random.Between(100, FrozenMsMax);
        // The supervisor of a child that lost a compare and set starts it anew.
        if (Newest.IsOver && _random.Below(30) == 0) Start(Newest.Node);
        foreach (var singleton in _singletons.ToArray()) Run(singleton);
        _singletons.RemoveAll(singleton => singleton.IsOver && singleton != Newest);
    }

    /// <summary>Until nothing that was told may still be carried out.</summary>
    public void Settle()
    {
        // What owners are told is confirmed too, by a singleton that is the newest.
        for (var untilMs = NowMs + FrozenMsMax + 5000; NowMs < untilMs || State.Volumes.Values.Any(volume => volume.Order is not null);)
        {
            // One that another wrote past knows nothing of that until its own next write, whatever that is for.
            if (NowMs >= untilMs && Newest.Sequence != Sequence) Newest.IsOver = true;
            Tick(faults: false);
        }
    }

    private Singleton Newest => _singletons[^1];

    private void Move(int node)
    {
        Moves++;
        // Some die with their process; the others hang, or go on for a while beside the next one.
        if (_singletons.Count > 0) Newest.EndsAtMs = _random.Percent(30) ? NowMs : NowMs + _random.Between(0, FrozenMsMax);
        Start(node);
    }

    private void Start(int node) => _singletons.Add(new Singleton(node, State, Sequence));

    private void Run(Singleton singleton)
    {
        if (singleton.IsOver || NowMs < singleton.FrozenUntilMs) return;
        // Not before what has come to it while it was frozen.
        var ends = NowMs >= singleton.EndsAtMs;
        while (!singleton.IsOver && singleton.Told.TryPeek(out var next) && next.AtMs <= NowMs) Carry(singleton, singleton.Told.Dequeue());
        singleton.IsOver |= ends;
        if (singleton.IsOver || NowMs < _confirmAtMs) return;
        _confirmAtMs = NowMs + _random.Between(10, 200);
        foreach (var volume in singleton.State.Volumes.Values.ToArray())
        {
            if (volume.Order is { } order && PlacementMachine.Confirm(singleton.State, order) is { } confirmed) Append(singleton, confirmed, null);
        }
    }

    private void Carry(Singleton singleton, Telling telling)
    {
        var decision = telling.Command switch
        {
            PlacementProtocol.CreateVolume create => PlacementMachine.Create(singleton.State, _nodes, create, NewGuid),
            PlacementProtocol.ChangeVolume change => PlacementMachine.Change(singleton.State, _nodes, change, NewGuid),
            PlacementProtocol.DeleteVolume delete => PlacementMachine.Delete(singleton.State, delete),
            _ => throw new NotSupportedException(telling.Command.GetType().Name),
        };
        if (decision.Event is { } e && !Append(singleton, e, telling)) return;
        if (decision.Answer is { } answer) Answer(telling, answer);
        if (decision.Wait is not { } wait) return;
        singleton.Waiters.Add((wait, telling));
        Settle(singleton);
    }

    /// <summary>By compare and set. A singleton may be killed just behind it, or be told nothing of it and stop: then nobody hears.</summary>
    private bool Append(Singleton singleton, PlacementEvent e, Telling? telling)
    {
        if (singleton.Sequence != Sequence)
        {
            LostSets++;
            singleton.IsOver = true;
            return false;
        }
        State = State.Apply(e);
        (singleton.State, singleton.Sequence) = (State, ++Sequence);
        if (telling is not null) _applied[telling.Operation] = AppliedOf(telling.Operation) + 1;
        singleton.IsOver = _random.Percent(10);
        if (!singleton.IsOver) Settle(singleton);
        return !singleton.IsOver;
    }

    private void Settle(Singleton singleton)
    {
        foreach (var waiter in singleton.Waiters.ToArray())
        {
            if (PlacementMachine.Answer(singleton.State, waiter.Wait) is not { } answer) continue;
            singleton.Waiters.Remove(waiter);
            Answer(waiter.Telling, answer);
        }
    }

    private void Answer(Telling telling, IControlMessage answer)
    {
        if (!_random.Percent(15)) telling.Answer(answer);
    }

    private Guid NewGuid() => new(++_guids, 0, 0, new byte[8]);

    private static NodeDescription Describe(int number) => new(
        new NodeId(new Guid(number + 1, 0, 0, new byte[8])), $"node-{number}", "", $"h:{number}", $"h:{number}", $"h:{number}", $"akka.tcp://myrmidon@h:{number}", Guid.Empty);
}
