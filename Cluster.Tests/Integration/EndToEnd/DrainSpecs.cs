using Cluster.Node.Cli;
using Cluster.Node.Cli.Demo;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>Planned work on nodes while clients go on.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class DrainSpecs
{
    private const ulong MiB = 1UL << 20;

    [Fact(DisplayName = "A node is drained under I/O: no error, all data right, it owns nothing and is not moved to; uncordon takes it back")]
    public async Task Drain_under_load()
    {
        await using var cluster = await LocalCluster.StartAsync();
        foreach (var name in (string[])["db", "logs", "mail"]) await cluster.CreateVolumeAsync(name, 64 * MiB);
        var owner = (await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db")).Owner!;
        var front = cluster.Other(owner);
        using var client = await NbdClient.ConnectAsync(new Uri($"{front.Nbd}/db"), CancellationToken.None);
        using var probe = new GapProbe(client, (64 * MiB) - GapProbe.AreaBytes);
        probe.Start();
        await ProbedAsync(front, probe);
        Assert.Contains($"Node {owner} is drained", await RunAsync("node", "drain", owner, "--endpoint", front.Api), StringComparison.Ordinal);
        foreach (var name in (string[])["db", "logs", "mail"])
        {
            var volume = await LocalCluster.WaitUntilInSyncAsync(front, name);
            Assert.NotEqual(owner, volume.Owner);
        }
        await ProbedAsync(front, probe);
        Assert.Contains("is cordoned", await RunAsync(ExitCode.Conflict, "volume", "move", "db", "--node", owner, "--endpoint", front.Api),
            StringComparison.Ordinal);
        await RunAsync("node", "uncordon", owner, "--endpoint", front.Api);
        await RunAsync("volume", "move", "db", "--node", owner, "--endpoint", front.Api);
        await ProbedAsync(front, probe);
        await probe.StopAsync();
        Assert.Equal(0, await probe.CountWrongAsync(CancellationToken.None));
        Assert.Equal(owner, (await LocalCluster.GetVolumeAsync(front, "db"))!.Owner);
    }

    private static Task ProbedAsync(Node.Cli.Dev.DevNode front, GapProbe probe)
    {
        var before = probe.Acknowledged;
        return LocalCluster.WaitForVolumeAsync(front, "db", "written to", _ => probe.Acknowledged > before + 100);
    }

    private static Task<string> RunAsync(params string[] arguments) => RunAsync(ExitCode.Ok, arguments);

    private static async Task<string> RunAsync(int exit, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync(arguments, output, output);
        Assert.True(exit == code, $"{string.Join(' ', arguments)}: {code}: {output}");
        return output.ToString();
    }
}
