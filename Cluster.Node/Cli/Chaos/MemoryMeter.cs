namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// A node's resident memory over a run, looked at in even steps. Single values say little, because nodes are killed and start anew: what
/// is compared is the mean of each third of the run. Its own size does not depend on the run's. One thread writes.
/// </summary>
internal sealed class MemoryMeter
{
    public const int Thirds = 3;

    /// <summary>When so many are in use, each two become one: a multiple of both 2 and the thirds.</summary>
    private const int BucketsMax = 192;

    private readonly (long Sum, int Count)[] _buckets = new (long, int)[BucketsMax];
    private int _used;
    private int _perBucket = 1;

    public long MostBytes { get; private set; }

    public long LastBytes { get; private set; }

    public void Add(long bytes)
    {
        if (_used == 0 || _buckets[_used - 1].Count == _perBucket)
        {
            if (_used == BucketsMax) Merge();
            _buckets[_used++] = default;
        }
        _buckets[_used - 1].Sum += bytes;
        _buckets[_used - 1].Count++;
        LastBytes = bytes;
        MostBytes = Math.Max(MostBytes, bytes);
    }

    /// <summary>Mean of that third, 0 to 2; 0 when it was never looked at.</summary>
    public long MeanBytes(int third)
    {
        var buckets = _buckets.AsSpan((_used * third / Thirds)..(_used * (third + 1) / Thirds));
        var (sum, count) = (0L, 0);
        foreach (var bucket in buckets) (sum, count) = (sum + bucket.Sum, count + bucket.Count);
        return count == 0 ? 0 : sum / count;
    }

    private void Merge()
    {
        for (var pair = 0; pair < BucketsMax / 2; pair++)
        {
            var (first, second) = (_buckets[2 * pair], _buckets[(2 * pair) + 1]);
            _buckets[pair] = (first.Sum + second.Sum, first.Count + second.Count);
        }
        _used = BucketsMax / 2;
        _perBucket *= 2;
    }
}
