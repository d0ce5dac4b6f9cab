using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

/// <summary>What a node may promise. The fixture's nodes have 1 TiB each.</summary>
public sealed class OverCommitSpecs
{
    private const ulong TiB = 1UL << 40;

    private readonly PlacementFixture _fixture = new();

    private void Limit(int node, int percent, ulong provisionedBytes = 0) => _fixture.Change(node, known => known with
    {
        Report = known.Report! with { OverCommitPercent = percent },
        ProvisionedBytes = provisionedBytes,
    });

    [Fact(DisplayName = "Without a limit a node promises any size; with one, to the byte as much as that")]
    public void To_the_byte()
    {
        _fixture.WithNodes(3);
        Assert.NotNull(_fixture.Create("huge", 250 * TiB).Event);
        for (var node = 0; node < 3; node++) Limit(node, 200, TiB);
        Assert.NotNull(_fixture.Create("fits", TiB).Event);
        var refusal = PlacementFixture.Reason(_fixture.Create("more", TiB + 4096), RefusalKind.Impossible);
        Assert.Contains("node-1 has promised 1048576 MiB, and 1048576 MiB more are beyond its limit of 2097152 MiB (200 % of its 1048576 MiB)", refusal, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Copies go to the nodes that may promise them")]
    public void Others_take_it()
    {
        _fixture.WithNodes(4);
        Limit(1, 100, TiB / 2);
        var placed = _fixture.Create("pg", TiB).Wait!.Volume;
        Assert.DoesNotContain("node-1", _fixture.State.Volumes[placed].Replicas.Select(copy => copy.NodeName));
    }

    [Fact(DisplayName = "A volume grows only within the limits of all nodes with a copy; a smaller volume and other labels are no matter")]
    public void Growth()
    {
        var volume = _fixture.WithNodes(3).Ready("pg");
        Limit(2, 100, TiB - (1UL << 30));
        Assert.NotNull(Change(2UL << 30).Event);
        var refusal = PlacementFixture.Reason(Change(3UL << 30), RefusalKind.Impossible);
        Assert.Contains($"can't grow from {volume.Spec.SizeBytes} B to {3UL << 30} B: node-2 has promised", refusal, StringComparison.Ordinal);
        Limit(2, 50, TiB);
        Assert.NotNull(Change(0, ("tier", "gold")).Event);
        Assert.NotNull(Change(1UL << 29).Event);

        PlacementDecision Change(ulong sizeBytes, params (string Key, string Value)[] labels) => PlacementMachine.Change(
            _fixture.State, _fixture.Nodes, new PlacementProtocol.ChangeVolume("pg", sizeBytes, PlacementFixture.Labels(labels), AllowShrink: true), _fixture.NewGuid);
    }

    [Fact(DisplayName = "More copies that a user asks for count against the limit, those that are made anew for a lost node do not")]
    public void Redundancy_goes_first()
    {
        var volume = _fixture.WithNodes(4).Ready("pg", ("myrmidon.dev/replicas", "2"), ("myrmidon.dev/replace-after", "60s"));
        for (var node = 0; node < 4; node++) Limit(node, 100, TiB);
        var more = new PlacementProtocol.ChangeVolume("pg", 0, PlacementFixture.Labels(("myrmidon.dev/replicas", "3")));
        PlacementFixture.Reason(PlacementMachine.Change(_fixture.State, _fixture.Nodes, more, _fixture.NewGuid), RefusalKind.Impossible);
        var down = new Dictionary<Messages.Model.NodeId, TimeSpan> { [volume.Replicas[0].Node] = TimeSpan.FromHours(1) };
        Assert.NotNull(PlacementMachine.Replace(_fixture.State, _fixture.Nodes, down, TimeSpan.Zero, 1, _fixture.NewGuid));
    }

    [Fact(DisplayName = "What is promised on a node is the size of every volume with a copy there, also of one on its way, and never runs over")]
    public void Sums()
    {
        var volume = _fixture.WithNodes(4).Ready("pg", ("myrmidon.dev/replicas", "1"));
        var node = volume.Replicas[0].Node;
        Assert.Equal(1UL << 30, NodeBoard.ProvisionedOn(_fixture.State, node));
        _fixture.Apply(new Messages.Events.ReplacementPlaced(volume.Spec.Id, volume.Replicas[0].Id,
            new(new(2), _fixture.Nodes.First(other => other.Description.Id != node).Description.Id, "x", Guid.Empty)));
        Assert.Equal(2, _fixture.Nodes.Count(known => NodeBoard.ProvisionedOn(_fixture.State, known.Description.Id) == 1UL << 30));
        for (var count = 0; count < 2100; count++) _fixture.Create($"v{count}", Messages.Model.Limits.VolumeBytesMax, ("myrmidon.dev/replicas", "4"));
        Assert.Equal(ulong.MaxValue, NodeBoard.ProvisionedOn(_fixture.State, node));
    }
}
