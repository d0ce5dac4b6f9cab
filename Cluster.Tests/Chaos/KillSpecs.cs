using System.Globalization;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Demo;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos;

/// <summary>Processes killed with kill -9 under load. What a client was told must hold.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class KillSpecs(ITestOutputHelper output) : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const ulong FilledBytes = 64 * MiB;

    /// <summary>Writes after which a node is killed, so that the kill is in mid-write.</summary>
    private const ulong WritesBeforeKill = 1500;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-kill-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory(DisplayName = "Killing any one node under fio --verify: no error, all data right, and back in sync by delta")]
    [InlineData("owner")]
    [InlineData("replica")]
    [InlineData("journal leader")]
    [InlineData("placement host")]
    public async Task One_node_dies(string role)
    {
        await using var cluster = await LocalCluster.StartAsync();
        var before = await cluster.CreateVolumeAsync("db", 256 * MiB);
        var victim = await FindAsync(cluster, role, before);
        var front = cluster.Other(victim);
        var uri = $"{front.Nbd}/db";
        await FillAsync(uri);
        before = (await LocalCluster.GetVolumeAsync(front, "db"))!;

        using var probeClient = await NbdClient.ConnectAsync(new Uri(uri), CancellationToken.None);
        using var probe = new GapProbe(probeClient, (256 * MiB) - GapProbe.AreaBytes);
        probe.Start();
        var fio = Tool.RunAsync("fio", StandardClientsSpecs.FioVerify(uri, "24m", "--offset=64m", "--rate_iops=700"));
        await LocalCluster.WaitForVolumeAsync(front, "db", "written to", volume => volume.Sequence > before.Sequence + WritesBeforeKill);
        await cluster.KillAsync(victim);
        var run = await fio;
        Assert.True(run.Exit == 0, $"{run.Output}\n{run.Error}\n{cluster.Logs()}");
        await probe.StopAsync();
        Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{role}: longest gap {probe.LongestGap.TotalSeconds:0.00} s, {probe.Acknowledged} probe writes"));

        await cluster.StartNodeAsync(victim);
        var after = await LocalCluster.WaitUntilInSyncAsync(front, "db");
        var copied = after.Replicas.Single(replica => replica.Node == victim).CatchUpBytesSent;
        output.WriteLine($"{role}: {copied} bytes copied to catch up");
        Assert.True(copied < FilledBytes, $"{copied} bytes were copied to a node that missed at most 25 MiB: that is no delta");
        await CompareFilledAsync(uri);
    }

    [Fact(DisplayName = "All three nodes killed at once: they start again by themselves, with all that was acknowledged")]
    public async Task All_nodes_die()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 256 * MiB);
        await FillAsync($"{cluster.Nodes[0].Nbd}/db");
        await Task.WhenAll(cluster.Nodes.Select(node => cluster.KillAsync(node.Name)));
        await Task.WhenAll(cluster.Nodes.Select(node => cluster.StartNodeAsync(node.Name)));
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await CompareFilledAsync($"{cluster.Nodes[1].Nbd}/db");
        await cluster.CreateVolumeAsync("afterwards", MiB);
    }

    [Fact(DisplayName = "A cluster of one node keeps its data across a kill, and says that it has a single copy")]
    public async Task One_node_cluster()
    {
        await using var cluster = await LocalCluster.StartAsync(nodes: 1);
        var volume = await cluster.CreateVolumeAsync("db", 256 * MiB, replicas: 1);
        Assert.True(volume.SingleCopy);
        await FillAsync($"{cluster.Nodes[0].Nbd}/db");
        await cluster.KillAsync("node-0");
        await cluster.StartNodeAsync("node-0");
        await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await CompareFilledAsync($"{cluster.Nodes[0].Nbd}/db");
    }

    [Fact(DisplayName = "A node that is stopped and continued never answers for a volume that has a new owner")]
    public async Task Paused_owner()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var before = await cluster.CreateVolumeAsync("db", 256 * MiB);
        var owner = before.Owner!;
        var front = cluster.Other(owner);
        using var client = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/db"), CancellationToken.None);
        using var probe = new GapProbe(client, (256 * MiB) - GapProbe.AreaBytes);
        probe.Start();
        await cluster.KillAsync(owner, signal: 19);
        await LocalCluster.WaitForVolumeAsync(front, "db", "taken over", volume => volume.Owner is { } now && now != owner);
        var acknowledged = probe.Acknowledged;
        await LocalCluster.WaitForVolumeAsync(front, "db", "written to", _ => probe.Acknowledged > acknowledged + 100);
        await cluster.KillAsync(owner, NodeProcess.Continue);
        await LocalCluster.WaitUntilInSyncAsync(front, "db");
        await probe.StopAsync();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"longest gap {probe.LongestGap.TotalSeconds:0.00} s"));
        Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
    }

    private static async Task<string> FindAsync(LocalCluster cluster, string role, VolumeResource volume)
    {
        var status = await LocalCluster.GetStatusAsync(cluster.Nodes[0]);
        return role switch
        {
            "owner" => volume.Owner!,
            "replica" => volume.Replicas.First(replica => replica.Node != volume.Owner).Node,
            "journal leader" => status.JournalLeader!,
            _ => status.PlacementHost!,
        };
    }

    private async Task FillAsync(string uri)
    {
        var file = Path.Combine(_directory, "filled");
        await StandardClientsSpecs.WriteRandomAsync(file, FilledBytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, uri)).Ok();
    }

    private async Task CompareFilledAsync(string uri)
    {
        var (file, back) = (Path.Combine(_directory, "filled"), Path.Combine(_directory, "back"));
        (await Tool.RunAsync("nbdcopy", uri, back)).Ok();
        await using (var cut = File.OpenWrite(back)) cut.SetLength((long)FilledBytes);
        Assert.Equal(await StandardClientsSpecs.HashAsync(file), await StandardClientsSpecs.HashAsync(back));
    }
}
