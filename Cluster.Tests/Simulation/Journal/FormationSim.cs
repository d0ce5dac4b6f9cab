using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>
/// Nodes that run the real <see cref="FormationMachine"/> on a seeded schedule. Every hello, request and answer is a message of its own
/// that may be lost, delayed and reordered; a node may crash before or after it saved, and starts again with what was saved.
/// </summary>
internal sealed class FormationSim
{
    private readonly SimRandom _random;
    private readonly FormationNode[] _nodes;
    private readonly PriorityQueue<Action, (long At, long Order)> _events = new();
    private readonly HashSet<Guid> _clusters = [];
    private readonly int _expect;
    private readonly int[] _seeds;
    private long _now;
    private long _order;
    private bool _healed;

    public FormationSim(ulong seed, int nodes, int expect, int seeds)
    {
        _random = new SimRandom(seed);
        _expect = expect;
        _seeds = [.. Enumerable.Range(0, seeds)];
        _nodes = [.. Enumerable.Range(0, nodes).Select(i => new FormationNode(i))];
        foreach (var node in _nodes) At(_random.Below(500), () => Boot(node));
    }

    public int Crashes { get; private set; }
    public int Clusters => _clusters.Count;
    public int GivenUp { get; private set; }
    public bool AllFormed => _nodes.All(n => n.Saved.Record is not null);

    public void Run(long until)
    {
        while (_events.TryPeek(out var action, out var due) && due.At <= until)
        {
            _events.Dequeue();
            _now = due.At;
            action();
        }
    }

    public void Heal()
    {
        _healed = true;
        foreach (var node in _nodes)
            if (node.Machine is null) Boot(node);
    }

    private void Boot(FormationNode node)
    {
        if (node.Machine is not null) return;
        node.Machine = new FormationMachine(node.Self, _expect, _seeds.Length, node.Saved, NewId);
        node.Life++;
        node.Known.UnionWith(_seeds);
        var life = node.Life;
        At(1, () => Round(node, life));
    }

    /// <summary>Asks everybody known, waits for what comes back, decides.</summary>
    private void Round(FormationNode node, int life)
    {
        if (node.Life != life || node.Machine is not { } machine || node.Saved.Record is not null) return;
        var views = new List<FormationView>();
        var serial = machine.Serial;
        foreach (var to in node.Known)
        {
            var seed = Array.IndexOf(_seeds, to);
            Exchange(node, _nodes[to], other =>
            {
                if (node.Saved.Record is null) other.Known.Add(node.Number);
                return (other.Self, other.Machine!.State, other.Known.ToArray());
            }, seen =>
            {
                node.Known.UnionWith(seen.Item3);
                views.Add(new FormationView(seen.Self, seen.State, _expect, seed, serial));
            });
        }
        At(60, () =>
        {
            if (node.Life == life) Decide(node, machine, views);
        });
        At(100 + _random.Below(50), () => Round(node, life));
    }

    private void Decide(FormationNode node, FormationMachine machine, List<FormationView> views)
    {
        var step = machine.Next(views);
        if (!Save(node)) return;
        switch (step)
        {
            case FormationStep.Ask ask:
                Tell(node, ask.Promise, new FormationRequest.Prepare(ask.Promise), note: true);
                break;
            case FormationStep.GiveUp up:
                GivenUp++;
                Tell(node, up.Promise, new FormationRequest.Abort(up.Promise.FormationId), note: false);
                break;
            case FormationStep.Announce done:
                Tell(node, done.Promise, new FormationRequest.Commit(done.Promise.Record), note: false);
                break;
        }
    }

    private void Tell(FormationNode from, FormationPromise promise, FormationRequest request, bool note)
    {
        var life = from.Life;
        foreach (var participant in promise.Participants.Where(p => p.NodeId != from.Self.NodeId))
        {
            var to = _nodes.Single(n => n.Self.NodeId == participant.NodeId);
            Exchange(from, to, other =>
            {
                var answer = other.Machine!.Answer(request);
                return Save(other) ? answer : null;
            }, answer =>
            {
                if (note && from.Life == life && answer is not null) from.Machine!.Answered(participant, promise.FormationId, answer);
            });
        }
    }

    private void Exchange<T>(FormationNode from, FormationNode to, Func<FormationNode, T> ask, Action<T> answered)
    {
        var life = from.Life;
        if (Lost()) return;
        At(Delay(), () =>
        {
            if (to.Machine is null) return;
            var answer = ask(to);
            if (to.Machine is null || Lost()) return;
            At(Delay(), () =>
            {
                if (from.Life == life && from.Machine is not null) answered(answer);
            });
        });
    }

    /// <summary>False if the node crashed just before or just after its state was on disk.</summary>
    private bool Save(FormationNode node)
    {
        if (node.Machine!.State == node.Saved) return !CrashNow(node);
        if (CrashNow(node)) return false;
        node.Saved = node.Machine.State;
        if (node.Saved.Record is { } record) _clusters.Add(record.ClusterId);
        Assert.True(_clusters.Count <= 1, "two clusters were formed");
        return !CrashNow(node);
    }

    private bool CrashNow(FormationNode node)
    {
        if (_healed || !_random.PerMille(60)) return false;
        node.Machine = null;
        node.Life++;
        node.Known.Clear();
        Crashes++;
        At(_random.Below(800), () => Boot(node));
        return true;
    }

    private bool Lost() => !_healed && _random.PerMille(100);

    private int Delay() => _healed ? 1 : 1 + _random.Below(_random.PerMille(100) ? 600 : 40);

    private Guid NewId() => new(BitConverter.GetBytes(_random.Next()).Concat(BitConverter.GetBytes(_random.Next())).ToArray());

    private void At(long delay, Action action) => _events.Enqueue(action, (_now + delay, _order++));

    private sealed class FormationNode(int number)
    {
        public readonly FormationMember Self =
            new($"node-{number}", new Guid(number + 1, 0, 0, new byte[8]), new JournalAddress("node", 1 + number));
        public readonly SortedSet<int> Known = [];
        public FormationMachine? Machine;
        public FormationState Saved = FormationState.None;
        public int Life;

        public int Number => number;
    }
}
