using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public sealed class PlacementCloneSpecs
{
    private static readonly VolumeSource Source = new(new VolumeId(1), 17, "pg", "monday");
    private readonly PlacementFixture _placement = new PlacementFixture().WithNodes(4);

    [Theory(DisplayName = "A clone's copies are on nodes of its origin, as far as those can take them; the others anywhere")]
    [InlineData(1, "node-2", "")]
    [InlineData(2, "node-2 node-3", "")]
    [InlineData(3, "node-2 node-3", "node-0 node-1")]
    public void Near_its_origin(int copies, string all, string oneOf)
    {
        var placed = Assert.IsType<VolumePlaced>(Create("copy", copies, 2, 3).Event);
        var names = placed.Replicas.Select(replica => replica.NodeName).ToArray();
        Assert.Equal(copies, names.Length);
        if (copies == 1) Assert.Contains(names[0], (string[])["node-2", "node-3"]);
        else Assert.True(all.Split(' ').All(names.Contains), string.Join(' ', names));
        if (oneOf.Length > 0) Assert.Contains(names[2], oneOf.Split(' '));
        Assert.Equal(Source, placed.Spec.Source);
    }

    [Fact(DisplayName = "A clone none of whose origin's nodes can take a copy is refused with their names")]
    public void No_node_of_the_origin()
    {
        _placement.Change(2, node => node with { Cordoned = true });
        _placement.Change(3, node => node with { Up = false });
        PlacementFixture.Reason(Create("copy", 1, 2, 3), RefusalKind.Unavailable);
        _placement.Change(3, node => node with { Up = true, Cordoned = true });
        var reason = PlacementFixture.Reason(Create("copy", 1, 2, 3), RefusalKind.Impossible);
        Assert.Contains("must begin on a node that holds an in-sync copy of that (node-2, node-3)", reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The same clone is found again; another origin, or none, is a conflict")]
    public void Again()
    {
        _placement.Apply(new VolumeConfirmed(Create("copy", 2, 2, 3).Wait!.Volume));
        Assert.Null(Create("copy", 2, 2, 3).Event);
        Assert.NotNull(Create("copy", 2, 2, 3).Wait);
        var reason = PlacementFixture.Reason(Create("copy", 2, Source with { Snapshot = "tuesday", Sequence = 20 }, 2, 3), RefusalKind.Conflict);
        Assert.Contains("another origin", reason, StringComparison.Ordinal);
    }

    private PlacementDecision Create(string name, int copies, params int[] near) => Create(name, copies, Source, near);

    private PlacementDecision Create(string name, int copies, VolumeSource source, params int[] near)
    {
        var labels = PlacementFixture.Labels((VolumeLabels.Replicas, $"{copies}"));
        var command = new PlacementProtocol.CreateVolume("default", name, 1UL << 30, labels, source, [.. near.Select(number => PlacementFixture.Description(number).Id)]);
        var decision = PlacementMachine.Create(_placement.State, _placement.Nodes, command, _placement.NewGuid);
        if (decision.Event is not null) _placement.Apply(decision.Event);
        return decision;
    }
}
