using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;
using AnewPause = Cluster.Node.Hosting.AnewPause;

namespace Cluster.Tests.Chaos;

/// <summary>A node that was silent for so long that the others took it out, and then goes on.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class SilentNodeSpecs(ITestOutputHelper output)
{
    private const int Stop = 19;

    [Fact(DisplayName = "A node that was stopped until the others took it out starts anew by itself when it goes on, and serves again")]
    public async Task Taken_out()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var before = await cluster.CreateVolumeAsync("db", 64UL << 20);
        var victim = cluster.Node(before.Owner!);
        var front = cluster.Other(victim.Name);
        await WriteAsync(front, 1);
        await cluster.KillAsync(victim.Name, Stop);
        await LocalCluster.WaitForAsync(() => LocalCluster.StateOfAsync(front, victim.Name), state => state == "down", $"{victim.Name} was not taken out");
        await WriteAsync(front, 2);
        await cluster.KillAsync(victim.Name, NodeProcess.Continue);
        var waited = Stopwatch.StartNew();
        await LocalCluster.WaitForAsync(() => Task.FromResult(StartsOf(cluster, victim.Name)), starts => starts == 2, "it did not start anew");
        await LocalCluster.WaitUntilUpAsync(front, victim.Name);
        await LocalCluster.WaitUntilInSyncAsync(front, "db");
        Assert.Equal(2, await ReadAsync(victim));
        await WriteAsync(victim, 3);
        Assert.Equal(3, await ReadAsync(front));
        output.WriteLine($"back after {waited.Elapsed.TotalSeconds:0.0} s");
        Assert.Equal(victim.Pid, cluster.Node(victim.Name).Pid);
        Assert.True(NodeProcess.IsAlive(victim.Pid, victim.Data));
        Assert.Equal(0, LinesOf(cluster, victim.Name, "times in a row"));
        Assert.Contains($"{AnewPause.Variable}=1", VariablesOf(victim.Pid!.Value));
        // It still takes signals as it should.
        await cluster.KillAsync(victim.Name, NodeProcess.Term);
    }

    [Fact(DisplayName = "A hung owner is replaced before the cluster takes it out, and seen at its new place at once; when it goes on, its volume stays there")]
    public async Task Hung_for_a_moment()
    {
        // However slow the machine is: the cluster does not take it out here, so that only an early claim can replace it.
        await using var cluster = await LocalCluster.StartAsync(settings: "akka.cluster.split-brain-resolver.stable-after = 600s");
        var before = await OwnedAwayFromPlacementAsync(cluster);
        var victim = cluster.Node(before.Owner!);
        var front = cluster.Other(victim.Name);
        using var client = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/db"), CancellationToken.None);
        await WriteAsync(client, 1);
        await cluster.KillAsync(victim.Name, Stop);
        await WriteAsync(client, 2);
        var claimed = await LocalCluster.WaitForVolumeAsync(front, "db", "shown at its new owner while the old one is silent",
            volume => volume.Owner is { } owner && owner != victim.Name);
        await LocalCluster.WaitForAsync(() => LocalCluster.StateOfAsync(front, victim.Name), state => state == "unreachable", "the silent node is not told");
        await cluster.KillAsync(victim.Name, NodeProcess.Continue);
        await LocalCluster.WaitUntilUpAsync(front, victim.Name);
        var after = await LocalCluster.WaitForVolumeAsync(victim, "db", "in sync again, its shard where its owner is",
            volume => volume.Owner is not null && volume.Replicas.All(replica => replica.State == "in-sync"));
        output.WriteLine($"epoch {before.Epoch} on {victim.Name}, then {after.Epoch} on {after.Owner}");
        Assert.Equal((claimed.Owner, claimed.Epoch), (after.Owner, after.Epoch));
        Assert.Equal(2, await ReadAsync(victim));
        Assert.Contains(cluster.Nodes, node => LinesOf(cluster, node.Name, "claims it, since its owner") > 0);
        Assert.Equal(1, StartsOf(cluster, victim.Name));
    }

    [Fact(DisplayName = "A node that is stopped in order leaves its volumes to the others at once, and their shards follow without a second takeover")]
    public async Task Stopped_in_order()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var before = await cluster.CreateVolumeAsync("db", 64UL << 20);
        var front = cluster.Other(before.Owner!);
        await WriteAsync(front, 1);
        await cluster.KillAsync(before.Owner!, NodeProcess.Term);
        var after = await LocalCluster.WaitForVolumeAsync(front, "db", "served by another node", volume => volume.Owner is { } now && now != before.Owner);
        Assert.Equal(before.Epoch + 1, after.Epoch);
        Assert.Contains(cluster.Nodes, node => LinesOf(cluster, node.Name, "is Released") > 0);
        Assert.Equal(1, await ReadAsync(front));
    }

    [Fact(DisplayName = "A node that alone was left of its cluster, and hung while the others started anew and formed a second one, becomes a member of one cluster with them again")]
    public async Task Two_clusters()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 64UL << 20);
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await WriteAsync(cluster.Nodes[0], 1);
        string[] others = ["node-0", "node-1"];
        const string last = "node-2";
        await Task.WhenAll(others.Select(name => cluster.KillAsync(name)));
        await LocalCluster.WaitForAsync(() => Task.FromResult(others.Count(name => LinesOf(cluster, last, $"Node {name} is gone") > 0)), gone => gone == others.Length,
            "the dead nodes were not taken out");
        await cluster.KillAsync(last, Stop);
        await Task.WhenAll(others.Select(cluster.StartNodeAsync));
        Assert.True(cluster.Nodes.Sum(node => LinesOf(cluster, node.Name, "forms the cluster of nodes")) >= 2, "no second cluster was formed");
        await cluster.KillAsync(last, NodeProcess.Continue);
        foreach (var (at, name) in cluster.Nodes.SelectMany(at => cluster.Nodes.Select(node => (at, node.Name))))
        {
            await LocalCluster.WaitUntilUpAsync(at, name);
        }
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        Assert.Equal(1, await ReadAsync(cluster.Node(last)));
    }

    [Fact(DisplayName = "A node that has started anew a moment ago, and has to again, says that it waits first; the count goes from one run of the process to the next")]
    public async Task Again()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var (victim, front) = (cluster.Nodes[2], cluster.Nodes[0]);
        for (var times = 1; times <= 3; times++)
        {
            await cluster.KillAsync(victim.Name, Stop);
            await LocalCluster.WaitForAsync(() => LocalCluster.StateOfAsync(front, victim.Name), state => state == "down", $"{victim.Name} was not taken out");
            await cluster.KillAsync(victim.Name, NodeProcess.Continue);
            await LocalCluster.WaitForAsync(() => Task.FromResult(VariablesOf(victim.Pid!.Value)), variables => variables.Contains($"{AnewPause.Variable}={times}"), $"the count was not {times}");
            await LocalCluster.WaitForAsync(() => Task.FromResult(StartsOf(cluster, victim.Name)), starts => starts == times + 1, "it does not serve again");
        }
        Assert.Equal(1, LinesOf(cluster, victim.Name, "has to start anew 2 times in a row, without 60 s of service in between: waits 1 s before it does"));
        Assert.Equal(1, LinesOf(cluster, victim.Name, "has to start anew 3 times in a row, without 60 s of service in between: waits 2 s before it does"));
    }

    /// <summary>As the process was given them when its present run began.</summary>
    private static string[] VariablesOf(int pid) => File.ReadAllText($"/proc/{pid}/environ").Split('\0', StringSplitOptions.RemoveEmptyEntries);

    private static int LinesOf(LocalCluster cluster, string name, string text) =>
        File.ReadLines(cluster.File.LogOf(name)).Count(line => line.Contains(text, StringComparison.Ordinal));

    private static int StartsOf(LocalCluster cluster, string name) =>
        LinesOf(cluster, name, " serves: API at ");

    /// <summary>A volume whose owner hosts no singleton: without the catalogue nobody can tell where a volume is.</summary>
    private static async Task<VolumeResource> OwnedAwayFromPlacementAsync(LocalCluster cluster)
    {
        var volume = await cluster.CreateVolumeAsync("db", 64UL << 20);
        var host = (await LocalCluster.GetStatusAsync(cluster.Nodes[0])).PlacementHost;
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        if (volume.Owner != host) return volume;
        using var api = new ApiClient(new Uri(cluster.Nodes[0].Api));
        var answer = await api.PostAsync("/v1/volumes/db/move", new NodeRequest { Node = cluster.Other(host!).Name }, default);
        Assert.True(answer.IsOk, answer.Error);
        return await LocalCluster.WaitForVolumeAsync(cluster.Nodes[0], "db", "owned away from the placement service", moved => moved.Owner is { } owner && owner != host);
    }

    private static async Task WriteAsync(DevNode at, byte value)
    {
        using var client = await NbdClient.ConnectAsync(new Uri($"{at.Nbd}/db"), CancellationToken.None);
        await WriteAsync(client, value);
    }

    private static Task WriteAsync(NbdClient client, byte value)
    {
        var block = new byte[Limits.BlockBytes];
        block.AsSpan().Fill(value);
        return client.WriteAsync(0, block, CancellationToken.None);
    }

    private static async Task<byte> ReadAsync(DevNode at)
    {
        using var client = await NbdClient.ConnectAsync(new Uri($"{at.Nbd}/db"), CancellationToken.None);
        var block = new byte[Limits.BlockBytes];
        await client.ReadAsync(0, block, CancellationToken.None);
        return block[0];
    }
}
