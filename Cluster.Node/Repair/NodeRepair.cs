namespace Cluster.Node.Repair;

/// <summary>How a node repairs; the keys of `repair` in hocon/myrmidon.conf.</summary>
public sealed record RepairOptions
{
    /// <summary>Bytes that the owners of this node have read for scrubs per second, counted once for all copies.</summary>
    public long ScrubBytesPerSecond { get; init; } = 32L << 20;

    /// <summary>From the end of one scrub of a volume to the start of the next; zero: only when asked for.</summary>
    public TimeSpan ScrubInterval { get; init; } = TimeSpan.FromDays(7);

    /// <summary>Bytes that the owners of this node send per second to copies that are behind or new.</summary>
    public long CatchUpBytesPerSecond { get; init; } = 64L << 20;

    /// <summary>Catch-ups longer than <see cref="CatchUpShortBytes"/> that the owners of this node drive at once.</summary>
    public int CatchUpsOutMax { get; init; } = 2;

    /// <summary>Such catch-ups that copies of this node take part in at once.</summary>
    public int CatchUpsInMax { get; init; } = 2;

    /// <summary>A catch-up of no more than that waits for no other.</summary>
    public long CatchUpShortBytes { get; init; } = 64L << 20;

    /// <summary>A copy whose answers take longer than the fastest copy's by more than this is slow; zero: none is.</summary>
    public TimeSpan SlowLag { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>For so long without a break it must be slow before something is done.</summary>
    public TimeSpan SlowFor { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>For so long it must have been healthy before it is taken back; twice as long each time, up to <see cref="SlowPolicy.WaitGrowthMax"/> times.</summary>
    public TimeSpan SlowWait { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>What all volumes of one node share when they repair. On the node's loop.</summary>
public sealed class NodeRepair(RepairOptions options)
{
    public RepairOptions Options => options;

    public Pace Scrub { get; } = new(options.ScrubBytesPerSecond);

    public Pace CatchUp { get; } = new(options.CatchUpBytesPerSecond);

    /// <summary>Catch-ups that owners of this node drive.</summary>
    public Admission CatchUpsOut { get; } = new(options.CatchUpsOutMax);

    /// <summary>Catch-ups of copies on this node.</summary>
    public Admission CatchUpsIn { get; } = new(options.CatchUpsInMax);

    /// <summary>A copy that is caught up keeps its cursor after so many bytes: what is sent twice at most when it is interrupted.</summary>
    public long CatchUpMarkBytes { get; init; } = 16L << 20;

    /// <summary>How often an owner tells its copies which tombstones nobody needs any more (R20).</summary>
    public int PassedIntervalMs { get; init; } = 5000;

    private long _scrubbedBytes;
    private long _scrubsEnded;
    private long _scrubsUnderWay;
    private long _caughtUpBytes;
    private long _catchUpsStarted;
    private long _catchUpsResumed;
    private long _catchUpsEnded;
    private long _catchUpsUnderWay;
    private long _catchUpsWaiting;

    /// <summary>Bytes that scrubs of this node's owners read, on each copy. Any thread.</summary>
    public long ScrubbedBytes => Interlocked.Read(ref _scrubbedBytes);

    /// <summary>Any thread.</summary>
    public long ScrubsEnded => Interlocked.Read(ref _scrubsEnded);

    /// <summary>Any thread.</summary>
    public long ScrubsUnderWay => Interlocked.Read(ref _scrubsUnderWay);

    /// <summary>Bytes that owners of this node sent in catch-ups. Any thread.</summary>
    public long CaughtUpBytes => Interlocked.Read(ref _caughtUpBytes);

    /// <summary>Any thread.</summary>
    public long CatchUpsStarted => Interlocked.Read(ref _catchUpsStarted);

    /// <summary>Of those started: from the cursor of one that was interrupted. Any thread.</summary>
    public long CatchUpsResumed => Interlocked.Read(ref _catchUpsResumed);

    /// <summary>Of those started: the copy was journaled in. Any thread.</summary>
    public long CatchUpsEnded => Interlocked.Read(ref _catchUpsEnded);

    /// <summary>Any thread.</summary>
    public long CatchUpsUnderWay => Interlocked.Read(ref _catchUpsUnderWay);

    /// <summary>Copies of this node's volumes that wait for other catch-ups here to end. Any thread.</summary>
    public long CatchUpsWaiting => Interlocked.Read(ref _catchUpsWaiting);

    /// <summary>The queue has changed.</summary>
    public void OnCatchUpQueue() => Interlocked.Exchange(ref _catchUpsWaiting, CatchUpsOut.WaitingCount);

    public void OnCatchUpStarted(bool resumes)
    {
        Interlocked.Increment(ref _catchUpsStarted);
        Interlocked.Increment(ref _catchUpsUnderWay);
        if (resumes) Interlocked.Increment(ref _catchUpsResumed);
    }

    /// <param name="isDone">False: interrupted.</param>
    public void OnCatchUpEnded(bool isDone)
    {
        Interlocked.Decrement(ref _catchUpsUnderWay);
        if (isDone) Interlocked.Increment(ref _catchUpsEnded);
    }

    /// <summary>Takes from the pace, too.</summary>
    public void OnCaughtUp(int bytes)
    {
        CatchUp.Take(bytes);
        Interlocked.Add(ref _caughtUpBytes, bytes);
    }

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
