using System.Globalization;
using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>A fault that is ready to strike: its row in the report, the nodes that it hits, and what strikes and then heals it.</summary>
internal sealed record ChaosStrike(string Row, string Where, IReadOnlyList<string> Victims, Func<CancellationToken, Task> RunAsync);

/// <summary>What a fault may use. The random numbers are the faults' own.</summary>
internal sealed record ChaosScene(IChaosCluster Cluster, ChaosControl Control, IReadOnlyList<ChaosVolume> Volumes, Random Random,
    ChaosWatch Watch, ChaosTally Tally)
{
    /// <summary>Asked for only by faults that need them; a run without them has none of these.</summary>
    public IChaosHosts Hosts => Cluster.Hosts ?? throw new InvalidOperationException("A fault of hosts was drawn for nodes that share one.");

    public double Between(double min, double max) => min + ((max - min) * Random.NextDouble());

    public T Pick<T>(IReadOnlyList<T> from) => from[Random.Next(from.Count)];
}

/// <summary>A kind of fault. Answers null when it can't strike now.</summary>
internal delegate Task<ChaosStrike?> ChaosFault(ChaosScene scene, CancellationToken cancellation);

/// <summary>Faults that any cluster of processes can have.</summary>
internal static class ChaosFaults
{
    private const int StopSignal = 19;
    private static readonly string[] Roles = ["owner", "replica", "journal leader", "placement host"];

    /// <summary>Every kind that needs nothing but processes.</summary>
    public static readonly IReadOnlyList<string> OfProcesses =
        ["kill", "two-kill", "all-kill", "stop", "all-stop", "restart", "rolling-restart", "move"];

    /// <summary>Every kind.</summary>
    public static readonly IReadOnlyList<string> Names = [.. OfProcesses, .. HostFaults.Names];

    /// <summary>The kinds of these names; those with several rows in the report several times, so that each row gets its share.</summary>
    public static IReadOnlyList<ChaosFault> FindAll(IEnumerable<string> names) => [.. names.SelectMany(name =>
        Enumerable.Repeat(Find(name), name switch
        {
            "kill" or "stop" => 4,
            "partition" => 3,
            "restart" or "move" or "one-way" or "disk-full" => 2,
            _ => 1,
        }))];

    public static ChaosFault Find(string name) => name switch
    {
        "kill" => KillAsync,
        "two-kill" => (scene, cancellation) => KillSomeAsync(scene, 2, "kill -9 of two nodes"),
        "all-kill" => (scene, cancellation) => KillSomeAsync(scene, scene.Cluster.Nodes.Count, "kill -9 of all nodes"),
        "stop" => StopAsync,
        "all-stop" => (scene, cancellation) => StopAllAsync(scene),
        "restart" => RestartAsync,
        "rolling-restart" => RollAsync,
        "move" => MoveAsync,
        _ => HostFaults.Find(name) ?? throw new DevException($"The fault \"{name}\" is not known: use {string.Join(", ", Names)}.", ExitCode.Usage),
    };

