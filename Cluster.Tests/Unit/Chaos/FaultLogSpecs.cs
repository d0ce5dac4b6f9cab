using Cluster.Node.Chaos;
using Cluster.Node.Cli.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>Which fault a client's pause is counted for.</summary>
public sealed class FaultLogSpecs
{
    private readonly FaultLog _log = new(clients: 2);

    [Fact(DisplayName = "A gap counts for the fault that struck in it, and for the first of several")]
    public void Gaps()
    {
        var meter = new GapMeter(_log, client: 0);
        meter.OnAnswer("node-0");
        var first = _log.Open("first");
        var second = _log.Open("second");
        meter.OnAnswer("node-0");
        Assert.NotNull(first.Gap);
        Assert.Null(second.Gap);
        meter.OnAnswer("node-0");
        Assert.NotNull(second.Gap);
        Assert.Same(second, meter.Window);
    }

    [Fact(DisplayName = "Gaps of clients that had to connect anew are counted apart")]
    public void Reconnects()
    {
        var (hit, other) = (new GapMeter(_log, client: 0), new GapMeter(_log, client: 1));
        var window = _log.Open("kill");
        hit.OnDisconnected();
        hit.OnAnswer("node-0");
        other.OnAnswer("node-1");
        window.OnGap(0, TimeSpan.FromSeconds(3), "node-0", reconnected: false);
        window.OnGap(1, TimeSpan.FromSeconds(1), "node-1", reconnected: false);
        Assert.Equal(TimeSpan.FromSeconds(1), window.Gap);
        Assert.Equal(TimeSpan.FromSeconds(3), window.OwnNodeGap);
    }

    [Fact(DisplayName = "Gaps of clients of a node that is hit are counted apart, also when they wait for it")]
    public void Victims()
    {
        var window = _log.Open("stop", "node-2");
        window.OnGap(0, TimeSpan.FromSeconds(9), "node-2", reconnected: false);
        window.OnGap(1, TimeSpan.FromSeconds(2), "node-1", reconnected: false);
        Assert.Equal(TimeSpan.FromSeconds(2), window.Gap);
        Assert.Equal(TimeSpan.FromSeconds(9), window.OwnNodeGap);
    }

    [Fact(DisplayName = "The report has a row per kind of fault with median and maximum, and one for all but the calm before and the end")]
    public void Report()
    {
        foreach (var seconds in new[] { 3, 1, 2 }) _log.Open("kill").OnGap(0, TimeSpan.FromSeconds(seconds), "node-1", reconnected: false);
        _log.Present.OnWrite();
        _log.Open(FaultLog.End).OnWrongRead(ViolationKind.LostWrite);
        var rows = FaultResult.AllOf(_log);
        Assert.Equal([FaultLog.Calm, FaultLog.End, "kill", FaultResult.All], rows.Select(row => row.Fault));
        Assert.Equal(1, rows[1].StaleOrLost);
        Assert.Equal(new FaultResult("kill", 3, 2, 3, null, null, 1, 0, 0), rows[2]);
        Assert.Equal(rows[2] with { Fault = FaultResult.All }, rows[3]);
    }
}
