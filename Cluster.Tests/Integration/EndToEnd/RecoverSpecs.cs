using System.Diagnostics;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>P7, with real processes: the journals are gone, the stores are there.</summary>
[Collection(EndToEnd.Name)]
public sealed class RecoverSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const int Stop = 19;
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(90);

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-recover-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "All journals are deleted: no node forms a cluster, recover says what it would do, refuses without a member's store, and with --apply brings back every byte")]
    public async Task All_journals_are_gone()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var (db, two) = await FillAsync(cluster);
        await KillAllAsync(cluster);
        foreach (var node in cluster.Nodes) Directory.Delete(Path.Combine(node.Data, "journal"), recursive: true);
        foreach (var node in cluster.Nodes.ToArray()) await SpawnAsync(cluster, node.Name);
        foreach (var node in cluster.Nodes) await WaitForAsync(node, state => state.State == "waits");

        var withoutOne = cluster.Nodes.Where(node => node.Name != two.Replicas[0].Node).ToArray();
        var refused = await RecoverAsync(withoutOne, "--apply");
        Assert.Equal(ExitCode.Conflict, refused.Code);
        Assert.Contains($"on node {two.Replicas[0].Node}: MISSING", refused.Output, StringComparison.Ordinal);
        Assert.Contains("db and two can't be recovered", refused.Error, StringComparison.Ordinal);
        var forced = await RecoverAsync(withoutOne, "--force", "db", "two");
        Assert.Equal(ExitCode.Ok, forced.Code);
        Assert.Contains("FORCED", forced.Output, StringComparison.Ordinal);

        var dry = await RecoverAsync(cluster.Nodes);
        Assert.True(dry.Code == ExitCode.Ok, dry.Output + dry.Error);
        Assert.Contains("Volume db (v1), 48MiB, 3 copies, myrmidon.dev/replicas=3 tier=gold", dry.Output, StringComparison.Ordinal);
        Assert.Contains("Nothing was changed", dry.Output, StringComparison.Ordinal);
        foreach (var node in cluster.Nodes) await WaitForAsync(node, state => state.State == "waits");

        await ApplyAsync(cluster, db, two);
        // The new era lives on: everything may be killed once more, and a volume gets an id of its own.
        var third = await cluster.CreateVolumeAsync("third", MiB);
        Assert.Equal("v3", third.Id);
        await KillAllAsync(cluster);
        foreach (var node in cluster.Nodes.ToArray()) await SpawnAsync(cluster, node.Name);
        await CompareAsync(cluster, "db", "two");
    }

    [Fact(DisplayName = "Recover is refused while the journal is alive; when one journal of three is left, its node stands down, and every byte is back")]
    public async Task One_journal_is_left()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var (db, two) = await FillAsync(cluster);
        var alive = await RecoverAsync(cluster.Nodes, "--apply");
        Assert.Equal(ExitCode.Conflict, alive.Code);
        Assert.Contains("The journal is alive", alive.Error, StringComparison.Ordinal);

        foreach (var node in cluster.Nodes.Skip(1).ToArray())
        {
            await cluster.KillAsync(node.Name);
            Directory.Delete(Path.Combine(node.Data, "journal"), recursive: true);
        }
        foreach (var node in cluster.Nodes.Skip(1).ToArray()) await SpawnAsync(cluster, node.Name);
        foreach (var node in cluster.Nodes) await WaitForAsync(node, state => state.Leader.Length == 0);
        var dry = await RecoverAsync(cluster.Nodes);
        Assert.True(dry.Code == ExitCode.Ok, dry.Output + dry.Error);
        Assert.Contains("node-0 puts its journal aside", dry.Output, StringComparison.Ordinal);
        await ApplyAsync(cluster, db, two);
    }

    /// <summary>Two volumes with data; "db" was resized.</summary>
    private async Task<(VolumeResource Db, VolumeResource Two)> FillAsync(LocalCluster cluster)
    {
        await cluster.CreateVolumeAsync("db", 32 * MiB);
        await cluster.CreateVolumeAsync("two", 16 * MiB, replicas: 2);
        using (var api = new ApiClient(new Uri(cluster.Nodes[0].Api)))
        {
            var change = new ChangeVolumeRequest { SizeBytes = 48 * MiB, Labels = new() { ["tier"] = "gold" } };
            var answer = await api.SendAsync(HttpMethod.Patch, "/v1/volumes/db", change, null, default);
            Assert.True(answer.IsOk, answer.Error);
        }
        await StandardClientsSpecs.WriteRandomAsync(Path.Combine(_directory, "db"), 48 * MiB);
        await StandardClientsSpecs.WriteRandomAsync(Path.Combine(_directory, "two"), 16 * MiB);
        foreach (var name in (string[])["db", "two"])
            (await Tool.RunAsync("nbdcopy", Path.Combine(_directory, name), $"{cluster.Nodes[1].Nbd}/{name}")).Ok();
        return (await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db"), await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "two"));
    }

    private async Task ApplyAsync(LocalCluster cluster, VolumeResource db, VolumeResource two)
    {
        var applied = await RecoverAsync(cluster.Nodes, "--apply");
        Assert.True(applied.Code == ExitCode.Ok, applied.Output + applied.Error + cluster.Logs());
        await CompareAsync(cluster, "db", "two");
        foreach (var before in (VolumeResource[])[db, two])
        {
            var after = await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], before.Name);
            Assert.Equal(before.Labels, after.Labels);
            Assert.Equal(before.SizeBytes, after.SizeBytes);
            Assert.Equal(before.Replicas.Select(copy => copy.Node).Order(), after.Replicas.Select(copy => copy.Node).Order());
        }
        Assert.Equal(2, (await LocalCluster.GetStatusAsync(cluster.Nodes[0])).VolumesTotal);
    }

    private async Task CompareAsync(LocalCluster cluster, params string[] names)
    {
        // A node's copies are in sync, over the mesh, before its NBD port is open.
        await DevOperations.WaitUntilHealthyAsync(cluster.File, cluster.Nodes, cluster.Nodes.Count, CancellationToken.None);
        foreach (var name in names)
        {
            await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], name);
            var copy = Path.Combine(_directory, name + ".read");
            (await Tool.RunAsync("nbdcopy", $"{cluster.Nodes[2].Nbd}/{name}", copy)).Ok();
            (await Tool.RunAsync("cmp", Path.Combine(_directory, name), copy)).Ok();
        }
    }

    /// <summary>Stopped first, all within moments: else those that live a little longer journal the dead ones out of their in-sync sets.</summary>
    private static async Task KillAllAsync(LocalCluster cluster)
    {
        foreach (var node in cluster.Nodes.ToArray()) await cluster.KillAsync(node.Name, Stop);
        foreach (var node in cluster.Nodes.ToArray()) await cluster.KillAsync(node.Name);
    }

    /// <summary>Starts the process; it may not become healthy.</summary>
    private static async Task SpawnAsync(LocalCluster cluster, string name)
    {
        var index = cluster.Nodes.ToList().FindIndex(node => node.Name == name);
        using var process = DevOperations.Spawn(cluster.File, cluster.File.ReadShape()!, index);
        await cluster.File.SetPidAsync(name, process.Id, CancellationToken.None);
    }

    private static async Task WaitForAsync(DevNode node, Func<RecoveryResource, bool> wanted)
    {
        using var api = new ApiClient(new Uri(node.Api));
        var last = "";
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < WaitMax; await Task.Delay(50))
        {
            var answer = await api.GetAsync("/v1/recovery", default);
            last = answer.Error;
            if (answer.IsOk && wanted(answer.As<RecoveryResource>())) return;
        }
        throw new Xunit.Sdk.XunitException($"{node.Name} is not as wanted after {WaitMax.TotalSeconds} s: {last}");
    }

    private static async Task<(int Code, string Output, string Error)> RecoverAsync(IEnumerable<DevNode> nodes, params string[] more)
    {
        using var output = new CapturedText();
        using var error = new CapturedText();
        string[] args = ["recover", .. nodes.SelectMany(node => new[] { "--endpoint", node.Api }), .. more];
        var code = await CommandLine.RunAsync(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
