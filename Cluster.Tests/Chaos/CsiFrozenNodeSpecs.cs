using System.Diagnostics;
using System.Globalization;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos;

/// <summary>A volume leaves a node that is frozen while it uses it.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class CsiFrozenNodeSpecs(ITestOutputHelper output)
{
    private const int Stop = 19;

    /// <summary>Far above what it takes: only what waits for ever takes longer.</summary>
    private static readonly TimeSpan WrittenMax = TimeSpan.FromSeconds(30);

    [Theory(DisplayName = "A volume that is in use on a frozen node is published to another node and written there soon, in one call, also where that node owns it or has the catalogue; when it wakes, its writes are refused")]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Frozen(bool hasCatalogue, bool isOwner)
    {
        await using var cluster = await LocalCluster.StartAsync();
        var status = await LocalCluster.GetStatusAsync(cluster.Nodes[0]);
        var old = cluster.Nodes.First(node => node.Name == status.PlacementHost == hasCatalogue);
        var next = cluster.Other(old.Name);
        using var client = new CsiClient(Path.Combine(next.Data, "csi.sock"));
        var volume = (await client.Controller.CreateVolumeAsync(CsiNode.CreateRequest("pg"))).Volume.VolumeId;
        await PublishAsync(client, volume, old.Name);
        await OwnedAsync(cluster, volume, isOwner ? old.Name : next.Name);
        using var user = await NbdClient.ConnectAsync(new Uri($"{old.Nbd}/{volume}"), CancellationToken.None);
        await user.WriteAsync(0, Filled(1), CancellationToken.None);
        await cluster.KillAsync(old.Name, Stop);
        var watch = Stopwatch.StartNew();
        await PublishAsync(client, volume, next.Name);
        var published = watch.Elapsed;
        using var writer = await NbdClient.ConnectAsync(new Uri($"{next.Nbd}/{volume}"), CancellationToken.None);
        await writer.WriteAsync(0, Filled(2), CancellationToken.None);
        // What waits for the silence that a doubt needs may be answered otherwise just before; without doubts it is never counted.
        await LocalCluster.WaitForAsync(() => DoubtsTrueAsync(cluster, old.Name), doubts => doubts > 0, "no node acted on a doubt");
        output.WriteLine($"catalogue frozen too: {hasCatalogue}, owner too: {isOwner}; published after {published.TotalSeconds:0.0} s, written after {watch.Elapsed.TotalSeconds:0.0} s");
        var late = user.WriteAsync(0, Filled(3), CancellationToken.None);
        await cluster.KillAsync(old.Name, NodeProcess.Continue);
        await Assert.ThrowsAnyAsync<IOException>(() => late);
        var read = new byte[4096];
        await writer.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(Filled(2), read);
        // The note of how, which is not waited for while the catalogue hangs, is there in the end, and the same call finds what it made.
        await LocalCluster.WaitForVolumeAsync(next, volume, $"noted as published on {next.Name}", found => found.Labels.ContainsKey($"csi.myrmidon.dev/published.{next.Name}"));
        await PublishAsync(client, volume, next.Name);
    }

    private static async Task OwnedAsync(LocalCluster cluster, string volume, string node)
    {
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], volume);
        using var api = new ApiClient(new Uri(cluster.Nodes[0].Api));
        var answer = await api.PostAsync($"/v1/volumes/{volume}/move", new NodeRequest { Node = node }, default);
        Assert.True(answer.IsOk, answer.Error);
    }

    /// <summary>Connections to a node that was waited for in vain, ended by those that are not frozen.</summary>
    private static async Task<int> DoubtsTrueAsync(LocalCluster cluster, string frozen)
    {
        using var http = new HttpClient();
        var sum = 0;
        foreach (var node in cluster.Nodes.Where(node => node.Name != frozen))
        {
            var page = await http.GetStringAsync(new Uri(new Uri(node.Api), "/metrics"));
            var line = page.Split('\n').Single(line => line.StartsWith("myrmidon_node_doubts_true_total ", StringComparison.Ordinal));
            sum += int.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture);
        }
        return sum;
    }

    private static byte[] Filled(byte value) => [.. Enumerable.Repeat(value, 4096)];

    private static async Task PublishAsync(CsiClient client, string volume, string node) => await client.Controller.ControllerPublishVolumeAsync(
        new ControllerPublishVolumeRequest { VolumeId = volume, NodeId = node, VolumeCapability = CsiNode.Mount() }, deadline: DateTime.UtcNow + WrittenMax);
}
