using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>What a clone stands on: a snapshot of another map of this store.</summary>
public sealed record MapBase(BlockMap Map, ulong Snapshot);

/// <summary>
/// Clones. A clone's order goes on from the marker of the snapshot that it was made from, so its map has only what changed since: a block of which it has no version at all is what
/// the snapshot of the map below sees. Each version stays in the one map that it was written to, under the identity that its checksum covers; nothing is copied, nothing is counted
/// per block, and the cleaner finds each where the log says it belongs.
/// <para>
/// A snapshot with clones is pinned: deleted, it is hidden from its volume and stays. A map whose volume is deleted, or copied anew, is detached: cut down to what its pinned snapshots
/// see, and kept until the last clone is gone. A trim leaves a mask where the map below has something: no forgotten tombstone lets that show through (R20).
/// </para>
/// </summary>
public sealed partial class BlockMap
{
    private readonly Dictionary<ulong, int> _pins = [];

    public MapBase? Base { get; private set; }

    /// <summary>Clones stand on a snapshot of it.</summary>
    public bool IsPinned => _pins.Count > 0;

    /// <summary>No volume has it any more, only clones.</summary>
    public bool IsDetached { get; private set; }

    /// <summary>What it holds is not known, for the volume that it belongs or belonged to, and for all that stand on it.</summary>
    public bool IsDamaged { get; set; }

    public bool HasDamagedBase => Base is { } below && (below.Map.IsDamaged || below.Map.HasDamagedBase);

    /// <summary>How many maps lie below.</summary>
    public int Depth => Base is { } below ? below.Map.Depth + 1 : 0;

    public bool IsPinnedAt(ulong snapshot) => _pins.ContainsKey(snapshot);

    /// <summary>What the volume has of the maps below, as far as it was counted.</summary>
    public long SharedBytes { get; private set; }

    public long SharedBlocks { get; private set; }

    /// <summary>Pages that one look counts: 128 MiB of blocks, a few milliseconds.</summary>
    private const int PagesCountedMax = 64;

    /// <summary>Pages that it reads back for that at most, and some of the one that it is at: metrics ask for it.</summary>
    private const int PagesReadMax = 4;

    /// <summary>Below this page all is counted.</summary>
    private ulong _sharedUpTo;

    /// <summary>Bytes that the entry keeps from being free.</summary>
    internal static int BytesOf(in MapEntry entry) => entry.Segment == MapEntry.BaseSegment ? 0 : entry.LengthBytes;

    /// <summary>An empty map becomes a clone's.</summary>
    public void StandOn(BlockMap map, ulong snapshot)
    {
        Invariant.That(Base is null && _pages.Count == 0 && _layers.Count == 0, "a map that holds something was put on another one");
        Invariant.That(TryStandOn(map, snapshot), "a clone stands on a snapshot that is not there");
    }

    /// <summary>As read from a checkpoint. False: there is no such snapshot, or one would stand on the other.</summary>
    public bool TryStandOn(BlockMap map, ulong snapshot)
    {
        if (map.Layer(snapshot) is null) return false;
        for (var below = map; below is not null; below = below.Base?.Map)
        {
            if (below == this) return false;
        }
        Base = new MapBase(map, snapshot);
        map._pins[snapshot] = map._pins.GetValueOrDefault(snapshot) + 1;
        return true;
    }

    /// <summary>As read from a checkpoint.</summary>
    public void MarkDetached() => IsDetached = true;

    /// <summary>Its volume has no use for it any more. False: nobody has, and its space is free.</summary>
    public bool Detach()
    {
        if (!IsPinned)
        {
            ReleaseAll();
            return false;
        }
        IsDetached = true;
        KeepSnapshots([]);
        DropUnseen();
        return true;
    }

    /// <summary>What the volume has of the block, and the map that holds it.</summary>
    public bool Find(ulong block, out MapEntry entry, out BlockMap holder)
    {
        holder = this;
        if (TryGet(block, out entry)) return Resolve(block, ref entry, ref holder);
        return Base is { } below && below.Map.FindAt(below.Snapshot, block, out entry, out holder);
    }

    /// <summary>The same of a snapshot.</summary>
    public bool FindAt(ulong snapshot, ulong block, out MapEntry entry, out BlockMap holder)
    {
        holder = this;
        if (TryGetAt(snapshot, block, out entry)) return Resolve(block, ref entry, ref holder);
        return Base is { } below && below.Map.FindAt(below.Snapshot, block, out entry, out holder);
    }

