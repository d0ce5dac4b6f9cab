namespace Cluster.Node.Store;

/// <summary>
/// What a layer holds in all, and of that, by the oldest snapshot that sees it (the one that it began with, BlockMap.Seen.cs): so what no other snapshot sees is known without a look at a page. Never more sums than
/// versions.
/// </summary>
public sealed partial class SnapshotLayer
{
    /// <summary>Ascending by the snapshot.</summary>
    private readonly List<BegunSum> _sums = [];

    /// <summary>A snapshot came between versions: which of them began with it is looked up when somebody asks.</summary>
    private bool _areSumsOld;

    /// <param name="Snapshot">The oldest that sees them.</param>
    /// <param name="Blocks">Without masks, and without what only names the bytes of a clone's base.</param>
    private readonly record struct BegunSum(ulong Snapshot, long Bytes, long Blocks, long Versions);

    /// <summary>Of what is kept here, what snapshots up to this one do not see.</summary>
    public (long Bytes, long Blocks) NotSeenBy(ulong older)
    {
        if (_areSumsOld) AddUp();
        var (bytes, blocks) = (0L, 0L);
        for (var at = _sums.Count - 1; at >= 0 && _sums[at].Snapshot > older; at--) (bytes, blocks) = (bytes + _sums[at].Bytes, blocks + _sums[at].Blocks);
        return (bytes, blocks);
    }

    /// <summary>A snapshot is gone: what began with it begins with the next newer one.</summary>
    internal void EndBegun(ulong gone, ulong next)
    {
        var at = FindSum(gone);
        if (at < 0) return;
        var sum = _sums[at];
        _sums.RemoveAt(at);
        AddSum(next, sum.Bytes, sum.Blocks, sum.Versions);
    }

    /// <summary>A snapshot came, and this is the next newer one.</summary>
    internal void SplitBegun(ulong next) => _areSumsOld |= FindSum(next) >= 0;

    private void NoteSum(in MapEntry entry, int by)
    {
        var bytes = by * (long)BlockMap.BytesOf(in entry);
        Blocks += by;
        StoredBytes += bytes;
        if (entry.IsLost) LostEntries += by;
        // Of sums that are old something may be taken that is in another one.
        AddSum(map.BegunWith(entry.Sequence), bytes, entry.Segment is MapEntry.MaskSegment or MapEntry.BaseSegment ? 0 : by, by);
    }

    private void AddSum(ulong snapshot, long bytes, long blocks, long versions)
    {
        var at = FindSum(snapshot);
        if (at < 0) _sums.Insert(~at, new BegunSum(snapshot, bytes, blocks, versions));
        else if (_sums[at].Versions + versions == 0 && !_areSumsOld) _sums.RemoveAt(at);
        else _sums[at] = new BegunSum(snapshot, _sums[at].Bytes + bytes, _sums[at].Blocks + blocks, _sums[at].Versions + versions);
    }

    private int FindSum(ulong snapshot)
    {
        // What changes began lately, mostly.
        if (_sums.Count == 0 || _sums[^1].Snapshot < snapshot) return ~_sums.Count;
        var (low, high) = (0, _sums.Count - 1);
        while (low <= high)
        {
            var middle = (low + high) >>> 1;
            if (_sums[middle].Snapshot == snapshot) return middle;
            if (_sums[middle].Snapshot < snapshot) low = middle + 1;
            else high = middle - 1;
        }
        return ~low;
    }

    private void AddUp()
    {
        _sums.Clear();
        _areSumsOld = false;
        for (var index = 0; index < _pages.Count; index++)
        {
            map.Yield();
            var page = Reach(index);
            for (var at = 0; at < page.Mapped; at++)
            {
                ref readonly var entry = ref page.Entries[at];
                AddSum(map.BegunWith(entry.Sequence), BlockMap.BytesOf(in entry), entry.Segment is MapEntry.MaskSegment or MapEntry.BaseSegment ? 0 : 1, 1);
            }
        }
    }
}
