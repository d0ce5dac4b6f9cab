using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Api;
using Cluster.Node.Chaos;
using Cluster.Node.Cli.Dev;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// A run: clients work on their volumes, faults strike one after the other, every answer is checked when it comes, and everything is read
/// back at the end. Used once.
/// </summary>
internal sealed class ChaosRun
{
    private const string Prefix = "chaos";

    /// <summary>Work without a fault at the beginning, so that the first window means something.</summary>
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan RefusedPause = TimeSpan.FromSeconds(1);

    /// <summary>Longest that a fault waits for the cluster to be whole; some do not wait.</summary>
    public static readonly TimeSpan WholeMax = TimeSpan.FromSeconds(60);

    private readonly IChaosCluster _cluster;
    private readonly ChaosSettings _settings;
    private readonly IReadOnlyList<ChaosFault> _faults;
    private readonly Action<string> _say;
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    public ChaosRun(IChaosCluster cluster, ChaosSettings settings, IReadOnlyList<ChaosFault> faults, Action<string> say)
    {
        (_cluster, _settings, _faults, _say) = (cluster, settings, faults, say);
        Log = new FaultLog(settings.Clients);
        Tally = new ChaosTally(Say);
        Volumes = [.. Enumerable.Range(0, settings.Volumes).Select(index => new ChaosVolume(
            $"{Prefix}-{(uint)settings.Seed}-{index}", index, settings.AreaBytes, settings.Seed))];
        Control = new ChaosControl(cluster.Nodes);
        Watch = new ChaosWatch(cluster, Control, settings, Tally);
        Verify = new ChaosVerify(cluster, Control, settings, Log, Tally);
    }

    public FaultLog Log { get; }

    public ChaosTally Tally { get; }

    public IReadOnlyList<ChaosVolume> Volumes { get; }

    public ChaosWatch Watch { get; }

    public ChaosVerify Verify { get; }

    public ChaosControl Control { get; }

    public ChaosSettings Settings => _settings;

    public TimeSpan Elapsed => _clock.Elapsed;

    /// <summary>True when nothing was violated and everything was checked.</summary>
    public bool IsGood => Tally.FailureCount == 0 && Volumes.All(volume => volume.History.BlocksGivenUp == 0)
        && Verify.Readings >= Volumes.Count * (_cluster.Nodes.Count + 1);

    public long Count(ViolationKind kind) => Volumes.Sum(volume => volume.History.Count(kind));

