using Cluster.Messages.Events;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public sealed class RemovedNodeSpecs
{
    private readonly PlacementFixture _fixture = new PlacementFixture().WithNodes(4);

    [Fact(DisplayName = "A node that is up, or holds copies, is not removed, and the refusal says what to do and of which volumes; one that is unknown is refused by name")]
    public void Refused()
    {
        for (var number = 0; number < 7; number++) _fixture.Ready($"v{number}", ("myrmidon.dev/replicas", "4"));
        Assert.Contains("Node node-1 is up: drain it", PlacementFixture.Reason(Remove("node-1"), RefusalKind.Conflict), StringComparison.Ordinal);
        Down(1);
        var reason = PlacementFixture.Reason(Remove("node-1"), RefusalKind.Conflict);
        Assert.StartsWith("Node node-1 holds copies of v0, v1, v2, v3, v4 and 2 more: ", reason, StringComparison.Ordinal);
        Assert.Contains("replace-after", reason, StringComparison.Ordinal);
        Assert.Contains("There is no node 'node-9'", PlacementFixture.Reason(Remove("node-9"), RefusalKind.NotFound), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A node that is down and holds nothing is removed, by its name or its id; it is a new one if it registers again")]
    public void Removed()
    {
        _fixture.Ready("db", ("myrmidon.dev/replicas", "3"));
        var free = _fixture.Nodes.FindIndex(node => !_fixture.State.Find("db")!.UsesNode(node.Description.Id));
        var description = PlacementFixture.Description(free);
        Down(free);
        Assert.Equal(new NodeRemoved(description.Id), Remove(description.Id.ToString()).Event);
        _fixture.Apply(Remove(description.Name).Event!);
        Assert.DoesNotContain(description.Id, _fixture.State.Nodes.Keys);
        Assert.Equal(3, _fixture.State.Nodes.Count);
        _fixture.Apply(new NodeRegistered(description));
        Assert.False(_fixture.State.Nodes[description.Id].Cordoned);
    }

    [Fact(DisplayName = "A node that is unreachable may be alive behind a cut: it is not removed before it is down, nor by its id")]
    public void Unreachable()
    {
        _fixture.Change(1, candidate => candidate with { Up = false, Unreachable = true });
        foreach (var name in new[] { "node-1", PlacementFixture.Description(1).Id.ToString() })
            Assert.Contains("Node node-1 is unreachable, and may be alive", PlacementFixture.Reason(Remove(name), RefusalKind.Conflict), StringComparison.Ordinal);
        _fixture.Change(1, candidate => candidate with { Unreachable = false });
        Assert.IsType<NodeRemoved>(Remove("node-1").Event);
    }

    [Fact(DisplayName = "Of two nodes that had one name the one that is down is removed, however often it is asked for")]
    public void Of_one_name()
    {
        var again = PlacementFixture.Description(5) with { Name = "node-1" };
        _fixture.Apply(new NodeRegistered(again));
        _fixture.Nodes.Add(new CandidateNode(again, Up: true, Cordoned: false, PlacementFixture.Report(1L << 40), Replicas: 0));
        Down(1);
        _fixture.Apply(Remove("node-1").Event!);
        _fixture.Nodes.RemoveAt(1);
        Assert.Contains(again.Id, _fixture.State.Nodes.Keys);
        PlacementFixture.Reason(Remove("node-1"), RefusalKind.Conflict);
    }

    private PlacementDecision Remove(string name) => PlacementMachine.Remove(_fixture.State, _fixture.Nodes, new PlacementProtocol.RemoveNode(name, OnlyCheck: false));

    private void Down(int node) => _fixture.Change(node, candidate => candidate with { Up = false });
}
