using System.Globalization;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Clones on real nodes, by the command line and NBD.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class CloneSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const ulong FilledBytes = 16 * MiB;
    private const ulong OverwrittenBytes = 4 * MiB;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-clones-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "A clone is what its snapshot was: while its origin is overwritten, after that is deleted, after every process was killed, and on a copy that is made anew")]
    public async Task Clone_outlives_its_origin()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 64 * MiB);
        var first = await FillAsync("first", FilledBytes, $"{cluster.Nodes[0].Nbd}/db");
        await RunAsync(ExitCode.Ok, cluster.Nodes[1], "snapshot", "create", "db", "monday");
        Assert.Contains("created as a clone of snapshot db/monday: ",
            await RunAsync(ExitCode.Ok, cluster.Nodes[1], "volume", "create", "copy", "--from-snapshot", "db/monday"), StringComparison.Ordinal);
        var second = await FillAsync("second", OverwrittenBytes, $"{cluster.Nodes[1].Nbd}/db");
        await RunAsync(ExitCode.Ok, cluster.Nodes[2], "volume", "create", "later", "--from-volume", "db", "--size", "96MiB", "--replicas", "2");

        foreach (var node in cluster.Nodes) await CompareAsync(first, FilledBytes, $"{node.Nbd}/copy");
        await CompareAsync(second, OverwrittenBytes, $"{cluster.Nodes[0].Nbd}/later");
        var shown = (await LocalCluster.GetVolumeAsync(cluster.Nodes[0], "copy"))!;
        Assert.Equal(("db", "monday", FilledBytes, 0UL), (shown.Source!.Volume, shown.Source.Snapshot, shown.UsedBytes, shown.StoredBytes));
        Assert.True(shown.SharedBytes >= FilledBytes, $"{shown.SharedBytes} B are shared");

        await RefuseAsync(cluster.Nodes[0]);
        await RunAsync(ExitCode.Ok, cluster.Nodes[0], "snapshot", "delete", "db", "monday");
        await RunAsync(ExitCode.Ok, cluster.Nodes[0], "volume", "delete", "db");
        var third = await FillAsync("third", MiB, $"{cluster.Nodes[2].Nbd}/copy");
        await CheckAsync(cluster.Nodes[1], first, second, third);

        await Task.WhenAll(cluster.Nodes.Select(node => cluster.KillAsync(node.Name)));
        await Task.WhenAll(cluster.Nodes.Select(node => cluster.StartNodeAsync(node.Name)));
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "copy");
        await CheckAsync(cluster.Nodes[0], first, second, third);

        // Two copies, then a third one anew: there is no origin any more that it could begin from.
        await RunAsync(ExitCode.Ok, cluster.Nodes[0], "volume", "resize", "copy", "--replicas", "2");
        await RunAsync(ExitCode.Ok, cluster.Nodes[0], "volume", "resize", "copy", "--replicas", "3");
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "copy");
        foreach (var node in cluster.Nodes)
        {
            await RunAsync(ExitCode.Ok, cluster.Nodes[0], "volume", "move", "copy", "--node", node.Name);
            await CheckAsync(node, first, second, third);
        }
        await RunAsync(ExitCode.Ok, cluster.Nodes[0], "volume", "delete", "copy");
        await CompareAsync(second, OverwrittenBytes, $"{cluster.Nodes[0].Nbd}/later");
    }

    private static async Task RefuseAsync(DevNode node)
    {
        Assert.Contains("has no snapshot \"tuesday\"", await RunAsync(ExitCode.NotFound, node, "volume", "create", "other", "--from-snapshot", "db/tuesday"), StringComparison.Ordinal);
        Assert.Contains("can't be smaller than what it is cloned from",
            await RunAsync(ExitCode.Usage, node, "volume", "create", "other", "--from-snapshot", "db/monday", "--size", "32MiB"), StringComparison.Ordinal);
        Assert.Contains("exists and is no clone of that", await RunAsync(ExitCode.Conflict, node, "volume", "create", "later", "--from-snapshot", "db/monday"), StringComparison.Ordinal);
        // Asked for again it is the same one.
        await RunAsync(ExitCode.Ok, node, "volume", "create", "copy", "--from-snapshot", "db/monday");
        await RunAsync(ExitCode.Ok, node, "volume", "create", "later", "--from-volume", "db", "--size", "96MiB", "--replicas", "2");
    }

    private async Task CheckAsync(DevNode node, string first, string second, string third)
    {
        await CompareAsync(third, MiB, $"{node.Nbd}/copy");
        var back = Path.Combine(_directory, "rest");
        (await Tool.RunAsync("nbdcopy", $"{node.Nbd}/copy", back)).Ok();
        var skip = MiB.ToString(CultureInfo.InvariantCulture);
        (await Tool.RunAsync("cmp", "-i", skip, "-n", (FilledBytes - MiB).ToString(CultureInfo.InvariantCulture), first, back)).Ok();
        await CompareAsync(second, OverwrittenBytes, $"{node.Nbd}/later");
    }

    private async Task<string> FillAsync(string name, ulong bytes, string uri)
    {
        var file = Path.Combine(_directory, name);
        await StandardClientsSpecs.WriteRandomAsync(file, bytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, uri)).Ok();
        return file;
    }

    private async Task CompareAsync(string file, ulong bytes, string uri)
    {
        var back = Path.Combine(_directory, "back");
        (await Tool.RunAsync("nbdcopy", uri, back)).Ok();
        (await Tool.RunAsync("cmp", "-n", bytes.ToString(CultureInfo.InvariantCulture), file, back)).Ok();
    }

    private static async Task<string> RunAsync(int exit, DevNode node, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync([.. arguments, "--endpoint", node.Api], output, output);
        Assert.True(exit == code, $"{string.Join(' ', arguments)}: {code}: {output}");
        return output.ToString();
    }
}