    /// <summary>The bytes of an own entry. False: it says that there are none.</summary>
    public bool Resolve(ulong block, ref MapEntry entry, ref BlockMap holder)
    {
        if (entry.IsMask)
        {
            entry = default;
            return false;
        }
        if (entry.Segment != MapEntry.BaseSegment) return true;
        Invariant.That(Base is not null, "an entry names a base that is not there");
        var isThere = Base.Map.FindAt(Base.Snapshot, block, out var under, out holder);
        if (!isThere && HasDamagedBase)
        {
            // The page below could not be read back: the clone is damaged with it, and says no more of this block.
            (entry, holder) = (default, this);
            return false;
        }
        Invariant.That(isThere, "an entry names a block that the base does not have");
        entry = under with { Sequence = entry.Sequence };
        return true;
    }

    /// <summary>Not all that its snapshots keep is where the one that keeps it says: some may be hidden, or below.</summary>
    public bool IsShared => Base is not null || IsPinned || _leaving.Count > 0;

    public bool TryGetKept(ulong snapshot, ulong block, out MapEntry entry) => TryGetKept(snapshot, block, out entry, out _);

    /// <summary>
    /// The version of the block that is kept by this snapshot; by the volume, if it is 0. As every copy of the volume sees it: what hidden snapshots keep is kept by the next older
    /// one that sees it, and so is what a clone's snapshots see of its base, for a copy that was made anew has it there.
    /// </summary>
    public bool TryGetKept(ulong snapshot, ulong block, out MapEntry entry, out BlockMap holder)
    {
        if (snapshot == 0) return Find(block, out entry, out holder);
        (entry, holder) = (default, this);
        var index = IndexOf(snapshot);
        if (index < 0 || _layers[index].IsHidden) return false;
        for (var at = index; at < _layers.Count && (at == index || _layers[at].IsHidden); at++)
        {
            if (_layers[at].TryGet(block, out entry) && entry.Sequence <= snapshot) return Resolve(block, ref entry, ref holder);
        }
        entry = default;
        return Base is { } below && SeerOfBase(block) == snapshot && below.Map.FindAt(below.Snapshot, block, out entry, out holder);
    }

    /// <summary>Number of the next page from this one on in which the volume may have something; MaxValue: none.</summary>
    public ulong NextPage(ulong from)
    {
        var own = NextOwnPage(from);
        return Base is { } below ? Math.Min(own, below.Map.NextPageAt(below.Snapshot, from)) : own;
    }

    /// <summary>The same without what lies below.</summary>
    internal ulong NextOwnPage(ulong from) => NextOf(PageNumbers(), from);

    /// <summary>The same for what a snapshot may see. A page of each that keeps something may be read for it; those asked for before may leave memory.</summary>
    public ulong NextPageAt(ulong snapshot, ulong from)
    {
        var next = NextPage(from);
        for (var index = FirstAtOrAfter(snapshot); index < _layers.Count; index++)
        {
            Yield();
            next = Math.Min(next, _layers[index].NextPage(from));
        }
        return next;
    }

    /// <summary>The page as the volume sees it: its own, or what that and the maps below make together. Read only.</summary>
    public MapPage View(ulong number)
    {
        if (Base is not { } below || below.Map.NextPageAt(below.Snapshot, number) != number) return Page(number);
        var view = new MapPage();
        for (var index = 0; index < MapPage.Blocks; index++)
        {
            if (Find((number << MapPage.BlocksLog2) + (ulong)index, out var entry, out _)) view.Load(index, in entry);
        }
        return view;
    }

    /// <summary>The newest snapshot of the volume that sees what the base has of the block, if the volume itself does not; 0: none does.</summary>
    public ulong SeerOfBase(ulong block)
    {
        // Layers are older than what is current, so the first that has a version has the oldest one.
        var index = 0;
        var oldest = default(MapEntry);
        while (index < _layers.Count && !_layers[index].TryGet(block, out oldest)) index++;
        if (index == _layers.Count && !TryGet(block, out oldest)) return 0;
        return SeerAmong(1, oldest.Sequence - 1);
    }

    /// <summary>The newest snapshot that the volume knows with a sequence between these two, both included; 0: none.</summary>
    public ulong SeerAmong(ulong from, ulong to)
    {
        for (var index = _layers.Count - 1; index >= 0 && _layers[index].Sequence >= from; index--)
        {
            if (_layers[index].Sequence <= to && !_layers[index].IsHidden) return _layers[index].Sequence;
        }
        return 0;
    }

