using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

/// <summary>Which disks of a pool are suspect, and for how long.</summary>
public sealed class DiskHealthPolicySpecs
{
    private const double Quick = 3;
    private const double Slow = DiskHealthPolicy.SlowMs + 100;

    private readonly DiskHealthPolicy _policy = new(3);
    private long _nowMs = 1_000_000;

    [Fact(DisplayName = "A disk is slow that took too long, and much longer than the others, in most of the last windows, and in no fewer")]
    public void Slow_in_most()
    {
        Observe(DiskHealthPolicy.WindowsSlow - 1, Quick, Slow, Quick);
        Assert.Equal(DiskVerdict.Healthy, _policy[1]);
        Assert.True(Observe(1, Quick, Slow, Quick));
        Assert.Equal([DiskVerdict.Healthy, DiskVerdict.Slow, DiskVerdict.Healthy], Verdicts);
    }

    [Fact(DisplayName = "One bad moment in a while is none's fault")]
    public void Now_and_then()
    {
        for (var round = 0; round < 50; round++)
        {
            Observe(3, Quick, 30_000, Quick);
            Observe(5, Quick, Quick, Quick);
        }
        Assert.Equal(DiskVerdict.Healthy, _policy[1]);
    }

    [Fact(DisplayName = "When all are slow nobody is blamed; when one is slow beside slow ones it is not, unless by much")]
    public void All_slow()
    {
        Observe(100, Slow, Slow, Slow * 1.5);
        Assert.Equal([DiskVerdict.Healthy, DiskVerdict.Healthy, DiskVerdict.Healthy], Verdicts);
        Observe(100, Slow, Slow, (Slow * DiskHealthPolicy.SlowTimes) + 1);
        Assert.Equal([DiskVerdict.Healthy, DiskVerdict.Healthy, DiskVerdict.Slow], Verdicts);
    }

    [Fact(DisplayName = "A disk well within the budget is not slow, however quick the others are")]
    public void Within_budget()
    {
        Observe(100, 0.01, DiskHealthPolicy.SlowMs, 0.01);
        Assert.Equal(DiskVerdict.Healthy, _policy[1]);
    }

    [Fact(DisplayName = "A disk that is alone, or whose neighbours have done nothing for long, is slow only beyond a budget of its own")]
    public void Alone()
    {
        var alone = new DiskHealthPolicy(1);
        for (var window = 0; window < 100; window++) alone.Observe(window * 1000, [new DiskWindow(5, DiskHealthPolicy.AloneMs, 0)]);
        Assert.Equal(DiskVerdict.Healthy, alone[0]);
        for (var window = 100; window < 200; window++) alone.Observe(window * 1000, [new DiskWindow(5, DiskHealthPolicy.AloneMs + 1, 0)]);
        Assert.Equal(DiskVerdict.Slow, alone[0]);
        Observe(1, Quick, Quick, Quick);
        _nowMs += DiskHealthPolicy.ComparableMs;
        Observe(100, -1, Slow, -1);
        Assert.Equal(DiskVerdict.Healthy, _policy[1]);
    }

    [Fact(DisplayName = "Windows without calls say nothing: neither that a disk is slow nor that it is well")]
    public void Idle()
    {
        Observe(10, Quick, Slow, Quick);
        Observe(1000, Quick, -1, Quick);
        Observe(DiskHealthPolicy.WindowsSlow - 10, Quick, Slow, Quick);
        Assert.Equal(DiskVerdict.Slow, _policy[1]);
        Observe((3 * DiskHealthPolicy.WellMs) / DiskHealthPolicy.WindowMs, Quick, -1, Quick);
        Assert.Equal(DiskVerdict.Slow, _policy[1]);
    }

