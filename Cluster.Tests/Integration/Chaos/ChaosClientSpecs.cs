using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Node.Chaos;
using Cluster.Node.Cli.Chaos;
using Cluster.Tests.Integration.Nbd;

namespace Cluster.Tests.Integration.Chaos;

/// <summary>The clients of a chaos run against real NBD servers over memory: they find nothing wrong in one that is honest, and each lie.</summary>
public sealed class ChaosClientSpecs : IAsyncDisposable
{
    private const ulong AreaBytes = 1 << 20;
    private const int EnoughAnswers = 4000;
    private static readonly TimeSpan TimeMax = TimeSpan.FromSeconds(90);

    private readonly NbdFixture _fixture = NbdFixture.OverMemory(AreaBytes);

    public ValueTask DisposeAsync() => _fixture.DisposeAsync();

    [Theory(DisplayName = "An honest server: requests of every kind, and nothing wrong")]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Honest(int volume)
    {
        var (tally, history) = await RunAsync(volume, tally => tally.Answers > EnoughAnswers);
        Assert.Empty(tally.Failures);
        Assert.True(tally.Answers > EnoughAnswers, $"only {tally.Answers} answers");
        Assert.True(tally.Flushes > 0 && history.WritesAcknowledged > 100 && history.ReadsChecked > 100);
        Assert.Equal(0, history.BlocksGivenUp + history.WritesUnknown);
    }

    [Theory(DisplayName = "A server that acknowledges a write and forgets it, or half of it, is found out")]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Forgetful(int divisor)
    {
        var writes = 0;
        _fixture.Device.Performs = request => request.Operation == BlockOperation.Write && ++writes % 40 == 0
            ? (divisor == 0 ? 0 : request.LengthBytes / 2) : request.LengthBytes;
        var (tally, history) = await RunAsync(0, tally => tally.FailureCount > 0);
        Assert.NotEmpty(tally.Failures);
        Assert.True(history.Count(ViolationKind.StaleRead) + history.Count(ViolationKind.TornBlock) > 0);
    }

    [Fact(DisplayName = "A server that answers with an error is found out")]
    public async Task Failing()
    {
        var left = 100;
        _fixture.Device.Performs = request =>
        {
            if (--left == 0) _fixture.Device.Answer = IoStatus.DeviceError;
            return request.LengthBytes;
        };
        var (tally, _) = await RunAsync(0, tally => tally.FailureCount > 0);
        Assert.Contains(tally.Failures, failure => failure.Contains("error 5", StringComparison.Ordinal));
    }

    [Fact(DisplayName = "A server that is silent loses its client's patience, and what was open stays uncertain")]
    public async Task Silent()
    {
        _fixture.Device.Held = [];
        var (tally, history) = await RunAsync(0, tally => tally.GivenUp > 0, patienceSeed: 1);
        Assert.True(tally.GivenUp > 0);
        Assert.Empty(tally.Failures);
        Assert.Equal(0, history.WritesAcknowledged);
        Assert.True(history.WritesUnknown > 0);
        _fixture.Loop.Loop.Post(() => _fixture.Device.Release());
    }

    /// <summary>Two clients of one volume, until that is so.</summary>
    private async Task<(ChaosTally Tally, VolumeHistory History)> RunAsync(int volume, Func<ChaosTally, bool> done, int patienceSeed = 0)
    {
        var settings = new ChaosSettings { Clients = 2, RatePerSecond = 10_000, Depth = 8, Seed = patienceSeed, DrainMax = TimeSpan.FromSeconds(1) };
        var node = new ChaosNode("node-0", new Uri("http://127.0.0.1:1"), new Uri(_fixture.Uri[.._fixture.Uri.LastIndexOf('/')]));
        var tally = new ChaosTally(_ => { });
        var log = new FaultLog(settings.Clients);
        var target = new ChaosVolume("vol", volume, AreaBytes, settings.Seed);
        using var stop = new CancellationTokenSource();
        var clients = Enumerable.Range(0, settings.Clients)
            .Select(number => new ChaosClient(number, target, [node], settings, log, tally).RunAsync(stop.Token)).ToArray();
        var clock = Stopwatch.StartNew();
        while (!done(tally) && clock.Elapsed < TimeMax && !clients.Any(client => client.IsCompleted)) await Task.Delay(20);
        await stop.CancelAsync();
        await Task.WhenAll(clients);
        return (tally, target.History);
    }
}
