using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// One replica's bytes on this node. It keeps order and durability, and decides nothing: the replica's machine does. All members on the store's loop.
/// <para>
/// Records are appended in dense sequence. The map holds <b>committed</b> records only; records above the commit watermark form the tail, which is
/// kept in order, is dropped by <see cref="Truncate"/>, and is never seen by reads (R4, R16). The session windows likewise are those of
/// the committed records.
/// </para>
/// </summary>
public interface IVolumeStore
{
    VolumeId Volume { get; }

    /// <summary>The replica's header as last saved; opaque to the store, at most <see cref="StoreLimits.HeaderBytesMax"/>; never empty.</summary>
    ReadOnlyMemory<byte> Header { get; }

    /// <summary>
    /// Not null: the log or the checkpoint was found corrupt below its flush watermark, so this replica can't say what it holds; the text says what and where. It must not vote or serve: appends give
    /// DeviceError, reads BadChecksum. <see cref="SetPosition"/> with discardAll clears it (a full resync). Or, at any time, a page of the map could not be read back: then the store has failed, and
    /// the replica is whole when it is opened anew.
    /// </summary>
    string? Damage { get; }

    /// <summary>Sequence of the newest record staged or written, 0 with none. Dense: it is also the count since the volume began.</summary>
    ulong LastSequence { get; }

    /// <summary>Epoch of that record (also of the newest one below the tail, once the tail is empty), 0 with none.</summary>
    ulong LastRecordEpoch { get; }

    /// <summary>All up to here was written to its file (survives kill -9).</summary>
    ulong AppendedSequence { get; }

    /// <summary>All up to here was covered by fdatasync.</summary>
    ulong DurableSequence { get; }

    ulong CommitWatermark { get; }

    /// <summary>Records above this sequence can be read back as they were written. At most <see cref="CommitWatermark"/>.</summary>
    ulong TailFrom { get; }

    SessionWindows Windows { get; }

    /// <summary>Stages the next record (its sequence must be LastSequence + 1); it is written at the end of the turn, then <see cref="IVolumeStoreEvents.OnAppended"/>
    /// is called. Takes its own reference. Ok, BadChecksum (a block does not match its descriptor), NoSpace or DeviceError; on anything else than Ok nothing was staged.</summary>
    IoStatus Append(IoBuffer record, in RecordHeader header);

    /// <summary>
    /// Promises room for data records (R21), as much as there is and a share of it allows, and answers all that is promised beyond <see cref="LastSequence"/>, in
    /// bytes as <see cref="Limits.CreditOf"/> counts them. What is promised is kept free of everybody else's data until it is used or <see cref="GiveBack"/>, or the process ends. If it
    /// is less than a record of the greatest size, <see cref="IVolumeStoreEvents.OnRoom"/> is called when there is more.
    /// </summary>
    long Grant();

    /// <summary>Nobody relies on what was promised any more: while the copy catches up, what it gets does not wait for it, and needs the room itself.</summary>
    void GiveBack();

    /// <summary>Of the data records above <see cref="AppendedSequence"/>, counted likewise.</summary>
    long UnwrittenCredit { get; }

    /// <summary>Stages a copy of blocks as another replica's map has them (R8): applied per block where its sequence is higher than the map's. Not part of the order.
    /// A Trim record with the flag Resync carries a range tombstone.</summary>
    IoStatus AppendResync(IoBuffer record, in RecordHeader header);

    /// <summary>Replaces the session windows by those received in a catch-up (durable with the next sync).</summary>
    IoStatus SetWindows(SessionWindows windows);

    /// <summary>Volumes below it that it shares blocks with, one below the other.</summary>
    int CloneDepth => 0;

    /// <summary>
    /// The snapshots that the committed map has, by the sequences of their markers, ascending (R19). A record of kind Marker (<see cref="SnapshotMarker"/>) takes effect
    /// like any other: when it is committed.
    /// </summary>
    IReadOnlyList<ulong> Snapshots { get; }

    /// <summary>
    /// In a catch-up, before its first record: these are the snapshots that the owner's map has. Those here that are not among them go. The others that are
    /// not here are there from now on, empty but for what this map has from before them; what is missing is sent like everything else (durable with the next sync).
    /// </summary>
    IoStatus SetSnapshots(IReadOnlyList<ulong> sequences);

    /// <summary>Applies the tail up to the watermark (never beyond LastSequence) to the map. Watermarks only rise.</summary>
    void Commit(ulong watermark);

    /// <summary>
    /// Every copy of the volume has all up to the sequence, which is at most <see cref="CommitWatermark"/> and <see cref="DurableSequence"/>: tombstones up to it are
    /// dropped (R20). Not staged: after a restart those since the last checkpoint are there again, which costs nothing but their space.
    /// </summary>
    void ForgetTombstones(ulong upTo);

