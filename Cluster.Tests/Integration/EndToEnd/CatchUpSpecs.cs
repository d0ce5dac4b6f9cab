using System.Globalization;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Demo;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>A copy that was away is caught up by real nodes, slowly, and its node is killed on the way (R8).</summary>
[Collection(EndToEnd.Name)]
public sealed class CatchUpSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const ulong DeltaBytes = 48 * MiB;

    /// <summary>Here the node is killed: past its second mark, which comes after every 16 MiB, and seconds before the end.</summary>
    private const ulong KillAtBytes = 36 * MiB;

    private const string Settings = "myrmidon.repair { catch-up-bytes-per-second = 4MiB, catch-up-short = 0B }";

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-catch-up-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "R8: a copy whose node is killed in mid catch-up goes on from its cursor: little is sent twice, and clients read and write meanwhile")]
    public async Task A_killed_catch_up_goes_on()
    {
        await using var cluster = await LocalCluster.StartAsync(settings: Settings);
        var owner = (await cluster.CreateVolumeAsync("db", 128 * MiB)).Owner!;
        var (away, front) = (cluster.Other(owner).Name, cluster.Node(owner));
        await LocalCluster.WaitUntilInSyncAsync(front, "db");
        await cluster.KillAsync(away);
        var file = Path.Combine(_directory, "delta");
        await StandardClientsSpecs.WriteRandomAsync(file, DeltaBytes);
        (await Tool.RunAsync("nbdcopy", "--flush", file, $"{front.Nbd}/db")).Ok();

        using var client = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/db"), CancellationToken.None);
        using var probe = new GapProbe(client, (128 * MiB) - GapProbe.AreaBytes);
        probe.Start();
        await cluster.StartNodeAsync(away);
        var seen = await LocalCluster.WaitForVolumeAsync(front, "db", "far enough", volume => volume.Replicas.Any(replica =>
            replica.Node == away && replica.State == "catching-up" && replica.CatchUpBytesSent >= KillAtBytes));
        Assert.Contains(seen.Replicas, replica => replica is { CatchUpBytesPerSecond: > 0, CatchUpEtaSeconds: >= 0, CatchUpBytesTotal: >= DeltaBytes });
        // Counted at each tick of the node.
        await LocalCluster.WaitForAsync(() => CounterAsync(front.Api, "myrmidon_volumes{state=\"degraded\"}"), degraded => degraded == 1, "the metrics do not tell that the volume is degraded");
        await cluster.KillAsync(away);
        Assert.Equal(0UL, await CounterAsync(front.Api, "myrmidon_catch_up_ended_total"));
        await cluster.StartNodeAsync(away);
        using var output = new CapturedText();
        using var error = new CapturedText();
        Assert.Equal(ExitCode.Ok, await CommandLine.RunAsync(["volume", "wait", "db", "--timeout", "80", "--endpoint", front.Api], output, error));

        await probe.StopAsync();
        Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
        Assert.Equal((2UL, 1UL, 1UL), (await CounterAsync(front.Api, "myrmidon_catch_up_started_total"), await CounterAsync(front.Api, "myrmidon_catch_up_resumed_total"),
            await CounterAsync(front.Api, "myrmidon_catch_up_ended_total")));
        await LocalCluster.WaitForAsync(() => CounterAsync(front.Api, "myrmidon_volumes{state=\"healthy\"}"), healthy => healthy == 1, "the metrics do not tell that the volume is healthy");
        Assert.Equal(0UL, await CounterAsync(front.Api, "myrmidon_volumes{state=\"degraded\"}"));
        // Once from the start it would have been at least the delta more.
        Assert.InRange(await CounterAsync(front.Api, "myrmidon_catch_up_bytes_total"), DeltaBytes, KillAtBytes + (28 * MiB));
        // The copy that was caught up serves all by itself.
        var moved = await CommandLine.RunAsync(["volume", "move", "db", "--node", away, "--endpoint", front.Api], output, error);
        Assert.True(moved == ExitCode.Ok, $"{output}{error}");
        var back = Path.Combine(_directory, "back");
        (await Tool.RunAsync("nbdcopy", $"{front.Nbd}/db", back)).Ok();
        await using (var cut = File.OpenWrite(back)) cut.SetLength((long)DeltaBytes);
        Assert.Equal(await StandardClientsSpecs.HashAsync(file), await StandardClientsSpecs.HashAsync(back));
    }

    private static async Task<ulong> CounterAsync(string api, string name)
    {
        using var http = new HttpClient();
        var metrics = await http.GetStringAsync(new Uri(new Uri(api), "/metrics"));
        var line = metrics.Split('\n').Single(line => line.StartsWith($"{name} ", StringComparison.Ordinal));
        return (ulong)double.Parse(line[(name.Length + 1)..], CultureInfo.InvariantCulture);
    }
}
