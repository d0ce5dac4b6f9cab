using Cluster.Node.Cli.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>Which end of a node is a violation, and which one is a fault's.</summary>
public sealed class ChaosWatchSpecs : IDisposable
{
    private const string Name = "node-0";
    private const string TakenOut = "warn: This node was taken out of its cluster (the others did not hear of it for too long); it starts anew.\n";
    private readonly OneNode _node = new();
    private readonly ChaosTally _tally = new(_ => { });

    [Fact(DisplayName = "A node that is killed as soon as its start is over has not ended by itself")]
    public async Task Killed_after_its_start()
    {
        using var control = new ChaosControl(_node.Nodes);
        var watch = new ChaosWatch(_node, control, new ChaosSettings(), _tally);
        var start = watch.StartAsync(Name, default);
        var end = watch.EndAsync(Name, 9, default);
        _node.Healthy.SetResult();
        await Task.WhenAll(start, end);
        Assert.Null(_node.PidOf(Name));
        await LookAsync(watch);
        Assert.Equal(0, _tally.FailureCount);
    }

    [Fact(DisplayName = "A node that ends without a fault is a violation, and is started again")]
    public async Task Ends_by_itself()
    {
        _node.Healthy.SetResult();
        using var control = new ChaosControl(_node.Nodes);
        var watch = new ChaosWatch(_node, control, new ChaosSettings(), _tally);
        await LookAsync(watch);
        Assert.Contains(_tally.Failures, failure => failure.StartsWith("node-0 ended by itself", StringComparison.Ordinal));
        Assert.NotNull(_node.PidOf(Name));
    }

    [Fact(DisplayName = "A node that was taken out and starts anew in the same process is counted and is no violation; what its log said before is not")]
    public async Task Starts_anew()
    {
        await File.WriteAllTextAsync(_node.LogPath, TakenOut);
        _node.Healthy.SetResult();
        await _node.StartAsync(Name, default);
        using var control = new ChaosControl(_node.Nodes);
        var watch = new ChaosWatch(_node, control, new ChaosSettings(), _tally);
        await LookAsync(watch);
        Assert.Equal(0, _tally.Rebirths);
        await File.AppendAllTextAsync(_node.LogPath, "starts, version 1\n" + TakenOut + "stops\n");
        await LookAsync(watch);
        await LookAsync(watch);
        Assert.Equal(1, _tally.Rebirths);
        Assert.Equal(0, _tally.FailureCount);
    }

    public void Dispose() => File.Delete(_node.LogPath);

    private async Task LookAsync(ChaosWatch watch)
    {
        using var stop = new CancellationTokenSource();
        var seen = _node.Looks + 4;
        var running = watch.RunAsync([], stop.Token);
        while (_node.Looks < seen && !running.IsCompleted) await Task.Delay(10);
        await stop.CancelAsync();
        await running;
    }

    /// <summary>Its process is the test's own, so that its memory can be read.</summary>
    private sealed class OneNode : IChaosCluster
    {
        private int? _pid;
        private int _looks;

        /// <summary>When a start is over.</summary>
        public TaskCompletionSource Healthy { get; } = new();

        public int Looks => Volatile.Read(ref _looks);

        public IReadOnlyList<ChaosNode> Nodes { get; } = [new ChaosNode(Name, new Uri("http://127.0.0.1:1"), new Uri("nbd://127.0.0.1:1"))];

        public IChaosHosts? Hosts => null;

        public Task SignalAsync(string node, int signal, CancellationToken cancellation)
        {
            _pid = null;
            return Task.CompletedTask;
        }

        public async Task StartAsync(string node, CancellationToken cancellation)
        {
            await Healthy.Task;
            _pid = Environment.ProcessId;
        }

        public int? PidOf(string node)
        {
            Interlocked.Increment(ref _looks);
            return _pid;
        }

        public string LogPath { get; } = Path.GetTempFileName();

        public string LogOf(string node) => LogPath;
    }
}