    bool HasTombstones { get; }

    /// <summary>Drops the tail above the sequence, which is not below <see cref="CommitWatermark"/>. Staged in log order, so that a replay drops it too.</summary>
    IoStatus Truncate(ulong toSequence);

    /// <summary>
    /// Catch-up begins or ends: sets the order's position without records. LastSequence, Appended and the watermark become <paramref name="sequence"/>;
    /// the tail is dropped. With <paramref name="discardAll"/> every block and tombstone of the volume goes first.
    /// </summary>
    IoStatus SetPosition(ulong sequence, ulong lastRecordEpoch, bool discardAll);

    /// <summary>Stages a new header. <see cref="IVolumeStoreEvents.OnDurable"/> names the newest header number on media; answers this one's number.
    /// The caller asks for the sync.</summary>
    ulong SaveHeader(ReadOnlyMemory<byte> header);

    /// <summary>Asks for one fdatasync that covers all staged so far, of every volume (group commit). Answered by <see cref="IVolumeStoreEvents.OnDurable"/>.</summary>
    void RequestSync();

    /// <summary>
    /// Reads committed blocks: per block a <see cref="ReadDescriptor"/>, then the encoded bytes, one after the other. The
    /// answer comes by <paramref name="completion"/>: at once when the page cache has it, else from the disk thread, on the loop. A block whose checksum does not match
    /// gives BadChecksum for the whole read. Where the map itself has to be read first, the blocks are those of the moment after that; if the position was set meanwhile the answer is
    /// DeviceError. The buffer given is the caller's to release.
    /// </summary>
    /// <param name="known">
    /// Per block the sequence of what the reader has, 0: nothing. Blocks whose bytes are of that sequence are not read: the answer says that they are the same.
    /// </param>
    void Read(BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known = default);

    /// <summary>
    /// Reads committed blocks for repair, from the file and each by itself: blocks that can't be read, or don't match their checksum, are named and their bytes
    /// left out. The answer comes later, on the loop. <paramref name="snapshot"/> not 0: what this snapshot keeps and the volume does not have any more.
    /// <paramref name="background"/>: behind everything that a client waits for.
    /// </summary>
    void ReadEach(BlockRange range, ulong snapshot, bool background, IEachReadCompletion completion, ulong token);

    /// <summary>
    /// Stages good bytes (a Write record with the flag Resync) or a tombstone in place of what is here, outside the order: per block where its sequence is the
    /// map's, whose bytes are then bad, or higher. With an expected sequence, which names the snapshot that keeps the versions: where those are here, and bad, or are not here.
    /// Answers how many blocks took it. The statuses of <see cref="AppendResync"/>.
    /// </summary>
    (IoStatus Status, int Blocks) Repair(IoBuffer record, in RecordHeader header);

    /// <summary>
    /// Hash of block, sequence and checksum of every committed block of the range that holds bytes: equal maps have equal ones. At most RecordBlocksMax blocks.
    /// </summary>
    /// <param name="range">The blocks.</param>
    /// <param name="snapshot">Not 0: of what this snapshot keeps.</param>
    /// <param name="withChecksums">False for a clone: a checksum covers the volume that a block was written to, and copies of a clone share it with the origin, or do not.</param>
    ulong Digest(BlockRange range, ulong snapshot = 0, bool withChecksums = true);

    /// <summary>The newest snapshot older than <paramref name="below"/> that keeps bytes of the range; 0: none.</summary>
    ulong NextSnapshot(BlockRange range, ulong below);

    /// <summary>The same of all that a snapshot sees. At most RecordBlocksMax blocks.</summary>
    ulong DigestSnapshot(ulong snapshot, BlockRange range);

    /// <summary>What the snapshot holds that neither the volume nor another snapshot does, and what it shares with them. No page of a map is read for it.</summary>
    SnapshotUsage UsageOf(ulong snapshot);

