using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public class PlacementCopiesSpecs
{
    private readonly PlacementFixture _fixture = new();

    [Fact(DisplayName = "More copies go to nodes without one, under numbers never used before; the owner is told the spec first, then the copies")]
    public void More()
    {
        var volume = _fixture.WithNodes(4).Ready("pg", ("myrmidon.dev/replicas", "2"));
        var changed = Assert.IsType<CopiesChanged>(Change(4).Event);
        Assert.Equal(4, changed.Spec.Replicas);
        Assert.Equal([3, 4], changed.Added.Select(copy => (int)copy.Id.Number));
        Assert.Empty(changed.Added.Select(copy => copy.Node).Intersect(volume.Replicas.Select(copy => copy.Node)));
        _fixture.Apply(changed);
        var wait = new PlacementWait(volume.Spec.Id, PlacementWaitKind.Changed);
        var spec = Assert.IsType<VolumeProtocol.ChangeSpec>(Now.Order);
        Assert.Equal((4, 1UL), (spec.Spec.Replicas, spec.Revision));
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, spec)!);
        Assert.Null(PlacementMachine.Answer(_fixture.State, wait));
        var arrange = Assert.IsType<VolumeProtocol.ArrangeCopies>(Now.Order);
        Assert.Equal(changed.Added.AsEnumerable(), arrange.Added.AsEnumerable());
        Assert.Null(PlacementMachine.Confirm(_fixture.State, arrange));
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, arrange, [.. volume.Replicas, .. changed.Added])!);
        Assert.Equal(4, Assert.IsType<PlacementProtocol.Found>(PlacementMachine.Answer(_fixture.State, wait)).Volume.Replicas.Length);
        Assert.Empty(Now.Dropped);
    }

    [Fact(DisplayName = "More copies than there are nodes for are refused with every node and its reason, and nothing changes")]
    public void Too_many()
    {
        _fixture.WithNodes(5).Ready("pg", ("myrmidon.dev/replicas", "2"));
        var free = _fixture.Nodes.Where(node => Now.Replicas.All(copy => copy.Node != node.Description.Id)).Select(node => _fixture.Nodes.IndexOf(node)).ToArray();
        _fixture.Change(free[0], node => node with { Up = false });
        _fixture.Change(free[1], node => node with { Cordoned = true });
        var reason = PlacementFixture.Reason(Change(4), RefusalKind.Unavailable);
        Assert.StartsWith("To have 4 copies instead of 2, volume pg needs 2 nodes and 1 can take a copy: ", reason, StringComparison.Ordinal);
        Assert.EndsWith($"Try again when node-{free[0]} is back; 1 of 2 could be had now.", reason, StringComparison.Ordinal);
        PlacementFixture.Reason(Change(5), RefusalKind.Impossible);
        Assert.Contains($"node-{free[0]} is down", reason, StringComparison.Ordinal);
        Assert.Contains($"node-{free[1]} is cordoned", reason, StringComparison.Ordinal);
        Assert.Contains($"node-{free[2]} can", reason, StringComparison.Ordinal);
        Assert.All(Now.Replicas, copy => Assert.Contains($"{copy.NodeName} holds a copy already", reason, StringComparison.Ordinal));
        PlacementFixture.Reason(Change(6), RefusalKind.Invalid);
        Assert.Equal(2, Now.Spec.Replicas);
    }

    [Fact(DisplayName = "Of fewer copies the owner says which are left; only then the others are gone for ever, and their numbers with them")]
    public void Fewer()
    {
        var volume = _fixture.WithNodes(3).Ready("pg");
        _fixture.Apply(Change(2).Event!);
        Assert.False(_fixture.State.IsGone(new HeldCopy(volume.Spec.Id, new ReplicaId(2))));
        Confirm([volume.Replicas[0], volume.Replicas[2]]);
        Assert.Equal(["r1", "r3"], Now.Replicas.Select(copy => copy.Id.ToString()));
        Assert.True(_fixture.State.IsGone(new HeldCopy(volume.Spec.Id, new ReplicaId(2))));
        Assert.False(_fixture.State.IsGone(new HeldCopy(volume.Spec.Id, new ReplicaId(1))));
        Assert.False(_fixture.State.IsGone(new HeldCopy(volume.Spec.Id, new ReplicaId(4))));
        var again = Assert.IsType<CopiesChanged>(Change(3).Event);
        Assert.Equal(4, Assert.Single(again.Added).Id.Number);
    }

    [Fact(DisplayName = "Copies on nodes that are down or cordoned go first, then those in the fullest zone")]
    public void Order_of_going()
    {
        _fixture.WithNodes(5, number => number < 3 ? "a" : $"z{number}").Ready("pg", ("myrmidon.dev/replicas", "5"));
        var crowded = Now.Replicas.Where(copy => copy.NodeName is "node-0" or "node-1" or "node-2").Select(copy => copy.Id).ToHashSet();
        var order = Assert.IsType<CopiesChanged>(Change(3).Event).DropFirst;
        Assert.Equal(5, order.Length);
        Assert.Contains(order[0], crowded);
        Assert.Contains(order[1], crowded);
        _fixture.Change(4, node => node with { Cordoned = true });
        order = Assert.IsType<CopiesChanged>(Change(3).Event).DropFirst;
        Assert.Equal(Now.Replicas.Single(copy => copy.NodeName == "node-4").Id, order[0]);
        _fixture.Change(3, node => node with { Up = false });
        order = Assert.IsType<CopiesChanged>(Change(3).Event).DropFirst;
        Assert.Equal(Now.Replicas.Single(copy => copy.NodeName == "node-3").Id, order[0]);
    }

    [Fact(DisplayName = "One change of the number of copies at a time; fewer than a numeric failure mode demands are refused")]
    public void Refusals()
    {
        _fixture.WithNodes(4).Ready("pg", ("myrmidon.dev/failure-mode", "2"));
        Assert.Contains("more than the volume's 1 copies", PlacementFixture.Reason(Change(1), RefusalKind.Invalid), StringComparison.Ordinal);
        _fixture.Apply(Change(2).Event!);
        Assert.Contains("being given 2 copies", PlacementFixture.Reason(Change(4), RefusalKind.Conflict), StringComparison.Ordinal);
        Confirm([Now.Replicas[0], Now.Replicas[1]]);
        Assert.NotNull(Change(4).Event);
    }

    [Fact(DisplayName = "A failure mode alone is a change of the spec and of nothing else")]
    public void Failure_mode_alone()
    {
        _fixture.WithNodes(3).Ready("pg");
        var changed = Assert.IsType<VolumeRespecified>(Label("myrmidon.dev/failure-mode", "hard").Event);
        Assert.Equal((FailureModeKind.Hard, 3, 3), (changed.Spec.FailureMode, changed.Spec.Replicas, changed.Spec.InSyncMin));
        PlacementFixture.Reason(Label("myrmidon.dev/failure-mode", "4"), RefusalKind.Invalid);
    }

    [Fact(DisplayName = "A replacement under way ends with a change of the number: more copies take its new copy over, fewer leave it to the owner")]
    public void Replacement_under_way()
    {
        var volume = _fixture.WithNodes(5).Ready("pg");
        var placed = PlacementMachine.Replace(_fixture.State, _fixture.Nodes,
            new Dictionary<NodeId, TimeSpan> { [volume.Replicas[1].Node] = TimeSpan.FromDays(1) }, TimeSpan.FromMinutes(10), 4, _fixture.NewGuid)!;
        _fixture.Apply(placed);
        var more = Assert.IsType<CopiesChanged>(Change(5).Event);
        Assert.Equal([placed.Replacement.Id.Number, placed.Replacement.Id.Number + 1], more.Added.Select(copy => (int)copy.Id.Number));
        var fewer = Assert.IsType<CopiesChanged>(Change(2).Event);
        Assert.Empty(fewer.Added);
        _fixture.Apply(fewer);
        Assert.Null(Now.Replacement);
        Confirm([volume.Replicas[0], volume.Replicas[2]]);
        Assert.True(_fixture.State.IsGone(new HeldCopy(volume.Spec.Id, placed.Replacement.Id)));
    }

    [Fact(DisplayName = "Where the owner has fewer copies than the spec says, the missing ones are placed without being asked for")]
    public void Completion()
    {
        var volume = _fixture.WithNodes(3).Ready("pg", ("myrmidon.dev/replicas", "2"));
        Assert.Null(PlacementMachine.Complete(_fixture.State, _fixture.Nodes, _fixture.NewGuid));
        _fixture.Apply(Change(3).Event!);
        Assert.Null(PlacementMachine.Complete(_fixture.State, _fixture.Nodes, _fixture.NewGuid));
        Confirm(volume.Replicas);
        var missing = PlacementMachine.Complete(_fixture.State, _fixture.Nodes, _fixture.NewGuid);
        Assert.Equal(4, Assert.Single(missing!.Added).Id.Number);
    }

    private PlacedVolume Now => _fixture.State.Find("pg")!;

    private PlacementDecision Change(int copies) => Label("myrmidon.dev/replicas", $"{copies}");

    private PlacementDecision Label(string key, string value) => PlacementMachine.Change(
        _fixture.State, _fixture.Nodes, new PlacementProtocol.ChangeVolume("pg", 0, PlacementFixture.Labels((key, value))), _fixture.NewGuid);

    private void Confirm(System.Collections.Immutable.ImmutableArray<ReplicaPlacement> copies)
    {
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, Assert.IsType<VolumeProtocol.ChangeSpec>(Now.Order))!);
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, Assert.IsType<VolumeProtocol.ArrangeCopies>(Now.Order), copies)!);
    }
}
