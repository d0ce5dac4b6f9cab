namespace Cluster.Messages.Wire;

/// <summary>What a mesh frame says. Frozen: add, never renumber; 0 is invalid. "record" = the body is one record (RecordHeader).</summary>
public enum FrameKind : byte
{
    Invalid = 0,

    // The connection itself.
    Hello = 1,
    Welcome = 2,
    Refuse = 3,
    /// <summary>Argument: the sender's clock in ms when sent. Answered by Pong with the same argument; the pair renews the lease (R17).</summary>
    Ping = 4,
    Pong = 5,

    // Front end to owner and back. RequestId is the session's request id, from 2^63 on of a read that passed held writes; Argument is the front end's route, echoed by every answer and notice.
    /// <summary>Body: <see cref="SessionOpenBody"/>.</summary>
    SessionOpen = 10,
    /// <summary>Status; body: <see cref="SessionOpenedBody"/>.</summary>
    SessionOpened = 11,
    /// <summary>Owner to front end: the session is over (Status says why), or the volume changed size (body as SessionOpened).</summary>
    SessionNotice = 12,
    SessionClose = 13,
    /// <summary>Body: record with epoch, sequence and watermark zero; the owner fills them in.</summary>
    ClientWrite = 14,
    /// <summary>Body: <see cref="ClientReadBody"/>.</summary>
    ClientRead = 15,
    /// <summary>Body: <see cref="ClientFlushBody"/>.</summary>
    ClientFlush = 16,
    /// <summary>Body: <see cref="ClientReadBody"/>.</summary>
    ClientStatus = 17,
    /// <summary>Answer to ClientWrite and ClientFlush. Status; body: <see cref="ClientAckBody"/>.</summary>
    ClientAck = 18,
    /// <summary>Answer to ClientRead. Status; body: ReadDescriptor × count, then the encoded blocks.</summary>
    ClientReadReply = 19,
    /// <summary>Answer to ClientStatus. Status; body: u32 count, then (u64 first block, u32 blocks, u32 allocated) × count.</summary>
    ClientStatusReply = 20,
    /// <summary>A write with FUA got its sequence and is committed; its answer waits for media. Body: <see cref="SequenceBody"/>.</summary>
    ClientCommitted = 21,
    /// <summary>Answers SessionOpen for now: the owner lacks what the session claims above this sequence. Body: <see cref="SequenceBody"/> (R13).</summary>
    Present = 22,
    /// <summary>Front end to owner, before the session is open. Body: record with the sequence that it had. Not answered by itself.</summary>
    Presented = 23,
    /// <summary>A read by a front end that has some of the blocks. Body: <see cref="CachedReadBody"/>. To owners that said so only (<see cref="SessionOpenedBody.Caches"/>).</summary>
    ClientReadCached = 24,
    /// <summary>Answer to ClientReadCached. As ClientReadReply; of a block that the front end has as it is there are no bytes (<see cref="ReadDescriptor.IsSame"/>).</summary>
    ClientReadCachedReply = 25,

