using System.Diagnostics;
using System.Net.Sockets;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// One client of one volume: a connection to some node with several requests open. When the connection breaks, or the client has waited
/// for as long as it wants to, it connects to another node; what was unanswered then is uncertain for ever.
/// </summary>
internal sealed class ChaosClient
{
    private const int ReconnectMs = 100;
    private const int LookMs = 250;

    /// <summary>The timer's own limit.</summary>
    private const double PaceMinSeconds = 0.001;

    private readonly ChaosVolume _volume;
    private readonly IReadOnlyList<ChaosNode> _nodes;
    private readonly ChaosSettings _settings;
    private readonly ChaosTally _tally;
    private readonly GapMeter _gaps;
    private readonly Random _random;
    private readonly Lock _lock = new();
    private int _node;

    public ChaosClient(int number, ChaosVolume volume, IReadOnlyList<ChaosNode> nodes, ChaosSettings settings, FaultLog log, ChaosTally tally)
    {
        (Number, _volume, _nodes, _settings, _tally) = (number, volume, nodes, settings, tally);
        _gaps = new GapMeter(log, number);
        _random = new Random(unchecked((settings.Seed * 1_000_003) + number));
        _node = number % nodes.Count;
    }

    public int Number { get; }

    public ChaosVolume Volume => _volume;

    public ChaosNode Node => _nodes[_node];

    /// <summary>Time since the last answer.</summary>
    public TimeSpan Waiting => _gaps.Waiting;

    /// <summary>Works until it is cancelled and every request is answered.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        for (var first = true; !stop.IsCancellationRequested; first = false)
        {
            if (!first)
            {
                _tally.OnReconnect();
                lock (_lock) _gaps.OnDisconnected();
            }
            if (await ConnectAsync(stop) is not { } connection) return;
            using (connection) await UseAsync(connection, stop);
            _node = (_node + 1 + _random.Next(Math.Max(1, _nodes.Count - 1))) % _nodes.Count;
        }
    }

    /// <summary>Tries one node after the other; null when it is told to stop.</summary>
    private async Task<NbdClient?> ConnectAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                // A stopped node takes the connection and says nothing.
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
                limit.CancelAfter(TimeSpan.FromSeconds(3));
                return await NbdClient.ConnectAsync(new Uri($"{Node.Nbd.ToString().TrimEnd('/')}/{_volume.Name}"), limit.Token);
            }
            catch (Exception failure) when (failure is IOException or SocketException or OperationCanceledException)
            {
                await Task.Delay(ReconnectMs, CancellationToken.None);
                _node = (_node + 1) % _nodes.Count;
            }
        }
        return null;
    }

    private async Task UseAsync(NbdClient connection, CancellationToken stop)
    {
        var patience = DrawPatience();
        using var done = new CancellationTokenSource();
        var watch = CutWhenTooSlowAsync(connection, patience, stop, done.Token);
        await Task.WhenAll(Enumerable.Range(0, _settings.Depth).Select(_ => WorkAsync(connection, stop)));
        await done.CancelAsync();
        await watch;
    }

    /// <summary>A third of the connections wait as a kernel without a time-out does; the others give up some time or soon.</summary>
    private TimeSpan DrawPatience() => _random.Next(3) switch
    {
        0 => TimeSpan.FromDays(1),
        1 => TimeSpan.FromSeconds(10 + (20 * _random.NextDouble())),
        _ => TimeSpan.FromSeconds(3 + (7 * _random.NextDouble())),
    };

    private async Task CutWhenTooSlowAsync(NbdClient connection, TimeSpan patience, CancellationToken stop, CancellationToken done)
    {
        var stopped = TimeSpan.Zero;
        var connected = Stopwatch.StartNew();
        while (!done.IsCancellationRequested)
        {
            await Task.Delay(LookMs, CancellationToken.None);
            if (stop.IsCancellationRequested) stopped += TimeSpan.FromMilliseconds(LookMs);
            if ((_gaps.Waiting < patience || connected.Elapsed < patience) && stopped < _settings.DrainMax) continue;
            _tally.OnGivenUp();
            connection.Dispose();
            return;
        }
    }

    private async Task WorkAsync(NbdClient connection, CancellationToken stop)
    {
        int seed;
        lock (_lock) seed = _random.Next();
        var operations = new ChaosOperations(_volume, new Random(seed));
        using var pace = new PeriodicTimer(TimeSpan.FromSeconds(Math.Max(PaceMinSeconds, (double)_settings.Depth / _settings.RatePerSecond)));
        try
        {
            while (!stop.IsCancellationRequested && await pace.WaitForNextTickAsync(CancellationToken.None))
            {
                if (operations.Next() is not { } operation) continue;
                await AskAsync(connection, operation);
            }
        }
        catch (Exception failure) when (failure is IOException or SocketException)
        {
            // The connection is gone, and with it this worker.
        }
    }

    private async Task AskAsync(NbdClient connection, ChaosRequest request)
    {
        try
        {
            await request.SendAsync(connection);
        }
        catch (Exception failure) when (failure is IOException or SocketException)
        {
            request.Lose();
            if (failure is NbdErrorException) _tally.Fail($"client {Number} of {_volume.Name} at {Node.Name}: {failure.Message}");
            throw;
        }
        FaultWindow window;
        lock (_lock)
        {
            window = _gaps.Window;
            _gaps.OnAnswer(Node.Name);
        }
        _tally.OnAnswer();
        if (request.IsFlush) _tally.OnFlush();
        if (request.IsWrite) window.OnWrite();
        if (request.Complete() is not { } violation) return;
        window.OnWrongRead(violation.Kind);
        _tally.Fail($"{violation.Kind} in {_volume.Name}, seen by client {Number} at {Node.Name}: {violation.Text}");
    }
}
