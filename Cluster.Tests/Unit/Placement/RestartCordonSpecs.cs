using Cluster.Messages.Events;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

/// <summary>A cordon for a restart beside an operator's, by the machine and the journal's fold alone.</summary>
public sealed class RestartCordonSpecs
{
    private readonly PlacementFixture _fixture = new PlacementFixture().WithNodes(2);

    [Fact(DisplayName = "A cordon for a restart begins once, ends once, outlives a new registration of the node, and concerns no other node")]
    public void Begins_and_ends()
    {
        Assert.IsType<NodeCordonedForRestart>(Do(begins: true));
        Assert.Equal((true, true), Node);
        Assert.Null(Do(begins: true));
        _fixture.Apply(new NodeRegistered(PlacementFixture.Description(0, "another-zone")));
        Assert.Equal((true, true), Node);
        Assert.False(_fixture.State.Nodes[PlacementFixture.Description(1).Id].Cordoned);
        Assert.IsType<NodeCordoned>(Do(begins: false));
        Assert.Equal((false, false), Node);
        Assert.Null(Do(begins: false));
    }

    [Fact(DisplayName = "An operator's cordon is not touched by a restart, and one that comes during a restart stays after it")]
    public void An_operators_cordon_stays()
    {
        Operator(true);
        Assert.Null(Do(begins: true));
        Assert.Null(Do(begins: false));
        Assert.Equal((true, false), Node);
        Operator(false);
        Assert.NotNull(Do(begins: true));
        Operator(true);
        Assert.Equal((true, false), Node);
        Assert.Null(Do(begins: false));
        Assert.True(Node.Cordoned);
    }

    [Fact(DisplayName = "An operator takes a cordon for a restart back; a node that there is not is refused by name")]
    public void Uncordon()
    {
        Do(begins: true);
        Operator(false);
        Assert.Equal((false, false), Node);
        var refused = Assert.IsType<PlacementProtocol.Refused>(PlacementMachine.Cordon(_fixture.State, new PlacementProtocol.CordonForRestart("node-9", true)).Answer);
        Assert.Contains("node-9", refused.Reason, StringComparison.Ordinal);
    }

    private (bool Cordoned, bool ForRestart) Node
    {
        get
        {
            var node = _fixture.State.Nodes[PlacementFixture.Description(0).Id];
            return (node.Cordoned, node.ForRestart);
        }
    }

    private PlacementEvent? Do(bool begins) => Applied(PlacementMachine.Cordon(_fixture.State, new PlacementProtocol.CordonForRestart("node-0", begins)));

    private void Operator(bool cordoned) => Applied(PlacementMachine.Cordon(_fixture.State, new PlacementProtocol.CordonNode("node-0", cordoned)));

    private PlacementEvent? Applied(PlacementDecision decision)
    {
        if (decision.Event is { } e) _fixture.Apply(e);
        return decision.Event;
    }
}
