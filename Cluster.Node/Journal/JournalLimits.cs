namespace Cluster.Node.Journal;

/// <summary>
/// Bounds of the metadata journal. Units are in the names. What an operator may tune is in <see cref="JournalOptions"/>.
/// </summary>
public static class JournalLimits
{
    /// <summary>
    /// One encoded command: an event batch, a snapshot or a key's value. Larger ones are refused before they are proposed.
    /// </summary>
    public const int CommandBytesMax = 4 << 20;

    /// <summary>Events in one append.</summary>
    public const int EventsPerAppendMax = 4096;

    /// <summary>Persistence ids, keys, manifests and names.</summary>
    public const int TextBytesMax = 1024;

    /// <summary>Everything the replicated state holds. At this bound appends are answered Full; deletes always pass.</summary>
    public const long StateBytesMax = 256L << 20;

    /// <summary>Snapshots kept for one persistence id; the oldest goes first.</summary>
    public const int SnapshotsPerIdMax = 4;

    /// <summary>Recent proposals whose answers are kept, so that a retry is answered and not applied again.</summary>
    public const int ProposalWindowMax = 8192;

    /// <summary>The log is rewritten behind a snapshot once its entries pass this many bytes and twice the snapshot's size.</summary>
    public const long LogBytesBeforeCompaction = 8L << 20;

    /// <summary>
    /// Room on the disk that the log keeps for entries to come: those before the next compaction, and as many again while a full disk
    /// prevents it.
    /// </summary>
    public const long LogReserveBytes = 2 * LogBytesBeforeCompaction;

    /// <summary>Entries that are added before a compaction that found the disk full is tried again.</summary>
    public const long LogBytesBeforeRetry = 1L << 20;

    /// <summary>A frame on the journal port: the largest is a whole snapshot.</summary>
    public const int FrameBytesMax = 320 << 20;

    /// <summary>A frame from somebody who has not finished the handshake.</summary>
    public const int HandshakeBytesMax = 64 << 10;

    /// <summary>Entries of one append message stop at this size; at least one always goes.</summary>
    public const int AppendBytesMax = 1 << 20;

    /// <summary>Append messages to one peer that may be unanswered.</summary>
    public const int AppendsInFlightMax = 16;

    /// <summary>Proposals waiting for their commit at the leader; more are answered Busy.</summary>
    public const int ProposalsPendingMax = 4096;

    /// <summary>Reads waiting for their barrier at the leader; more are answered Busy.</summary>
    public const int ReadsPendingMax = 4096;

    /// <summary>Inputs queued for the Raft loop; a socket's reader waits at this bound, so TCP pushes back.</summary>
    public const int LoopQueueMax = 16384;

    /// <summary>Frames queued for one connection; beyond it a Raft message is dropped (Raft repeats it), a client waits.</summary>
    public const int ConnectionQueueMax = 1024;

    /// <summary>Connections accepted at once on the journal port.</summary>
    public const int ConnectionsMax = 512;

    /// <summary>Requests of one forwarding connection that may be unanswered.</summary>
    public const int RequestsPerConnectionMax = 1024;

    /// <summary>Encoded events in one page of a replay.</summary>
    public const int ReadPageBytesMax = 1 << 20;

    /// <summary>Keys in one answer to a prefix read.</summary>
    public const int KeysPerReadMax = 4096;

    /// <summary>Voters at rest: three, five from five nodes on.</summary>
    public const int MembersMax = 5;

    /// <summary>Servers of the Raft group while it changes: voters, one more that replaces one of them, and learners.</summary>
    public const int GroupMax = 9;

    /// <summary>Nodes that a leader looks at in one round when it needs more members.</summary>
    public const int CandidatesMax = 32;

    /// <summary>Nodes that one formation may wait for, and addresses that hellos may teach.</summary>
    public const int KnownNodesMax = 1024;
}
