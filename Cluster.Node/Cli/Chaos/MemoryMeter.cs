namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// A node's resident memory over a run. Single values say little, because nodes are killed and start anew: what is compared is the mean of
/// each third of the run. One thread writes.
/// </summary>
internal sealed class MemoryMeter
{
    private const int Thirds = 3;

    private readonly long[] _sums = new long[Thirds];
    private readonly long[] _counts = new long[Thirds];

    public long MostBytes { get; private set; }

    public long LastBytes { get; private set; }

    /// <param name="bytes">Now.</param>
    /// <param name="done">How much of the run is over: 0 at its start, 1 at its end; later counts for the end.</param>
    public void Add(long bytes, double done)
    {
        var third = Math.Clamp((int)(done * Thirds), 0, Thirds - 1);
        _sums[third] += bytes;
        _counts[third]++;
        LastBytes = bytes;
        MostBytes = Math.Max(MostBytes, bytes);
    }

    /// <summary>Mean of that third, 0 to 2; 0 when it was never looked at.</summary>
    public long MeanBytes(int third) => _counts[third] == 0 ? 0 : _sums[third] / _counts[third];
}
