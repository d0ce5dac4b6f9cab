using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>A node that promises no more than it was told to.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class PromisedSpaceSpecs
{
    private const ulong GiB = 1UL << 30;

    [Fact(DisplayName = "Beyond its over-commit limit a node takes no volume and lets none grow, with its figures in the refusal; node show and metrics tell what is promised")]
    public async Task Limit()
    {
        await using var cluster = await LocalCluster.StartAsync(nodes: 1, "myrmidon { capacity = 1GiB\n over-commit-percent = 300\n map-cache = 48MiB }");
        var node = cluster.Nodes[0];
        await cluster.CreateVolumeAsync("db", 2 * GiB, replicas: 1);
        var refused = await RunAsync(ExitCode.Conflict, node.Api, "volume", "create", "more", "--size", "2GiB");
        Assert.Contains("node-0 has promised 2048 MiB, and 2048 MiB more are beyond its limit of", refused, StringComparison.Ordinal);
        Assert.Contains("can't grow", await RunAsync(ExitCode.Conflict, node.Api, "volume", "resize", "db", "--size", "4GiB"), StringComparison.Ordinal);
        Assert.Contains("Promised", await RunAsync(ExitCode.Ok, node.Api, "node", "show", "node-0"), StringComparison.Ordinal);
        using var api = new ApiClient(new Uri(node.Api));
        var shown = (await api.GetAsync("/v1/nodes/node-0", default)).As<NodeResource>();
        Assert.Equal((2 * GiB, 300), (shown.ProvisionedBytes, shown.OverCommitPercent));
        using var http = new HttpClient();
        Assert.Contains($"myrmidon_map_cache_budget_bytes {48UL << 20}\n", await http.GetStringAsync(new Uri(new Uri(node.Api), "/metrics")), StringComparison.Ordinal);
        for (var looked = 0; !(await http.GetStringAsync(new Uri(new Uri(node.Api), "/metrics"))).Contains($"myrmidon_store_provisioned_bytes {2 * GiB}", StringComparison.Ordinal); looked++)
        {
            Assert.True(looked < 200, "the metric does not tell what is promised");
            await Task.Delay(100);
        }
    }

    private static async Task<string> RunAsync(int expected, string api, params string[] arguments)
    {
        using var output = new CapturedText();
        var code = await CommandLine.RunAsync([.. arguments, "--endpoint", api], output, output);
        Assert.True(code == expected, $"{string.Join(' ', arguments)} ended with {code}, not {expected}: {output}");
        return output.ToString();
    }
}
