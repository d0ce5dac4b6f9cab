using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// Some of 512 neighbouring blocks, as one snapshot alone keeps them: sorted by index, so that a block costs what it is, not a page. Frozen while a checkpoint is being
/// written from it, like a <see cref="MapPage"/>.
/// </summary>
public sealed class SparsePage
{
    private const int FirstRoom = 4;

    private ushort[] _indexes;
    private MapEntry[] _entries;

    public SparsePage() => (_indexes, _entries) = (new ushort[FirstRoom], new MapEntry[FirstRoom]);

    private SparsePage(SparsePage from) => (_indexes, _entries, Count) = ((ushort[])from._indexes.Clone(), (MapEntry[])from._entries.Clone(), from.Count);

    public int Count { get; private set; }

    /// <summary>See <see cref="MapPage.Snapshot"/>.</summary>
    public long Snapshot { get; set; }

    /// <summary>Of the blocks in it, ascending.</summary>
    public ReadOnlySpan<ushort> Indexes => _indexes.AsSpan(0, Count);

    public ref MapEntry this[int at] => ref _entries[at];

    public SparsePage Copy() => new(this);

    /// <summary>Where the block's entry is, or the complement of where it would be.</summary>
    public int Find(int index) => Array.BinarySearch(_indexes, 0, Count, (ushort)index);

    public void Insert(int at, int index, in MapEntry entry)
    {
        if (Count == _indexes.Length)
        {
            Array.Resize(ref _indexes, Math.Min(2 * Count, MapPage.Blocks));
            Array.Resize(ref _entries, Math.Min(2 * Count, MapPage.Blocks));
        }
        Array.Copy(_indexes, at, _indexes, at + 1, Count - at);
        Array.Copy(_entries, at, _entries, at + 1, Count - at);
        (_indexes[at], _entries[at]) = ((ushort)index, entry);
        Count++;
    }

    public void RemoveAt(int at)
    {
        Count--;
        Array.Copy(_indexes, at + 1, _indexes, at, Count - at);
        Array.Copy(_entries, at + 1, _entries, at, Count - at);
    }
}

/// <summary>
/// What a snapshot keeps of blocks that were overwritten, trimmed or restored after it: the versions that it is the newest to see. Older snapshots see them too, from
/// the one on that is not older than the version (R19). Loop only.
/// </summary>
public sealed class SnapshotLayer(ulong sequence, SegmentTable segments)
{
    private readonly Dictionary<ulong, SparsePage> _pages = [];
    private ulong[]? _sorted;

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

    /// <summary>Of the versions from after the next older snapshot and from before this one, wherever they are kept by now (BlockMap.Seen.cs).</summary>
    public long BegunBytes { get; internal set; }

    public int PageCount => _pages.Count;

    public bool TryGet(ulong block, out MapEntry entry)
    {
        entry = default;
        if (!_pages.TryGetValue(block >> MapPage.BlocksLog2, out var page)) return false;
        var at = page.Find((int)(block & (MapPage.Blocks - 1)));
        if (at >= 0) entry = page[at];
        return at >= 0;
    }

    /// <summary>The first block from one on that is kept here with bytes, at most the end. After a look at so many pages it answers how far it looked.</summary>
    public ulong NextData(ulong from, ulong end, int pagesMax)
    {
        var numbers = PageNumbers();
        var index = numbers.BinarySearch(from >> MapPage.BlocksLog2);
        for (index = index < 0 ? ~index : index; index < numbers.Length; index++)
        {
            var first = numbers[index] << MapPage.BlocksLog2;
            if (first >= end) return end;
            if (pagesMax-- == 0) return Math.Max(first, from);
            var page = _pages[numbers[index]];
            var at = page.Find((int)(Math.Max(from, first) - first));
            for (at = at < 0 ? ~at : at; at < page.Count; at++)
            {
                if (page[at].LengthBytes > 0) return Math.Min(first + page.Indexes[at], end);
            }
        }
        return end;
    }

    public void Add(ulong block, in MapEntry entry)
    {
        var page = Writable(block >> MapPage.BlocksLog2);
        var index = (int)(block & (MapPage.Blocks - 1));
        var at = page.Find(index);
        Invariant.That(at < 0, "a snapshot was given two versions of a block");
        page.Insert(~at, index, in entry);
        Blocks++;
        StoredBytes += BlockMap.BytesOf(in entry);
        segments.AddLive(in entry);
    }

    public void Remove(ulong block)
    {
        var page = Writable(block >> MapPage.BlocksLog2);
        var at = page.Find((int)(block & (MapPage.Blocks - 1)));
        Invariant.That(at >= 0, "a version was removed from a snapshot that does not have it");
        segments.RemoveLive(in page[at]);
        Blocks--;
        StoredBytes -= BlockMap.BytesOf(in page[at]);
        page.RemoveAt(at);
        if (page.Count > 0) return;
        _pages.Remove(block >> MapPage.BlocksLog2);
        _sorted = null;
    }

    /// <summary>The block's bytes lie elsewhere now.</summary>
    public void Replace(ulong block, in MapEntry entry)
    {
        Remove(block);
        Add(block, in entry);
    }

    /// <summary>Ascending; good until the next change.</summary>
    public ReadOnlySpan<ulong> PageNumbers()
    {
        if (_sorted is null)
        {
            _sorted = [.. _pages.Keys];
            Array.Sort(_sorted);
        }
        return _sorted;
    }

    public SparsePage? Page(ulong number) => _pages.GetValueOrDefault(number);

    /// <summary>As read from a checkpoint. False: it is there already.</summary>
    public bool TryLoad(ulong number, SparsePage page)
    {
        if (!_pages.TryAdd(number, page)) return false;
        _sorted = null;
        page.Snapshot = segments.Snapshot;
        for (var at = 0; at < page.Count; at++)
        {
            segments.AddLive(in page[at]);
            StoredBytes += BlockMap.BytesOf(in page[at]);
        }
        Blocks += page.Count;
        return true;
    }

    public long CountLost()
    {
        var count = 0L;
        foreach (var page in _pages.Values)
        {
            for (var at = 0; at < page.Count; at++)
            {
                if (page[at].IsLost) count++;
            }
        }
        return count;
    }

    /// <summary>The page goes, and what it keeps is given back.</summary>
    public void Release(ulong number)
    {
        Invariant.That(_pages.Remove(number, out var page), "a page was released that a snapshot does not have");
        for (var at = 0; at < page!.Count; at++)
        {
            segments.RemoveLive(in page[at]);
            StoredBytes -= BlockMap.BytesOf(in page[at]);
        }
        Blocks -= page.Count;
        _sorted = null;
    }

    public void ReleaseAll()
    {
        foreach (var page in _pages.Values)
        {
            for (var at = 0; at < page.Count; at++) segments.RemoveLive(in page[at]);
        }
        _pages.Clear();
        (_sorted, StoredBytes, Blocks) = (null, 0, 0);
    }

    private SparsePage Writable(ulong number)
    {
        if (!_pages.TryGetValue(number, out var page))
        {
            _pages.Add(number, page = new SparsePage { Snapshot = segments.Snapshot });
            _sorted = null;
        }
        else if (page.Snapshot < segments.Snapshot)
        {
            if (segments.IsSnapshotHeld) _pages[number] = page = page.Copy();
            page.Snapshot = segments.Snapshot;
        }
        return page;
    }
}
