using System.Globalization;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>myrmidon.memory-limit of real nodes, at the least that works, with much more to do than fits in.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class MemoryLimitSpecs
{
    private const ulong MiB = 1UL << 20;
    private const int LimitMiB = 256;
    private const int Volumes = 18;

    /// <summary>Sparse, so that each write lies in another page of the map, of which 256 are in memory on each node.</summary>
    private const ulong VolumeBytes = 4096 * MiB;

    [Fact(DisplayName = "Nodes of 256 MiB stay within it under deep queues of large and of small writes and reads of many clients, a copy that catches up, and maps beyond their cache; no I/O fails")]
    public async Task Holds()
    {
        await using var cluster = await LocalCluster.StartAsync(settings: $"myrmidon.memory-limit = {LimitMiB}MiB");
        foreach (var volume in Enumerable.Range(0, Volumes)) await cluster.CreateVolumeAsync($"v{volume}", VolumeBytes);
        var away = cluster.Nodes[2].Name;
        await LoadAsync(cluster, 3, depth: 24, blockBytes: 1 << 20, rounds: 2);
        Assert.All(Peaks(cluster), peak => Assert.InRange(peak, 1, LimitMiB));
        await cluster.KillAsync(away);
        var load = LoadAsync(cluster, 2, depth: 24, blockBytes: 1 << 18, rounds: 3);
        await cluster.StartNodeAsync(away);
        await load;
        await LoadAsync(cluster, 3, depth: 64, blockBytes: 1 << 12, rounds: 6);
        foreach (var volume in Enumerable.Range(0, Volumes)) await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], $"v{volume}");

        Assert.All(Peaks(cluster), peak => Assert.InRange(peak, 1, LimitMiB));
        foreach (var node in cluster.Nodes)
        {
            var metrics = await MetricsAsync(node.Api);
            Assert.Equal(LimitMiB * (double)MiB, metrics["myrmidon_memory_limit_bytes"]);
            Assert.Equal(LimitMiB * (double)MiB, metrics["myrmidon_memory_part_limit_bytes{part=\"program\"}"] + metrics["myrmidon_memory_part_limit_bytes{part=\"heap\"}"]
                + metrics["myrmidon_memory_part_limit_bytes{part=\"buffers\"}"]);
            // It was the limit that held: there was more to do, and it waited; and the maps did not fit.
            Assert.True(metrics["myrmidon_memory_waits_total{where=\"front-end\"}"] > 0 || node.Name == away);
            Assert.True(metrics["myrmidon_map_cache_evictions_total"] > 0);
        }
        var logs = cluster.FullLogs();
        Assert.Contains($"memory: {LimitMiB} MiB in all: ", logs, StringComparison.Ordinal);
        Assert.DoesNotContain("OutOfMemory", logs, StringComparison.Ordinal);
        Assert.DoesNotContain("failed I/O", logs, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A node does not start with less than works, and says how much does")]
    public async Task Too_little()
    {
        using var output = new CapturedText();
        var exit = await CommandLine.RunAsync(["node", "--data", Path.Combine(Path.GetTempPath(), "myrmidon-never"), "--memory-limit", "100MiB"], output, output);
        Assert.Equal((ExitCode.Usage, "myrmidon: myrmidon.memory-limit is 100MiB; the least that works is 256MiB."), (exit, output.ToString().Trim()));
        Assert.Equal(ExitCode.Ok, await CommandLine.RunAsync(["node", "--help"], output, output));
        Assert.Contains("--memory-limit", output.ToString(), StringComparison.Ordinal);
    }

    /// <summary>Each client's writes and reads, so many at one time, spread over its volume; an I/O that fails throws.</summary>
    private static async Task LoadAsync(LocalCluster cluster, int nodes, int depth, int blockBytes, int rounds) =>
        await Task.WhenAll(Enumerable.Range(0, Volumes).Select(volume => Task.Run(() => ClientAsync($"{cluster.Nodes[volume % nodes].Nbd}/v{volume}", volume, depth, blockBytes, rounds))));

    private static async Task ClientAsync(string uri, int seed, int depth, int blockBytes, int rounds)
    {
        using var client = await NbdClient.ConnectAsync(new Uri(uri), CancellationToken.None);
        await Task.WhenAll(Enumerable.Range(0, depth).Select(async worker =>
        {
            var random = new Random((seed * 1000) + worker);
            var (data, into) = (new byte[blockBytes], new byte[blockBytes]);
            random.NextBytes(data);
            // A part of the volume of its own: what is read is what was written there.
            var part = VolumeBytes / (ulong)depth;
            for (var round = 0; round < rounds; round++)
            {
                var offset = ((ulong)worker * part) + ((ulong)random.NextInt64((long)(part / (ulong)blockBytes) - 1) * (ulong)blockBytes);
                await client.WriteAsync(offset, data, CancellationToken.None);
                await client.ReadAsync(offset, into, CancellationToken.None);
                Assert.True(into.AsSpan().SequenceEqual(data), $"{uri} at {offset} is not what was written");
            }
        }));
    }

    /// <summary>The most that each node had resident since its start, in MiB, from the kernel.</summary>
    private static List<int> Peaks(LocalCluster cluster) =>
        [.. cluster.Nodes.Select(node => File.ReadLines($"/proc/{node.Pid}/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal)))
            .Select(line => int.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) / 1024)];

    private static async Task<Dictionary<string, double>> MetricsAsync(string api)
    {
        using var http = new HttpClient();
        var page = await http.GetStringAsync(new Uri(new Uri(api), "/metrics"));
        return page.Split('\n').Where(line => line.StartsWith("myrmidon_m", StringComparison.Ordinal)).Select(line => line.Split(' '))
            .ToDictionary(words => words[0], words => double.Parse(words[1], CultureInfo.InvariantCulture));
    }
}
