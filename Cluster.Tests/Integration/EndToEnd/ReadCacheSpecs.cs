using System.Globalization;
using Cluster.Messages.Model;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>A node without the owner keeps what it reads (label cache), and reads what the volume holds.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class ReadCacheSpecs
{
    private const int Bytes = 64 * Limits.BlockBytes;

    [Fact(DisplayName = "What a node without the owner has read is not read and not sent by the owner again; a write through another node, a restore in place and a failover are seen at once")]
    public async Task Reads_what_the_volume_holds()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await RunAsync("volume", "create", "data", "--size", "64MiB", "--replicas", "3", "--label", "myrmidon.dev/cache=on", "--label", "myrmidon.dev/locality=off", "--endpoint", cluster.Nodes[0].Api);
        var owner = cluster.Node((await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "data")).Owner!);
        var (front, third) = (cluster.Other(owner.Name), cluster.Nodes.First(node => node.Name != owner.Name && node.Name != cluster.Other(owner.Name).Name));
        var old = Random(1);
        using (var writer = await NbdClient.ConnectAsync(new Uri($"{owner.Nbd}/data"), CancellationToken.None))
        {
            await writer.WriteAsync(0, old, CancellationToken.None);
            await writer.FlushAsync(CancellationToken.None);
        }
        await RunAsync("snapshot", "create", "data", "before", "--endpoint", owner.Api);
        using (var reader = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/data"), CancellationToken.None))
        {
            Assert.Equal(old, await ReadAsync(reader));
            var (sent, hits) = (await ReadBytesAsync(owner), await HitsAsync(front));
            Assert.True(sent >= Bytes, $"the owner read {sent} bytes");
            Assert.Equal(old, await ReadAsync(reader));
            Assert.Equal((sent, hits + (Bytes / Limits.BlockBytes)), (await ReadBytesAsync(owner), await HitsAsync(front)));

            // One block is another's now.
            using (var other = await NbdClient.ConnectAsync(new Uri($"{third.Nbd}/data"), CancellationToken.None))
                await other.WriteAsync(5 * Limits.BlockBytes, Random(2).AsMemory(0, Limits.BlockBytes), CancellationToken.None);
            var changed = (byte[])old.Clone();
            Random(2).AsSpan(0, Limits.BlockBytes).CopyTo(changed.AsSpan(5 * Limits.BlockBytes));
            Assert.Equal(changed, await ReadAsync(reader));
            Assert.Equal((sent + Limits.BlockBytes, hits + (2 * (Bytes / Limits.BlockBytes)) - 1), (await ReadBytesAsync(owner), await HitsAsync(front)));
        }

        // Put back, once nobody uses it or may come back to it.
        await RunAsync("volume", "attach", "data", "--node", front.Name, "--endpoint", owner.Api);
        await RunAsync("volume", "detach", "data", "--endpoint", owner.Api);
        await RunAsync("snapshot", "restore", "data", "before", "--endpoint", owner.Api);
        using var again = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/data"), CancellationToken.None);
        Assert.Equal(old, await ReadAsync(again));

        // The owner dies, and another one takes over while the reader is connected: what was read from the one counts for nothing with the next.
        var before = await HitsAsync(front);
        await cluster.KillAsync(owner.Name);
        Assert.Equal(old, await ReadAsync(again));
        Assert.Equal(before, await HitsAsync(front));
    }

    private static byte[] Random(int seed)
    {
        var bytes = new byte[Bytes];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static async Task<byte[]> ReadAsync(NbdClient client)
    {
        var bytes = new byte[Bytes];
        await client.ReadAsync(0, bytes, CancellationToken.None);
        return bytes;
    }

    private static Task<double> ReadBytesAsync(DevNode node) => CounterAsync(node, "myrmidon_store_read_bytes_total");

    private static Task<double> HitsAsync(DevNode node) => CounterAsync(node, "myrmidon_read_cache_hits_total");

    private static async Task<double> CounterAsync(DevNode node, string name)
    {
        using var http = new HttpClient();
        var metrics = await http.GetStringAsync(new Uri(new Uri(node.Api), "/metrics"));
        return double.Parse(metrics.Split('\n').Single(line => line.StartsWith($"{name} ", StringComparison.Ordinal)).Split(' ')[1], CultureInfo.InvariantCulture);
    }

    private static async Task RunAsync(params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync(arguments, output, output);
        Assert.True(code == ExitCode.Ok, $"{string.Join(' ', arguments)}: {code}: {output}");
    }
}
