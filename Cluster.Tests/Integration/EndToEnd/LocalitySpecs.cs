using Cluster.Node.Cli;
using Cluster.Node.Cli.Demo;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>The owner follows who uses the volume (label locality), while that goes on.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class LocalitySpecs
{
    private const ulong MiB = 1UL << 20;

    [Fact(DisplayName = "The owner comes to the node that uses the volume, stays where an operator puts it, comes back after that node was killed, and follows a new attachment; no write fails, none is lost")]
    public async Task Follows()
    {
        await using var cluster = await LocalCluster.StartAsync(settings: "myrmidon.locality-settle = 1s");
        await cluster.CreateVolumeAsync("db", 64 * MiB);
        await cluster.CreateVolumeAsync("off", 64 * MiB);
        var first = (await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db")).Owner!;
        var front = cluster.Other(first);
        await RunAsync("volume", "label", "off", "myrmidon.dev/locality=off", "--endpoint", front.Api);
        await RunAsync("volume", "move", "off", "--node", first, "--endpoint", front.Api);
        using var offClient = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/off"), CancellationToken.None);
        using (var client = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/db"), CancellationToken.None))
        {
            using var probe = new GapProbe(client, (64 * MiB) - GapProbe.AreaBytes);
            probe.Start();
            await OwnedByAsync(front, "db", front.Name);
            await ProbedAsync(front, probe);
            Assert.Contains($"on {front.Name}, which owns it", await RunAsync("volume", "show", "db", "--endpoint", front.Api), StringComparison.Ordinal);

            // An operator's word counts before it: until placement has asked, and was told so.
            var third = cluster.Other(first, front.Name).Name;
            await RunAsync("volume", "move", "db", "--node", third, "--endpoint", front.Api);
            await LocalCluster.WaitForAsync(() => Task.FromResult(cluster.FullLogs()), logs => logs.Contains($"its owner stays on {third} for now: an operator moved it there", StringComparison.Ordinal),
                "placement did not find the operator's move");
            Assert.Equal(third, (await LocalCluster.GetVolumeAsync(front, "db"))!.Owner);

            // Its death ends that, and the volume serves wherever it can first.
            await cluster.KillAsync(third);
            await OwnedByAsync(front, "db", front.Name);
            await ProbedAsync(front, probe);
            await cluster.StartNodeAsync(third);
            await probe.StopAsync();
            Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
        }
        await LocalCluster.WaitUntilInSyncAsync(front, "db");

        // As a pod that moves: attached elsewhere, and used there.
        var next = cluster.Other(front.Name);
        await RunAsync("volume", "attach", "db", "--node", next.Name, "--endpoint", front.Api);
        using (var client = await NbdClient.ConnectAsync(new Uri($"{next.Nbd}/db"), CancellationToken.None))
        {
            using var probe = new GapProbe(client, (64 * MiB) - GapProbe.AreaBytes);
            probe.Start();
            await OwnedByAsync(front, "db", next.Name);
            await ProbedAsync(next, probe);
            await probe.StopAsync();
            Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
        }
        var off = (await LocalCluster.GetVolumeAsync(front, "off"))!;
        Assert.Contains("myrmidon.dev/locality says", off.Usage, StringComparison.Ordinal);
        Assert.DoesNotContain("Volume off is used", cluster.FullLogs(), StringComparison.Ordinal);
    }

    private static Task OwnedByAsync(DevNode asked, string name, string owner) =>
        LocalCluster.WaitForVolumeAsync(asked, name, $"owned by {owner}", volume => volume.Owner == owner);

    private static Task ProbedAsync(DevNode front, GapProbe probe)
    {
        var before = probe.Acknowledged;
        return LocalCluster.WaitForVolumeAsync(front, "db", "written to", _ => probe.Acknowledged > before + 100);
    }

    private static async Task<string> RunAsync(params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync(arguments, output, output);
        Assert.True(code == ExitCode.Ok, $"{string.Join(' ', arguments)}: {code}: {output}");
        return output.ToString();
    }
}
