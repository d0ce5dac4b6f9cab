using Cluster.Node.Cli;
using Cluster.Node.Cli.Demo;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>The number of copies of volumes changes while clients write to them.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class CopiesSpecs : IDisposable
{
    private const ulong MiB = 1UL << 20;
    private const ulong FilledBytes = 16 * MiB;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-copies-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "A volume goes from 3 copies to 2 and back, and another one from 1 to 3, under write load: every copy serves all that was written")]
    public async Task Live_changes()
    {
        await using var cluster = await LocalCluster.StartAsync();
        await cluster.CreateVolumeAsync("db", 64 * MiB);
        await cluster.CreateVolumeAsync("solo", 64 * MiB, replicas: 1);
        foreach (var name in (string[])["db", "solo"])
        {
            await StandardClientsSpecs.WriteRandomAsync(FileOf(name), FilledBytes);
            (await Tool.RunAsync("nbdcopy", "--flush", FileOf(name), $"{cluster.Nodes[0].Nbd}/{name}")).Ok();
        }
        using var db = await ProbeOf(cluster.Nodes[0], "db");
        using var solo = await ProbeOf(cluster.Nodes[1], "solo");

        var before = await LocalCluster.WaitUntilInSyncAsync(cluster.Nodes[0], "db");
        await RunAsync(ExitCode.Ok, "volume", "resize", "db", "--replicas", "2", "--endpoint", cluster.Nodes[1].Api);
        var after = await LocalCluster.WaitForVolumeAsync(cluster.Nodes[0], "db", "of 2 copies", v => v is { State: "healthy", Replicas.Count: 2, ReplicaCount: 2, InSyncMin: 1 });
        Assert.Equal(before.Owner, after.Owner);
        Assert.Equal(before.Epoch, after.Epoch);
        var dropped = cluster.Node(before.Replicas.Select(copy => copy.Node).Except(after.Replicas.Select(copy => copy.Node)).Single());
        await LocalCluster.WaitForVolumeAsync(cluster.Nodes[0], "db", "gone from the node that it left",
            _ => File.ReadAllText(cluster.File.LogOf(dropped.Name)).Contains("replica deleted", StringComparison.Ordinal));

        var refusal = await RunAsync(ExitCode.Conflict, "volume", "label", "db", "myrmidon.dev/replicas=5", "--endpoint", cluster.Nodes[1].Api);
        Assert.Contains("To have 5 copies instead of 2, volume db needs 3 nodes and 1 can take a copy: node-0 ", refusal, StringComparison.Ordinal);
        await RunAsync(ExitCode.Ok, "volume", "label", "db", "myrmidon.dev/replicas=3", "--endpoint", cluster.Nodes[1].Api);
        await RunAsync(ExitCode.Ok, "volume", "resize", "solo", "--replicas", "3", "--endpoint", cluster.Nodes[1].Api);
        foreach (var name in (string[])["db", "solo"])
            await LocalCluster.WaitForVolumeAsync(cluster.Nodes[0], name, "of 3 copies", v => v is { State: "healthy", Replicas.Count: 3, InSyncMin: 2 });

        await RunAsync(ExitCode.Ok, "volume", "label", "db", "myrmidon.dev/failure-mode=hard", "--endpoint", cluster.Nodes[1].Api);
        await LocalCluster.WaitForVolumeAsync(cluster.Nodes[0], "db", "hard", v => v is { State: "healthy", InSyncMin: 3 });
        await CheckEveryCopyAsync(cluster, "db");
        await CheckEveryCopyAsync(cluster, "solo");
        await db.CheckAsync();
        await solo.CheckAsync();
    }

    /// <summary>Each copy in turn serves the volume: what was written, and what is written now.</summary>
    private async Task CheckEveryCopyAsync(LocalCluster cluster, string name)
    {
        foreach (var node in cluster.Nodes)
        {
            await RunAsync(ExitCode.Ok, "volume", "move", name, "--node", node.Name, "--endpoint", cluster.Nodes[0].Api);
            var back = FileOf("back");
            (await Tool.RunAsync("nbdcopy", $"{node.Nbd}/{name}", back)).Ok();
            await using (var cut = File.OpenWrite(back)) cut.SetLength((long)FilledBytes);
            Assert.Equal(await StandardClientsSpecs.HashAsync(FileOf(name)), await StandardClientsSpecs.HashAsync(back));
        }
    }

    private string FileOf(string name) => Path.Combine(_directory, name);

    private static async Task<Load> ProbeOf(DevNode node, string name) => new(await NbdClient.ConnectAsync(new Uri($"{node.Nbd}/{name}"), CancellationToken.None));

    private static async Task<string> RunAsync(int exit, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync(arguments, output, output);
        Assert.True(exit == code, $"{string.Join(' ', arguments)}: {code}: {output}");
        return output.ToString();
    }

    /// <summary>Writes all the time; any error of the connection fails the test.</summary>
    private sealed class Load : IDisposable
    {
        private readonly NbdClient _client;
        private readonly GapProbe _probe;

        public Load(NbdClient client)
        {
            (_client, _probe) = (client, new GapProbe(client, (64 * MiB) - GapProbe.AreaBytes));
            _probe.Start();
        }

        public async Task CheckAsync()
        {
            await _probe.StopAsync();
            Assert.True(_probe.Acknowledged > GapProbe.Blocks, $"only {_probe.Acknowledged} writes were acknowledged");
            Assert.Equal(0, await _probe.CountWrongAsync(CancellationToken.None));
        }

        public void Dispose()
        {
            _probe.Dispose();
            _client.Dispose();
        }
    }
}
