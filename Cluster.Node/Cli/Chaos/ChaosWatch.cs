using System.Collections.Concurrent;
using System.Diagnostics;
using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// Looks after the nodes while faults strike: starts those that ended by themselves, as a service manager would, measures their memory, and
/// notices clients that everybody has forgotten. Thread-safe.
/// </summary>
internal sealed class ChaosWatch(IChaosCluster cluster, ChaosControl control, ChaosSettings settings, ChaosTally tally)
{
    private const int LookMs = 500;
    private const int TailLines = 12;

    /// <summary>
    /// What a node says that the others did not hear of for too long: it starts anew in the same process, which is no violation, and serves
    /// nobody meanwhile.
    /// </summary>
    private const string TakenOut = "This node was taken out of its cluster";

    private readonly ConcurrentDictionary<string, NodeWatch> _nodes = new(
        cluster.Nodes.Select(node => new KeyValuePair<string, NodeWatch>(node.Name, new NodeWatch(cluster.LogOf(node.Name)))));

    private readonly HashSet<int> _stuck = [];
    private readonly ConcurrentBag<Task> _starts = [];
    private long _allUpSince = Stopwatch.GetTimestamp();

    /// <summary>A node, as it should be.</summary>
    private sealed class NodeWatch(string log)
    {
        public readonly LogFollower Log = new(log);
        public readonly SemaphoreSlim Turn = new(1, 1);
        public volatile bool Down;
        public volatile bool Away;
        public readonly MemoryMeter Memory = new();
    }

    /// <summary>Ends the node, by a fault's signal.</summary>
    public async Task EndAsync(string node, int signal, CancellationToken cancellation)
    {
        var watch = _nodes[node];
        await watch.Turn.WaitAsync(cancellation);
        try
        {
            // In its turn: a start that is under way would say afterwards that the node is up.
            watch.Down = true;
            await cluster.SignalAsync(node, signal, cancellation);
        }
        finally
        {
            watch.Turn.Release();
        }
    }

    /// <summary>Starts the node; one that does not become healthy in its time is told, and watched on.</summary>
    public async Task StartAsync(string node, CancellationToken cancellation)
    {
        var watch = _nodes[node];
        await watch.Turn.WaitAsync(cancellation);
        try
        {
            if (cluster.PidOf(node) is null) await cluster.StartAsync(node, cancellation);
        }
        catch (DevException failure)
        {
            tally.Say($"{node}: {failure.Message}");
        }
        finally
        {
            watch.Down = false;
            watch.Turn.Release();
        }
    }

    /// <summary>The node is stopped, cut off, or can't write: clients may wait for it.</summary>
    public void OnAway(string node) => _nodes[node].Away = true;

    public void OnBack(string node) => _nodes[node].Away = false;

    public IEnumerable<(string Node, MemoryMeter Memory)> Memory() => cluster.Nodes.Select(node => (node.Name, _nodes[node.Name].Memory));

    public async Task RunAsync(IReadOnlyList<ChaosClient> clients, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await Task.Delay(LookMs, CancellationToken.None);
            foreach (var node in cluster.Nodes) await LookAsync(node.Name, stop);
            if (_nodes.Values.Any(watch => watch.Down || watch.Away)) _allUpSince = Stopwatch.GetTimestamp();
            foreach (var client in clients) await CheckAsync(client, stop);
        }
        await Task.WhenAll(_starts);
    }

    private async Task LookAsync(string node, CancellationToken stop)
    {
        var watch = _nodes[node];
        var pid = cluster.PidOf(node);
        if (ProcessMemory.ResidentBytes(pid) is { } bytes) watch.Memory.Add(bytes);
        foreach (var _ in watch.Log.ReadNew().Where(line => line.Contains(TakenOut, StringComparison.Ordinal)))
        {
            _allUpSince = Stopwatch.GetTimestamp();
            tally.OnRebirth();
            tally.Say($"{node} was taken out of the cluster while it was silent, and starts anew.");
        }
        if (pid is not null || watch.Down || !await watch.Turn.WaitAsync(0, CancellationToken.None)) return;
        watch.Turn.Release();
        // Down is set before a kill: whoever sees no process and then not Down sees one that ended by itself.
        if (cluster.PidOf(node) is not null || watch.Down || stop.IsCancellationRequested) return;
        tally.Fail($"{node} ended by itself; the end of its log, {cluster.LogOf(node)}:\n{NodeProcess.Tail(cluster.LogOf(node), TailLines)}");
        watch.Down = true;
        _starts.Add(StartAsync(node, CancellationToken.None));
    }

    private async Task CheckAsync(ChaosClient client, CancellationToken stop)
    {
        if (client.Waiting < settings.StuckAfter)
        {
            _stuck.Remove(client.Number);
            return;
        }
        if (Stopwatch.GetElapsedTime(_allUpSince) < settings.StuckAfter || !_stuck.Add(client.Number)) return;
        var volume = await control.VolumeAsync(client.Volume.Name, stop);
        tally.Fail($"client {client.Number} of {client.Volume.Name} at {client.Node.Name} has had no answer for "
            + $"{client.Waiting.TotalSeconds:0} s, with every node running for {Stopwatch.GetElapsedTime(_allUpSince).TotalSeconds:0} s; "
            + $"the volume is {ChaosControl.Text(volume)}");
    }
}
