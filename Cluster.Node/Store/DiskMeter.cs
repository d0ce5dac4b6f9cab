namespace Cluster.Node.Store;

/// <summary>
/// What one kind of call on a disk takes: a running mean for placement and for people, and the calls of a window for <see cref="DiskHealthPolicy"/>. Any thread; nothing is allocated. Two
/// threads at once may lose one measurement: these are means.
/// </summary>
internal sealed class DiskMeter(TimeProvider clock)
{
    /// <summary>Weight of the newest measurement in the running mean.</summary>
    private const double NewestPart = 1.0 / 16;

    private double _meanMs;
    private long _windowTicks;
    private int _windowCalls;
    private int _underWay;
    private long _since;

    /// <summary>Running mean; 0 before the first.</summary>
    public double MeanMs => Volatile.Read(ref _meanMs);

    /// <summary>How long a call is under way that has not returned; 0: there is none. Of several, since the newest began or the last one ended.</summary>
    public double UnderWayMs => Volatile.Read(ref _underWay) == 0 ? 0 : clock.GetElapsedTime(Volatile.Read(ref _since)).TotalMilliseconds;

    public long Begin()
    {
        var now = clock.GetTimestamp();
        Volatile.Write(ref _since, now);
        Interlocked.Increment(ref _underWay);
        return now;
    }

    /// <param name="counts">False: it failed, and how long that took says nothing.</param>
    public void End(long began, bool counts)
    {
        var now = clock.GetTimestamp();
        Volatile.Write(ref _since, now);
        Interlocked.Decrement(ref _underWay);
        if (!counts) return;
        var (ms, before) = (clock.GetElapsedTime(began, now).TotalMilliseconds, Volatile.Read(ref _meanMs));
        Volatile.Write(ref _meanMs, before == 0 ? ms : before + ((ms - before) * NewestPart));
        Interlocked.Add(ref _windowTicks, now - began);
        Interlocked.Increment(ref _windowCalls);
    }

    /// <summary>The calls that have ended since the last one of this, and the mean of what they took.</summary>
    public (int Calls, double MeanMs) TakeWindow()
    {
        var (calls, ticks) = (Interlocked.Exchange(ref _windowCalls, 0), Interlocked.Exchange(ref _windowTicks, 0));
        return calls == 0 ? (0, 0) : (calls, clock.GetElapsedTime(0, ticks).TotalMilliseconds / calls);
    }
}