    /// <summary>What the snapshot sees, as an entry that this map may have: of the base it names the bytes only.</summary>
    private bool FindVersion(ulong snapshot, ulong block, out MapEntry entry)
    {
        if (TryGetAt(snapshot, block, out entry)) return !entry.IsMask;
        if (Base is not { } below || !below.Map.FindAt(below.Snapshot, block, out entry, out _)) return false;
        // Zeroes have no bytes to share: they are the clone's own, and so is their checksum.
        entry = entry.LengthBytes == 0
            ? entry with { Segment = MapEntry.NoSegment, OffsetBytes = 0, Checksum = BlockDescriptor.ChecksumOf(volume, 0, block, []) }
            : entry with { Segment = MapEntry.BaseSegment, OffsetBytes = 0 };
        return true;
    }

    /// <summary>Counts some more of what is shared.</summary>
    public void CountShared()
    {
        if (Base is not { } below || _sharedUpTo == ulong.MaxValue || cache is { IsClosed: true }) return;
        var loads = cache?.LoadsInPlace ?? 0;
        for (var counted = 0; counted < PagesCountedMax && (cache?.LoadsInPlace ?? 0) - loads < PagesReadMax; counted++)
        {
            Yield();
            var number = below.Map.NextPageAt(below.Snapshot, _sharedUpTo);
            _sharedUpTo = number == ulong.MaxValue ? number : number + 1;
            if (number == ulong.MaxValue) return;
            for (var index = 0UL; index < MapPage.Blocks; index++)
            {
                var block = (number << MapPage.BlocksLog2) + index;
                if (!TryGet(block, out _)) NoteShared(block, 1);
            }
        }
    }

    /// <summary>The volume has what its base has of the block, or does not any more.</summary>
    private void NoteShared(ulong block, int by)
    {
        if (Base is not { } below || block >> MapPage.BlocksLog2 >= _sharedUpTo || !below.Map.FindAt(below.Snapshot, block, out var entry, out _)) return;
        SharedBlocks += by;
        SharedBytes += by * entry.LengthBytes;
    }

    internal static bool HasOwnBytes(in MapEntry entry) => entry.Segment is not (MapEntry.NoSegment or MapEntry.BaseSegment or MapEntry.MaskSegment);

    /// <summary>What it costs follows what the base has in the range, not the range.</summary>
    private void MaskBase(BlockRange range, ulong sequence)
    {
        var (below, snapshot) = Base!;
        var last = (range.End - 1) >> MapPage.BlocksLog2;
        for (var number = below.NextPageAt(snapshot, range.First >> MapPage.BlocksLog2); number <= last; number = below.NextPageAt(snapshot, number + 1))
        {
            var first = number << MapPage.BlocksLog2;
            Yield();
            for (var block = Math.Max(first, range.First); block < Math.Min(first + MapPage.Blocks, range.End); block++)
            {
                if (below.FindAt(snapshot, block, out _, out _)) Put(block, MaskOf(sequence));
            }
        }
    }

    private static MapEntry MaskOf(ulong sequence) => new() { Sequence = sequence, Segment = MapEntry.MaskSegment, Encoding = BlockEncoding.Zero };

    private void LeaveBase()
    {
        if (Base is not { } below) return;
        Base = null;
        (SharedBytes, SharedBlocks, _sharedUpTo) = (0, 0, 0);
        below.Map.Unpin(below.Snapshot);
    }

    private void Unpin(ulong snapshot)
    {
        if (--_pins[snapshot] > 0) return;
        _pins.Remove(snapshot);
        if (IsDetached && !IsPinned)
        {
            ReleaseAll();
            return;
        }
        var index = IndexOf(snapshot);
        if (index < 0 || !_layers[index].IsHidden) return;
        Leave(_layers[index], LoadsOfASlice);
        if (IsDetached) DropUnseen();
    }

    /// <summary>Of a detached map, what no snapshot sees.</summary>
    private void DropUnseen()
    {
        var newest = _layers[^1].Sequence;
        Tombstones.RemoveUpTo(ulong.MaxValue);
        foreach (var layer in _layers) layer.Tombstones.RemoveUpTo(ulong.MaxValue);
        var numbers = PageNumbers().ToArray().Where(number => Peek(number).SequenceMax > newest).ToArray();
        for (var at = 0; at < numbers.Length; at++)
        {
            var number = numbers[at];
            Yield();
            AskAhead(numbers, at);
            var page = Writable(number);
            for (var index = 0; index < MapPage.Blocks; index++)
            {
                ref var slot = ref page.Entries[index];
                if (slot.IsMapped && slot.Sequence > newest) Remove(page, ref slot);
            }
            DropIfEmpty(number, page);
        }
    }

    private static ulong NextOf(ReadOnlySpan<ulong> sorted, ulong from)
    {
        var at = sorted.BinarySearch(from);
        at = at < 0 ? ~at : at;
        return at < sorted.Length ? sorted[at] : ulong.MaxValue;
    }
}
