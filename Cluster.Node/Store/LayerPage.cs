namespace Cluster.Node.Store;

/// <summary>
/// Some of the versions that one snapshot keeps, of blocks that follow each other there however far apart they are: ascending by block, the unused entries behind them are zeroes. A page like any other of the
/// map cache, but that what stays of it says more: where it begins and ends, and of which blocks it surely has none (docs/adr/0019-what-snapshots-keep-beyond-memory.md).
/// </summary>
internal sealed class LayerPage(BlockMap map, SnapshotLayer layer, ulong first, MapEntry[] entries) : MapPage(map, first, entries)
{
    private const ulong KeyMask = (1UL << MapEntry.KeyBits) - 1;

    private ulong[]? _filter;

    public SnapshotLayer Layer => layer;

    /// <summary>The first block of which it has a version; <see cref="Last"/> likewise.</summary>
    public ulong First
    {
        get => Number;
        set => Number = value;
    }

    public ulong Last { get; set; } = first;

    /// <summary>How many different groups of 512 neighbouring blocks it has something of: frames of a checkpoint.</summary>
    public int Frames { get; set; }

    /// <summary>All of its blocks are of one such stretch of block numbers.</summary>
    public ulong Stretch { get; } = StretchOf(first);

    /// <summary>It has a version of each block from the first to the last.</summary>
    public bool IsGapless => Last - First == (ulong)Mapped - 1;

    internal override string What => $"a page of the map of volume {Map!.Volume}, of what snapshot {layer.Sequence} keeps of blocks {First} to {Last},";

    public static ulong StretchOf(ulong block) => block >> MapEntry.KeyBits;

    public static ulong KeyOf(ulong block) => block & KeyMask;

    public ulong BlockAt(int at) => (Stretch << MapEntry.KeyBits) | Entries[at].Key;

    /// <summary>Where the block's entry is, or the complement of where it would be. The entries are in memory.</summary>
    public int Find(ulong block)
    {
        var (entries, key) = (Entries, KeyOf(block));
        var (low, high) = (0, Mapped - 1);
        while (low <= high)
        {
            var middle = (low + high) >>> 1;
            var found = entries[middle].Key;
            if (found == key) return middle;
            if (found < key) low = middle + 1;
            else high = middle - 1;
        }
        return ~low;
    }

    /// <summary>The first entry of this block or a later one; as many as there are if none is.</summary>
    public int FindFrom(ulong block)
    {
        if (block <= First) return 0;
        if (block > Last) return Mapped;
        var at = Find(block);
        return at < 0 ? ~at : at;
    }

    /// <summary>False: it has no version of the block. Its entries need not be in memory.</summary>
    public bool MayHave(ulong block) => block >= First && block <= Last && (IsResident || IsGapless || _filter is null || LayerFilter.MayHave(_filter, KeyOf(block)));

    /// <summary>What was written to its slot has this filter.</summary>
    public void TakeFilter(ReadOnlySpan<ulong> filter)
    {
        if (IsGapless)
        {
            _filter = null;
            return;
        }
        _filter ??= new ulong[LayerFilter.Words];
        filter.CopyTo(_filter);
    }

    /// <summary>The entries from one on go, whose sums were taken off.</summary>
    public void CutTo(int count)
    {
        Array.Clear(Entries, count, Mapped - count);
        Mapped = count;
        Settle();
    }

    /// <summary>Entries came or went at an end, or many at once: what is said of them is looked up.</summary>
    public void Settle()
    {
        (First, Last, Frames) = (BlockAt(0), BlockAt(Mapped - 1), 1);
        for (var at = 1; at < Mapped; at++)
        {
            if (!IsSameFrame(at - 1, at)) Frames++;
        }
    }

    /// <summary>Makes room for one entry at that place, and puts it there.</summary>
    public void Insert(int at, ulong block, in MapEntry entry)
    {
        var entries = Entries;
        Array.Copy(entries, at, entries, at + 1, Mapped - at);
        entries[at] = entry;
        entries[at].Key = KeyOf(block);
        Mapped++;
        if (at == 0) First = block;
        if (at == Mapped - 1) Last = block;
        if (IsAlone(at)) Frames++;
        SequenceMax = Math.Max(SequenceMax, entry.Sequence);
        StoredBytes += BlockMap.BytesOf(in entry);
    }

    public void RemoveAt(int at)
    {
        var entries = Entries;
        StoredBytes -= BlockMap.BytesOf(in entries[at]);
        if (IsAlone(at)) Frames--;
        Array.Copy(entries, at + 1, entries, at, Mapped - at - 1);
        entries[--Mapped] = default;
        if (Mapped > 0) (First, Last) = (BlockAt(0), BlockAt(Mapped - 1));
    }

    /// <summary>Gives the upper entries, from one on, to an empty page.</summary>
    public void SplitTo(LayerPage upper, int from)
    {
        upper.TakeFrom(this, from);
        CutTo(from);
    }

    /// <summary>Takes all entries of the page behind it.</summary>
    public void Join(LayerPage behind) => TakeFrom(behind, 0);

    internal override void OnLost()
    {
        base.OnLost();
        // None can be found, nor moved.
        (Mapped, StoredBytes, Frames) = (0, 0, 0);
    }

    private void TakeFrom(LayerPage from, int at)
    {
        var count = from.Mapped - at;
        Array.Copy(from.Entries, at, Entries, Mapped, count);
        for (var index = at; index < from.Mapped; index++)
        {
            var bytes = BlockMap.BytesOf(in from.Entries[index]);
            StoredBytes += bytes;
            from.StoredBytes -= bytes;
        }
        Mapped += count;
        SequenceMax = Math.Max(SequenceMax, from.SequenceMax);
        Settle();
    }

    private bool IsAlone(int at) => !(at > 0 && IsSameFrame(at - 1, at)) && !(at < Mapped - 1 && IsSameFrame(at, at + 1));

    private bool IsSameFrame(int one, int other) => Entries[one].Key >> BlocksLog2 == Entries[other].Key >> BlocksLog2;
}

/// <summary>Bits by which a page that is not in memory says which blocks it surely does not have: of 100 that it does not have, at most 15 pass.</summary>
internal static class LayerFilter
{
    public const int Words = 32;
    private const int BitsLog2 = 11;
    private const int Hashes = 3;
    private const ulong Multiplier = 0x9E3779B97F4A7C15;

    /// <summary>Of entries as they lie in a page. Any thread.</summary>
    public static void Make(ReadOnlySpan<MapEntry> entries, Span<ulong> filter)
    {
        filter.Clear();
        foreach (ref readonly var entry in entries)
        {
            if (!entry.IsMapped) return;
            var hash = HashOf(entry.Key);
            for (var round = 0; round < Hashes; round++, hash <<= BitsLog2)
            {
                var bit = (int)(hash >> (64 - BitsLog2));
                filter[bit >> 6] |= 1UL << (bit & 63);
            }
        }
    }

    public static bool MayHave(ReadOnlySpan<ulong> filter, ulong key)
    {
        var hash = HashOf(key);
        for (var round = 0; round < Hashes; round++, hash <<= BitsLog2)
        {
            var bit = (int)(hash >> (64 - BitsLog2));
            if ((filter[bit >> 6] & (1UL << (bit & 63))) == 0) return false;
        }
        return true;
    }

    /// <summary>The upper half of a product spreads well; bits that are taken from it are its highest ones.</summary>
    private static ulong HashOf(ulong key)
    {
        var mixed = (key + 1) * Multiplier;
        mixed ^= mixed >> 32;
        return mixed * Multiplier;
    }
}
