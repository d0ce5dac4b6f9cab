namespace Cluster.Node.Store;

/// <summary>What the cleaner goes by. Pure: numbers in, numbers out.</summary>
internal static class CleanerPolicy
{
    /// <summary>A segment that is fuller than this, in percent, is not worth its copy.</summary>
    public const int OccupiedMaxPercent = 90;

    /// <summary>What a block that was moved takes beside its bytes: descriptor and row of a Pack.</summary>
    public const int BlockOverheadBytes = 36;

    /// <summary>And at most: a record of its own.</summary>
    public const int BlockOverheadBytesMax = 240;

    /// <summary>Of a segment beside the log, so many copies are noted at most: one for so many of its bytes.</summary>
    private const int BytesOfAMoveLeast = 256;

    /// <summary>A source whose blocks take less than this on average would fill it with notes before it is full of bytes: what is live there goes to the end of the log.</summary>
    private const int BytesOfABlockLeast = 2 * BytesOfAMoveLeast;

    public static int MovesMax(long segmentBytes) => (int)(segmentBytes / BytesOfAMoveLeast);

    public static bool IsDense(long liveBytes, int liveBlocks) => Occupied(liveBytes, liveBlocks) < (long)liveBlocks * BytesOfABlockLeast;

    /// <summary>The cleaner may be ahead of what clients write by this factor.</summary>
    private const int PaceFactor = 2;

    /// <summary>Bytes that the live blocks of a segment take where they are packed.</summary>
    public static long Occupied(long liveBytes, int liveBlocks) => liveBytes + ((long)liveBlocks * BlockOverheadBytes);

    public static bool IsWorth(long occupiedBytes, long segmentBytes) => occupiedBytes < segmentBytes / 100 * OccupiedMaxPercent;

    /// <summary>
    /// Cost and benefit: free part by live part, times the age, which is what the log has grown by since the segment was full. The more that died in a given time, the sooner more of it will,
    /// and the longer it pays to wait; of segments whose blocks all die at one rate, the emptiest is the oldest too, and wins.
    /// </summary>
    public static double Score(long occupiedBytes, long segmentBytes, long ageBytes)
    {
        var live = Math.Max(1, Math.Min(occupiedBytes, segmentBytes));
        return (double)(segmentBytes - live) / live * (Math.Max(0, ageBytes) + segmentBytes);
    }

    /// <summary>
    /// Bytes of a source that may have been read by now: emptying it gives back what is free in it, and clients use that up. So it goes on twice as fast as they do, and not in one go.
    /// </summary>
    /// <param name="clientBytes">Written since the source was begun.</param>
    public static long Allowance(long clientBytes, long occupiedBytes, long segmentBytes)
    {
        var gain = Math.Max(segmentBytes / 100 * (100 - OccupiedMaxPercent), segmentBytes - occupiedBytes);
        return (long)((double)clientBytes * PaceFactor * segmentBytes / gain);
    }

    /// <summary>Bytes to move until as many segments are free as the cleaner keeps free, if all are as full as the last one that it took.</summary>
    public static long Backlog(int missingSegments, long occupiedBytes, long segmentBytes)
    {
        if (missingSegments <= 0) return 0;
        var gain = Math.Max(segmentBytes / 100 * (100 - OccupiedMaxPercent), segmentBytes - occupiedBytes);
        return (long)(missingSegments * (double)segmentBytes / gain * occupiedBytes);
    }
}
