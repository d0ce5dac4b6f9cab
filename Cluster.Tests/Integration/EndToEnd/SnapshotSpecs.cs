using System.Globalization;
using System.Text.Json;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Snapshots of volumes on real nodes, by the command line and NBD (R19).</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class SnapshotSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const ulong FilledBytes = 16 * MiB;
    private const ulong OverwrittenBytes = 4 * MiB;

    /// <summary>Together more than a store of 512 MiB takes; the second alone is not.</summary>
    private const ulong HeldBytes = 180 * MiB;
    private const ulong LaterBytes = 340 * MiB;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-snapshots-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "R19: a snapshot keeps what was written before it through overwrites and the death of the owner, tells what changed since, and every copy goes back to it")]
    public async Task Snapshot_and_back()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 64 * MiB);
        var first = await FillAsync("first", FilledBytes, $"{cluster.Nodes[0].Nbd}/db");
        await RunAsync(ExitCode.Ok, cluster.Nodes[1], "snapshot", "create", "db", "monday");
        Assert.Contains("has a snapshot \"monday\" already", await RunAsync(ExitCode.Conflict, cluster.Nodes[1], "snapshot", "create", "db", "monday"), StringComparison.Ordinal);
        var second = await FillAsync("second", OverwrittenBytes, $"{cluster.Nodes[1].Nbd}/db");

        var monday = Assert.Single((await ListAsync(cluster.Nodes[2])).Snapshots);
        Assert.Equal(("monday", OverwrittenBytes / Limits.BlockBytes), (monday.Name, monday.UniqueBlocks));
        Assert.True(monday.UniqueBytes > 0 && monday.SharedBytes > 0, $"{monday}");
        Assert.Equal(1, (await LocalCluster.GetVolumeAsync(cluster.Nodes[0], "db"))!.Snapshots);
        AssertCovers(await DiffAsync(cluster.Nodes[0], "--from", "monday"), OverwrittenBytes, FilledBytes);
        AssertCovers(await DiffAsync(cluster.Nodes[0], "--to", "monday"), FilledBytes, FilledBytes);

        var before = await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await cluster.KillAsync(before.Owner!);
        var alive = cluster.Other(before.Owner!);
        await LocalCluster.WaitForVolumeAsync(alive, "db", "served by another node", volume => volume.Owner is not null && volume.Owner != before.Owner);
        Assert.Equal(monday.Sequence, Assert.Single((await ListAsync(alive)).Snapshots).Sequence);
        await cluster.StartNodeAsync(before.Owner!);
        await LocalCluster.WaitUntilInSyncAsync(alive, "db");
        await CompareAsync(second, OverwrittenBytes, $"{alive.Nbd}/db");

        await RefuseWhileUsedAsync(alive);
        await RunAsync(ExitCode.Ok, alive, "snapshot", "restore", "db", "monday");
        foreach (var node in cluster.Nodes)
        {
            await RunAsync(ExitCode.Ok, alive, "volume", "move", "db", "--node", node.Name);
            await CompareAsync(first, FilledBytes, $"{node.Nbd}/db");
            Assert.Equal("monday", Assert.Single((await ListAsync(node)).Snapshots).Name);
        }

        Assert.Contains("it has 1 snapshot, which", await RunAsync(ExitCode.Conflict, alive, "volume", "delete", "db"), StringComparison.Ordinal);
        await RunAsync(ExitCode.Ok, alive, "snapshot", "delete", "db", "monday");
        Assert.Empty((await ListAsync(alive)).Snapshots);
        await CompareAsync(first, FilledBytes, $"{alive.Nbd}/db");
        await RunAsync(ExitCode.Ok, alive, "volume", "label", "db", "myrmidon.dev/snapshot-every=1h");
        var scheduled = await LocalCluster.WaitForAsync(() => ListAsync(alive), list => list.Snapshots.Count > 0, "no snapshot was made by the schedule");
        Assert.StartsWith("auto-", Assert.Single(scheduled.Snapshots).Name, StringComparison.Ordinal);
        await RunAsync(ExitCode.Ok, alive, "volume", "delete", "db", "--force");
    }

    [Fact(DisplayName = "R19, R21: what only a snapshot holds is not given up for room, and its deletion gives the room back")]
    public async Task Deletion_gives_room()
    {
        await using var cluster = await LocalCluster.StartAsync(nodes: 1, settings: "myrmidon.capacity = 512MiB");
        var node = cluster.Nodes[0];
        await cluster.CreateVolumeAsync("db", 1024 * MiB, replicas: 1);
        await FillAsync("held", HeldBytes, $"{node.Nbd}/db");
        await RunAsync(ExitCode.Ok, node, "snapshot", "create", "db", "monday");
        var later = Path.Combine(_directory, "later");
        await StandardClientsSpecs.WriteRandomAsync(later, LaterBytes);
        var copying = Tool.RunAsync("nbdcopy", "--flush", later, $"{node.Nbd}/db");
        await LocalCluster.WaitForVolumeAsync(node, "db", "held", volume => volume.State == "held");
        Assert.False(copying.IsCompleted, "the copy ended though the pool is full");

        await RunAsync(ExitCode.Ok, node, "snapshot", "delete", "db", "monday");
        (await copying).Ok();
        await LocalCluster.WaitForVolumeAsync(node, "db", "healthy again", volume => volume.State == "healthy");
        await CompareAsync(later, LaterBytes, $"{node.Nbd}/db");
    }

    /// <summary>A restore under a client, or a node that has the volume attached, is refused with what to do.</summary>
    private static async Task RefuseWhileUsedAsync(DevNode node)
    {
        using (var client = await NbdClient.ConnectAsync(new Uri($"{node.Nbd}/db"), CancellationToken.None))
        {
            Assert.Contains("it is not put back to snapshot \"monday\"", await RunAsync(ExitCode.Conflict, node, "snapshot", "restore", "db", "monday"), StringComparison.Ordinal);
            await client.DisconnectAsync(CancellationToken.None);
        }
        await RunAsync(ExitCode.Ok, node, "volume", "attach", "db", "--node", node.Name);
        Assert.Contains("(myrmidon volume detach db)", await RunAsync(ExitCode.Conflict, node, "snapshot", "restore", "db", "monday"), StringComparison.Ordinal);
        await RunAsync(ExitCode.Ok, node, "volume", "detach", "db");
    }

    /// <summary>The runs have all of the first bytes, and nothing beyond those that were ever written.</summary>
    private static void AssertCovers(IReadOnlyList<ChangedRunResource> runs, ulong atLeast, ulong atMost)
    {
        Assert.Equal(0UL, runs[0].Offset);
        Assert.InRange(runs[0].Length, atLeast, atMost);
        Assert.All(runs, run => Assert.InRange(run.Offset + run.Length, 1UL, atMost));
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

    private static async Task<SnapshotListResource> ListAsync(DevNode node) =>
        JsonSerializer.Deserialize<SnapshotListResource>(await RunAsync(ExitCode.Ok, node, "snapshot", "list", "db", "-o", "json"), JsonSerializerOptions.Web)!;

    private static async Task<IReadOnlyList<ChangedRunResource>> DiffAsync(DevNode node, params string[] edges) =>
        JsonSerializer.Deserialize<ChangedBlocksResource>(await RunAsync(ExitCode.Ok, node, ["snapshot", "diff", "db", .. edges, "-o", "json"]), JsonSerializerOptions.Web)!.Runs;

    private static async Task<string> RunAsync(int exit, DevNode node, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync([.. arguments, "--endpoint", node.Api], output, output);
        Assert.True(exit == code, $"{string.Join(' ', arguments)}: {code}: {output}");
        return output.ToString();
    }
}
