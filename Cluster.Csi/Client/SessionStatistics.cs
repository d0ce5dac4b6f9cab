using Cluster.Messages.Model;

namespace Cluster.Csi.Client;

/// <summary>
/// What one session has done. Written on the session's loop; any thread may read, each number by itself. Counts are answered I/Os of
/// the front
/// end (not records), bytes are the front end's.
/// </summary>
public sealed class SessionStatistics
{
    private readonly long[] _count = new long[7];
    private readonly long[] _bytes = new long[7];
    private long _failed;
    private long _replayed;
    private long _conflicts;
    private long _linksLost;
    private long _longestGapMs;
    private long _forcedFlushes;
    private long _presented;

    public long Count(BlockOperation operation) => Volatile.Read(ref _count[(int)operation]);

    public long Bytes(BlockOperation operation) => Volatile.Read(ref _bytes[(int)operation]);

    /// <summary>I/Os that ended with an error.</summary>
    public long Failed => Volatile.Read(ref _failed);

    /// <summary>Requests that were sent again after the owner was lost.</summary>
    public long Replayed => Volatile.Read(ref _replayed);

    /// <summary>Conditional writes that found their block changed (R15).</summary>
    public long Conflicts => Volatile.Read(ref _conflicts);

    public long LinksLost => Volatile.Read(ref _linksLost);

    /// <summary>Flushes that nobody asked for: what was kept had reached half of its bound, or was old (R13).</summary>
    public long ForcedFlushes => Volatile.Read(ref _forcedFlushes);

    /// <summary>Answered writes that were presented to an owner whose copies had all lost them (R13).</summary>
    public long Presented => Volatile.Read(ref _presented);

    /// <summary>Longest time between two answered I/Os while at least one was pending, in ms.</summary>
    public long LongestGapMs => Volatile.Read(ref _longestGapMs);

    internal void Answered(BlockOperation operation, ulong bytes)
    {
        Volatile.Write(ref _count[(int)operation], _count[(int)operation] + 1);
        Volatile.Write(ref _bytes[(int)operation], _bytes[(int)operation] + (long)bytes);
    }

    internal void AddFailed() => Volatile.Write(ref _failed, _failed + 1);

    internal void AddReplayed() => Volatile.Write(ref _replayed, _replayed + 1);

    internal void AddConflict() => Volatile.Write(ref _conflicts, _conflicts + 1);

    internal void AddLinkLost() => Volatile.Write(ref _linksLost, _linksLost + 1);

    internal void AddForcedFlush() => Volatile.Write(ref _forcedFlushes, _forcedFlushes + 1);

    internal void AddPresented(int writes) => Volatile.Write(ref _presented, _presented + writes);

    internal void Gap(long gapMs)
    {
        if (gapMs > _longestGapMs) Volatile.Write(ref _longestGapMs, gapMs);
    }
}
