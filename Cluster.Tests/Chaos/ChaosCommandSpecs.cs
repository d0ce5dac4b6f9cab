using System.Text.Json.Nodes;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;
using Cluster.Tests.Integration.EndToEnd;
using Xunit.Abstractions;

namespace Cluster.Tests.Chaos;

/// <summary>`myrmidon chaos` as users run it.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class ChaosCommandSpecs(ITestOutputHelper output)
{
    [Fact(DisplayName = "myrmidon chaos starts a cluster, breaks it under load, finds nothing violated and leaves nothing behind")]
    public async Task Own_cluster()
    {
        var offset = LocalCluster.FreeOffset(3);
        var (exit, text, error) = await RunAsync("chaos", "--duration", "40s", "--faults", "kill,restart,move,all-kill", "--seed", "5",
            "--port-offset", $"{offset}");
        Assert.True(exit == ExitCode.Ok, text + error);
        Assert.Contains("Nothing was violated.", text, StringComparison.Ordinal);
        Assert.Contains("Blocks with acknowledged writes lost: 0. Stale reads: 0.", text, StringComparison.Ordinal);
        Assert.Contains("Read back 15 times whole volumes", text, StringComparison.Ordinal);
        Assert.DoesNotContain("VIOLATION", text, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "myrmidon chaos works on a dev cluster that runs, leaves it as it was, and prints its result as JSON and as Markdown")]
    public async Task Running_cluster()
    {
        await using var cluster = await LocalCluster.StartAsync();
        var markdown = Path.Combine(cluster.Directory, "table.md");
        var (exit, text, error) = await RunAsync("chaos", "--data", cluster.Directory, "--duration", "5s", "--rounds", "1", "--faults", "move,all-kill",
            "--volumes", "1", "--clients", "2", "-o", "json", "--markdown", markdown);
        Assert.True(exit == ExitCode.Ok, text + error);
        var result = JsonNode.Parse(text)!;
        Assert.True(result["good"]!.GetValue<bool>());
        var faults = result["faults"]!.AsArray().Select(fault => fault!["fault"]!.GetValue<string>()).ToArray();
        Assert.All(["planned move of an owner", "kill -9 of all nodes"],
            row => Assert.Contains(faults, fault => fault.StartsWith(row, StringComparison.Ordinal)));
        Assert.Contains("\n| kill -9 of all nodes", await File.ReadAllTextAsync(markdown), StringComparison.Ordinal);
        Assert.All(cluster.Nodes, node => Assert.NotNull(node.Pid));
        var status = await LocalCluster.GetStatusAsync(cluster.Nodes[0]);
        Assert.Equal(0, status.VolumesTotal);
    }

    [Theory(DisplayName = "What myrmidon chaos can't do is told in one sentence")]
    [InlineData(ExitCode.Usage, "The fault 'meteor' is not known: use kill,", "--faults", "kill,meteor")]
    [InlineData(ExitCode.Usage, "--clients 0 is out of range: use 1 to 64.", "--clients", "0")]
    [InlineData(ExitCode.Usage, "--rounds 0 is out of range: use 1 to 1000.", "--rounds", "0")]
    [InlineData(ExitCode.Usage, "--duration soon is not a time: write", "--duration", "soon")]
    [InlineData(ExitCode.Usage, "The fault 'disk-full' needs nodes with networks and disks of their own: use --namespaces", "--faults", "kill,disk-full")]
    [InlineData(ExitCode.Usage, "The disk size 10MiB is not a size of at least 768MiB.", "--namespaces", "--disk-size", "10MiB")]
    [InlineData(ExitCode.NotFound, "No local cluster runs in", "--data", "/nonexistent/cluster")]
    public async Task Refusals(int code, string sentence, params string[] args)
    {
        var (exit, _, error) = await RunAsync(["chaos", .. args]);
        Assert.Equal(code, exit);
        Assert.Contains(sentence, error, StringComparison.Ordinal);
    }

    private async Task<(int Exit, string Output, string Error)> RunAsync(params string[] args)
    {
        using var text = new CapturedText();
        using var error = new CapturedText();
        var exit = await CommandLine.RunAsync(args, TextWriter.Synchronized(text), error);
        output.WriteLine(text.ToString());
        return (exit, text.ToString(), error.ToString());
    }
}
