namespace Cluster.Messages.Model;

/// <summary>Bounds that both ends of a contract rely on. Units are in the names. Settings that an operator may tune live in hocon/.</summary>
public static class Limits
{
    /// <summary>Bytes of a block, the unit of the map, of encoding and of checksums.</summary>
    public const int BlockBytes = 4096;

    public const int BlockBytesLog2 = 12;

    /// <summary>Smallest unit of a front end's I/O (R15).</summary>
    public const int SectorBytes = 512;

    /// <summary>Blocks of data in one record: 256 KiB. Larger writes are split by the front end. TRIM and ZEROES may span more.</summary>
    public const int RecordBlocksMax = 64;

    /// <summary>Encoded bytes of one block at most: an incompressible block plus what encryption adds (16 B salt, 12 B nonce, 16 B tag, rounded).</summary>
    public const int EncodedBlockBytesMax = BlockBytes + 64;

    /// <summary>Bytes of a record at most: header, descriptors and payload.</summary>
    public const int RecordBytesMax = 128 + (RecordBlocksMax * (16 + EncodedBlockBytesMax));

    /// <summary>Bytes of a frame's body at most.</summary>
    public const int FrameBodyBytesMax = RecordBytesMax + 4096;

    /// <summary>Bodies up to this size are handed over as a span of the receive buffer; larger ones get a buffer of their own.</summary>
    public const int SmallBodyBytesMax = 512;

    /// <summary>Blocks in one TRIM or ZEROES record.</summary>
    public const uint RangeBlocksMax = uint.MaxValue;

    /// <summary>48-bit block index: 1 EiB.</summary>
    public const ulong BlockIndexMax = (1UL << 48) - 1;

    /// <summary>Largest volume, in bytes: 8 PiB is more than any pool in the field and leaves every product below 2^63.</summary>
    public const ulong VolumeBytesMax = 1UL << 53;

    /// <summary>Request ids of one session that may be unanswered at once, and so the size of the exactly-once window (R12).</summary>
    public const int SessionWindowRequestsMax = 1024;

    /// <summary>Sessions whose windows a volume keeps; the one idle for longest goes first, and never one that is live.</summary>
    public const int SessionsPerVolumeMax = 64;

    /// <summary>Un-committed records of a volume: the owner stops sequencing at either bound and holds.</summary>
    public const int PendingRecordsMax = 2048;

    public const long PendingBytesMax = 64L << 20;

    /// <summary>Credit that a replica grants a volume's owner at most (R21): more than a fast volume has on its way.</summary>
    public const long CreditBytesMax = 16L << 20;

    /// <summary>What a data record takes of the credit: its bytes, and what the log puts around them.</summary>
    public static long CreditOf(int recordBytes) => recordBytes + 128L;

    /// <summary>Bytes and requests one front-end session may have outstanding at the owner.</summary>
    public const long SessionBytesMax = 32L << 20;

    /// <summary>Bytes of answered writes, not known to be on media, that one session keeps (R13); at half of it a flush is forced, at the bound writes wait for that.</summary>
    public const long KeptBytesMax = 32L << 20;

    /// <summary>The same, in records.</summary>
    public const int KeptRecordsMax = 8192;

    /// <summary>The same for all sessions of a process together; a session that gets no share can't present. Less than the mesh queues towards one peer.</summary>
    public const long KeptBytesOfProcessMax = 128L << 20;

    /// <summary>What an owner takes in that is presented to it: what two sessions keep.</summary>
    public const long PresentedBytesMax = 2 * (KeptBytesMax + SessionBytesMax);

    /// <summary>An owner whose copies all lost their power waits this long for sessions to present what they keep, before it takes new I/O (R13)...</summary>
    public const int PresentMs = 2000;

    /// <summary>...and as long as something arrives, in pauses of at most this...</summary>
    public const int PresentPauseMs = 500;

    /// <summary>...but no longer than this.</summary>
    public const int PresentMsMax = 10_000;

    /// <summary>Copies of a volume.</summary>
    public const int ReplicasMax = 5;

    /// <summary>Clones of clones, one on the other: each is looked into for a block that none above has.</summary>
    public const int CloneDepthMax = 16;

    /// <summary>Snapshots of a volume. Each marker names all of them, so this bounds its size: 16 KiB.</summary>
    public const int SnapshotsMax = 2048;

    /// <summary>A volume whose snapshot is one of a group holds its writes for the markers of the others, no longer than this.</summary>
    public const int GroupHoldMs = 3000;

    /// <summary>Volumes of one group snapshot.</summary>
    public const int GroupVolumesMax = 64;

    /// <summary>Group snapshots of a cluster; less than the keys that one read of the journal tells.</summary>
    public const int SnapshotGroupsMax = 2048;

    public const int NameLengthMax = 63;
    public const int LabelsMax = 64;
    public const int LabelLengthMax = 253;

    /// <summary>A lease lives this long, counted from when the renewal was sent (R17).</summary>
    public const int LeaseMs = 1000;

    /// <summary>How far two clocks may drift apart, in parts per hundred (R17): a grantor waits this much longer.</summary>
    public const int ClockDriftPercent = 1;

    /// <summary>Mesh heartbeats: one per this interval and peer; each renews the lease.</summary>
    public const int HeartbeatMs = 250;

    /// <summary>A mesh connection that is silent for this long is closed.</summary>
    public const int MeshSilenceMs = 3000;

    /// <summary>
    /// One to a node that somebody waits for in vain is closed after this already, where the others that are heard do not hear it either: four heartbeats, and by then the node's lease has run out.
    /// </summary>
    public const int DoubtedSilenceMs = 1100;

    /// <summary>An in-sync replica that does not acknowledge for this long is journaled out (R7).</summary>
    public const int ReplicaAckMs = 3000;

    /// <summary>How long a takeover waits for in-sync members that are connected but silent, once enough have promised.</summary>
    public const int PromiseGraceMs = 1500;

    /// <summary>How long held I/O waits before it fails, unless the volume's label says otherwise (P5).</summary>
    public const int HoldMsDefault = 300_000;

    /// <summary>Bytes of resync data sent to one returning replica and not yet acknowledged.</summary>
    public const long CatchUpWindowBytes = 8L << 20;
}