    private static async Task<ChaosStrike?> KillAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (role, node) = await DrawNodeAsync(scene, cancellation);
        var downSeconds = scene.Pick([0, scene.Between(0, 3), scene.Between(5, 15)]);
        return node is null ? null : new ChaosStrike($"kill -9 of the {role}", Seconds(node, downSeconds), [node], async token =>
        {
            await scene.Watch.EndAsync(node, NodeProcess.KillNow, token);
            await Task.Delay(TimeSpan.FromSeconds(downSeconds), token);
            await scene.Watch.StartAsync(node, token);
        });
    }

    private static Task<ChaosStrike?> KillSomeAsync(ChaosScene scene, int count, string row)
    {
        var nodes = scene.Cluster.Nodes.Select(node => node.Name).ToArray();
        if (count > nodes.Length) return Task.FromResult<ChaosStrike?>(null);
        scene.Random.Shuffle(nodes);
        var victims = nodes[..count];
        var starts = victims.Select(_ => scene.Between(0, 3)).ToArray();
        return Task.FromResult<ChaosStrike?>(new ChaosStrike(row, string.Join(", ", victims), victims, async token =>
        {
            await Task.WhenAll(victims.Select(node => scene.Watch.EndAsync(node, NodeProcess.KillNow, token)));
            await Task.WhenAll(victims.Select(async (node, index) =>
            {
                await Task.Delay(TimeSpan.FromSeconds(starts[index]), token);
                await scene.Watch.StartAsync(node, token);
            }));
        }));
    }

    private static async Task<ChaosStrike?> StopAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (role, node) = await DrawNodeAsync(scene, cancellation);
        var (row, seconds) = scene.Random.Next(3) switch
        {
            0 => ("up to 1 s", scene.Between(0.1, 1)),
            1 => ("1 to 5 s", scene.Between(1, 5)),
            _ => ("5 to 20 s", scene.Between(5, 20)),
        };
        if (node is null) return null;
        var kind = role == "owner" ? "owner" : "another node";
        return new ChaosStrike($"stop of {(role == "owner" ? "the " : "")}{kind} for {row}", Seconds(node, seconds), [node], async token =>
        {
            await scene.Cluster.SignalAsync(node, StopSignal, token);
            scene.Watch.OnAway(node);
            await Task.Delay(TimeSpan.FromSeconds(seconds), CancellationToken.None);
            await scene.Cluster.SignalAsync(node, NodeProcess.Continue, CancellationToken.None);
            scene.Watch.OnBack(node);
        });
    }

    private static Task<ChaosStrike?> StopAllAsync(ChaosScene scene)
    {
        var nodes = scene.Cluster.Nodes.Select(node => node.Name).ToArray();
        scene.Random.Shuffle(nodes);
        var seconds = nodes.Select(_ => scene.Between(0.5, 8)).ToArray();
        return Task.FromResult<ChaosStrike?>(new ChaosStrike("stop of all nodes", string.Join(", ", nodes), nodes, token =>
            Task.WhenAll(nodes.Select(async (node, index) =>
            {
                await scene.Cluster.SignalAsync(node, StopSignal, token);
                scene.Watch.OnAway(node);
                await Task.Delay(TimeSpan.FromSeconds(seconds[index]), CancellationToken.None);
                await scene.Cluster.SignalAsync(node, NodeProcess.Continue, CancellationToken.None);
                scene.Watch.OnBack(node);
            }))));
    }

    private static async Task<ChaosStrike?> RestartAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var (role, node) = await DrawNodeAsync(scene, cancellation);
        var kind = role == "owner" ? "the owner" : "another node";
        return node is null ? null : new ChaosStrike($"planned restart of {kind}", node, [node], async token =>
        {
            await scene.Watch.EndAsync(node, NodeProcess.Term, token);
            await scene.Watch.StartAsync(node, token);
        });
    }

    /// <summary>As an upgrade goes: one node after the other, and the next only when every volume is whole.</summary>
    private static Task<ChaosStrike?> RollAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var nodes = scene.Cluster.Nodes.Select(node => node.Name).ToArray();
        return Task.FromResult<ChaosStrike?>(new ChaosStrike("rolling restart", string.Join(", ", nodes), nodes, async token =>
        {
            foreach (var node in nodes)
            {
                await scene.Watch.EndAsync(node, NodeProcess.Term, token);
                await scene.Watch.StartAsync(node, token);
                foreach (var volume in scene.Volumes)
                {
                    await scene.Control.WaitForAsync(volume.Name, ChaosControl.IsWhole, ChaosRun.WholeMax, token);
                }
            }
        }));
    }

    private static async Task<ChaosStrike?> MoveAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var volume = scene.Pick(scene.Volumes);
        var seen = await scene.Control.VolumeAsync(volume.Name, cancellation);
        var others = seen?.Replicas.Where(replica => replica.State == "in-sync" && replica.Node != seen.Owner).ToArray() ?? [];
        if (others.Length == 0) return null;
        var target = scene.Pick(others).Node;
        return new ChaosStrike("planned move of an owner", $"{volume.Name} to {target}", [], async token =>
        {
            if (await scene.Control.MoveAsync(volume.Name, target, token) is { } refusal) scene.Tally.Say($"The move was refused: {refusal}");
            else await scene.Control.WaitForAsync(volume.Name, now => now.Owner == target, TimeSpan.FromSeconds(15), token);
        });
    }

    /// <summary>A role, and the node that has it now; null while nobody can tell.</summary>
    public static async Task<(string Role, string? Node)> DrawNodeAsync(ChaosScene scene, CancellationToken cancellation)
    {
        var role = scene.Pick(Roles);
        if (role is "owner" or "replica")
        {
            var volume = await scene.Control.VolumeAsync(scene.Pick(scene.Volumes).Name, cancellation);
            if (role == "owner" || volume is null) return (role, volume?.Owner);
            var others = volume.Replicas.Where(replica => replica.Node != volume.Owner).ToArray();
            return (role, others.Length == 0 ? null : scene.Pick(others).Node);
        }
        var status = await scene.Control.StatusAsync(cancellation);
        return (role, role == "journal leader" ? status?.JournalLeader : status?.PlacementHost);
    }

    public static string Seconds(string node, double seconds) => string.Create(CultureInfo.InvariantCulture, $"{node}, {seconds:0.0} s");
}
