using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>`myrmidon dev` and `myrmidon demo`, run as a user runs them.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class DevSpecs : IDisposable
{
    private static readonly TimeSpan TimeMax = TimeSpan.FromSeconds(120);

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-dev-").FullName;
    private readonly string _program = typeof(CommandLine).Assembly.Location;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "dev writes cluster.json once healthy, kill and start act on one node, SIGTERM stops all, and DIR starts it again")]
    public async Task Dev_lives()
    {
        var offset = LocalCluster.FreeOffset(3);
        await WithDevAsync(["--nodes", "3", "--port-offset", $"{offset}"], async cluster =>
        {
            Assert.Equal(["node-0", "node-1", "node-2"], cluster["nodes"]!.AsArray().Select(node => (string)node!["name"]!));
            var first = cluster["nodes"]![0]!;
            Assert.Equal(
                ($"http://127.0.0.1:{5705 + offset}", $"nbd://127.0.0.1:{10809 + offset}", Path.Combine(_directory, "node-0")),
                ((string)first["api"]!, (string)first["nbd"]!, (string)first["data"]!));
            (await RunAsync("volume", "create", "db", "--size", "64MiB", "--endpoint", (string)first["api"]!)).Ok();
            await KillAndStartAsync((int)first["pid"]!, (string)first["data"]!);
            Assert.Equal(ExitCode.Conflict, (await RunAsync("dev", "--data", _directory)).Exit);
        });
        Assert.False(File.Exists(Path.Combine(_directory, "cluster.json")));
        await WithDevAsync([], async cluster =>
            (await RunAsync("volume", "show", "db", "--endpoint", (string)cluster["nodes"]![2]!["api"]!)).Ok());
    }

    [Fact(DisplayName = "dev whose second node ends at once says so with that node's log, and does not wait for the others")]
    public async Task A_node_ends()
    {
        // Where its lock is to be.
        Directory.CreateDirectory(Path.Combine(_directory, "node-1", "lock"));
        var dev = await RunAsync("dev", "--nodes", "3", "--port-offset", $"{LocalCluster.FreeOffset(3)}", "--data", _directory);
        Assert.Equal(ExitCode.Failure, dev.Exit);
        Assert.Contains("node-1 has ended", dev.Error, StringComparison.Ordinal);
        Assert.Contains("can't be used", dev.Error, StringComparison.Ordinal);
    }

    private async Task KillAndStartAsync(int pid, string data)
    {
        Assert.True(NodeProcess.IsAlive(pid, data));
        (await RunAsync("dev", "kill", "node-0", "--data", _directory)).Ok();
        Assert.False(NodeProcess.IsAlive(pid, data));
        Assert.Null(ReadClusterFile()["nodes"]![0]!["pid"]);
        Assert.Equal(ExitCode.Conflict, (await RunAsync("dev", "kill", "node-0", "--data", _directory)).Exit);
        Assert.Equal(ExitCode.NotFound, (await RunAsync("dev", "kill", "node-7", "--data", _directory)).Exit);
        (await RunAsync("dev", "start", "node-0", "--data", _directory)).Ok();
        Assert.True(NodeProcess.IsAlive((int)ReadClusterFile()["nodes"]![0]!["pid"]!, data));
    }

    [Theory(DisplayName = "The demo kills the owner in mid-write whatever the size, compares every byte, exits 0, and leaves nothing behind")]
    [InlineData("16MiB")]
    [InlineData("64MiB")]
    public async Task Demo_works(string size)
    {
        var demo = await RunAsync("demo", "--size", size, "--port-offset", $"{LocalCluster.FreeOffset(3)}");
        demo.Ok();
        var killed = Regex.Match(demo.Output, @"was killed with kill -9 at (?<percent>\d+) ?% of the write");
        Assert.True(killed.Success, demo.Output);
        Assert.InRange(int.Parse(killed.Groups["percent"].Value, CultureInfo.InvariantCulture), 20, 90);
        Assert.Contains($"All {size} are equal, byte for byte", demo.Output, StringComparison.Ordinal);
        Assert.Contains("Longest pause between two acknowledged writes", demo.Output, StringComparison.Ordinal);
        Assert.Contains("is in sync again", demo.Output, StringComparison.Ordinal);
    }

    /// <summary>
    /// Runs `dev` around the work, stops it with SIGTERM, and sees that it has stopped every node, also those started by others.
    /// </summary>
    private async Task WithDevAsync(string[] arguments, Func<JsonNode, Task> work)
    {
        using var supervisor = Process.Start(new ProcessStartInfo("dotnet", ["exec", _program, "dev", "--data", _directory, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var running = new List<(int? Pid, string Data)>();
        try
        {
            await work(await WaitForClusterFileAsync(supervisor));
            running.AddRange(ReadClusterFile()["nodes"]!.AsArray().Select(node => ((int?)node!["pid"], (string)node["data"]!)));
        }
        finally
        {
            NodeProcess.Signal(supervisor.Id, NodeProcess.Term);
            using var limit = new CancellationTokenSource(TimeMax);
            await supervisor.WaitForExitAsync(limit.Token);
        }
        Assert.Equal(0, supervisor.ExitCode);
        Assert.All(running, node => Assert.False(NodeProcess.IsAlive(node.Pid, node.Data)));
    }

    private Task<ToolRun> RunAsync(params string[] arguments) => Tool.RunAsync("dotnet", ["exec", _program, .. arguments]);

    private JsonNode ReadClusterFile() => JsonNode.Parse(File.ReadAllText(Path.Combine(_directory, "cluster.json")))!;

    private async Task<JsonNode> WaitForClusterFileAsync(Process supervisor)
    {
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeMax && !supervisor.HasExited;)
        {
            if (File.Exists(Path.Combine(_directory, "cluster.json"))) return ReadClusterFile();
            await Task.Delay(50);
        }
        throw new Xunit.Sdk.XunitException($"no cluster.json: {await supervisor.StandardError.ReadToEndAsync()}");
    }
}
