namespace Cluster.Node.Store;

/// <summary>Settings of a store. Bytes where the name says so.</summary>
public sealed record StoreOptions
{
    /// <summary>Holds a record of the greatest size (267 KiB).</summary>
    public const int SegmentBytesMin = 320 * 1024;
    public const int SegmentBytesMax = 1 << 30;

    /// <summary>Fewest segments that a store can work with: its reserve, one in use, and one to clean.</summary>
    public const int SegmentsMin = 8;

    /// <summary>A store has at least so many segments, as long as they are not smaller than <see cref="SegmentBytesSmall"/>: the reserve, what is free for the cleaner and the
    /// segments that are being filled are then one or two percent of it.</summary>
    private const int SegmentsWanted = 512;
    private const int SegmentBytesSmall = 4 << 20;

    /// <summary>Greatest size of a new store's segments; a small store's are smaller (<see cref="SegmentBytesFor"/>), an existing store keeps its own.</summary>
    public int SegmentBytes { get; init; } = 64 << 20;

    /// <summary>capacity-bytes: what the store may use. 0: what the file system has, less <see
    /// cref="FileSystemReservePercent"/>.</summary>
    public long CapacityBytes { get; init; }

    public int FileSystemReservePercent { get; init; } = 5;

    /// <summary>A checkpoint is made when the log has grown by this much since the last one, and by at least sixteen times that one's own
    /// size.</summary>
    public long CheckpointIntervalBytes { get; init; } = 256L << 20;

    /// <summary>
    /// Free part of the segments, in percent, below which the cleaner works, as late as it can: the longer it waits, the more of a segment has died by itself. A few segments
    /// beyond the reserve in any case.
    /// </summary>
    public int CleanBelowFreePercent { get; init; } = 1;

    /// <summary>Bytes of blocks a second that are moved from disks that are to be emptied, at most.</summary>
    public int DrainBytesPerSecond { get; init; } = 32 << 20;

    /// <summary>Bytes of memory for the maps' pages (<see cref="MapCache"/>); those beyond are in the page file.</summary>
    public long MapCacheBytes { get; init; } = MapCacheBytesDefault;

    public const long MapCacheBytesDefault = 128L << 20;

    /// <summary>Blocks of a deleted snapshot that one turn of the loop hands down to the next older one, or frees: some milliseconds.</summary>
    public int HandDownBlocks { get; init; } = 16_384;

    /// <summary>Versions that a page of what a snapshot keeps takes before it is split: from 2 to those of a page. Fewer are for tests, which have few blocks.</summary>
    public int LayerPageVersions { get; init; } = MapPage.Blocks;

    /// <summary>How long after a flush, with no write following, its watermark is noted in the log.</summary>
    public int WatermarkDelayMs { get; init; } = 500;

    /// <summary>Id of the host's boot (R9); empty: as the system says.</summary>
    public Guid BootId { get; init; }

    /// <summary>Times what goes to the disks, and dates what is kept of them.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Where new ids come from; a simulation gives its own source.</summary>
    public Func<Guid> NewId { get; init; } = Guid.NewGuid;

    /// <summary>Where the mark of an open comes from (R5): random, never 0.</summary>
    public Func<ulong> NewMark { get; init; } = () => (ulong)Random.Shared.NextInt64(1, long.MaxValue);

    /// <summary>Size of the segments of a new store that may use so many bytes: the largest power of two of which it has enough, within the two limits.</summary>
    public int SegmentBytesFor(long capacityBytes)
    {
        var size = SegmentBytesSmall;
        while (size < SegmentBytes && size * 2L * SegmentsWanted <= capacityBytes) size *= 2;
        return Math.Min(size, SegmentBytes);
    }

    /// <summary>The segment size must hold some records of the greatest size.</summary>
    public string? Problem() =>
        SegmentBytes is < SegmentBytesMin or > SegmentBytesMax || SegmentBytes % 4096 != 0
            ? $"segment-bytes is {SegmentBytes}; it must be a multiple of 4096 from {SegmentBytesMin} to {SegmentBytesMax}"
            : CapacityBytes < 0 || (CapacityBytes > 0 && CapacityBytes / SegmentBytes < SegmentsMin)
                ? $"capacity-bytes is {CapacityBytes}; it must be 0 (all of the file system) or at least {(long)SegmentsMin * SegmentBytes}"
                : null;
}

/// <summary>What new segments are marked with.</summary>
public sealed record StoreIdentity(Guid StoreId, ulong OpenCount, Func<Guid> NewId);

/// <summary>How an open ended. With any status but Ok there is no store, and the reason is one sentence for the operator.</summary>
public sealed record StoreOpenResult(Cluster.Messages.Model.IoStatus Status, string Reason, BlockStore? Store);
