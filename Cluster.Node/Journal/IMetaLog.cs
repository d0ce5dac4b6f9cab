using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal;

/// <summary>What this node is to the journal.</summary>
public enum MetaLogRole : byte
{
    /// <summary>Not a control member, or none yet: everything is forwarded.</summary>
    Client = 0,
    Follower = 1,
    Leader = 2,

    /// <summary>A control member that has no vote yet: it gets the log.</summary>
    Learner = 3,
}

/// <summary>The journal as this node sees it. LeaderName is null while no leader is known.</summary>
public sealed record MetaLogStatus(MetaLogRole Role, long Term, string? LeaderName, long CommitIndex, RaftMembers Members)
{
    /// <summary>Of the entries in this member's log; 0 on a node that is none.</summary>
    public long LogBytes { get; init; }

    /// <summary>So long no leader has been known; zero while one is.</summary>
    public TimeSpan LeaderUnknownFor { get; init; }
}

/// <summary>No leader answered within <see cref="JournalOptions.OperationTimeoutMs"/>. A proposal's outcome is then unknown.</summary>
public sealed class MetaLogUnavailableException(string message) : Exception(message);

/// <summary>
/// The replicated metadata log, reached from any node: at the leader directly, from everywhere else over the journal port. Every
/// read is
/// linearizable: it sees all that was committed before it was asked. Thread-safe. Operations throw
/// <see cref="MetaLogUnavailableException"/> when no leader is to be had in time, and never report a failure for what was committed.
/// </summary>
public interface IMetaLog : IAsyncDisposable
{
    MetaLogStatus Status { get; }

    /// <summary>Raised after role, term or leader changed; handlers must not block.</summary>
    event Action<MetaLogStatus>? LeaderChanged;

    /// <summary>Replicates one command; completes when it is committed and applied, with the state machine's answer.</summary>
    Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct);

    /// <summary>
    /// Completes once a leader was confirmed by a quorum: every read asked after it sees all that was committed before it.
    /// </summary>
    Task ReadBarrierAsync(CancellationToken ct);

    /// <summary>Events numbered in [from, to], in order, at most <paramref name="max"/>.</summary>
    IAsyncEnumerable<MetaEvent> ReadEventsAsync(string persistenceId, long from, long to, long max, CancellationToken ct);

    /// <summary>0 for a persistence id that was never written. Survives the deletion of events.</summary>
    Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct);

    /// <summary>The newest snapshot in the range, or null.</summary>
    Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct);

    /// <summary>The key's value, or null.</summary>
    Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct);

    /// <summary>
    /// Keys that start with <paramref name="prefix"/>, in ordinal order, at most <see cref="JournalLimits.KeysPerReadMax"/>.
    /// </summary>
    Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct);

    /// <summary>The control members as the leader knows them.</summary>
    Task<GroupView> ReadMembersAsync(CancellationToken ct);
}
