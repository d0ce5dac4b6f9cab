namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// Faults of networks and disks, for nodes that have their own. Cut nodes still serve clients, so that a deposed owner would be caught
/// answering.
/// </summary>
internal static class HostFaults
{
    private const int RefillMs = 250;

    public static readonly IReadOnlyList<string> Names = ["partition", "partial-partition", "one-way", "disk-full"];

    /// <summary>Null when it is not one of these.</summary>
    public static ChaosFault? Find(string name) => name switch
    {
        "partition" => PartitionAsync,
        "partial-partition" => PartialAsync,
        "one-way" => OneWayAsync,
        "disk-full" => FillAsync,
        _ => null,
    };

    /// <summary>A node and the others do not hear each other.</summary>
    private static async Task<ChaosStrike?> PartitionAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (role, node) = await ChaosFaults.DrawNodeAsync(scene, cancellation);
        if (node is null) return null;
        var others = Others(scene, node);
        return Cut(scene, $"partition of {Kind(role)}", node, [(node, others), .. others.Select(other => (other, (string[])[node]))]);
    }

    /// <summary>Two nodes do not hear each other, but both hear all others.</summary>
    private static async Task<ChaosStrike?> PartialAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (_, node) = await ChaosFaults.DrawNodeAsync(scene, cancellation);
        if (node is null || scene.Cluster.Nodes.Count < 3) return null;
        var other = scene.Pick(Others(scene, node));
        return Cut(scene, "cut between two nodes", $"{node} and {other}", [(node, [other]), (other, [node])]);
    }

    /// <summary>A node hears the others but is not heard, or the other way round.</summary>
    private static async Task<ChaosStrike?> OneWayAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (role, node) = await ChaosFaults.DrawNodeAsync(scene, cancellation);
        var isDeaf = scene.Random.Next(2) == 0;
        if (node is null) return null;
        var others = Others(scene, node);
        return isDeaf ? Cut(scene, $"{Kind(role)} hears nobody", node, [(node, others)])
            : Cut(scene, $"{Kind(role)} is not heard", node, [.. others.Select(other => (other, (string[])[node]))]);
    }

    private static ChaosStrike Cut(ChaosScene scene, string row, string where, IReadOnlyList<(string Node, string[] From)> drops)
    {
        var seconds = scene.Pick([scene.Between(0.5, 3), scene.Between(3, 20)]);
        var nodes = drops.SelectMany(drop => drop.From.Append(drop.Node)).Distinct().ToArray();
        // Clients wait for the node that is cut, not for those on the other side.
        var victims = nodes.Length == 2 ? nodes : [where];
        return new ChaosStrike(row, ChaosFaults.Seconds(where, seconds), victims, async token =>
        {
            try
            {
                foreach (var node in nodes) scene.Watch.OnAway(node);
                await Task.WhenAll(drops.Select(drop => scene.Hosts.DropAsync(drop.Node, drop.From)));
                await Task.Delay(TimeSpan.FromSeconds(seconds), token);
            }
            finally
            {
                await Task.WhenAll(drops.Select(drop => scene.Hosts.HealAsync(drop.Node)));
                foreach (var node in nodes) scene.Watch.OnBack(node);
            }
        });
    }

    /// <summary>The node's disk has no free block, also none that it frees itself meanwhile.</summary>
    private static async Task<ChaosStrike?> FillAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (role, node) = await ChaosFaults.DrawNodeAsync(scene, cancellation);
        var seconds = scene.Between(3, 15);
        return node is null ? null : new ChaosStrike($"full disk of {Kind(role)}", ChaosFaults.Seconds(node, seconds), [node], async token =>
        {
            try
            {
                scene.Watch.OnAway(node);
                for (var full = System.Diagnostics.Stopwatch.StartNew(); full.Elapsed.TotalSeconds < seconds; await Task.Delay(RefillMs, token))
                {
                    await scene.Hosts.FillDiskAsync(node);
                }
            }
            finally
            {
                await scene.Hosts.FreeDiskAsync(node);
                scene.Watch.OnBack(node);
            }
        });
    }

    private static string[] Others(ChaosScene scene, string node) =>
        [.. scene.Cluster.Nodes.Select(known => known.Name).Where(name => name != node)];

    private static string Kind(string role) => role == "owner" ? "the owner" : "another node";
}