    /// <summary>Throws <see cref="DevException"/> when it can't begin. A cancellation ends the faults early; the check at the end is made.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        var copies = Math.Min(3, _cluster.Nodes.Count);
        foreach (var volume in Volumes)
        {
            await Control.CreateAsync(new CreateVolumeRequest { Name = volume.Name, SizeBytes = volume.AreaBytes, Replicas = copies },
                cancellation);
        }
        Say($"{Volumes.Count} volumes of {copies} copies, {_settings.Clients} clients, seed {_settings.Seed}, faults: "
            + $"{string.Join(", ", _settings.Faults)}.");
        using var stop = new CancellationTokenSource();
        using var stopWatch = new CancellationTokenSource();
        var clients = Enumerable.Range(0, _settings.Clients).Select(number => new ChaosClient(
            number, Volumes[number % Volumes.Count], _cluster.Nodes, _settings, Log, Tally)).ToArray();
        var watching = Watch.RunAsync(clients, stopWatch.Token);
        var working = Task.WhenAll(clients.Select(client => client.RunAsync(stop.Token)));
        try
        {
            await StrikeAsync(cancellation);
            await SettleAsync(clients);
        }
        finally
        {
            await stop.CancelAsync();
            await working;
            await stopWatch.CancelAsync();
            await watching;
        }
        Say("The faults are over. Everything is read back through every node and from every copy...");
        await Verify.RunAsync(Volumes, CancellationToken.None);
    }

    /// <summary>Deletes what the run has made.</summary>
    public async Task CleanUpAsync()
    {
        foreach (var volume in Volumes)
        {
            if (await Control.DeleteAsync(volume.Name, CancellationToken.None) is { } refusal) Say($"{volume.Name} stays: {refusal}");
        }
    }

    private async Task StrikeAsync(CancellationToken cancellation)
    {
        var scene = new ChaosScene(_cluster, Control, Volumes, new Random(_settings.Seed), Watch, Tally);
        var deck = new FaultDeck(_faults, scene.Random);
        try
        {
            await Task.Delay(WarmUp, cancellation);
            while (_clock.Elapsed < _settings.Duration || (_faults.Count > 0 && deck.Rounds < _settings.Rounds))
            {
                var began = _clock.Elapsed;
                var pause = TimeSpan.FromSeconds(scene.Between(_settings.PauseSeconds.Min, _settings.PauseSeconds.Max));
                // Most faults strike a whole cluster, so that the gaps can be compared; some strike while it still recovers.
                if (_faults.Count > 0 && (_settings.Rounds > 1 || scene.Random.Next(4) != 0)) await WaitUntilWholeAsync(cancellation);
                if (_faults.Count > 0 && await deck.Present(scene, cancellation) is { } strike)
                {
                    var whole = await StrikeOnceAsync(strike, cancellation);
                    // Only those that struck a whole cluster can be compared, and count where a number of them is wanted.
                    if (whole || _settings.Rounds <= 1) deck.Advance();
                }
                else if (_faults.Count > 0)
                {
                    // Nobody has its role now: soon somebody will.
                    deck.Refuse();
                    pause = RefusedPause;
                }
                var left = began + pause - _clock.Elapsed;
                if (left > TimeSpan.Zero) await Task.Delay(left, cancellation);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            Say("Interrupted: no further faults.");
        }
    }

    /// <summary>Whether it struck a whole cluster.</summary>
    private async Task<bool> StrikeOnceAsync(ChaosStrike strike, CancellationToken cancellation)
    {
        var whole = await MissingAsync(cancellation) is null;
        var window = Log.Open(strike.Row + (whole ? "" : ", degraded"), strike.Victims);
        var at = _clock.Elapsed;
        // What was begun is healed, also when the run is interrupted.
        await strike.RunAsync(CancellationToken.None);
        Say(string.Create(CultureInfo.InvariantCulture,
            $"{window.Fault} ({strike.Where}), healed after {(_clock.Elapsed - at).TotalSeconds:0.0} s; {Tally.Answers} answers so far, "
            + $"{Tally.FailureCount} violations"));
        return whole;
    }

    private async Task WaitUntilWholeAsync(CancellationToken cancellation)
    {
        string? missing;
        for (var waited = Stopwatch.StartNew(); (missing = await MissingAsync(cancellation)) is not null; await Task.Delay(250, cancellation))
        {
            if (waited.Elapsed < WholeMax) continue;
            Say($"{WholeMax.TotalSeconds:0} s after the fault before, {missing}.");
            return;
        }
    }

    /// <summary>What some volume misses to be whole; null when none does.</summary>
    private async Task<string?> MissingAsync(CancellationToken cancellation)
    {
        foreach (var volume in Volumes)
        {
            var seen = await Control.VolumeAsync(volume.Name, cancellation);
            if (seen is null || !ChaosControl.IsWhole(seen)) return $"{volume.Name} is {ChaosControl.Text(seen)}";
        }
        return null;
    }

    /// <summary>With every node running, every client must get answers again before it is told to stop.</summary>
    private async Task SettleAsync(IReadOnlyList<ChaosClient> clients)
    {
        foreach (var node in _cluster.Nodes) await Watch.StartAsync(node.Name, CancellationToken.None);
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < _settings.HealWithin; await Task.Delay(250))
        {
            if (clients.All(client => client.Waiting < TimeSpan.FromSeconds(1))) return;
        }
        foreach (var client in clients.Where(client => client.Waiting > _settings.StuckAfter))
        {
            var volume = await Control.VolumeAsync(client.Volume.Name, CancellationToken.None);
            Tally.Fail($"client {client.Number} of {client.Volume.Name} at {client.Node.Name} gets no answer {_settings.HealWithin.TotalSeconds:0} s "
                + $"after the last fault; the volume is {ChaosControl.Text(volume)}");
        }
    }

    private void Say(string sentence) => _say(string.Create(CultureInfo.InvariantCulture, $"{_clock.Elapsed:hh\\:mm\\:ss} {sentence}"));
}
