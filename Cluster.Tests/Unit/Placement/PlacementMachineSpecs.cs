using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

public class PlacementMachineSpecs
{
    private readonly PlacementFixture _fixture = new();

    [Fact(DisplayName = "Volumes get ids from 1 on, copies on distinct nodes, and the owner is told until it confirms")]
    public void Create()
    {
        _fixture.WithNodes(3);
        var decision = _fixture.Create("pg", 5000, ("myrmidon.dev/replicas", "3"));
        var placed = Assert.IsType<VolumePlaced>(decision.Event);
        Assert.Equal((1UL, 8192UL, 3), (placed.Spec.Id.Value, placed.Spec.SizeBytes, placed.Spec.Replicas));
        Assert.Equal([1, 2, 3], placed.Replicas.Select(replica => (int)replica.Id.Number));
        Assert.Equal(3, placed.Replicas.Select(replica => replica.Node).Distinct().Count());
        Assert.Equal(3, placed.Replicas.Select(replica => replica.Identity).Distinct().Count());
        var order = Assert.IsType<VolumeProtocol.Create>(_fixture.State.Find("pg")!.Order);
        Assert.Null(PlacementMachine.Answer(_fixture.State, decision.Wait!));
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, order)!);
        Assert.IsType<PlacementProtocol.Found>(PlacementMachine.Answer(_fixture.State, decision.Wait!));
        Assert.Null(_fixture.State.Find("pg")!.Order);
        Assert.Null(PlacementMachine.Confirm(_fixture.State, order));
        Assert.Equal(2UL, _fixture.Create("next").Wait!.Volume.Value);
    }

    [Fact(DisplayName = "The same request again waits for the same volume; another spec under the name is a conflict")]
    public void Idempotence()
    {
        _fixture.WithNodes(3);
        var first = _fixture.Create("pg");
        var again = _fixture.Create("pg");
        Assert.Null(again.Event);
        Assert.Equal(first.Wait, again.Wait);
        Assert.Contains("exists", PlacementFixture.Reason(_fixture.Create("pg", 1UL << 31), RefusalKind.Conflict),
            StringComparison.Ordinal);
        Assert.Contains("exists", PlacementFixture.Reason(_fixture.Create("pg", 1UL << 30, ("a", "b")), RefusalKind.Conflict),
            StringComparison.Ordinal);
        PlacementFixture.Reason(_fixture.Create("pg", 1UL << 30, ("myrmidon.dev/replicas", "2")), RefusalKind.Conflict);
    }

    [Fact(DisplayName = "An impossible request is refused naming every node and the reason")]
    public void Impossible()
    {
        _fixture.WithNodes(5);
        _fixture.Change(0, node => node with { Up = false });
        _fixture.Change(1, node => node with { Cordoned = true });
        _fixture.Change(2, node => node with { Report = PlacementFixture.Report(1 << 20) });
        var reason = PlacementFixture.Reason(_fixture.Create("pg", 1, ("myrmidon.dev/replicas", "4")), RefusalKind.Impossible);
        foreach (var part in new[] { "node-0 is down", "node-1 is cordoned", "node-2 has 1 MiB free", "node-3 can", "node-4 can",
            "4 nodes", "2 can" })
            Assert.Contains(part, reason, StringComparison.Ordinal);
        // With the one that is down there would be enough for three.
        PlacementFixture.Reason(_fixture.Create("pg", 1, ("myrmidon.dev/replicas", "3")), RefusalKind.Unavailable);
    }

    [Fact(DisplayName = "While a node has not reported yet the request is to be sent again, not impossible")]
    public void Not_reported()
    {
        _fixture.WithNodes(3);
        _fixture.Change(1, node => node with { Report = null });
        Assert.Contains("node-1 has not reported", PlacementFixture.Reason(_fixture.Create("pg"), RefusalKind.Unavailable),
            StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Before a node has registered a request says so, and is to be sent again")]
    public void No_nodes() =>
        Assert.Contains("no node is known", PlacementFixture.Reason(_fixture.Create("pg"), RefusalKind.Unavailable),
            StringComparison.Ordinal);

    [Fact(DisplayName = "Left to the cluster, copies are three, or as many as there are nodes")]
    public void Default_copies()
    {
        Assert.Equal(1, ((VolumePlaced)_fixture.WithNodes(1).Create("a").Event!).Spec.Replicas);
        Assert.Equal(3, ((VolumePlaced)_fixture.WithNodes(5).Create("b").Event!).Spec.Replicas);
    }

    [Theory(DisplayName = "Requests that are wrong in themselves are refused with what would be right")]
    [InlineData("Pg", 1, "lower-case")]
    [InlineData("pg", 0, "size 0")]
    [InlineData("pg", ulong.MaxValue / 2, "too large")]
    public void Invalid(string name, ulong sizeBytes, string says)
    {
        _fixture.WithNodes(3);
        Assert.Contains(says, PlacementFixture.Reason(_fixture.Create(name, sizeBytes), RefusalKind.Invalid), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A volume may grow and change labels, and does not shrink by mistake")]
    public void Change()
    {
        _fixture.WithNodes(3).Ready("pg");
        var change = PlacementMachine.Change(_fixture.State, _fixture.Nodes, new PlacementProtocol.ChangeVolume(
            "default/pg", 2UL << 30, PlacementFixture.Labels(("myrmidon.dev/hold-time", "10s"))), _fixture.NewGuid);
        _fixture.Apply(change.Event!);
        Assert.Null(PlacementMachine.Answer(_fixture.State, change.Wait!));
        var order = Assert.IsType<VolumeProtocol.ChangeSpec>(_fixture.State.Find("pg")!.Order);
        Assert.Equal((2UL << 30, 10_000), (order.Spec.SizeBytes, order.Spec.HoldMs));
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, order)!);
        Assert.NotNull(PlacementMachine.Answer(_fixture.State, change.Wait!));
        var same = PlacementMachine.Change(_fixture.State, _fixture.Nodes, new PlacementProtocol.ChangeVolume("pg", 2UL << 30, PlacementFixture.NoLabels), _fixture.NewGuid);
        Assert.Null(same.Event);
        var shrink = PlacementMachine.Change(
            _fixture.State, _fixture.Nodes, new PlacementProtocol.ChangeVolume("pg", 1UL << 30, PlacementFixture.NoLabels), _fixture.NewGuid);
        Assert.Contains("shrink", PlacementFixture.Reason(shrink, RefusalKind.Invalid), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A change or deletion that rests on another revision than the present one is refused as stale, and does nothing")]
    public void Stale_revisions()
    {
        var seen = new VolumeRevision(_fixture.WithNodes(3).Ready("pg").Revision, 5);
        var change = new PlacementProtocol.ChangeVolume("pg", 2UL << 30, PlacementFixture.NoLabels, seen);
        _fixture.Apply(PlacementMachine.Change(_fixture.State, _fixture.Nodes, change, _fixture.NewGuid).Event!);
        Assert.NotEqual(seen.Catalogue, _fixture.State.Find("pg")!.Revision);
        Assert.Contains(seen.ToString(), PlacementFixture.Reason(PlacementMachine.Change(_fixture.State, _fixture.Nodes, change, _fixture.NewGuid), RefusalKind.Stale),
            StringComparison.Ordinal);
        var delete = new PlacementProtocol.DeleteVolume("pg", seen);
        PlacementFixture.Reason(PlacementMachine.Delete(_fixture.State, delete), RefusalKind.Stale);
        var now = seen with { Catalogue = _fixture.State.Find("pg")!.Revision };
        Assert.NotNull(PlacementMachine.Delete(_fixture.State, delete with { Expected = now }).Event);
    }

    [Fact(DisplayName = "A change or deletion of a volume whose name another one has by now finds none")]
    public void Another_of_that_name()
    {
        var volume = _fixture.WithNodes(3).Ready("pg").Spec.Id;
        var other = new VolumeId(volume.Value + 1);
        var change = new PlacementProtocol.ChangeVolume("pg", 2UL << 30, PlacementFixture.NoLabels, Id: other);
        Assert.Contains(other.ToString(), PlacementFixture.Reason(PlacementMachine.Change(_fixture.State, _fixture.Nodes, change, _fixture.NewGuid), RefusalKind.NotFound),
            StringComparison.Ordinal);
        PlacementFixture.Reason(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg", Force: true, Id: other)), RefusalKind.NotFound);
        Assert.NotNull(PlacementMachine.Change(_fixture.State, _fixture.Nodes, change with { Id = volume }, _fixture.NewGuid).Event);
        Assert.NotNull(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg", Id: volume)).Event);
    }

    [Fact(DisplayName = "A volume has no tombstone before its owner agreed; then its name is free and its id never again")]
    public void Delete()
    {
        var volume = _fixture.WithNodes(3).Ready("pg");
        var delete = PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg"));
        _fixture.Apply(delete.Event!);
        var order = Assert.IsType<VolumeProtocol.Delete>(_fixture.State.Volumes[volume.Spec.Id].Order);
        Assert.NotNull(_fixture.State.Find("pg"));
        Assert.DoesNotContain(volume.Spec.Id, _fixture.State.Tombstones);
        Assert.Null(PlacementMachine.Answer(_fixture.State, delete.Wait!));
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, order)!);
        Assert.IsType<PlacementProtocol.Removed>(PlacementMachine.Answer(_fixture.State, delete.Wait!));
        Assert.Contains(volume.Spec.Id, _fixture.State.Tombstones);
        Assert.Null(_fixture.State.Find("pg"));
        Assert.Equal(2UL, _fixture.Create("pg").Wait!.Volume.Value);
        PlacementFixture.Reason(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("gone")), RefusalKind.NotFound);
    }

    [Fact(DisplayName = "A deletion that the owner refused is withdrawn, and the volume may be changed and deleted again")]
    public void Withdrawn_deletion()
    {
        _fixture.WithNodes(3).Ready("pg");
        _fixture.Apply(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg")).Event!);
        var order = Assert.IsType<VolumeProtocol.Delete>(_fixture.State.Find("pg")!.Order);
        Assert.Null(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg")).Event);
        _fixture.Apply(PlacementMachine.Withdraw(_fixture.State, order)!);
        Assert.Null(_fixture.State.Find("pg")!.Order);
        Assert.Null(PlacementMachine.Withdraw(_fixture.State, order));
        Assert.Null(PlacementMachine.Confirm(_fixture.State, order));
        Assert.NotNull(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg")).Event);
    }

    [Fact(DisplayName = "Force overtakes a deletion that waits without it, and a late refusal of that one means nothing")]
    public void Forced_deletion()
    {
        _fixture.WithNodes(3).Ready("pg");
        _fixture.Apply(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg")).Event!);
        var gentle = (VolumeProtocol.Delete)_fixture.State.Find("pg")!.Order!;
        _fixture.Apply(PlacementMachine.Delete(_fixture.State, new PlacementProtocol.DeleteVolume("pg", Force: true)).Event!);
        Assert.True(((VolumeProtocol.Delete)_fixture.State.Find("pg")!.Order!).Force);
        Assert.Null(PlacementMachine.Withdraw(_fixture.State, gentle));
    }

    [Fact(DisplayName = "A tombstone of the first versions, journaled before the owner agreed, is still carried out")]
    public void Old_tombstones()
    {
        var volume = _fixture.WithNodes(3).Ready("pg");
        _fixture.Apply(new VolumeRemoved(volume.Spec.Id));
        Assert.Null(_fixture.State.Find("pg"));
        var order = Assert.IsType<VolumeProtocol.Delete>(_fixture.State.Volumes[volume.Spec.Id].Order);
        Assert.True(order.Force);
        _fixture.Apply(Assert.IsType<RemovalConfirmed>(PlacementMachine.Confirm(_fixture.State, order)));
        Assert.Empty(_fixture.State.Volumes);
    }

    [Fact(DisplayName = "A caller that waits for a volume which is deleted meanwhile is told so")]
    public void Deleted_while_created()
    {
        var decision = _fixture.WithNodes(3).Create("pg");
        _fixture.Apply(new VolumeRemoved(decision.Wait!.Volume));
        var refused = Assert.IsType<PlacementProtocol.Refused>(PlacementMachine.Answer(_fixture.State, decision.Wait));
        Assert.Equal(RefusalKind.Conflict, refused.Kind);
    }

    [Fact(DisplayName = "A lost copy is placed anew after its wait, on a node without one, under a number never used before")]
    public void Replacement()
    {
        var volume = _fixture.WithNodes(4).Ready("pg", ("myrmidon.dev/replace-after", "60s"));
        var lost = volume.Replicas[1];
        _fixture.Change(_fixture.Nodes.FindIndex(node => node.Description.Id == lost.Node), node => node with { Up = false });
        Assert.Null(Replace(lost.Node, TimeSpan.FromSeconds(59)));
        var placed = Replace(lost.Node, TimeSpan.FromSeconds(60));
        Assert.Equal((lost.Id, (ushort)4), (placed!.Lost, placed.Replacement.Id.Number));
        Assert.DoesNotContain(placed.Replacement.Node, volume.Replicas.Select(replica => replica.Node));
        _fixture.Apply(placed);
        Assert.Null(Replace(lost.Node, TimeSpan.FromHours(1)));
        var order = Assert.IsType<VolumeProtocol.ReplaceReplica>(_fixture.State.Find("pg")!.Order);
        _fixture.Apply(PlacementMachine.Confirm(_fixture.State, order)!);
        var after = _fixture.State.Find("pg")!;
        Assert.DoesNotContain(lost, after.Replicas);
        Assert.Contains(placed.Replacement, after.Replicas);
        Assert.Equal(4, after.LastReplica);
    }

    [Fact(DisplayName = "A single copy, and a copy with no other node to go to, are not replaced")]
    public void No_replacement()
    {
        var single = _fixture.WithNodes(3).Ready("one", ("myrmidon.dev/replicas", "1"));
        var full = _fixture.Ready("pg");
        Assert.Null(Replace(single.Replicas[0].Node, TimeSpan.FromDays(1)));
        Assert.Null(Replace(full.Replicas[0].Node, TimeSpan.FromDays(1)));
    }

    [Fact(DisplayName = "No more copies than the limit are on their way at one time")]
    public void Replacements_are_bounded()
    {
        _fixture.WithNodes(4);
        _fixture.Change(3, node => node with { Up = false });
        for (var index = 0; index < 6; index++) _fixture.Ready($"pg-{index}");
        _fixture.Change(3, node => node with { Up = true });
        var node = _fixture.Nodes[0].Description.Id;
        for (var index = 0; index < 4; index++) _fixture.Apply(Replace(node, TimeSpan.FromDays(1))!);
        Assert.Null(Replace(node, TimeSpan.FromDays(1)));
    }

    [Fact(DisplayName = "A name belongs to the node that is up with it; a new data directory at the same address takes the node over")]
    public void Registration()
    {
        _fixture.WithNodes(1);
        var stranger = PlacementFixture.Description(7) with { Name = "node-0" };
        var report = PlacementFixture.Report(1);
        var refused = PlacementMachine.Register(_fixture.State, _fixture.Nodes, new PlacementProtocol.RegisterNode(stranger, report));
        PlacementFixture.Reason(refused, RefusalKind.Conflict);
        var known = PlacementMachine.Register(
            _fixture.State, _fixture.Nodes, new PlacementProtocol.RegisterNode(PlacementFixture.Description(0), report));
        Assert.Null(known.Event);
        var heir = stranger with { AkkaAddress = PlacementFixture.Description(0).AkkaAddress };
        _fixture.Apply(PlacementMachine.Register(_fixture.State, _fixture.Nodes, new PlacementProtocol.RegisterNode(heir, report)).Event!);
        Assert.Equal("", _fixture.State.Nodes[PlacementFixture.Description(0).Id].Description.AkkaAddress);
        Assert.Equal(heir, _fixture.State.Nodes[heir.Id].Description);
    }

    private ReplacementPlaced? Replace(NodeId node, TimeSpan down) => PlacementMachine.Replace(
        _fixture.State, _fixture.Nodes, new Dictionary<NodeId, TimeSpan> { [node] = down }, TimeSpan.FromMinutes(10), 4, _fixture.NewGuid);
}
