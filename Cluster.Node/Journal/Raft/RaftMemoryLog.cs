using Cluster.Messages.Model;

namespace Cluster.Node.Journal.Raft;

/// <summary>The log as the machine sees it: a snapshot and the entries after it, and the members that each place in it gives.</summary>
internal sealed class RaftMemoryLog
{
    private readonly List<RaftEntry> _entries = [];
    private readonly List<RaftMembers> _members;              // ascending: the snapshot's or the formed ones, then one for each entry

    public RaftMemoryLog(RaftMembers formed, RaftSnapshot? snapshot, IReadOnlyList<RaftEntry> entries)
    {
        Snapshot = snapshot;
        _members = [snapshot?.Members ?? formed];
        foreach (var entry in entries) Append(entry);
    }

    /// <summary>The members in force: those of the last entry that changed them, committed or not.</summary>
    public RaftMembers Members => _members[^1];

    public RaftSnapshot? Snapshot { get; private set; }
    public long SnapshotIndex => Snapshot?.Index ?? 0;
    public long SnapshotTerm => Snapshot?.Term ?? 0;
    public long LastIndex => SnapshotIndex + _entries.Count;
    public long LastTerm => _entries.Count == 0 ? SnapshotTerm : _entries[^1].Term;
    public IReadOnlyList<RaftEntry> Entries => _entries;

    public RaftEntry this[long index] => _entries[(int)(index - SnapshotIndex - 1)];

    /// <summary>
    /// The term of the entry at <paramref name="index"/>, or -1 where this log has none (compacted away or not there yet).
    /// </summary>
    public long TermAt(long index)
    {
        if (index == SnapshotIndex) return SnapshotTerm;
        return index < SnapshotIndex || index > LastIndex ? -1 : this[index].Term;
    }

    public void Append(RaftEntry entry)
    {
        Invariant.That(entry.Index == LastIndex + 1, "log entries are dense");
        Invariant.That(entry.Term >= LastTerm, "terms never fall along the log");
        _entries.Add(entry);
        if (entry.Kind != RaftEntryKind.Members) return;
        var members = RaftMembers.Decode(entry.Data);
        Invariant.That(members.Index == entry.Index, "a list of members names the place that it has in the log");
        _members.Add(members);
    }

    /// <summary>The members as of the entry at <paramref name="index"/>, which the snapshot does not lie behind.</summary>
    public RaftMembers MembersAt(long index)
    {
        Invariant.That(index >= SnapshotIndex, "what a snapshot covers is told by the snapshot");
        var at = _members.Count - 1;
        while (at > 0 && _members[at].Index > index) at--;
        return _members[at];
    }

    public void TruncateFrom(long index)
    {
        Invariant.That(index > SnapshotIndex, "what a snapshot covers is never cut");
        var keep = (int)(index - SnapshotIndex - 1);
        if (keep < _entries.Count) _entries.RemoveRange(keep, _entries.Count - keep);
        while (_members.Count > 1 && _members[^1].Index >= index) _members.RemoveAt(_members.Count - 1);
    }

    /// <summary>Entries from <paramref name="from"/> on, at least one if there is one, then as many as fit.</summary>
    public IReadOnlyList<RaftEntry> Slice(long from, int bytesMax)
    {
        var slice = new List<RaftEntry>();
        long bytes = 0;
        for (var i = from; i <= LastIndex; i++)
        {
            bytes += this[i].Data.Length;
            if (slice.Count > 0 && bytes > bytesMax) break;
            slice.Add(this[i]);
        }
        return slice;
    }

    /// <summary>Drops the entries that the snapshot covers, and all of them if the log does not continue it.</summary>
    public void Install(RaftSnapshot snapshot)
    {
        Invariant.That(snapshot.Index > SnapshotIndex, "snapshots only move forward");
        var continues = TermAt(snapshot.Index) == snapshot.Term;
        if (continues) _entries.RemoveRange(0, (int)(snapshot.Index - SnapshotIndex));
        else _entries.Clear();
        _members.RemoveAll(m => !continues || m.Index <= snapshot.Index);
        _members.Insert(0, snapshot.Members);
        Snapshot = snapshot;
    }
}
