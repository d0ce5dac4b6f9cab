using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>A disk of a running node is emptied and taken away.</summary>
[Collection(EndToEnd.Name)]
public sealed class DrainedDiskSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;

    /// <summary>Several segments, so that both disks of a node have some.</summary>
    private const ulong FilledBytes = 120 * MiB;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-drained-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "A disk of one node is drained by another node's API, is empty after a while, and is taken away: killed, the node comes back without it, in sync, misses nothing, and serves all data")]
    public async Task Drained_and_taken_away()
    {
        await using var cluster = await LocalCluster.StartAsync(disks: 1);
        await cluster.CreateVolumeAsync("db", 256 * MiB);
        var file = Path.Combine(_directory, "filled");
        await StandardClientsSpecs.WriteRandomAsync(file, FilledBytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, $"{cluster.Nodes[0].Nbd}/db")).Ok();
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        var disk = Path.Combine(cluster.Node("node-1").Data, "disk-1");
        Assert.NotEmpty(Segments(disk));

        await DiskAsync(cluster, ExitCode.Conflict, "is the store's home", "drain", "node-1", Path.Combine(cluster.Node("node-1").Data, "store"));
        await DiskAsync(cluster, ExitCode.Ok, "draining", "drain", "node-1", disk);
        await LocalCluster.WaitForAsync(() => FindAsync(cluster, disk), found => found?.State == "drained", $"{disk} is not drained");
        Assert.Empty(Segments(disk));
        Assert.Contains((await LocalCluster.GetStatusAsync(cluster.Nodes[0])).Warnings, warning => warning.Contains("can be taken away", StringComparison.Ordinal));
        await DiskAsync(cluster, ExitCode.Ok, disk, "list", "--node", "node-1");
        await CompareAsync($"{cluster.Node("node-1").Nbd}/db", file);

        await cluster.KillAsync("node-1");
        Directory.Move(disk, Path.Combine(_directory, "away"));
        await cluster.StartNodeAsync("node-1");
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        Assert.Null(await FindAsync(cluster, disk));
        Assert.DoesNotContain("is damaged", await File.ReadAllTextAsync(cluster.File.LogOf("node-1")), StringComparison.Ordinal);
        await cluster.KillAsync("node-0");
        await LocalCluster.WaitForVolumeAsync(cluster.Node("node-2"), "db", "served by the others", volume => volume.Owner is "node-1" or "node-2");
        await CompareAsync($"{cluster.Node("node-2").Nbd}/db", file);
    }

    private static string[] Segments(string directory) => Directory.GetFiles(directory, "segment-*.log");

    /// <summary>Null: the node does not know it.</summary>
    private static async Task<DiskResource?> FindAsync(LocalCluster cluster, string path)
    {
        using var api = new ApiClient(new Uri(cluster.Nodes[2].Api));
        var answer = await api.GetAsync("/v1/nodes/node-1", default);
        return answer.IsOk ? answer.As<NodeResource>().Disks.FirstOrDefault(disk => disk.Path == path) : null;
    }

    private static async Task DiskAsync(LocalCluster cluster, int exit, string part, params string[] args)
    {
        using var output = new CapturedText();
        using var error = new CapturedText();
        Assert.Equal(exit, await CommandLine.RunAsync(["disk", .. args, "--endpoint", cluster.Nodes[2].Api], output, error));
        Assert.Contains(part, $"{output}{error}", StringComparison.Ordinal);
    }

    private async Task CompareAsync(string uri, string file)
    {
        var back = Path.Combine(_directory, "back");
        (await Tool.RunAsync("nbdcopy", uri, back)).Ok();
        await using (var cut = File.OpenWrite(back)) cut.SetLength((long)FilledBytes);
        Assert.Equal(await StandardClientsSpecs.HashAsync(file), await StandardClientsSpecs.HashAsync(back));
    }
}
