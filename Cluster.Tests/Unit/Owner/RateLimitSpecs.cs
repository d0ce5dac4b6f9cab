using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>Rates, by counts in virtual time.</summary>
public sealed class RateLimitSpecs
{
    private const long WindowMs = 10_000;
    private readonly RateLimit _limit = new();
    private long _now = 5_000;

    [Theory(DisplayName = "What passes in 10 s is the limit, within 5 %, whoever asks how often: as soon as it may, or only every 50 ms")]
    [InlineData(10, null, 4096, 1)]
    [InlineData(500, null, 4096, 1)]
    [InlineData(500, null, 4096, 50)]
    [InlineData(33_333, null, 0, 50)]
    [InlineData(1_000_000, null, 4096, 10)]
    [InlineData(null, 1L << 20, 4096, 1)]
    [InlineData(null, 1L << 20, 262_144, 50)]
    [InlineData(null, 10L << 30, 262_144, 10)]
    [InlineData(1000, 64L << 20, 4096, 10)]
    [InlineData(1000, 1L << 20, 4096, 10)]
    public void Exact(int? ios, long? bytes, int size, int everyMs)
    {
        _limit.Set(ios, bytes, null, _now);
        Take(1000, size, everyMs);
        var passed = Take(WindowMs, size, everyMs);
        var expected = Math.Min(ios ?? double.MaxValue, bytes / (double)size ?? double.MaxValue) * WindowMs / 1000;
        Assert.InRange(passed, expected * 0.95, expected * 1.05);
    }

    [Fact(DisplayName = "Without a burst an idle volume saves a tenth of a second; with one, what the burst's time gives, and no more")]
    public void Bursts()
    {
        _limit.Set(1000, null, null, _now);
        _now += 60_000;
        Assert.InRange(TakeNow(0), 100, 101);
        _limit.Set(1000, null, TimeSpan.FromSeconds(5), _now);
        _now += 60_000;
        Assert.InRange(TakeNow(0), 5000, 5001);
        _now += 2000;
        Assert.InRange(TakeNow(0), 2000, 2001);
        Assert.InRange(Take(WindowMs, 0, 10), 9_990, 10_010);
    }

    [Fact(DisplayName = "Who changes the limits gets the new rate from then on: no debt of the old one, and no burst for each change")]
    public void Changes()
    {
        _limit.Set(null, 1L << 20, null, _now);
        Assert.True(_limit.TryTake(_now, 64L << 20));
        Assert.False(_limit.TryTake(_now, 1));
        Assert.InRange(_limit.WaitMs(_now), 63_000, 64_000);
        _limit.Set(100, null, null, _now);
        Assert.Equal(0, _limit.WaitMs(_now));
        var passed = 0L;
        for (var change = 0; change < 100; change++)
        {
            _limit.Set(100, null, null, _now);
            passed += TakeNow(4096);
            _now += 10;
        }
        Assert.InRange(passed, 90, 115);
        _limit.Set(null, null, null, _now);
        Assert.False(_limit.IsSet);
        Assert.True(_limit.TryTake(_now, long.MaxValue));
    }

    [Fact(DisplayName = "The wait that is told is the time after which the next one passes, to the millisecond")]
    public void Waits()
    {
        _limit.Set(10, null, null, _now);
        TakeNow(0);
        var wait = _limit.WaitMs(_now);
        Assert.InRange(wait, 1, 100);
        Assert.False(_limit.TryTake(_now + wait - 1, 0));
        Assert.True(_limit.TryTake(_now + wait, 0));
    }

    [Fact(DisplayName = "Nothing is allocated for an I/O")]
    public void No_garbage()
    {
        _limit.Set(1000, 1L << 30, null, _now);
        Take(100, 4096, 1);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Take(1000, 4096, 1);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private long Take(long ms, long size, int everyMs)
    {
        var passed = 0L;
        for (var end = _now + ms; _now < end; _now += everyMs) passed += TakeNow(size);
        return passed;
    }

    private long TakeNow(long size)
    {
        var passed = 0L;
        while (_limit.TryTake(_now, size)) passed++;
        return passed;
    }
}
