using System.Diagnostics;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Grpc.Core;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos;

/// <summary>A volume leaves a node that is frozen while it uses it.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class CsiFrozenNodeSpecs(ITestOutputHelper output)
{
    private const int Stop = 19;

    /// <summary>Far above what it takes: only what waits for ever takes longer.</summary>
    private static readonly TimeSpan WrittenMax = TimeSpan.FromSeconds(60);

    [Theory(DisplayName = "A volume that is in use on a frozen node is published to another node and written there soon, also where that node has the catalogue; when it wakes, its writes are refused")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Frozen(bool hasCatalogue)
    {
        await using var cluster = await LocalCluster.StartAsync();
        var status = await LocalCluster.GetStatusAsync(cluster.Nodes[0]);
        var old = cluster.Nodes.First(node => node.Name == status.PlacementHost == hasCatalogue);
        var next = cluster.Other(old.Name);
        using var client = new CsiClient(Path.Combine(next.Data, "csi.sock"));
        var volume = (await client.Controller.CreateVolumeAsync(CsiNode.CreateRequest("pg"))).Volume.VolumeId;
        await PublishAsync(client, volume, old.Name);
        using var user = await NbdClient.ConnectAsync(new Uri($"{old.Nbd}/{volume}"), CancellationToken.None);
        await user.WriteAsync(0, Filled(1), CancellationToken.None);
        await cluster.KillAsync(old.Name, Stop);
        var watch = Stopwatch.StartNew();
        await PublishAsync(client, volume, next.Name);
        var published = watch.Elapsed;
        using var writer = await NbdClient.ConnectAsync(new Uri($"{next.Nbd}/{volume}"), CancellationToken.None);
        await writer.WriteAsync(0, Filled(2), CancellationToken.None);
        output.WriteLine($"catalogue frozen too: {hasCatalogue}; published after {published.TotalSeconds:0.0} s, written after {watch.Elapsed.TotalSeconds:0.0} s");
        Assert.True(watch.Elapsed < WrittenMax, $"written only after {watch.Elapsed}");
        var late = user.WriteAsync(0, Filled(3), CancellationToken.None);
        await cluster.KillAsync(old.Name, NodeProcess.Continue);
        await Assert.ThrowsAnyAsync<IOException>(() => late);
        var read = new byte[4096];
        await writer.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(Filled(2), read);
    }

    private static byte[] Filled(byte value) => [.. Enumerable.Repeat(value, 4096)];

    /// <summary>As the attacher does it: again, if the driver says that it can't now.</summary>
    private static async Task PublishAsync(CsiClient client, string volume, string node)
    {
        var request = new ControllerPublishVolumeRequest { VolumeId = volume, NodeId = node, VolumeCapability = CsiNode.Mount() };
        for (var began = Stopwatch.StartNew(); ;)
        {
            try
            {
                await client.Controller.ControllerPublishVolumeAsync(request, deadline: DateTime.UtcNow.AddMinutes(1));
                return;
            }
            catch (RpcException failure) when (failure.StatusCode is StatusCode.Aborted or StatusCode.DeadlineExceeded or StatusCode.Unavailable && began.Elapsed < WrittenMax)
            {
                // What it did is found out by the same call.
            }
        }
    }
}