    // Owner to replica and back. Epoch is the owner's; Argument is the commit watermark on every frame from the owner (R4).
    /// <summary>Body: <see cref="PromiseBody"/>.</summary>
    Promise = 30,
    /// <summary>Status; body: <see cref="PromisedBody"/>.</summary>
    Promised = 31,
    /// <summary>Body: record.</summary>
    Append = 32,
    /// <summary>Cumulative. Status (Ok, StaleEpoch, Gap, DeviceError, NoSpace …); body: <see cref="AppendAckBody"/>.</summary>
    AppendAck = 33,
    /// <summary>Moves the commit watermark and asks for fdatasync up to the body's sequence (body: u64; 0 = none). Answered by AppendAck.</summary>
    Sync = 34,
    /// <summary>Body: <see cref="FetchTailBody"/>. Answered by TailRecord × n, then TailEnd.</summary>
    FetchTail = 35,
    /// <summary>Body: record.</summary>
    TailRecord = 36,
    /// <summary>Status; body: <see cref="FetchTailBody"/> as served.</summary>
    TailEnd = 37,
    /// <summary>Drop everything above the body's u64 sequence. Answered by Truncated with what is left.</summary>
    Truncate = 38,
    /// <summary>Body: <see cref="AppendAckBody"/>.</summary>
    Truncated = 39,
    /// <summary>The epoch (or a new in-sync version) is journaled: the replica stamps its header. Body: <see cref="StampBody"/>.</summary>
    Stamp = 40,
    /// <summary>The stamp is on media. Body: <see cref="StampBody"/> as stored.</summary>
    Stamped = 41,
    /// <summary>Replica to an owner that it had served: a higher epoch (Epoch) was promised. Sent before any later Pong on that connection.</summary>
    Deposed = 42,
    /// <summary>Body: <see cref="CatchUpBody"/>. The replica makes the state durable, then answers CatchUpAck with index 0.</summary>
    CatchUpBegin = 43,
    /// <summary>RequestId: index of this item, from 1. Body: record (flag Resync) as the owner's map has it now.</summary>
    CatchUpRecord = 44,
    /// <summary>RequestId: index. Body: session window as the store encodes it.</summary>
    CatchUpWindow = 45,
    /// <summary>RequestId: index. All was sent; the replica syncs and answers with this index.</summary>
    CatchUpEnd = 46,
    /// <summary>RequestId: highest index applied. Status; body: <see cref="AppendAckBody"/>.</summary>
    CatchUpAck = 47,
    /// <summary>The volume's tombstone was journaled (R22): the replica deletes its data.</summary>
    DeleteReplica = 48,
    DeletedReplica = 49,
    /// <summary>The owner stopped in order and answers no more reads in this epoch: its leases need not be waited for (R17).</summary>
    Release = 50,
    /// <summary>
    /// Repair: reads committed blocks of one copy, the volume's or those that a snapshot keeps, each by itself. RequestId is echoed. Body: <see cref="BlockRangeBody"/>, at most
    /// RecordBlocksMax.
    /// </summary>
    ReadReplica = 51,
    /// <summary>
    /// Status; Argument: bit i is set when block i of the range can't be read there or does not match its checksum. Body: ReadDescriptor × count, then the
    /// encoded blocks of the others.
    /// </summary>
    ReplicaBlocks = 52,
    /// <summary>
    /// Body: record (flag Resync) with good blocks, or a trim, that this copy lacks or has bad; its expected sequence is the snapshot that keeps them, 0: the volume itself. RequestId
    /// is echoed.
    /// </summary>
    RepairRecord = 53,
    /// <summary>Status; Argument: blocks that were written anew.</summary>
    RepairAck = 54,
    /// <summary>
    /// Scrub: a digest of the range as of the watermark that the frame carries, and which of its blocks are bad. RequestId is echoed. Body: <see
    /// cref="BlockRangeBody"/>; for more than RecordBlocksMax blocks only where the next data is.
    /// </summary>
    ScrubRange = 55,
    /// <summary>Status; Argument: bit i is set when block i is bad. Body: <see cref="ScrubReportBody"/>.</summary>
    ScrubReport = 56,
    /// <summary>How far the scrub is, for the replica's header. Body: <see cref="Wire.ScrubMark"/>. Not answered.</summary>
    ScrubMark = 57,
    /// <summary>Does the copy still follow this epoch? Asked after a read when the volume's label read-lease is off (R17). RequestId is echoed. No body.</summary>
    ConfirmEpoch = 58,
    /// <summary>Status Ok: it has promised no higher epoch. No body.</summary>
    EpochConfirmed = 59,
    /// <summary>
    /// RequestId: index. Body: cursor u64: all changes up to the join point of the blocks below it were sent. The replica keeps it with the watermark that
    /// this frame carries, if it has all up to there.
    /// </summary>
    CatchUpMark = 60,
    /// <summary>Body: sequence u64: every copy of the volume is in sync and has all up to it on media, so that nobody needs its older tombstones (R20).</summary>
    Passed = 61,
    /// <summary>RequestId: index. Body: <see cref="SnapshotsBody"/>: the snapshots that the owner's map has. Before the first record of a catch-up (R8, R19).</summary>
    CatchUpSnapshots = 62,

    // Between nodes.
    /// <summary>The sender serves the volume in Epoch from now on. Said to every node when it begins, and over each new link. No body.</summary>
    OwnerServes = 70,
    /// <summary>The sender does not serve the volume in Epoch any more. Argument: <see cref="OwnerEnding"/>. No body.</summary>
    OwnerEnded = 71,
}

/// <summary>Bits of <see cref="FrameHeader.Flags"/>.</summary>
[Flags]
public enum FrameFlags : byte
{
    None = 0,
    /// <summary>The body is a record, which carries its own checksums; the frame's body checksum is zero.</summary>
    SelfChecked = 1,
}
