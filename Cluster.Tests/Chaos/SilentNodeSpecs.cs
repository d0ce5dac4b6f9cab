using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

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
        await LocalCluster.WaitForAsync(() => StateOfAsync(front, victim.Name), state => state == "down", $"{victim.Name} was not taken out");
        await WriteAsync(front, 2);
        await cluster.KillAsync(victim.Name, NodeProcess.Continue);
        var waited = Stopwatch.StartNew();
        await LocalCluster.WaitForAsync(() => Task.FromResult(StartsOf(cluster, victim.Name)), starts => starts == 2, "it did not start anew");
        await LocalCluster.WaitForAsync(() => StateOfAsync(front, victim.Name), state => state == "up", $"{victim.Name} did not come back");
        await LocalCluster.WaitUntilInSyncAsync(front, "db");
        Assert.Equal(2, await ReadAsync(victim));
        await WriteAsync(victim, 3);
        Assert.Equal(3, await ReadAsync(front));
        output.WriteLine($"back after {waited.Elapsed.TotalSeconds:0.0} s");
        Assert.Equal(victim.Pid, cluster.Node(victim.Name).Pid);
        Assert.True(NodeProcess.IsAlive(victim.Pid, victim.Data));
        // It still takes signals as it should.
        await cluster.KillAsync(victim.Name, NodeProcess.Term);
    }

    private static int StartsOf(LocalCluster cluster, string name) =>
        File.ReadLines(cluster.File.LogOf(name)).Count(line => line.Contains(" serves: API at ", StringComparison.Ordinal));

    private static async Task<string?> StateOfAsync(DevNode at, string name)
    {
        using var api = new ApiClient(new Uri(at.Api));
        var answer = await api.GetAsync("/v1/nodes", default);
        return answer.IsOk ? answer.As<NodeResource[]>().Single(node => node.Name == name).State : null;
    }

    private static async Task WriteAsync(DevNode at, byte value)
    {
        using var client = await NbdClient.ConnectAsync(new Uri($"{at.Nbd}/db"), CancellationToken.None);
        var block = new byte[Limits.BlockBytes];
        block.AsSpan().Fill(value);
        await client.WriteAsync(0, block, CancellationToken.None);
    }

    private static async Task<byte> ReadAsync(DevNode at)
    {
        using var client = await NbdClient.ConnectAsync(new Uri($"{at.Nbd}/db"), CancellationToken.None);
        var block = new byte[Limits.BlockBytes];
        await client.ReadAsync(0, block, CancellationToken.None);
        return block[0];
    }
}