    [Fact(DisplayName = "Who was suspect is used again after a time in which it was well, and after twice that when it was suspect again; after a day without, it is the first time again")]
    public void Hysteresis()
    {
        var first = BlameAndRecover();
        Assert.InRange(first, DiskHealthPolicy.WellMs, DiskHealthPolicy.WellMs + 2000);
        Assert.InRange(BlameAndRecover(), 2L * DiskHealthPolicy.WellMs, (2L * DiskHealthPolicy.WellMs) + 2000);
        Assert.InRange(BlameAndRecover(), 4L * DiskHealthPolicy.WellMs, (4L * DiskHealthPolicy.WellMs) + 2000);
        _nowMs += DiskHealthPolicy.ForgetMs;
        Assert.InRange(BlameAndRecover(), DiskHealthPolicy.WellMs, DiskHealthPolicy.WellMs + 2000);
    }

    [Fact(DisplayName = "One slow window begins the time anew")]
    public void Slow_again()
    {
        Observe(DiskHealthPolicy.WindowsSlow, Quick, Slow, Quick);
        Observe((DiskHealthPolicy.WellMs / 1000) - 1, Quick, Quick, Quick);
        Observe(1, Quick, Slow, Quick);
        Observe((DiskHealthPolicy.WellMs / 1000) - 1, Quick, Quick, Quick);
        Assert.Equal(DiskVerdict.Slow, _policy[1]);
        Observe(2, Quick, Quick, Quick);
        Assert.Equal(DiskVerdict.Healthy, _policy[1]);
    }

    [Fact(DisplayName = "The budget of errors: so many at once, or as many spread over less than its time; not when they come as slowly as it fills")]
    public void Errors()
    {
        Assert.False(Err(DiskHealthPolicy.ErrorsMax - 1));
        Assert.True(Err(2));
        Assert.Equal(DiskVerdict.Erring, _policy[1]);
        var slowly = new DiskHealthPolicy(1);
        for (var error = 0; error < 10 * DiskHealthPolicy.ErrorsMax; error++)
            Assert.False(slowly.Observe((long)error * DiskHealthPolicy.ErrorsRefillMs / DiskHealthPolicy.ErrorsMax, [new DiskWindow(1, 1, 1)]));
    }

    [Fact(DisplayName = "A disk that erred is used again only when half of its budget is there again")]
    public void Errors_forgiven()
    {
        Err(2 * DiskHealthPolicy.ErrorsMax);
        Observe((DiskHealthPolicy.ErrorsRefillMs / 1000) + 60, Quick, Quick, Quick);
        Assert.Equal(DiskVerdict.Erring, _policy[1]);
        Observe((DiskHealthPolicy.ErrorsRefillMs / 2000) + 60, Quick, Quick, Quick);
        Assert.Equal(DiskVerdict.Healthy, _policy[1]);
    }

    private DiskVerdict[] Verdicts => [_policy[0], _policy[1], _policy[2]];

    /// <summary>Negative: no calls.</summary>
    private bool Observe(int windows, params double[] latenciesMs)
    {
        var changed = false;
        for (var window = 0; window < windows; window++)
        {
            _nowMs += DiskHealthPolicy.WindowMs;
            changed = _policy.Observe(_nowMs, [.. latenciesMs.Select(ms => ms < 0 ? default : new DiskWindow(10, ms, 0))]);
        }
        return changed;
    }

    private bool Err(int errors) => _policy.Observe(_nowMs += DiskHealthPolicy.WindowMs, [default, new DiskWindow(0, 0, errors), default]);

    /// <summary>How long it was well, in milliseconds, before it was used again.</summary>
    private long BlameAndRecover()
    {
        Observe(DiskHealthPolicy.WindowsKept, Quick, Slow, Quick);
        Assert.Equal(DiskVerdict.Slow, _policy[1]);
        var from = _nowMs;
        while (_policy[1] != DiskVerdict.Healthy)
        {
            Observe(1, Quick, Quick, Quick);
            Assert.True(_nowMs - from < 100L * DiskHealthPolicy.WellMs, "it is never used again");
        }
        return _nowMs - from;
    }
}
