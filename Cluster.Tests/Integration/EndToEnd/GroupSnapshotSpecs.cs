using System.Buffers.Binary;
using System.Text.Json;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Snapshots of several volumes at one point (C22), on real nodes that die meanwhile.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class GroupSnapshotSpecs
{
    private const ulong MiB = 1UL << 20;
    private static readonly string[] Volumes = ["a", "b", "c"];

    [Fact(DisplayName = "C22: snapshots of volumes with owners on different nodes hold a beginning of what one client wrote to them in turn, also when an owner or who makes the group is killed")]
    public async Task At_one_point()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var (writes, coordinator, doomed) = (cluster.Nodes[0], cluster.Nodes[1], cluster.Nodes[2]);
        for (var index = 0; index < Volumes.Length; index++)
        {
            await cluster.CreateVolumeAsync(Volumes[index], 16 * MiB);
            await LocalCluster.WaitUntilInSyncAsync(writes, Volumes[index]);
            await RunAsync(writes, [ExitCode.Ok], "volume", "move", Volumes[index], "--node", cluster.Nodes[index].Name);
        }
        using var stop = new CancellationTokenSource();
        var written = WriteInTurnAsync(writes, stop.Token);
        for (var number = 1; number <= 4; number++) await RunAsync(writes, [ExitCode.Ok], ["snapshot", "group", "create", $"quiet-{number}", .. Volumes]);
        Assert.Contains("there is a snapshot group \"quiet-1\" of these volumes already", await RunAsync(writes, [ExitCode.Conflict], ["snapshot", "group", "create", "quiet-1", .. Volumes]),
            StringComparison.OrdinalIgnoreCase);

        // An owner dies meanwhile.
        var making = Task.Run(() => MakeAsync(writes, "owner-dies"));
        await cluster.KillAsync(doomed.Name);
        await making;
        await cluster.StartNodeAsync(doomed.Name);
        foreach (var volume in Volumes) await LocalCluster.WaitUntilInSyncAsync(writes, volume);

        // And who makes it.
        using (var api = new ApiClient(new Uri(coordinator.Api)))
        {
            var asked = api.PostAsync("/v1/snapshot-groups", new CreateSnapshotGroupRequest { Name = "maker-dies", Volumes = Volumes }, CancellationToken.None);
            await cluster.KillAsync(coordinator.Name);
            await asked;
        }
        await MakeAsync(writes, "maker-dies");
        await cluster.StartNodeAsync(coordinator.Name);
        await LocalCluster.WaitUntilUpAsync(writes, coordinator.Name);
        await stop.CancelAsync();
        var last = await written;
        Assert.True(last > 50, $"{last} rounds were written");

        var groups = await ListAsync(writes);
        Assert.Equal(["maker-dies", "owner-dies", "quiet-1", "quiet-2", "quiet-3", "quiet-4"], groups.Select(group => group.Name));
        Assert.All(groups, group => Assert.Equal(SnapshotGroupResource.Ready, group.State));
        foreach (var group in groups) await CheckAsync(writes, group.Name, last);

        Assert.Contains("myrmidon snapshot group delete quiet-1", await RunAsync(writes, [ExitCode.Conflict], "snapshot", "delete", "b", "quiet-1"), StringComparison.Ordinal);
        // The newest two stay, and each that goes goes from all of them.
        await RunAsync(writes, [ExitCode.Ok], "volume", "label", "b", "myrmidon.dev/snapshot-group-keep=2");
        await RunAsync(writes, [ExitCode.Ok], ["snapshot", "group", "create", "newest", .. Volumes]);
        Assert.Equal(["maker-dies", "newest"], (await ListAsync(writes)).Select(group => group.Name));
        foreach (var volume in Volumes) Assert.Equal(["maker-dies", "newest"], (await SnapshotsOfAsync(writes, volume)).Order(StringComparer.Ordinal));
        foreach (var group in await ListAsync(writes)) await RunAsync(writes, [ExitCode.Ok], "snapshot", "group", "delete", group.Name);
        Assert.Empty(await ListAsync(writes));
        foreach (var volume in Volumes) Assert.Empty(await SnapshotsOfAsync(writes, volume));
    }

    private static async Task<IEnumerable<string>> SnapshotsOfAsync(DevNode node, string volume) =>
        JsonSerializer.Deserialize<SnapshotListResource>(await RunAsync(node, [ExitCode.Ok], "snapshot", "list", volume, "-o", "json"), JsonSerializerOptions.Web)!.Snapshots.Select(snapshot => snapshot.Name);

    /// <summary>What it was asked for before may be there by now, or may not be given up yet.</summary>
    private static async Task MakeAsync(DevNode node, string name) => await LocalCluster.WaitForAsync(
        async () =>
        {
            await RunAsync(node, [ExitCode.Ok, ExitCode.Conflict, ExitCode.Unreachable], ["snapshot", "group", "create", name, .. Volumes]);
            return (await ListAsync(node)).FirstOrDefault(group => group.Name == name)?.State;
        }, state => state == SnapshotGroupResource.Ready, $"the group {name} was never made");

    /// <summary>Writes each number to all volumes in turn, each after the answer to the one before; the last number that was begun.</summary>
    private static async Task<ulong> WriteInTurnAsync(DevNode node, CancellationToken stop)
    {
        var clients = new List<NbdClient>();
        try
        {
            foreach (var volume in Volumes) clients.Add(await NbdClient.ConnectAsync(new Uri($"{node.Nbd}/{volume}"), CancellationToken.None));
            var block = new byte[Limits.BlockBytes];
            for (var number = 1UL; ; number++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(block, number);
                foreach (var client in clients)
                {
                    if (stop.IsCancellationRequested) return number;
                    await client.WriteAsync(0, block, CancellationToken.None);
                }
            }
        }
        finally
        {
            foreach (var client in clients) client.Dispose();
        }
    }

    private static async Task CheckAsync(DevNode node, string group, ulong last)
    {
        var numbers = new List<ulong>();
        foreach (var volume in Volumes)
        {
            var clone = $"{volume}-{group}";
            await RunAsync(node, [ExitCode.Ok], "volume", "create", clone, "--from-snapshot", $"{volume}/{group}");
            using var client = await NbdClient.ConnectAsync(new Uri($"{node.Nbd}/{clone}"), CancellationToken.None);
            var block = new byte[Limits.BlockBytes];
            await client.ReadAsync(0, block, CancellationToken.None);
            numbers.Add(BinaryPrimitives.ReadUInt64LittleEndian(block));
            await client.DisconnectAsync(CancellationToken.None);
        }
        Assert.True(numbers[0] >= numbers[1] && numbers[1] >= numbers[2] && numbers[2] + 1 >= numbers[0] && numbers[0] <= last, $"{group}: {string.Join(", ", numbers)} of {last}");
        foreach (var volume in Volumes) await RunAsync(node, [ExitCode.Ok], "volume", "delete", $"{volume}-{group}", "--force");
    }

    private static async Task<SnapshotGroupResource[]> ListAsync(DevNode node) =>
        JsonSerializer.Deserialize<SnapshotGroupResource[]>(await RunAsync(node, [ExitCode.Ok], "snapshot", "group", "list", "-o", "json"), JsonSerializerOptions.Web)!;

    private static async Task<string> RunAsync(DevNode node, int[] exits, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync([.. arguments, "--endpoint", node.Api], output, output);
        Assert.True(exits.Contains(code), $"{string.Join(' ', arguments)}: {code}: {output}");
        return output.ToString();
    }
}
