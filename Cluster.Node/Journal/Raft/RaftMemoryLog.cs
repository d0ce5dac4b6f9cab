using Cluster.Messages.Model;

namespace Cluster.Node.Journal.Raft;

/// <summary>The log as the machine sees it: a snapshot and the entries after it.</summary>
internal sealed class RaftMemoryLog
{
    private readonly List<RaftEntry> _entries = [];

    public RaftMemoryLog(RaftSnapshot? snapshot, IReadOnlyList<RaftEntry> entries)
    {
        Snapshot = snapshot;
        foreach (var entry in entries) Append(entry);
    }

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
    }

    public void TruncateFrom(long index)
    {
        Invariant.That(index > SnapshotIndex, "what a snapshot covers is never cut");
        var keep = (int)(index - SnapshotIndex - 1);
        if (keep < _entries.Count) _entries.RemoveRange(keep, _entries.Count - keep);
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
        if (TermAt(snapshot.Index) == snapshot.Term) _entries.RemoveRange(0, (int)(snapshot.Index - SnapshotIndex));
        else _entries.Clear();
        Snapshot = snapshot;
    }
}
