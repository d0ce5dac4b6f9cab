using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.Group;

/// <summary>
/// The newest committed members of the Raft group that this node has heard of, on disk: by it a node finds the group after a
/// restart, though everyone that it was formed with is gone. Committed lists have one order, so that the one with the higher index
/// is the newer. Thread-safe.
/// </summary>
internal sealed class MembersBook
{
    private readonly FormationFile _file;
    private readonly Lock _gate = new();
    private volatile GroupState _state;

    /// <summary>Opens the book of a node that belongs to the cluster of <paramref name="record"/>.</summary>
    public MembersBook(FormationFile file, FormationRecord record, bool hasLog)
    {
        _file = file;
        Formed = RaftMembers.Formed(record.Members);
        // A file of version 1 has no group in it: members never changed then, and a log was that of the node's number at the formation.
        var number = Formed.Find(file.NodeId)?.Number ?? GroupState.NoLog;
        _state = file.Group ?? new GroupState(hasLog ? number : GroupState.NoLog, Formed);
    }

    /// <summary>Raised after <see cref="Newest"/> changed; handlers must not block.</summary>
    public event Action? Changed;

    /// <summary>The members that the cluster was formed with.</summary>
    public RaftMembers Formed { get; }

    public RaftMembers Newest => _state.Members;

    /// <summary>The server whose Raft log is, or was, in this node's directory; -1 for none.</summary>
    public int LogOf => _state.LogOf;

    /// <summary>Takes a list that is known to be committed, durably, if it is newer.</summary>
    public void Offer(RaftMembers committed)
    {
        lock (_gate)
        {
            if (committed.Index <= _state.Members.Index) return;
            Save(_state with { Members = committed });
        }
        Changed?.Invoke();
    }

    /// <summary>Notes durably that this directory holds the log of the server with this number.</summary>
    public void NoteLog(int number)
    {
        lock (_gate)
        {
            if (_state.LogOf != number) Save(_state with { LogOf = number });
        }
    }

    private void Save(GroupState state)
    {
        _file.Save(state);
        _state = state;
    }
}
