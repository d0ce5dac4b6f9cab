using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

/// <summary>A catalogue with nodes, driven through the machine alone.</summary>
internal sealed class PlacementFixture
{
    public static readonly ImmutableSortedDictionary<string, string> NoLabels =
        ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    private int _guids;

    public PlacementState State { get; private set; } = PlacementState.Empty;

    public List<CandidateNode> Nodes { get; } = [];

    public static NodeDescription Description(int number, string zone = "") => new(
        new NodeId(new Guid(number + 1, 0, 0, new byte[8])), $"node-{number}", zone, $"h:{number}", $"h:{number}", $"h:{number}",
        $"akka.tcp://myrmidon@h:{number}", Guid.Empty);

    public static NodeReport Report(long availableBytes) => new(1L << 40, 0, availableBytes, 1, Guid.Empty, "0.1.0");

    public PlacementFixture WithNodes(int count, Func<int, string>? zone = null)
    {
        for (var number = Nodes.Count; number < count; number++)
        {
            var description = Description(number, zone?.Invoke(number) ?? "");
            Apply(new NodeRegistered(description));
            Nodes.Add(new CandidateNode(description, Up: true, Cordoned: false, Report(1L << 40), Replicas: 0));
        }
        return this;
    }

    public void Change(int node, Func<CandidateNode, CandidateNode> change) => Nodes[node] = change(Nodes[node]);

    public PlacementDecision Create(string name, ulong sizeBytes = 1UL << 30, params (string Key, string Value)[] labels)
    {
        var decision = PlacementMachine.Create(
            State, Nodes, new PlacementProtocol.CreateVolume("default", name, sizeBytes, Labels(labels), null, []), NewGuid);
        if (decision.Event is not null) Apply(decision.Event);
        return decision;
    }

    public PlacedVolume Ready(string name, params (string Key, string Value)[] labels)
    {
        var decision = Create(name, 1UL << 30, labels);
        Apply(new VolumeConfirmed(decision.Wait!.Volume));
        return State.Find(name)!;
    }

    public void Apply(PlacementEvent e) => State = State.Apply(e);

    public Guid NewGuid() => new(++_guids, 0, 0, new byte[8]);

    public static ImmutableSortedDictionary<string, string> Labels(params (string Key, string Value)[] labels) =>
        labels.Aggregate(NoLabels, (all, label) => all.Add(label.Key, label.Value));

    public static string Reason(PlacementDecision decision, RefusalKind kind)
    {
        var refused = Assert.IsType<PlacementProtocol.Refused>(decision.Answer);
        Assert.Equal(kind, refused.Kind);
        Assert.Null(decision.Event);
        return refused.Reason;
    }
}
