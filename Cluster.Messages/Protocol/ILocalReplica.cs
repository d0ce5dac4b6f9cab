using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Protocol;

/// <summary>
/// The owner's view of the replica in its own process: committed blocks are read here without a frame. It decides nothing; promises and
/// appends go through frames like any other replica's. Loop thread only.
/// </summary>
public interface ILocalReplica
{
    /// <summary>Applies everything up to the watermark, so that reads that start now see it. Epochs below the promised one are refused (false).</summary>
    bool Commit(ulong epoch, ulong watermark);

    /// <summary>Where the part of a restore to the snapshot that begins at this block ends; <see cref="ulong.MaxValue"/>: there is nothing to put back behind it.</summary>
    ulong RestoreEnd(ulong snapshot, ulong from);

    /// <summary>Trims that a copy which was away may have to be told of (R20).</summary>
    bool HasTombstones { get; }

    /// <summary>Session windows of the committed records (R12); the caller copies what it keeps.</summary>
    SessionWindows Windows { get; }

    /// <summary>The snapshots of the committed map, by the sequences of their markers, ascending (R19).</summary>
    IReadOnlyList<ulong> Snapshots { get; }

    /// <summary>Encoded bytes and blocks that only this snapshot holds, and bytes that it shares with other snapshots or the volume; null: not known.</summary>
    (long Bytes, long Blocks, long? SharedBytes) SnapshotUsage(ulong snapshot);

    /// <summary>Runs of the range that changed between two snapshots; 0: nothing, and the volume as it is now. Answers the block up to which it looked.</summary>
    ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents);

    /// <summary>Sequence that last wrote or trimmed the block, records above the watermark included; 0 = never.</summary>
    ulong SequenceOf(ulong block);

    /// <summary>Committed blocks; answered by <see cref="ILocalReads.OnLocalRead"/>, at once or later.</summary>
    /// <param name="known">Per block the sequence of what the reader has, 0: nothing; those that are the same are not read.</param>
    void Read(BlockRange range, ILocalReads reads, ulong token, ReadOnlySpan<ulong> known = default);

    /// <summary>Runs of the range that do or do not hold data; answers the block up to which it looked.</summary>
    ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents);

    /// <summary>The next changes with since &lt; sequence &lt;= upTo as resync records (each with one reference). A null position starts, null ends.</summary>
    (IoStatus Status, ChangePosition? Next) ReadChanges(ulong since, ulong upTo, ChangePosition? position, int bytesMax, List<IoBuffer> records);

    /// <summary>Bytes of these changes from that block on, about, and no less.</summary>
    long EstimateChanges(ulong since, ulong upTo, ulong fromBlock);

    /// <summary>What users see of it.</summary>
    VolumeSpace Space { get; }

    /// <summary>Volumes below this copy that it shares blocks with, one below the other; 0: it shares none. At most <see cref="Limits.CloneDepthMax"/>.</summary>
    int CloneDepth => 0;

    /// <summary>Encoded bytes of all committed blocks.</summary>
    long StoredBytes { get; }

    /// <summary>Encoded bytes that a scrub reads, about: of the volume, with what a clone has of its origin, and of its snapshots, without what is kept for clones alone.</summary>
    long ScrubBytes { get; }

    /// <summary>How far the volume's scrub is, as the replica last heard.</summary>
    ScrubMark Scrub { get; }

    /// <summary>The tail's record of that sequence as it was written (one reference).</summary>
    (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence);
}

/// <summary>
/// Where a scan for changes is: first all trims go, then the blocks, both in ascending order, then what only snapshots still hold.
/// </summary>
/// <param name="IsInBlocks">False: among the trims.</param>
/// <param name="Snapshot">Not 0: among the trims, or the blocks, of this snapshot.</param>
public readonly record struct ChangePosition(bool IsInBlocks, ulong Block, ulong Snapshot = 0);

public interface ILocalReads
{
    /// <summary>On Ok the buffer (one reference, the receiver's) holds count × ReadDescriptor and then the bytes.</summary>
    void OnLocalRead(ulong token, IoStatus status, IoBuffer? reply);
}
