using Cluster.Messages.Events;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

/// <summary>A smaller size in the catalogue: only if allowed, and only once the owner agreed.</summary>
public sealed class PlacementResizeSpecs
{
    private const ulong Smaller = 1UL << 29;

    private readonly PlacementFixture _fixture = new();

    private PlacementDecision Change(ulong sizeBytes, bool allow, params (string Key, string Value)[] labels) => PlacementMachine.Change(
        _fixture.State, _fixture.Nodes, new PlacementProtocol.ChangeVolume("pg", sizeBytes, PlacementFixture.Labels(labels), AllowShrink: allow), _fixture.NewGuid);

    private VolumeProtocol.ChangeSpec Order => Assert.IsType<VolumeProtocol.ChangeSpec>(_fixture.State.Find("pg")!.Order);

    [Fact(DisplayName = "A smaller size counts once the owner confirmed it; until then the volume has the one it had, and no other change is taken")]
    public void Confirmed()
    {
        var volume = _fixture.WithNodes(3).Ready("pg");
        Assert.Contains("--allow-shrink", PlacementFixture.Reason(Change(Smaller, allow: false), RefusalKind.Invalid), StringComparison.Ordinal);
        var decision = Change(Smaller, allow: true);
        _fixture.Apply(Assert.IsType<ShrinkAsked>(decision.Event));
        Assert.Equal((Smaller, true, volume.SpecRevision + 1), (Order.Spec.SizeBytes, Order.AllowShrink, Order.Revision));
        Assert.Equal(1UL << 30, _fixture.State.Find("pg")!.Spec.SizeBytes);
        Assert.Null(PlacementMachine.Answer(_fixture.State, decision.Wait!));
        Assert.Null(Change(Smaller, allow: true).Event);
        PlacementFixture.Reason(Change(1UL << 31, allow: false), RefusalKind.Conflict);
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, Order)!);
        Assert.Equal(Smaller, Assert.IsType<PlacementProtocol.Found>(PlacementMachine.Answer(_fixture.State, decision.Wait!)).Volume.Spec.SizeBytes);
        Assert.Null(_fixture.State.Find("pg")!.Order);
    }

    [Fact(DisplayName = "A shrink that the owner refused is withdrawn by telling it the present size under a newer revision, which overtakes any order that comes late")]
    public void Withdrawn()
    {
        _fixture.WithNodes(3).Ready("pg");
        _fixture.Apply(Change(Smaller, allow: true).Event!);
        var order = Order;
        _fixture.Apply(Assert.IsType<ShrinkWithdrawn>(PlacementMachine.Withdraw(_fixture.State, order)));
        Assert.Equal((1UL << 30, false, order.Revision + 1), (Order.Spec.SizeBytes, Order.AllowShrink, Order.Revision));
        Assert.Null(PlacementMachine.Confirm(_fixture.State, order));
        Assert.Null(PlacementMachine.Withdraw(_fixture.State, order));
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, Order)!);
        Assert.Null(_fixture.State.Find("pg")!.Order);
        Assert.IsType<ShrinkAsked>(Change(Smaller, allow: true).Event);
    }

    [Fact(DisplayName = "A volume does not shrink while its copies change, nor in one request with them; a deletion goes first")]
    public void One_after_the_other()
    {
        _fixture.WithNodes(3).Ready("pg");
        PlacementFixture.Reason(Change(Smaller, allow: true, ("myrmidon.dev/replicas", "2")), RefusalKind.Invalid);
        _fixture.Apply(Change(Smaller, allow: true).Event!);
        _fixture.Apply(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg")).Event!);
        Assert.IsType<VolumeProtocol.Delete>(_fixture.State.Find("pg")!.Order);
        _fixture.Apply(PlacementMachine.Withdraw(_fixture.State, _fixture.State.Find("pg")!.Order!)!);
        Assert.True(Order.AllowShrink);
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, Order)!);
        _fixture.Apply(Change(0, allow: false, ("myrmidon.dev/replicas", "2")).Event!);
        PlacementFixture.Reason(Change(Smaller / 2, allow: true), RefusalKind.Conflict);
    }
}
