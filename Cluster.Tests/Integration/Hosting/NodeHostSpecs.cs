using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Cluster.Node.Hosting;
using Cluster.Tests.Unit.Deployment;

namespace Cluster.Tests.Integration.Hosting;

public partial class NodeHostSpecs
{
    [Fact(DisplayName = "One node is a cluster: it keeps a volume of one copy over a restart, and says that it is one")]
    public async Task One_node()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        var metrics = await nodes.TextAsync(0, "/metrics");
        Assert.Contains("myrmidon_journal_has_leader 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("myrmidon_health{part=\"journal\"} 0\n", metrics, StringComparison.Ordinal);
        Assert.Matches("myrmidon_journal_log_bytes [1-9]", metrics);
        Assert.All(RisesOfAlerts().SelectMany(rise => rise.Labels.DefaultIfEmpty(""), (rise, label) => (rise.Metric, Label: label)),
            rise => Assert.True(IsAtZero(metrics, rise.Metric, rise.Label), $"{rise.Metric} {rise.Label} is not there before it first rises"));
        AssertDescribed(metrics);
        var (status, created) = await nodes.PostAsync(0, "/v1/volumes", new { name = "pg", sizeBytes = 1L << 30 });
        Assert.Equal(HttpStatusCode.Created, status);
        Assert.True(created.GetProperty("singleCopy").GetBoolean());
        await nodes.StopAsync(0);
        await nodes.StartAsync(0);
        var again = await nodes.EventuallyAsync(0, "/v1/volumes/pg", volume => StateOf(volume) == "healthy");
        Assert.Equal(created.GetProperty("id").GetString(), again.GetProperty("id").GetString());
        Assert.True(again.GetProperty("epoch").GetUInt64() > created.GetProperty("epoch").GetUInt64());
        var impossible = await nodes.PostAsync(0, "/v1/volumes", new { name = "three", sizeBytes = 1L << 30, replicas = 3 });
        Assert.Equal(HttpStatusCode.Conflict, impossible.Status);
        Assert.Contains("node-0 can", impossible.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    /// <summary>Each metric is in docs/metrics.md, with its type, its sentence and its labels.</summary>
    private static void AssertDescribed(string metrics)
    {
        var lines = metrics.Split('\n');
        var described = ManifestsAndProgramSpecs.DescribedMetrics.ToDictionary(metric => metric.Name, StringComparer.Ordinal);
        string[] Words(string what, string line) => line[$"# {what} ".Length..].Split(' ', 2);
        var help = lines.Where(line => line.StartsWith("# HELP ", StringComparison.Ordinal)).Select(line => Words("HELP", line)).ToArray();
        Assert.True(help.Length > 100, $"only {help.Length} metrics");
        Assert.All(help, words => Assert.Equal(words[1], described[words[0]].Help));
        Assert.All(lines.Where(line => line.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(line => Words("TYPE", line)), words => Assert.Equal(words[1], described[words[0]].Type));
        foreach (var series in lines.Where(line => line.Contains('{', StringComparison.Ordinal) && line[0] != '#'))
        {
            var name = series.Split('{')[0];
            var metric = described.GetValueOrDefault(name) is { Name: not null } same ? same : described[name[..name.LastIndexOf('_')]];
            Assert.Empty(Label().Matches(series).Select(match => match.Groups[1].Value).Except(metric.Labels.Append("le")));
        }
    }

    [GeneratedRegex("[{,]([a-z]+)=\"")]
    private static partial Regex Label();

    /// <summary>
    /// What the alerts look at for a rise, each with the labels that they select, NAME="VALUE". A counter that comes into being with its first event has no rise: each must be there, at 0, on a node where
    /// nothing has happened yet.
    /// </summary>
    private static (string Metric, string[] Labels)[] RisesOfAlerts()
    {
        var rises = Manifests.Of("PrometheusRule").SelectMany(one => one.Items("spec", "groups")).SelectMany(group => group.Items("rules"))
            .SelectMany(rule => Regex.Matches(rule.Text("expr"), @"\b(?:increase|rate)\((?<metric>\w+)(?:\{(?<labels>[^}]*)\})?\["))
            .Select(match => (match.Groups["metric"].Value, LabelsOf(match.Groups["labels"].Value))).ToArray();
        Assert.True(rises.Length > 5 && rises.Any(rise => rise.Item2.Length == 4), "rises that the alerts look for were not found in them");
        return rises;
    }

    private static bool IsAtZero(string metrics, string metric, string label) => metrics.Split('\n').Any(line =>
        line.StartsWith(metric, StringComparison.Ordinal) && line[metric.Length] is ' ' or '{' && line.Contains(label, StringComparison.Ordinal) && line.EndsWith(" 0", StringComparison.Ordinal));

    private static string[] LabelsOf(string selector) =>
        [.. Regex.Matches(selector, "(?<name>\\w+)=~?\"(?<values>[^\"]*)\"").SelectMany(match => match.Groups["values"].Value.Split('|').Select(value => $"{match.Groups["name"].Value}=\"{value}\""))];

    [Fact(DisplayName = "Three nodes form one cluster; a volume's owner leaves in order, and another copy's node serves on")]
    public async Task Three_nodes()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        await nodes.EventuallyAsync(0, "/v1/nodes", all => all.EnumerateArray().Count(node => StateOf(node) == "up") == 3);
        var (status, _) = await nodes.PostAsync(1, "/v1/volumes", new { name = "pg", sizeBytes = 1L << 40, replicas = 3 });
        Assert.Equal(HttpStatusCode.Created, status);
        var volume = await nodes.EventuallyAsync(2, "/v1/volumes/pg", v => StateOf(v) == "healthy" && OwnerOf(v) is not null);
        Assert.Equal(3, volume.GetProperty("replicas").GetArrayLength());
        var owner = OwnerOf(volume)!;
        var other = (owner[^1] - '0' + 1) % 3;
        await nodes.StopAsync(owner[^1] - '0');
        var after = await nodes.EventuallyAsync(
            other, "/v1/volumes/pg", v => StateOf(v) == "degraded" && OwnerOf(v) is { } now && now != owner);
        Assert.True(after.GetProperty("epoch").GetUInt64() > volume.GetProperty("epoch").GetUInt64());
        await nodes.StartAsync(owner[^1] - '0');
        await nodes.EventuallyAsync(other, "/v1/volumes/pg", v => StateOf(v) == "healthy");
        Assert.Equal(HttpStatusCode.NoContent, (await nodes.DeleteAsync(other, "/v1/volumes/pg")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await nodes.GetAsync(other, "/v1/volumes/pg")).Status);
    }

    [Fact(DisplayName = "The one that is left of three nodes says that the journal has no leader, and which nodes it takes")]
    public async Task One_of_three_is_left()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        var named = await nodes.EventuallyAsync(0, "/v1/status", status => status.GetProperty("nodesUp").GetInt32() == 3);
        Assert.Equal(["node-0", "node-1", "node-2"], named.GetProperty("controlNodes").EnumerateArray().Select(node => node.GetProperty("name").GetString()));
        Assert.All(named.GetProperty("controlNodes").EnumerateArray(), node => Assert.True(node.GetProperty("reachable").GetBoolean()));
        await nodes.StopAsync(1);
        await nodes.StopAsync(2);
        // A reason of the status while the catalogue is there; else the status is refused with it.
        await nodes.EventuallyAsync(0, "/v1/status", code: null,
            told => Regex.IsMatch(told.ToString(), @"The journal has no leader: a majority of node-0, node-1( \(unreachable\))?, node-2( \(unreachable\))? must run\."));
    }

    [Fact(DisplayName = "A data directory that another node holds is named in the refusal to start")]
    public async Task Refused_starts()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        var second = await Assert.ThrowsAsync<NodeStartException>(() => nodes.StartTwinAsync(0));
        Assert.Contains("data directory", second.Message, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Neither a data directory under another name nor another one under the name of a node that is up joins: the start is refused, and the cluster is as it was")]
    public async Task Names_that_are_others()
    {
        await using var nodes = new TestNodes(2);
        await nodes.StartAllAsync();
        await nodes.EventuallyAsync(0, "/v1/nodes", all => all.EnumerateArray().Count(node => StateOf(node) == "up") == 2);
        Assert.Matches(@"^The name 'node-1' belongs to the node at 127\.0\.0\.1:\d+ \(.+\), which is up; give this one \(.+\) another --name\.$",
            await nodes.StartRefusedAsync(0, options => options with { Name = "node-1", DataDirectory = nodes.DataOf(2), JournalPort = 0 }));
        var (status, _) = await nodes.PostAsync(1, "/v1/volumes", new { name = "pg", sizeBytes = 1L << 30, replicas = 2 });
        Assert.Equal(HttpStatusCode.Created, status);
        await nodes.EventuallyAsync(0, "/v1/volumes/pg", volume => StateOf(volume) == "healthy");
        await nodes.StopAsync(0);
        await nodes.StopAsync(1);
        var started = nodes.StartAsync(0);
        Assert.Equal("This data directory is of node 'node-1': start it with --name node-1, or give 'other' an empty --data.",
            await nodes.StartRefusedAsync(1, options => options with { Name = "other" }));
        await Task.WhenAll(started, nodes.StartAsync(1));
        await nodes.EventuallyAsync(0, "/v1/volumes/pg", volume => StateOf(volume) == "healthy");
        await nodes.EventuallyAsync(1, "/v1/nodes", all => all.GetArrayLength() == 2);
    }

    private static string? StateOf(JsonElement of) => of.GetProperty("state").GetString();

    private static string? OwnerOf(JsonElement volume) => volume.GetProperty("owner").GetString();
}
