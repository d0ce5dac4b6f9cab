using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public class NodeChooserSpecs
{
    private readonly PlacementFixture _fixture = new();

    [Fact(DisplayName = "Nodes with more free bytes per copy come first")]
    public void By_free_bytes()
    {
        _fixture.WithNodes(3);
        _fixture.Change(0, node => node with { Report = PlacementFixture.Report(300L << 30) });
        _fixture.Change(1, node => node with { Report = PlacementFixture.Report(400L << 30), Replicas = 1 });
        _fixture.Change(2, node => node with { Report = PlacementFixture.Report(200L << 30), Replicas = 9 });
        Assert.Equal(["node-0", "node-1"], Choose(2, ZoneSpread.Preferred));
    }

    [Fact(DisplayName = "Copies go to as many zones as there are")]
    public void Spread_over_zones()
    {
        _fixture.WithNodes(4, number => number < 3 ? "a" : "b");
        var chosen = Choose(2, ZoneSpread.Preferred);
        Assert.Contains("node-3", chosen);
        Assert.Equal(3, Choose(3, ZoneSpread.Preferred).Count);
        Assert.Empty(Choose(3, ZoneSpread.Required));
        Assert.Equal(2, Choose(2, ZoneSpread.Required).Count);
    }

    [Fact(DisplayName = "A replacement avoids the zones of the copies that stay")]
    public void Replacement_zone()
    {
        _fixture.WithNodes(4, number => number is 0 or 2 ? "a" : "b");
        var taken = ImmutableHashSet.Create(_fixture.Nodes[0].Description.Id);
        Assert.Contains(Choose(1, ZoneSpread.Required, taken).Single(), new[] { "node-1", "node-3" });
    }

    [Fact(DisplayName = "Many volumes spread evenly over equal nodes")]
    public void Even_load()
    {
        _fixture.WithNodes(5);
        for (var volume = 0; volume < 50; volume++)
        {
            foreach (var name in Choose(3, ZoneSpread.Preferred))
                _fixture.Change(name[^1] - '0', node => node with { Replicas = node.Replicas + 1 });
        }
        Assert.All(_fixture.Nodes, node => Assert.Equal(30, node.Replicas));
    }

    private List<string> Choose(int copies, ZoneSpread spread, ImmutableHashSet<NodeId>? taken = null) =>
        [.. NodeChooser.Choose("Volume pg", copies, spread, _fixture.Nodes, taken ?? [], 1UL << 30).Nodes.Select(node => node.Name)];
}
