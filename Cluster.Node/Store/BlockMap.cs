using System.Runtime.InteropServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The committed blocks of one volume: pages for what was written, tombstones for what was trimmed. Per block the higher sequence wins,
/// whatever the order in which changes arrive (R8). An empty volume of any size holds nothing. What only snapshots see is in another part, and how pages come and go in memory too. Loop only.
/// </summary>
/// <param name="segments">Where the blocks lie.</param>
/// <param name="volume">Whose they are.</param>
/// <param name="cache">Keeps the pages within its budget; null: all stay in memory.</param>
public sealed partial class BlockMap(SegmentTable segments, VolumeId volume, MapCache? cache = null)
{
    private readonly Dictionary<ulong, MapPage> _pages = [];
    private readonly List<ulong> _added = [];
    private ulong[] _sorted = [];
    private int _sortedCount;
    private bool _pagesRemoved;

    public RangeTombstones Tombstones { get; } = new();

    public long StoredBytes { get; private set; }

    public long MappedBlocks { get; private set; }

    /// <summary>Entries of the volume's own pages, masks too: what a checkpoint has of them.</summary>
    public long Entries { get; private set; }

    public int PageCount => _pages.Count;

    /// <summary>Whose blocks they are: their checksums cover it.</summary>
    public VolumeId Volume => volume;

    /// <summary>The map's own entry: what a clone shares with its base is not looked for (<see cref="Find"/>).</summary>
    private bool TryGet(ulong block, out MapEntry entry)
    {
        entry = default;
        if (!_pages.TryGetValue(block >> MapPage.BlocksLog2, out var page)) return false;
        entry = Reached(page).Entries[block & (MapPage.Blocks - 1)];
        return entry.IsMapped;
    }

    public bool HasTombstones => Tombstones.Count > 0 || _layers.Exists(layer => layer.Tombstones.Count > 0);

    /// <summary>Drops those of this sequence or an older one.</summary>
    public void ForgetTombstones(ulong upTo)
    {
        Tombstones.RemoveUpTo(upTo);
        foreach (var layer in _layers) layer.Tombstones.RemoveUpTo(upTo);
    }

    public ulong SequenceOf(ulong block)
    {
        if (!TryGet(block, out var entry) && Base is { } below) below.Map.FindAt(below.Snapshot, block, out entry, out _);
        return Math.Max(entry.Sequence, Tombstones.SequenceOf(block));
    }

    /// <summary>Puts the entry in if nothing as new is there; answers whether it did.</summary>
    public bool Put(ulong block, in MapEntry entry)
    {
        if (_layers.Count > 0 && entry.Sequence < _layers[^1].Sequence) return Insert(block, in entry, ulong.MaxValue);
        if (entry.Sequence <= Tombstones.SequenceOf(block)) return false;
        var index = (int)(block & (MapPage.Blocks - 1));
        var page = Writable(block >> MapPage.BlocksLog2);
        ref var slot = ref page.Entries[index];
        // Bytes of the base that are bad here are mended by bytes of this volume's own.
        if (slot.Sequence > entry.Sequence || (slot.Sequence == entry.Sequence && slot.Segment != MapEntry.BaseSegment)) return false;
        if (!slot.IsMapped) NoteShared(block, -1);
        if (_layers.Count > 0 && slot.IsMapped) Keep(block, in slot, entry.Sequence);
        Remove(page, ref slot);
        Add(page, ref slot, in entry);
        return true;
    }

    /// <summary>
    /// The cleaner moved the block's bytes, which the version of this sequence has if it is still kept: all versions that have them change their place.
    /// </summary>
    public bool Move(ulong block, in MapEntry entry)
    {
        if (!TryFindVersion(block, entry.Sequence, out var old) || !HasOwnBytes(in old)) return false;
        // Of a volume that was copied anew beside what its clones keep of its old self, both may have versions of that sequence.
        if (old.Checksum != entry.Checksum || old.LengthBytes != entry.LengthBytes || old.Encoding != entry.Encoding) return false;
        MoveInLayers(block, in old, in entry);
        if (!TryGet(block, out var now) || !IsSamePlace(in now, in old)) return true;
        var page = Writable(block >> MapPage.BlocksLog2);
        ref var slot = ref page.Entries[block & (MapPage.Blocks - 1)];
        Remove(page, ref slot);
        Add(page, ref slot, PlacedAs(in now, in entry));
        return true;
    }

    /// <summary>Trims or zeroes a range: entries that are older go, whatever the size of the range.</summary>
    public void Trim(BlockRange range, ulong sequence)
    {
        if (Base is not null) MaskBase(range, sequence);
        Tombstones.Add(range, sequence);
        if (_layers.Count > 0 && sequence < _layers[^1].Sequence) TrimLayers(range, sequence);
        var (firstPage, lastPage) = (range.First >> MapPage.BlocksLog2, (range.End - 1) >> MapPage.BlocksLog2);
        if (lastPage - firstPage < (ulong)_pages.Count)
        {
            for (var number = firstPage; number <= lastPage; number++) TrimPage(number, range, sequence);
            return;
        }
        foreach (var number in _pages.Keys.Where(number => number >= firstPage && number <= lastPage).ToArray()) TrimPage(number, range, sequence);
    }

    /// <summary>Gives all space back, for a volume that is deleted or starts anew.</summary>
    public void ReleaseAll()
    {
        foreach (var page in _pages.Values) ReleasePage(page);
        foreach (var layer in _layers) layer.ReleaseAll();
        _layers.Clear();
        _leaving.Clear();
        _pages.Clear();
        _added.Clear();
        (_sortedCount, StoredBytes, MappedBlocks, Entries, _lostEntries) = (0, 0, 0, 0, 0);
        (_newest, _isSeenUnknown) = (0, false);
        LeaveBase();
    }

