using System.Collections.Immutable;
using BenchmarkDotNet.Attributes;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Bench;

/// <summary>
/// What the placement singleton does on its one thread, with 50 nodes: for a new volume, for a node's report (one a second from each), for a list of nodes, each second, and
/// the image of the catalogue after 512 events. No actor, journal or network.
/// </summary>
public class PlacementBenchmarks
{
    private const int NodeCount = 50;
    private const int Copies = 3;

    private static readonly TimeSpan ReplaceAfter = TimeSpan.FromMinutes(10);

    private readonly NodeBoard _board = new(TimeProvider.System);
    private PlacementState _state = PlacementState.Empty;
    private NodeId[] _nodes = [];
    private int _next;

    [Params(10, 1_000, 7_000)]
    public int Volumes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        (_state, _nodes) = Catalogue(Volumes);
        foreach (var node in _nodes) _board.Report(node, new NodeReport(1L << 40, 0, 1L << 40, 0, Guid.NewGuid(), "0.1.0"));
    }

    /// <summary>Volumes with the labels of a Kubernetes class, on nodes in three zones.</summary>
    internal static (PlacementState State, NodeId[] Nodes) Catalogue(int volumes)
    {
        var state = PlacementState.Empty;
        NodeId[] nodes = [.. Enumerable.Range(0, NodeCount).Select(_ => new NodeId(Guid.NewGuid()))];
        for (var node = 0; node < NodeCount; node++)
        {
            state = state.Apply(new NodeRegistered(new NodeDescription(nodes[node], $"node-{node}", $"zone-{node % 3}", $"10.0.0.{node}:5705", $"10.0.0.{node}:10809",
                $"10.0.0.{node}:5707", $"akka.tcp://myrmidon@10.0.0.{node}:5708", Guid.NewGuid())));
        }
        var labels = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal).Add(VolumeLabels.Replicas, "3").Add("myrmidon.dev/class", "standard");
        for (var number = 1; number <= volumes; number++)
        {
            var id = new VolumeId((ulong)number);
            var spec = new VolumeSpec(id, "default", $"pvc-{Guid.NewGuid()}", 10UL << 30, Copies, default, 0, 0, false, labels, null);
            state = state.Apply(new VolumePlaced(spec, [.. Enumerable.Range(0, Copies).Select(copy =>
                new ReplicaPlacement(new ReplicaId((ushort)(copy + 1)), nodes[(number + copy) % NodeCount], $"node-{(number + copy) % NodeCount}", Guid.NewGuid()))]));
            state = state.Apply(new VolumeConfirmed(id));
        }
        return (state, nodes);
    }

    /// <summary>A new volume: the decision, and its event applied.</summary>
    [Benchmark]
    public PlacementState Create()
    {
        var candidates = _board.Candidates(_state).Select(node => node with { Up = true }).ToArray();
        var command = new PlacementProtocol.CreateVolume("default", "new", 1UL << 30, ImmutableSortedDictionary<string, string>.Empty, null, []);
        return _state.Apply(PlacementMachine.Create(_state, candidates, command, Guid.NewGuid).Event!);
    }

    /// <summary>The answer to a node's report.</summary>
    [Benchmark]
    public ulong Report() => NodeBoard.ProvisionedOn(_state, _nodes[_next++ % NodeCount]);

    /// <summary>The list of all nodes, as `node list`, `status` and the move of an owner ask for it.</summary>
    [Benchmark]
    public int ListNodes() => _state.Nodes.Values.Select(node => _board.Entry(_state, node)).Count();

    /// <summary>Each second, here with all nodes down but not for long enough: the dearest case in which nothing is to be done.</summary>
    [Benchmark]
    public object? EachSecond()
    {
        var candidates = _board.Candidates(_state);
        return (object?)PlacementMachine.Complete(_state, candidates, Guid.NewGuid)
            ?? PlacementMachine.Replace(_state, candidates, _board.DownFor(_state), ReplaceAfter, 4, Guid.NewGuid);
    }

    [Benchmark]
    public byte[] Image() => EventCodec.Encode(_state.Image);
}
