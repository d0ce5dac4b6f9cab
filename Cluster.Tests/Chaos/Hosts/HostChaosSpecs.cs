using System.Globalization;
using Cluster.Node.Cli.Chaos;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>
/// Nodes in network namespaces, each on a small disk of its own, broken in every way under load: the engine and the checker of `myrmidon chaos`,
/// at a quicker pace. CHAOS_SEED=N repeats the faults and requests of a run, not its timing.
/// </summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class HostChaosSpecs(ITestOutputHelper output)
{
    private const ulong DiskBytes = 1UL << 30;
    private const int LogLines = 300;
    private static readonly string[] Kinds =
        ["kill", "all-kill", "stop", "all-stop", "rolling-restart", "partition", "partial-partition", "one-way", "disk-full"];

    [Fact(DisplayName = "Two minutes of kills, stops, partitions, one-way cuts, full disks and rolling restarts: nothing acknowledged is lost, nothing read is stale")]
    public async Task Two_minutes()
    {
        RootTools.Require("ip", "nft", "nsenter", "mkfs.ext4", "mount", "umount", "fallocate");
        var seed = int.TryParse(Environment.GetEnvironmentVariable("CHAOS_SEED"), CultureInfo.InvariantCulture, out var given)
            ? given : Random.Shared.Next(1, 1_000_000);
        var settings = new ChaosSettings
        {
            Duration = TimeSpan.FromSeconds(100),
            Seed = seed,
            Clients = 6,
            Faults = Kinds,
            Rounds = 1,
            PauseSeconds = (1, 4),
            StuckAfter = TimeSpan.FromSeconds(60),
            // A cluster that never heals must be told of, volume by volume, before the runner takes the test for hung.
            HealWithin = TimeSpan.FromSeconds(90),
        };
        await OnClusterAsync(async file =>
        {
            var run = new ChaosRun(new DevChaosCluster(file), settings, [.. Kinds.Select(ChaosFaults.Find)], output.WriteLine);
            using (run.Control) await run.RunAsync(CancellationToken.None);
            var result = ChaosResult.Of(run);
            foreach (var row in ChaosReport.Rows(result)) output.WriteLine(string.Join(" | ", row));
            var report = string.Join('\n', ChaosReport.Sentences(result));
            output.WriteLine(report);
            Assert.True(run.IsGood, $"seed {seed}\n{report}\n{Logs(file)}");
            AssertAllStruck(run);
        });
    }

    /// <summary>A run in which nothing happened would prove nothing.</summary>
    private static void AssertAllStruck(ChaosRun run)
    {
        var rows = run.Log.Windows.Select(window => window.Fault).ToArray();
        foreach (var kind in (string[])["kill -9 of the", "kill -9 of all", "stop of", "rolling restart", "partition of", "cut between", "full disk"])
        {
            Assert.Contains(rows, row => row.StartsWith(kind, StringComparison.Ordinal));
        }
        Assert.Contains(rows, row => row.Contains("hears nobody", StringComparison.Ordinal) || row.Contains("is not heard", StringComparison.Ordinal));
        Assert.True(run.Volumes.All(volume => volume.History.WritesAcknowledged > 500 && volume.History.ReadsChecked > 500));
    }

    private static string Logs(ClusterFile file) => string.Join('\n', file.ReadRunning()!.Nodes.Select(node =>
        $"{node.Name}\n{NodeProcess.Tail(file.LogOf(node.Name), LogLines)}"));

    /// <summary>Whatever happens in it, nothing of the cluster stays: no process, mount, namespace or link.</summary>
    private static async Task OnClusterAsync(Func<ClusterFile, Task> work)
    {
        var directory = Directory.CreateTempSubdirectory("myrmidon-hosts-").FullName;
        string id;
        try
        {
            await using var cluster = await DevCluster.StartAsync(directory, nodes: 3, portOffset: 0, CancellationToken.None, DiskBytes);
            id = cluster.Shape.Hosts!.Id;
            await work(cluster.File);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
        Assert.DoesNotContain(directory, await File.ReadAllTextAsync("/proc/self/mounts"), StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles("/run/netns"), name => name.Contains(id, StringComparison.Ordinal));
        Assert.DoesNotContain(System.Net.NetworkInformation.NetworkInterface.GetAllNetworkInterfaces(),
            link => link.Name.Contains(id, StringComparison.Ordinal));
    }
}
