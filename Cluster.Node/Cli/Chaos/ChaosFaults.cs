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
    private const string Owner = "owner";
    private const string Replica = "replica";
    private const string JournalLeader = "journal leader";
    private static readonly string[] Roles = [Owner, Replica, JournalLeader, "placement host"];

    /// <summary>Shorter than what lets a node be taken out, about as long, and longer.</summary>
    private static readonly (double Min, double Max)[] StopSeconds = [(0.1, 1), (1, 5), (5, 20)];

    /// <summary>Every kind that needs nothing but processes.</summary>
    public static readonly IReadOnlyList<string> OfProcesses =
        ["kill", "two-kill", "all-kill", "stop", "all-stop", "restart", "rolling-restart", "move"];

    /// <summary>Every kind.</summary>
    public static readonly IReadOnlyList<string> Names = [.. OfProcesses, .. HostFaults.Names];

    /// <summary>Every variant of the faults of these names, each of which is a row of the report.</summary>
    public static IReadOnlyList<ChaosFault> FindAll(IEnumerable<string> names) => [.. names.SelectMany(Variants)];

    /// <summary>The fault of that name, in a variant that is drawn each time.</summary>
    public static ChaosFault Find(string name)
    {
        var variants = Variants(name);
        return (scene, cancellation) => scene.Pick(variants)(scene, cancellation);
    }

    private static IReadOnlyList<ChaosFault> Variants(string name) => name switch
    {
        "kill" => [.. Roles.Select<string, ChaosFault>(role => (scene, cancellation) => KillAsync(scene, role, cancellation))],
        "two-kill" => [(scene, _) => KillSomeAsync(scene, 2, "kill -9 of two nodes")],
        "all-kill" => [(scene, _) => KillSomeAsync(scene, scene.Cluster.Nodes.Count, "kill -9 of all nodes")],
        "stop" => [.. StopSeconds.SelectMany(seconds => ForEither((scene, isOwner, cancellation) => StopAsync(scene, isOwner, seconds, cancellation)))],
        "all-stop" => [(scene, _) => StopAllAsync(scene)],
        "restart" => ForEither(RestartAsync),
        "rolling-restart" => [RollAsync],
        "move" => [MoveAsync],
        _ => HostFaults.Variants(name) ?? throw new DevException($"The fault \"{name}\" is not known: use {string.Join(", ", Names)}.", ExitCode.Usage),
    };

    /// <summary>A fault of the owner, and of another node.</summary>
    public static ChaosFault[] ForEither(Func<ChaosScene, bool, CancellationToken, Task<ChaosStrike?>> fault) =>
        [(scene, cancellation) => fault(scene, true, cancellation), (scene, cancellation) => fault(scene, false, cancellation)];

    private static async Task<ChaosStrike?> KillAsync(ChaosScene scene, string role, CancellationToken cancellation)
    {
        var node = await NodeOfAsync(scene, role, cancellation);
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

    private static async Task<ChaosStrike?> StopAsync(
        ChaosScene scene, bool isOwner, (double Min, double Max) range, CancellationToken cancellation)
    {
        var node = await NodeOfAsync(scene, isOwner, cancellation);
        var seconds = scene.Between(range.Min, range.Max);
        var row = string.Create(CultureInfo.InvariantCulture, $"stop of {Kind(isOwner)} for {range.Min} to {range.Max} s");
        return node is null ? null : new ChaosStrike(row, Seconds(node, seconds), [node], async token =>
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

    private static async Task<ChaosStrike?> RestartAsync(ChaosScene scene, bool isOwner, CancellationToken cancellation)
    {
        var node = await NodeOfAsync(scene, isOwner, cancellation);
        return node is null ? null : new ChaosStrike($"planned restart of {Kind(isOwner)}", node, [node], async token =>
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

    public static string Kind(bool isOwner) => isOwner ? "the owner" : "another node";

    /// <summary>The owner of some volume, or the node of some other role; null while nobody can tell.</summary>
    public static Task<string?> NodeOfAsync(ChaosScene scene, bool isOwner, CancellationToken cancellation) =>
        NodeOfAsync(scene, isOwner ? Owner : scene.Pick(Roles[1..]), cancellation);

    private static async Task<string?> NodeOfAsync(ChaosScene scene, string role, CancellationToken cancellation)
    {
        if (role is Owner or Replica)
        {
            var volume = await scene.Control.VolumeAsync(scene.Pick(scene.Volumes).Name, cancellation);
            if (role == Owner || volume is null) return volume?.Owner;
            var others = volume.Replicas.Where(replica => replica.Node != volume.Owner).ToArray();
            return others.Length == 0 ? null : scene.Pick(others).Node;
        }
        var status = await scene.Control.StatusAsync(cancellation);
        return role == JournalLeader ? status?.JournalLeader : status?.PlacementHost;
    }

    public static string Seconds(string node, double seconds) => string.Create(CultureInfo.InvariantCulture, $"{node}, {seconds:0.0} s");
}
