namespace Cluster.Node.Journal.Raft;

/// <summary>What an entry is to the state machine. Frozen: add, never renumber.</summary>
public enum RaftEntryKind : byte
{
    Unset = 0,

    /// <summary>A new leader's first entry: once it is committed, so is all before it.</summary>
    NoOp = 1,
    Command = 2,

    /// <summary>The group's members from here on: <see cref="RaftMembers"/>.</summary>
    Members = 3,
}

/// <summary>One entry of the log. Indexes are dense and start at 1.</summary>
public sealed record RaftEntry(long Index, long Term, RaftEntryKind Kind, byte[] Data);

/// <summary>
/// The state machine's image, and the group's members, after the entry at <paramref name="Index"/>; the log before it may be gone.
/// </summary>
public sealed record RaftSnapshot(long Index, long Term, RaftMembers Members, byte[] Image);

/// <summary>
/// The current term and who got this member's vote in it (<see cref="NoVote"/>: nobody). Durable before it is acted on.
/// </summary>
public readonly record struct RaftVote(long Term, int VotedFor)
{
    public const int NoVote = -1;

    public static readonly RaftVote None = new(0, NoVote);
}

/// <summary>
/// What a member finds on its disk when it starts: entries follow the snapshot without a gap. Formed: the members that the cluster was
/// formed with, the same at every member; they hold until the snapshot or an entry says otherwise.
/// </summary>
public sealed record RaftDurable(RaftVote Vote, RaftMembers Formed, RaftSnapshot? Snapshot, IReadOnlyList<RaftEntry> Entries)
{
    public static RaftDurable Empty(RaftMembers formed) => new(RaftVote.None, formed, null, []);
}

public enum RaftRole : byte
{
    Follower = 0,

    /// <summary>Asks whether it could win, without raising the term: a cut-off member disturbs nobody when it comes back.</summary>
    PreCandidate = 1,
    Candidate = 2,
    Leader = 3,
}

/// <summary>A member's settings: its number in the group, and times in milliseconds.</summary>
public sealed record RaftSettings(int Self)
{
    public int HeartbeatMs { get; init; } = 100;
    public int ElectionMinMs { get; init; } = 400;
    public int ElectionMaxMs { get; init; } = 800;
    public int EarlyElectionMaxMs { get; init; } = 120;
    public int SnapshotRetryMs { get; init; } = 2000;
    public int AppendBytesMax { get; init; } = JournalLimits.AppendBytesMax;
    public int AppendsInFlightMax { get; init; } = JournalLimits.AppendsInFlightMax;
}

/// <summary>How a change of the members was taken.</summary>
public enum MembersChange : byte
{
    Unset = 0,

    /// <summary>It is in the leader's log, and in force there; it counts once it is committed.</summary>
    Appended = 1,
    NotLeader = 2,

    /// <summary>No entry of the leader's own term is committed yet: it can't know whether an earlier change is under way.</summary>
    TermNotCommitted = 3,

    /// <summary>An earlier change is not committed yet, or the members are not those that the change was made for.</summary>
    NotNow = 4,

    /// <summary>It differs by more than one server, or takes the leader out.</summary>
    NotOneStep = 5,
}

/// <summary>
/// How far another member is, as the leader sees it. CaughtUp: it got all that the log held within an election's time-out, so that as a
/// voter it would hold nobody up.
/// </summary>
public readonly record struct RaftProgress(int Number, long MatchIndex, long SilentMs, bool CaughtUp);

/// <summary>
/// What the shell has to do, in this order: write vote, snapshot and entries; send AtOnce; sync; send AfterSync; apply; answer
/// reads.
/// </summary>
public sealed class RaftReady
{
    public RaftVote? Vote { get; init; }
    public RaftSnapshot? Snapshot { get; init; }
    public required IReadOnlyList<RaftEntry> Append { get; init; }
    public required IReadOnlyList<RaftMessage> SendAtOnce { get; init; }
    public required IReadOnlyList<RaftMessage> SendAfterSync { get; init; }
    public required IReadOnlyList<RaftEntry> Committed { get; init; }
    public required IReadOnlyList<long> ReadsConfirmed { get; init; }
    public required IReadOnlyList<long> ReadsFailed { get; init; }

    public bool MustSync => Vote is not null || Snapshot is not null || Append.Count > 0;
}
