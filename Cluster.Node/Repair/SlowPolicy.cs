namespace Cluster.Node.Repair;

/// <summary>
/// Which copies are too slow: their answers take longer than those of the fastest by more than the lag, while all others are well below it, and the slow are no more
/// than half. When most are slow it is the load or the network, and nobody is to be blamed. Pure.
/// </summary>
public static class SlowPolicy
{
    /// <summary>How often copies are compared.</summary>
    public const int WindowMs = 1000;

    /// <summary>A copy that fails again waits twice as long as before, up to so many times the wait.</summary>
    public const int WaitGrowthMax = 64;

    /// <summary>Within this part of the lag a copy is as good as the fastest.</summary>
    private const int FinePart = 2;

    /// <summary>Bit i: copy i is slow. Latencies in milliseconds; negative: the copy was asked nothing.</summary>
    public static uint SlowOf(ReadOnlySpan<long> latenciesMs, long lagMs)
    {
        var (fastest, asked) = (long.MaxValue, 0);
        foreach (var latency in latenciesMs)
        {
            if (latency < 0) continue;
            asked++;
            fastest = Math.Min(fastest, latency);
        }
        var (slow, count) = (0u, 0);
        for (var index = 0; index < latenciesMs.Length; index++)
        {
            var lag = latenciesMs[index] < 0 ? 0 : latenciesMs[index] - fastest;
            if (lag > lagMs)
            {
                slow |= 1u << index;
                count++;
            }
            // In between: whoever is slow is not alone in it.
            else if (lag > lagMs / FinePart) return 0;
        }
        return asked > 1 && count * 2 <= asked ? slow : 0;
    }

    /// <summary>Whether an answer that took so long is that of a healthy copy.</summary>
    public static bool IsFine(long latencyMs, long lagMs) => latencyMs <= lagMs / FinePart;

    /// <summary>How long a copy must have been healthy before it is taken back, at its n-th offence.</summary>
    public static long WaitMs(int offences, long waitMs) => waitMs * Math.Min(WaitGrowthMax, 1L << Math.Clamp(offences - 1, 0, 30));
}
