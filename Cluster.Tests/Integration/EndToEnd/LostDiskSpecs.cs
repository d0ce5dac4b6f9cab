using System.Text.Json;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Nodes whose stores lie on two directories each, and that lose one of them.</summary>
[Collection(EndToEnd.Name)]
public sealed class LostDiskSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;

    /// <summary>Several segments, so that both disks of a node have some.</summary>
    private const ulong FilledBytes = 200 * MiB;
    private const int Terminate = 15;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-lost-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "A node that comes back without one of its disks says so, serves good data all the same, and has all of it again from the others: after a kill, and after a stop in order")]
    public async Task A_disk_is_taken_away()
    {
        await using var cluster = await LocalCluster.StartAsync(disks: 1);
        await cluster.CreateVolumeAsync("db", 256 * MiB);
        var file = Path.Combine(_directory, "filled");
        await StandardClientsSpecs.WriteRandomAsync(file, FilledBytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, $"{cluster.Nodes[0].Nbd}/db")).Ok();
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        foreach (var node in cluster.Nodes) Assert.True(SegmentsOf(DiskOf(node)) > 0 && SegmentsOf(Path.Combine(node.Data, "store")) > 0, $"{node.Name} has all its segments on one disk");

        // The log's end may have been on it: the whole copy is made anew.
        await LoseAsync(cluster, "node-1", NodeProcess.KillNow);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await CompareAsync($"{cluster.Node("node-1").Nbd}/db", file);

        // All of the log is known: only the blocks that were there are bad, and a scrub has them mended.
        await LoseAsync(cluster, "node-2", Terminate);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        var lost = await NodeAsync(cluster, "node-2", node => node.MissingBytes > 0, "node-2 does not say what it misses");
        var mended = await ScrubAsync(cluster);
        Assert.True(mended.MendedBlocks >= lost.MissingBytes / 4096, $"{mended} is too little for {lost.MissingBytes} bytes");
        Assert.Equal(0UL, mended.LostBlocks);
        await NodeAsync(cluster, "node-2", node => node.MissingBytes == 0, "node-2 still misses something");
        Assert.Equal(0UL, (await ScrubAsync(cluster)).MendedBlocks);

        // The copies that lost a disk serve without the one that did not.
        await cluster.KillAsync("node-0");
        await LocalCluster.WaitForVolumeAsync(cluster.Node("node-2"), "db", "served by the others", volume => volume.Owner is "node-1" or "node-2");
        await CompareAsync($"{cluster.Node("node-2").Nbd}/db", file);
    }

    private static string DiskOf(DevNode node) => Path.Combine(node.Data, "disk-1");

    private static int SegmentsOf(string directory) => Directory.GetFiles(directory, "segment-*.log").Length;

    private async Task LoseAsync(LocalCluster cluster, string name, int signal)
    {
        var disk = DiskOf(cluster.Node(name));
        await cluster.KillAsync(name, signal);
        Directory.Move(disk, Path.Combine(_directory, name));
        await cluster.StartNodeAsync(name);
        var node = await NodeAsync(cluster, name, known => known.Disks.Any(each => each.State == "missing"), $"{name} does not tell of its disk");
        Assert.Equal(disk, node.Disks.Single(each => each.State == "missing").Path);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        Assert.Contains((await LocalCluster.GetStatusAsync(cluster.Nodes[0])).Warnings, warning => warning.Contains($"Node {name} goes on without disk", StringComparison.Ordinal) && warning.Contains(disk, StringComparison.Ordinal));
        using var http = new HttpClient();
        Assert.Contains($"path=\"{disk}\"}} 3\n", await http.GetStringAsync(new Uri(new Uri(node.Api!), "/metrics")), StringComparison.Ordinal);
        var health = await http.GetStringAsync(new Uri(new Uri(node.Api!), "/v1/health"));
        Assert.Contains($"at {disk} is missing", health, StringComparison.Ordinal);
        Assert.Contains("goes on without its disk", cluster.Logs() + await File.ReadAllTextAsync(cluster.File.LogOf(name)), StringComparison.Ordinal);
    }

    /// <summary>Placement may be on its way to another node meanwhile: it is asked again.</summary>
    private static async Task<NodeResource> NodeAsync(LocalCluster cluster, string name, Func<NodeResource, bool> wanted, string otherwise) => (await LocalCluster.WaitForAsync(async () =>
    {
        using var api = new ApiClient(new Uri(cluster.Nodes[0].Api));
        var answer = await api.GetAsync($"/v1/nodes/{name}", default);
        return answer.IsOk ? answer.As<NodeResource>() : null;
    }, node => node is not null && wanted(node), otherwise))!;

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
}
