namespace Cluster.Node.Repair;

/// <summary>How a node repairs; the keys of `repair` in hocon/myrmidon.conf.</summary>
public sealed record RepairOptions
{
    /// <summary>Bytes that the owners of this node have read for scrubs per second, counted once for all copies.</summary>
    public long ScrubBytesPerSecond { get; init; } = 32L << 20;

    /// <summary>From the end of one scrub of a volume to the start of the next; zero: only when asked for.</summary>
    public TimeSpan ScrubInterval { get; init; } = TimeSpan.FromDays(7);
}

/// <summary>What all volumes of one node share when they repair. On the node's loop.</summary>
public sealed class NodeRepair(RepairOptions options)
{
    public RepairOptions Options => options;

    public Pace Scrub { get; } = new(options.ScrubBytesPerSecond);

    private long _scrubbedBytes;
    private long _scrubsEnded;
    private long _scrubsUnderWay;

    /// <summary>Bytes that scrubs of this node's owners read, on each copy. Any thread.</summary>
    public long ScrubbedBytes => Interlocked.Read(ref _scrubbedBytes);

    /// <summary>Any thread.</summary>
    public long ScrubsEnded => Interlocked.Read(ref _scrubsEnded);

    /// <summary>Any thread.</summary>
    public long ScrubsUnderWay => Interlocked.Read(ref _scrubsUnderWay);

    /// <summary>Takes from the pace, too.</summary>
    public void OnScrubbed(ulong bytes)
    {
        Scrub.Take((long)bytes);
        Interlocked.Add(ref _scrubbedBytes, (long)bytes);
    }

    public void OnScrubStarted() => Interlocked.Increment(ref _scrubsUnderWay);

    /// <param name="isDone">False: its owner has stopped, and the next one goes on with it.</param>
    public void OnScrubEnded(bool isDone)
    {
        Interlocked.Decrement(ref _scrubsUnderWay);
        if (isDone) Interlocked.Increment(ref _scrubsEnded);
    }
}
