using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Journal.State;

namespace Cluster.Tests.Integration.Journal;

/// <summary>The journal's state machine, without a group.</summary>
internal sealed class StateLog : IMetaLog
{
    public MetaState State { get; } = new();

    /// <summary>What was to be written to the log, in its order.</summary>
    public ConcurrentQueue<MetaCommand> Proposals { get; } = new();

    public Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct)
    {
        Proposals.Enqueue(command);
        return Task.FromResult(State.Apply(command));
    }

    public Task ReadBarrierAsync(CancellationToken ct) => Task.CompletedTask;

    public async IAsyncEnumerable<MetaEvent> ReadEventsAsync(string persistenceId, long from, long to, long max, [EnumeratorCancellation] CancellationToken ct)
    {
        await Task.CompletedTask;
        if (Status.LeaderName is null) throw new MetaLogUnavailableException("no leader of the journal answered");
        foreach (var e in State.Events(persistenceId, from, to, max, long.MaxValue)) yield return e;
    }

    public Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct) => Task.FromResult(State.HighestSequenceNr(persistenceId));

    public Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct) => Task.FromResult(State.Snapshot(persistenceId, range));

    public Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct) => Task.FromResult(State.Key(key));

    public Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct) => Task.FromResult(State.Keys(prefix));

    public Task<GroupView> ReadMembersAsync(CancellationToken ct) => throw new NotSupportedException();

    public MetaLogStatus Status { get; set; } = new(MetaLogRole.Client, 1, "node-0", 0, RaftMembers.Formed([]));

    public event Action<MetaLogStatus>? LeaderChanged
    {
        add => throw new NotSupportedException();
        remove => throw new NotSupportedException();
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