    /// <summary>
    /// Appends the runs of the range, ascending, that were written, trimmed or restored between two snapshots, at most <paramref name="extentsMax"/>; answers the block up to which
    /// it looked. <paramref name="from"/> 0: all that holds data in <paramref name="to"/>. <paramref name="to"/> 0: the volume as it is now. A run may hold blocks that have
    /// not changed; none that has is left out.
    /// </summary>
    ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents);

    /// <summary>
    /// Where the part of a restore to the snapshot that begins at this block ends, so that it holds nobody up for long; <see cref="ulong.MaxValue"/>: there is nothing to put back behind it.
    /// </summary>
    ulong RestoreEnd(ulong snapshot, ulong from);

    /// <summary>
    /// The first committed block from <paramref name="from"/> on that holds bytes, for the volume or for a snapshot, at most <paramref name="end"/>. After a long look without one it answers how far it looked.
    /// </summary>
    ulong NextData(ulong from, ulong end);

    /// <summary>Sequence that last wrote (or trimmed) the block: in the tail if <paramref name="withTail"/>, else as committed; 0 = never; MaxValue: a damaged one does not know.</summary>
    ulong SequenceOf(ulong block, bool withTail);

    /// <summary>Appends the runs of the range that hold data, ascending, at most <paramref name="extentsMax"/>; answers the block up to which it looked.</summary>
    ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents);

    /// <summary>
    /// The next changes of the map with <paramref name="since"/> &lt; sequence &lt;= <paramref name="upTo"/>, from <paramref name="cursor"/> on, as records with the flag Resync (with
    /// their original sequence and epoch 0), at most about <paramref name="bytesMax"/>. Buffers are handed over with one reference each. Reads from disk in place: it is
    /// called for small batches. Answers the cursor to go on from, or null at the end; null cursor starts. BadChecksum and DeviceError end it.
    /// </summary>
    (IoStatus Status, ChangeCursor? Next) ReadChanges(ulong since, ulong upTo, ChangeCursor? cursor, int bytesMax, List<IoBuffer> records);

    /// <summary>An upper estimate of the bytes that ReadChanges will give from that block on.</summary>
    long EstimateChanges(ulong since, ulong upTo, ulong fromBlock = 0);

    /// <summary>Reads the tail record of exactly this sequence as it was written. The buffer is handed over with one reference.</summary>
    (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence);

    VolumeUsage Usage { get; }

    /// <summary>The machine that hears of completions. Set once, before the first append.</summary>
    IVolumeStoreEvents? Events { get; set; }
}

/// <summary>
/// Position of a scan for changes: tombstones first (stage 0), then blocks (1), then what only snapshots still hold (2), from the newest snapshot to the oldest. What is
/// overwritten, or whose snapshot is deleted, while the scan goes on only moves forward in this order, so that nothing is passed over.
/// </summary>
/// <param name="Snapshot">In stages 0 and 2: of this one; 0 in stage 0: of the volume itself.</param>
public sealed record ChangeCursor(int Stage, ulong NextBlock, ulong Snapshot = 0);

/// <summary>
/// Of one snapshot: encoded bytes, and blocks. A version of a block that both the volume and a snapshot have is shared; one that a restore made is another one than that which it was made of,
/// although both name the same bytes.
/// </summary>
/// <param name="UniqueBytes">What would be free without it.</param>
/// <param name="UniqueBlocks">The same in blocks.</param>
/// <param name="SharedBytes">What it sees besides, which the volume, another snapshot or a clone keeps: not what a clone's snapshot sees of the clone's origin. Null: not known.</param>
public readonly record struct SnapshotUsage(long UniqueBytes, long UniqueBlocks, long? SharedBytes);

/// <summary>
/// Bytes of one replica: live encoded bytes in the map, blocks mapped, and bytes that only snapshots hold; and what a clone has of others' besides, as far as it was counted: some
/// more at each look.
/// </summary>
/// <param name="ClonesBytes">Of what snapshots hold, that of deleted ones on which clones stand.</param>
public readonly record struct VolumeUsage(long StoredBytes, long MappedBlocks, long SnapshotBytes = 0, long SharedBytes = 0, long SharedBlocks = 0, long ClonesBytes = 0)
{
    /// <summary>What a scrub reads: blocks that are shared are the clone's too, and those of hidden snapshots nobody's but the clones'.</summary>
    public long ScrubBytes => StoredBytes + SharedBytes + SnapshotBytes - ClonesBytes;
}

/// <summary>Called on the loop, within the store's phase of the turn.</summary>
public interface IVolumeStoreEvents
{
    void OnAppended(ulong appendedSequence);

    /// <summary>fdatasync covered all up to here, and headers up to this number.</summary>
    void OnDurable(ulong durableSequence, ulong headerNumber);

    /// <summary>A write or an fdatasync failed, or a page of a map could not be read back: nothing is retried, the replica is out (R10).</summary>
    void OnFailed(IoStatus status, string reason);

    /// <summary>There is room again that <see cref="IVolumeStore.Grant"/> can promise.</summary>
    void OnRoom();
}

public interface IReadCompletion
{
    /// <summary>On Ok the buffer holds Count × ReadDescriptor and then the bytes; it is the receiver's to release. On the loop, possibly within the call of Read.</summary>
    void OnRead(ulong token, IoStatus status, IoBuffer? reply);
}

public interface IEachReadCompletion
{
    /// <summary>
    /// On Ok the buffer holds Count × ReadDescriptor and then the bytes of the blocks whose bit in <paramref name="bad"/> is 0 (bit i: block i of the range); it is
    /// the receiver's to release. On the loop.
    /// </summary>
    void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply);
}
