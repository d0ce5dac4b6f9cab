using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// What a snapshot keeps of blocks that were overwritten, trimmed or restored after it: the versions that it is the newest to see. Older snapshots see them too, from
/// the one on that is not older than the version (R19). They lie in pages of the map cache, which come and go in memory (<see cref="LayerPage"/>). Loop only.
/// </summary>
public sealed partial class SnapshotLayer(BlockMap map, ulong sequence, SegmentTable segments, MapCache? cache)
{
    /// <summary>Of the marker that made the snapshot: it sees what was written below.</summary>
    public ulong Sequence => sequence;

    /// <summary>
    /// The volume's trims between the next older snapshot and this one, as far as a copy that was away may have to be told of them (R20): one that a newer trim hides from the
    /// volume's own list can still be the one that this snapshot sees.
    /// </summary>
    public RangeTombstones Tombstones { get; } = new();

    /// <summary>The volume has no such snapshot any more; a clone stands on it, or it is leaving.</summary>
    public bool IsHidden { get; set; }

    /// <summary>Nobody needs it any more: what it keeps is being handed down, and then it is gone.</summary>
    public bool IsLeaving { get; set; }

    public long StoredBytes { get; private set; }

    public long Blocks { get; private set; }

    /// <summary>Versions in segments that were used anew; only while a store is opened.</summary>
    public long LostEntries { get; private set; }

    /// <summary>Frames of a checkpoint that its versions take, at most.</summary>
    public long Frames { get; private set; }

    /// <summary>Of the versions from after the next older snapshot and from before this one, wherever they are kept by now (BlockMap.Seen.cs).</summary>
    public long BegunBytes { get; internal set; }

    public bool TryGet(ulong block, out MapEntry entry)
    {
        entry = default;
        var index = IndexOf(block);
        if (index < 0 || !_pages[index].MayHave(block)) return false;
        var page = Reach(index);
        var at = page.Find(block);
        if (at < 0) return false;
        entry = page.Entries[at];
        entry.Key = 0;
        return true;
    }

    /// <summary>The first block from one on of which a version is kept here; MaxValue: none.</summary>
    public ulong NextBlock(ulong from)
    {
        var index = IndexOf(from);
        if (index >= 0 && from <= _pages[index].Last)
        {
            if (from == _firsts[index] || _pages[index].IsGapless) return from;
            var page = Reach(index);
            if (page.FindFrom(from) is var at && at < page.Mapped) return page.BlockAt(at);
        }
        return index + 1 < _firsts.Count ? _firsts[index + 1] : ulong.MaxValue;
    }

    /// <summary>The next group of 512 neighbouring blocks, from that number on, of which something is kept here; MaxValue: none.</summary>
    public ulong NextPage(ulong from) =>
        from <= Limits.BlockIndexMax >> MapPage.BlocksLog2 && NextBlock(from << MapPage.BlocksLog2) is < ulong.MaxValue and var block ? block >> MapPage.BlocksLog2 : ulong.MaxValue;

    /// <summary>All of those numbers, ascending. Between two of them pages may leave memory; the layer stays as it is meanwhile.</summary>
    public IEnumerable<ulong> PageNumbers()
    {
        for (var number = NextPage(0); number != ulong.MaxValue; number = NextPage(number + 1))
        {
            yield return number;
            map.Yield();
        }
    }

    /// <summary>The first block from one on that is kept here with bytes, at most the end. After a look at so many pages, or once so many were read back in all, it answers how far it looked.</summary>
    public ulong NextData(ulong from, ulong end, int pagesMax, long loadsUpTo = long.MaxValue)
    {
        for (var index = Math.Max(IndexOf(from), 0); index < _pages.Count && _firsts[index] < end; index++)
        {
            var known = _pages[index];
            // What only names bytes of a clone's base counts none.
            if (known.Last < from || (known.StoredBytes == 0 && map.Base is null) || !MayHaveAny(known, from, end)) continue;
            var first = Math.Max(known.First, from);
            if (pagesMax-- == 0 || (cache is not null && cache.LoadsInPlace >= loadsUpTo)) return first;
            var page = Reach(index);
            for (var at = page.FindFrom(first); at < page.Mapped; at++)
            {
                if (page.Entries[at].LengthBytes > 0) return Math.Min(page.BlockAt(at), end);
            }
        }
        return end;
    }

    public void Add(ulong block, in MapEntry entry)
    {
        Insert(block, in entry);
        NoteSum(in entry, 1);
        segments.AddLive(in entry);
    }

    public void Remove(ulong block)
    {
        var index = IndexOf(block);
        Invariant.That(index >= 0, "a version was removed from a snapshot that does not have it");
        var page = Writable(index);
        var at = page.Find(block);
        Invariant.That(at >= 0, "a version was removed from a snapshot that does not have it");
        segments.RemoveLive(in page.Entries[at]);
        NoteSum(in page.Entries[at], -1);
        RemoveAt(index, page, at);
    }

    /// <summary>The block's bytes lie elsewhere now.</summary>
    public void Replace(ulong block, in MapEntry entry)
    {
        var page = Writable(IndexOf(block));
        var at = page.Find(block);
        Invariant.That(at >= 0, "a version was moved that a snapshot does not have");
        ref var slot = ref page.Entries[at];
        Invariant.That(slot.LengthBytes == entry.LengthBytes, "a version became longer or shorter by being moved");
        segments.RemoveLive(in slot);
        NoteSum(in slot, -1);
        slot = entry;
        slot.Key = LayerPage.KeyOf(block);
        page.SequenceMax = Math.Max(page.SequenceMax, entry.Sequence);
        NoteSum(in entry, 1);
        segments.AddLive(in entry);
    }

    /// <summary>As read from a checkpoint, ascending. False: this block comes too late.</summary>
    public bool TryLoad(ulong block, in MapEntry entry)
    {
        if (_pages.Count > 0 && block <= _pages[^1].Last) return false;
        Add(block, in entry);
        return true;
    }

    /// <summary>
    /// The last of its versions, so many at most, go to the next older snapshot where that sees them. Answers how many went; fewer than there are if more pages were read back for it than that.
    /// </summary>
    public int HandDown(SnapshotLayer? older, int blocksMax, long loadsUpTo)
    {
        var index = _pages.Count - 1;
        if (!_pages[index].IsResident) AdviseAt(index - PagesAhead);
        var page = Reach(index);
        var left = page.Mapped;
        for (var done = 0; left > 0 && done < blocksMax; done++)
        {
            if (done > 0 && cache is not null && cache.LoadsInPlace >= loadsUpTo) break;
            ref readonly var entry = ref page.Entries[--left];
            if (entry.Sequence <= older?.Sequence) older.Add(page.BlockAt(left), in entry);
            else map.NoteBegun(entry.Sequence, -BlockMap.BytesOf(in entry));
            segments.RemoveLive(in entry);
            NoteSum(in entry, -1);
            page.StoredBytes -= BlockMap.BytesOf(in entry);
        }
        var gone = page.Mapped - left;
        Cut(index, page, left);
        return Math.Max(gone, 1);
    }

    public void ReleaseAll()
    {
        foreach (var page in _pages) map.ReleasePage(page);
        _pages.Clear();
        _firsts.Clear();
        _sums.Clear();
        (StoredBytes, Blocks, LostEntries, Frames) = (0, 0, 0, 0);
    }
}
