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
    public static IReadOnlyList<ChaosFault>? Variants(string name) => name switch
    {
        "partition" => ChaosFaults.ForEither(PartitionAsync),
        "partial-partition" => [PartialAsync],
        "one-way" => [.. ChaosFaults.ForEither(HearsNobodyAsync), .. ChaosFaults.ForEither(IsNotHeardAsync)],
        "disk-full" => ChaosFaults.ForEither(FillAsync),
        _ => null,
    };

    /// <summary>A node and the others do not hear each other.</summary>
    private static async Task<ChaosStrike?> PartitionAsync(ChaosScene scene, bool isOwner, CancellationToken cancellation)
    {
        if (await ChaosFaults.NodeOfAsync(scene, isOwner, cancellation) is not { } node) return null;
        var others = Others(scene, node);
        return Cut(scene, $"partition of {ChaosFaults.Kind(isOwner)}", node, [(node, others), .. others.Select(other => (other, (string[])[node]))]);
    }

    /// <summary>Two nodes do not hear each other, but both hear all others.</summary>
    private static async Task<ChaosStrike?> PartialAsync(ChaosScene scene, CancellationToken cancellation)
    {
        if (scene.Cluster.Nodes.Count < 3) return null;
        if (await ChaosFaults.NodeOfAsync(scene, scene.Random.Next(2) == 0, cancellation) is not { } node) return null;
        var other = scene.Pick(Others(scene, node));
        return Cut(scene, "cut between two nodes", $"{node} and {other}", [(node, [other]), (other, [node])]);
    }

    /// <summary>What a node says is heard, but it hears no other.</summary>
    private static async Task<ChaosStrike?> HearsNobodyAsync(ChaosScene scene, bool isOwner, CancellationToken cancellation) =>
        await ChaosFaults.NodeOfAsync(scene, isOwner, cancellation) is not { } node ? null
            : Cut(scene, $"{ChaosFaults.Kind(isOwner)} hears nobody", node, [(node, Others(scene, node))]);

    /// <summary>A node hears the others, which do not hear it.</summary>
    private static async Task<ChaosStrike?> IsNotHeardAsync(ChaosScene scene, bool isOwner, CancellationToken cancellation) =>
        await ChaosFaults.NodeOfAsync(scene, isOwner, cancellation) is not { } node ? null
            : Cut(scene, $"{ChaosFaults.Kind(isOwner)} is not heard", node, [.. Others(scene, node).Select(other => (other, (string[])[node]))]);

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
    private static async Task<ChaosStrike?> FillAsync(ChaosScene scene, bool isOwner, CancellationToken cancellation)
    {
        var node = await ChaosFaults.NodeOfAsync(scene, isOwner, cancellation);
        var seconds = scene.Between(3, 15);
        return node is null ? null : new ChaosStrike($"full disk of {ChaosFaults.Kind(isOwner)}", ChaosFaults.Seconds(node, seconds), [node], async token =>
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
}
