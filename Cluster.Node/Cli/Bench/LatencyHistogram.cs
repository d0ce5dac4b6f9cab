using System.Numerics;

namespace Cluster.Node.Cli.Bench;

/// <summary>
/// Counts of latencies in buckets that grow with them: exact below 128 ns, else within 1.6 % (64 buckets per power of two), up to 18 minutes, which is where longer ones are
/// counted too. 18 KiB, whatever is recorded. Any thread records; what is read while others record may be a moment old.
/// </summary>
internal sealed class LatencyHistogram
{
    private const int SubBucketsLog2 = 6;
    private const int SubBuckets = 1 << SubBucketsLog2;
    private const int ValueBitsMax = 40;
    private const long ValueMax = (1L << ValueBitsMax) - 1;

    private readonly long[] _counts = new long[(ValueBitsMax - SubBucketsLog2 + 1) * SubBuckets];
    private long _count;
    private long _sum;
    private long _max;

    public long Count => Volatile.Read(ref _count);

    public double MeanNs => Count == 0 ? 0 : (double)Volatile.Read(ref _sum) / Count;

    public long MaxNs => Volatile.Read(ref _max);

    public void Record(long nanoseconds)
    {
        Interlocked.Increment(ref _counts[BucketOf(Math.Clamp(nanoseconds, 0, ValueMax))]);
        Interlocked.Increment(ref _count);
        Interlocked.Add(ref _sum, nanoseconds);
        for (var seen = MaxNs; nanoseconds > seen;)
        {
            var now = Interlocked.CompareExchange(ref _max, nanoseconds, seen);
            if (now == seen) return;
            seen = now;
        }
    }

    /// <summary>What this share of the latencies, such as 0.99, did not exceed: the upper end of its bucket. 0 when nothing was recorded.</summary>
    public long Percentile(double share)
    {
        var rank = Math.Max(1, (long)Math.Ceiling(share * Count));
        long seen = 0;
        for (var bucket = 0; bucket < _counts.Length; bucket++)
        {
            seen += Volatile.Read(ref _counts[bucket]);
            if (seen >= rank) return Math.Min(UpperEnd(bucket), MaxNs);
        }
        return MaxNs;
    }

    private static int BucketOf(long value)
    {
        if (value < 2 * SubBuckets) return (int)value;
        var shift = BitOperations.Log2((ulong)value) - SubBucketsLog2;
        return (shift << SubBucketsLog2) + (int)(value >> shift);
    }

    private static long UpperEnd(int bucket)
    {
        if (bucket < 2 * SubBuckets) return bucket;
        var shift = (bucket >> SubBucketsLog2) - 1;
        return (((long)(bucket & (SubBuckets - 1)) + SubBuckets + 1) << shift) - 1;
    }
}
