using System.Text.Json;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Demo;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Bytes on a node's disk change under it while it runs (P6).</summary>
[Collection(EndToEnd.Name)]
public sealed class BitRotSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const ulong FilledBytes = 16 * MiB;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-rot-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "A block that rots on the owner's disk is read from another copy and mended: clients see what was written, again and again")]
    public async Task Reads_mend_what_rots()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var volume = await cluster.CreateVolumeAsync("db", 64 * MiB);
        var front = cluster.Other(volume.Owner!);
        var file = Path.Combine(_directory, "filled");
        await StandardClientsSpecs.WriteRandomAsync(file, FilledBytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, $"{front.Nbd}/db")).Ok();
        var owner = (await LocalCluster.WaitUntilInSyncAsync(front, "db")).Owner!;
        // Blocks that no other copy has bad: two of them in one read of 256 KiB.
        RotFiles.Flip(cluster.Node(owner).Data, file, 5, 7, 1000);
        RotFiles.Flip(cluster.Other(owner, front.Name).Data, file, 6);

        await CompareAsync($"{front.Nbd}/db", file);
        var metrics = await MetricsAsync(cluster.Node(owner).Api);
        Assert.Contains($"myrmidon_repair_mended_blocks_total{{cause=\"read\",copy=\"{owner}\"}} 3\n", metrics, StringComparison.Ordinal);
        Assert.Contains("myrmidon_repair_lost_blocks_total{cause=\"read\"} 0\n", metrics, StringComparison.Ordinal);
        // Mended on its own disk: it serves the same with nobody else's help.
        await CompareAsync($"{front.Nbd}/db", file);
        Assert.Equal(metrics.Split('\n').Where(line => line.StartsWith("myrmidon_repair", StringComparison.Ordinal)),
            (await MetricsAsync(cluster.Node(owner).Api)).Split('\n').Where(line => line.StartsWith("myrmidon_repair", StringComparison.Ordinal)));
    }

    [Fact(DisplayName = "Blocks that rot on the disks of copies that nobody reads are found and mended by a scrub, while clients write")]
    public async Task A_scrub_mends_what_nobody_reads()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 64 * MiB);
        var file = Path.Combine(_directory, "filled");
        await StandardClientsSpecs.WriteRandomAsync(file, FilledBytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, $"{cluster.Nodes[0].Nbd}/db")).Ok();
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        RotFiles.Flip(cluster.Nodes[0].Data, file, 0, 1, 2, 4000);
        RotFiles.Flip(cluster.Nodes[1].Data, file, 3, 4095);
        RotFiles.Flip(cluster.Nodes[2].Data, file, 64, 127);

        using var client = await NbdClient.ConnectAsync(new Uri($"{cluster.Nodes[1].Nbd}/db"), CancellationToken.None);
        using var probe = new GapProbe(client, (64 * MiB) - GapProbe.AreaBytes);
        probe.Start();
        var first = await ScrubAsync(cluster);
        await probe.StopAsync();
        Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
        Assert.Equal((8UL, 0UL, 0UL), (first.MendedBlocks, first.DifferingBlocks, first.LostBlocks));
        Assert.True(first.CheckedBytes >= FilledBytes, $"only {first.CheckedBytes} bytes were read");
        var again = await ScrubAsync(cluster);
        Assert.Equal((0UL, 0UL, 0UL), (again.MendedBlocks, again.DifferingBlocks, again.LostBlocks));
        // A copy that was mended is mended for good: it serves alone after a restart of its node.
        foreach (var node in (string[])["node-0", "node-1", "node-2"])
        {
            await cluster.KillAsync(node);
            await cluster.StartNodeAsync(node);
        }
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await CompareAsync($"{cluster.Nodes[0].Nbd}/db", file);
        Assert.Equal(0UL, (await ScrubAsync(cluster)).MendedBlocks);
    }

    private static async Task<ScrubCountsResource> ScrubAsync(LocalCluster cluster)
    {
        using var output = new CapturedText();
        using var error = new CapturedText();
        var exit = await CommandLine.RunAsync(["volume", "scrub", "db", "--wait", "-o", "json", "--endpoint", cluster.Nodes[0].Api], output, error);
        Assert.True(exit == ExitCode.Ok, $"{output}{error}");
        return JsonSerializer.Deserialize<ScrubResource>(output.ToString(), JsonSerializerOptions.Web)!.Last!;
    }

    private async Task CompareAsync(string uri, string file)
    {
        var back = Path.Combine(_directory, "back");
        (await Tool.RunAsync("nbdcopy", uri, back)).Ok();
        await using (var cut = File.OpenWrite(back)) cut.SetLength((long)FilledBytes);
        Assert.Equal(await StandardClientsSpecs.HashAsync(file), await StandardClientsSpecs.HashAsync(back));
    }

    private static async Task<string> MetricsAsync(string api)
    {
        using var http = new HttpClient();
        return await http.GetStringAsync(new Uri(new Uri(api), "/metrics"));
    }
}

/// <summary>Changes blocks where a node's store keeps them.</summary>
internal static class RotFiles
{
    /// <summary>Flips a byte of each of these blocks; the file has the volume's content, incompressible, so that the store holds the very same bytes.</summary>
    public static void Flip(string data, string content, params long[] blocks)
    {
        var segments = Directory.GetFiles(data, "segment-*.log", SearchOption.AllDirectories);
        using var source = File.OpenRead(content);
        foreach (var block in blocks)
        {
            var bytes = new byte[Limits.BlockBytes];
            source.Position = block * Limits.BlockBytes;
            source.ReadExactly(bytes);
            Assert.True(segments.Any(segment => TryFlip(segment, bytes)), $"block {block} is in no segment of {data}");
        }
    }

    private static bool TryFlip(string segment, byte[] block)
    {
        using var file = new FileStream(segment, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var chunk = new byte[4 << 20];
        for (long at = 0; at < file.Length; at += chunk.Length - block.Length)
        {
            file.Position = at;
            var length = file.ReadAtLeast(chunk, chunk.Length, throwOnEndOfStream: false);
            var found = chunk.AsSpan(0, length).IndexOf(block);
            if (found < 0) continue;
            file.Position = at + found + 100;
            file.WriteByte((byte)~block[100]);
            return true;
        }
        return false;
    }
}
