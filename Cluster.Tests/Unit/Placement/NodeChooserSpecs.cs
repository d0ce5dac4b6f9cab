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

    [Fact(DisplayName = "Too few copies for as long as a node is down or restarts: asked again it may be had, and how many could be had now is told")]
    public void Away_for_now()
    {
        _fixture.WithNodes(3);
        _fixture.Change(2, node => node with { Up = false });
        var choice = ChoiceOf(3);
        Assert.True(choice.Waiting);
        Assert.Equal("Volume pg needs 3 nodes and 2 can take a copy: node-0 can; node-1 can; node-2 is down. Try again when node-2 is back; 2 of 3 could be had now.", choice.Refusal);
        Assert.False(ChoiceOf(4).Waiting);
        _fixture.Change(2, node => node with { Report = null });
        Assert.True(ChoiceOf(3).Waiting);
        _fixture.Change(2, node => node with { Up = true, Cordoned = true, ForRestart = true });
        Assert.True(ChoiceOf(3).Waiting);
        _fixture.Change(1, node => node with { Up = false });
        Assert.Contains("Try again when some of node-1, node-2 are back; 1 of 3 could be had now.", ChoiceOf(3).Refusal, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A node that is down and would not do, or is cordoned, or whose name another one has, is not waited for")]
    public void Not_waited_for()
    {
        _fixture.WithNodes(3);
        _fixture.Change(2, node => node with { Up = false, Report = PlacementFixture.Report(1) });
        Assert.False(ChoiceOf(3).Waiting);
        _fixture.Change(2, node => node with { Report = PlacementFixture.Report(1L << 40), Cordoned = true });
        Assert.False(ChoiceOf(3).Waiting);
        _fixture.Change(2, node => node with { Cordoned = false, Description = node.Description with { Name = "node-1" } });
        Assert.False(ChoiceOf(3).Waiting);
    }

    private NodeChoice ChoiceOf(int copies) => NodeChooser.Choose("Volume pg", copies, ZoneSpread.Preferred, _fixture.Nodes, [], 1UL << 30);

    private List<string> Choose(int copies, ZoneSpread spread, ImmutableHashSet<NodeId>? taken = null) =>
        [.. NodeChooser.Choose("Volume pg", copies, spread, _fixture.Nodes, taken ?? [], 1UL << 30).Nodes.Select(node => node.Name)];
}