    /// <summary>The pages with their numbers, ascending; the span is good until the next change of the map.</summary>
    public ReadOnlySpan<ulong> PageNumbers()
    {
        if (_pagesRemoved)
        {
            _sorted = [.. _pages.Keys];
            Array.Sort(_sorted);
            (_sortedCount, _pagesRemoved) = (_sorted.Length, false);
            _added.Clear();
        }
        else if (_added.Count > 0) MergeAdded();
        return _sorted.AsSpan(0, _sortedCount);
    }

    /// <summary>The same, and perhaps numbers of pages that are gone: those are not sorted out for each part of a long change that empties some.</summary>
    private ReadOnlySpan<ulong> PageNumbersWithGone()
    {
        // One that is gone and has come again is there twice.
        if (_added.Count > 0) MergeAdded();
        return _sorted.AsSpan(0, _sortedCount);
    }

    /// <summary>With its entries in memory.</summary>
    public MapPage Page(ulong number) => Reached(_pages[number]);

    /// <summary>As it is: of one that is not in memory only what it holds is known.</summary>
    internal MapPage Peek(ulong number) => _pages[number];

    /// <summary>As read from a checkpoint. False: the page is there already.</summary>
    public bool TryLoad(ulong number, MapPage page)
    {
        if (!_pages.TryAdd(number, page)) return false;
        _added.Add(number);
        page.Snapshot = segments.Snapshot;
        cache?.Adopt(page, this, number);
        StoredBytes += page.StoredBytes;
        Entries += page.Mapped;
        foreach (ref readonly var entry in page.Entries.AsSpan())
        {
            if (!entry.IsMapped) continue;
            if (entry.IsLost) _lostEntries++;
            segments.AddLive(in entry);
            NoteBegun(entry.Sequence, BytesOf(in entry));
            if (!entry.IsMask) MappedBlocks++;
            if (entry.Segment == MapEntry.BaseSegment) SharedBytes += entry.LengthBytes;
        }
        _newest = Math.Max(_newest, page.SequenceMax);
        return true;
    }

    private void TrimPage(ulong number, BlockRange range, ulong sequence)
    {
        if (!_pages.TryGetValue(number, out var known)) return;
        Yield();
        var first = number << MapPage.BlocksLog2;
        if (range.First <= first && range.End >= first + MapPage.Blocks && TryDropUnread(number, known, sequence)) return;
        var page = Writable(number);
        var from = (int)(Math.Max(range.First, first) - first);
        var to = (int)(Math.Min(range.End, first + MapPage.Blocks) - first);
        for (var index = from; index < to; index++)
        {
            ref var slot = ref page.Entries[index];
            if (!slot.IsMapped || slot.Sequence >= sequence) continue;
            if (_layers.Count > 0) Keep(first + (ulong)index, in slot, sequence);
            Remove(page, ref slot);
        }
        DropIfEmpty(number, page);
    }

    private void DropIfEmpty(ulong number, MapPage page)
    {
        if (page.Mapped > 0) return;
        _pages.Remove(number);
        _pagesRemoved = true;
        cache?.Forget(page);
    }

    /// <summary>The page, made if need be, and copied first if a checkpoint is being written from it.</summary>
    private MapPage Writable(ulong number)
    {
        ref var page = ref CollectionsMarshal.GetValueRefOrAddDefault(_pages, number, out var exists);
        if (!exists)
        {
            page = cache?.Make(this, number) ?? new MapPage { Snapshot = segments.Snapshot };
            _added.Add(number);
            return page;
        }
        BeginChange(Reached(page!));
        return page!;
    }

    private void Add(MapPage page, ref MapEntry slot, in MapEntry entry)
    {
        slot = entry;
        page.Mapped++;
        Entries++;
        page.StoredBytes += BytesOf(in entry);
        page.SequenceMax = Math.Max(page.SequenceMax, entry.Sequence);
        if (!entry.IsMask) MappedBlocks++;
        if (entry.Segment == MapEntry.BaseSegment) SharedBytes += entry.LengthBytes;
        StoredBytes += BytesOf(in entry);
        if (entry.IsLost) _lostEntries++;
        _newest = Math.Max(_newest, entry.Sequence);
        NoteBegun(entry.Sequence, BytesOf(in entry));
        segments.AddLive(in entry);
    }

    private void Remove(MapPage page, ref MapEntry slot)
    {
        if (!slot.IsMapped) return;
        segments.RemoveLive(in slot);
        page.Mapped--;
        Entries--;
        page.StoredBytes -= BytesOf(in slot);
        if (!slot.IsMask) MappedBlocks--;
        if (slot.Segment == MapEntry.BaseSegment) SharedBytes -= slot.LengthBytes;
        StoredBytes -= BytesOf(in slot);
        NoteBegun(slot.Sequence, -BytesOf(in slot));
        if (slot.IsLost) _lostEntries--;
        slot = default;
    }

    private void MergeAdded()
    {
        _added.Sort();
        var merged = new ulong[_sortedCount + _added.Count];
        var (left, right) = (0, 0);
        for (var at = 0; at < merged.Length; at++)
        {
            var takeLeft = right == _added.Count || (left < _sortedCount && _sorted[left] < _added[right]);
            merged[at] = takeLeft ? _sorted[left++] : _added[right++];
        }
        (_sorted, _sortedCount) = (merged, merged.Length);
        _added.Clear();
    }
}
