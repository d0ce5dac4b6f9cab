using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>What the cache of a store's maps does. Any thread; each number is one that was true lately, and counters are since the open.</summary>
/// <param name="ResidentPages">Of the maps, and of what only snapshots keep.</param>
/// <param name="ResidentLayerPages">Of those, what only snapshots keep; <paramref name="EvictedLayerPages"/> likewise.</param>
/// <param name="LoadsInPlace">Pages that the loop itself read back, and waited for if the system did not have them in its page cache.</param>
/// <param name="LoadsByThread">Pages that a disk thread read back, for a client's read or the cleaner.</param>
public readonly record struct MapCacheFacts(long BudgetBytes, long ResidentPages, long EvictedPages, long Evictions, long Written, long WriteFailures,
    long LoadsInPlace, long LoadsByThread, double LoadSecondsInPlace, double LoadSecondsByThread, long LostPages, long FileBytes,
    long ResidentLayerPages, long EvictedLayerPages);

/// <summary>
/// Keeps the pages of all maps of a store within a budget: those that were not looked at for longest (CLOCK) are written to the page file (<see cref="MapPageFile"/>) by a disk thread, and leave
/// memory when they are there and have not changed meanwhile. A page that changes loses its slot, so a slot never holds anything but the page of now; its checksum is kept in memory, so bytes
/// that are not those are found. Pages come back when they are looked at.
/// <para>
/// A page is only evicted between two operations (<see cref="Shrink"/>, <see cref="Yield"/>): whoever holds one within an operation may rely on it. Loop only, but for <see cref="Facts"/>;
/// before the loop has the store, the thread that opens it (docs/adr/0015-maps-beyond-memory.md).
/// </para>
/// </summary>
public sealed partial class MapCache : IDisposable
{
    /// <summary>What a resident page counts: its entries, its object and its places in dictionary and clock.</summary>
    public const int PageBytes = MapPageFile.SlotBytes + 128;

    /// <summary>Budgets by which this many are resident and not yet written are too many: the loop then writes pages itself, as many as it brings in.</summary>
    private const int HardLimitTimes = 2;

    /// <summary>Steps of the clock in one turn, and at one place of a long operation, which brings in a few pages at most between two of them.</summary>
    private const int StepsOfATurnMax = 1024;
    private const int StepsOfAYieldMax = 256;

    /// <summary>Arrays that wait for their next page: as many as leave memory together, and a batch, but 16 MiB at most.</summary>
    private const int SparesMax = 1024;

    /// <summary>Once the budget is used up, this part of it is made free, so that pages are written together.</summary>
    private const int SlackPart = 16;

    /// <summary>After the page file could not be written.</summary>
    private const int WriteRetryMs = 5000;

    /// <summary>What a page shows that could not be read back. Never written to.</summary>
    private static readonly MapEntry[] LostEntries = new MapEntry[MapPage.Blocks];

    private readonly BlockStore _store;
    private readonly SegmentTable _segments;
    private readonly MapPageFile _file;
    private readonly EvictJob _evict;
    private readonly ReleaseJob _release;
    private readonly List<MapPage> _resident = [];
    private readonly Stack<int> _freeSlots = new();

    /// <summary>Nobody's, and beyond the end of the page file, which could not grow to them.</summary>
    private readonly Stack<int> _slotsBeyond = new();

    /// <summary>Given back while a checkpoint is written that may still read them.</summary>
    private readonly List<int> _retiredSlots = [];
    private readonly Stack<MapEntry[]> _spares = new();
    private readonly int _budgetPages;
    private readonly List<BlockMap> _leaving = [];
    private int _slotCount;
    private int _hand;
    private int _writing;
    private bool _isEvicting;
    private bool _isReleasing;
    private long _noWriteBeforeMs;
    private long _noGrowthBeforeMs;

    internal MapCache(BlockStore store, SegmentTable segments, DiskPool disk, long budgetBytes, int handDownBlocks, int layerPageVersions)
    {
        (HandDownBlocks, LayerPageVersions) = (handDownBlocks, layerPageVersions);
        (_store, _segments, _file) = (store, segments, new MapPageFile(disk));
        _budgetPages = (int)Math.Clamp(budgetBytes / PageBytes, 0, int.MaxValue / HardLimitTimes);
        (_evict, _release) = (new EvictJob(this), new ReleaseJob(this));
        _budgetBytes = budgetBytes;
    }

    /// <summary>Nothing runs on a loop yet: pages are written in place, and only the budget itself counts.</summary>
    internal bool IsOpening { get; set; } = true;

    /// <summary>Some page is not in memory.</summary>
    internal bool HasEvicted => _evictedPages > 0;

    internal int ResidentPages => _resident.Count;

    internal int BudgetPages => _budgetPages;

    internal MapPageFile File => _file;

    private int HardLimit => IsOpening ? _budgetPages : _budgetPages * HardLimitTimes;

    /// <summary>A new page of a map.</summary>
    internal MapPage Make(BlockMap map, ulong number)
    {
        var page = new MapPage(map, number, TakeEntries(isCleared: true)) { Snapshot = _segments.Snapshot };
        AddResident(page);
        return page;
    }

    /// <summary>A new page of what a snapshot keeps, from that block on.</summary>
    internal LayerPage Make(BlockMap map, SnapshotLayer layer, ulong first)
    {
        var page = new LayerPage(map, layer, first, TakeEntries(isCleared: true)) { Snapshot = _segments.Snapshot };
        AddResident(page);
        return page;
    }

    /// <summary>A page that was read from a checkpoint.</summary>
    internal void Adopt(MapPage page, BlockMap map, ulong number)
    {
        (page.Map, page.Number) = (map, number);
        AddResident(page);
    }

    /// <summary>Reads the page back in place; one that can't be read is lost, and whose it is damaged.</summary>
    internal void Load(MapPage page)
    {
        var stage = IsOpening ? default : _store.Stages.Enter(LoopStage.Disk);
        var began = Stopwatch.GetTimestamp();
        var entries = TakeEntries(isCleared: false);
        var result = IsClosed ? DiskResult.Failed(IoStatus.DeviceError, "the store is closed") : _file.Read(page.Slot, page.Hash, entries);
        _loadsInPlace++;
        _ticksInPlace += Stopwatch.GetTimestamp() - began;
        if (!IsOpening) _store.Stages.Leave(stage);
        if (result.IsOk) Install(page, entries);
        else Lose(page, result.Detail ?? "it can't be read");
    }

    /// <summary>The same if the system has it in memory; false: the device would have to be waited for.</summary>
    internal bool TryLoadCached(MapPage page)
    {
        var entries = TakeEntries(isCleared: false);
        if (IsClosed || !_file.TryReadCached(page.Slot, page.Hash, entries))
        {
            GiveEntries(entries);
            return false;
        }
        _loadsInPlace++;
        Install(page, entries);
        return true;
    }

    internal void Advise(MapPage page)
    {
        if (!IsClosed) _file.Advise(page.Slot);
    }

    /// <summary>Its entries may be written from here on: what is in the page file, or on its way there, is not the page any more.</summary>
    internal void BeginChange(MapPage page)
    {
        var isShared = page.IsWriting || (page.IsLost && page.Resident == LostEntries) || IsHeld(page);
        if (isShared)
        {
            var copy = TakeEntries(isCleared: false);
            page.Entries.CopyTo(copy, 0);
            page.Put(copy);
        }
        page.Snapshot = _segments.Snapshot;
        StopWriting(page);
        Unplace(page);
    }

    /// <summary>The map has no such page any more, and what its entries kept was given back.</summary>
    internal void Forget(MapPage page)
    {
        if (!page.IsResident) CountEvicted(page, -1);
        page.Map = null;
        RemoveResident(page);
        Unplace(page);
    }

    /// <summary>The map has no such page any more; what its entries keep of segments is given back once they have been read.</summary>
    internal void Release(MapPage page)
    {
        Invariant.That(!page.IsResident, "a page in memory was to be read for its release");
        CountEvicted(page, -1);
        page.Map = null;
        _releases.Enqueue(page);
        if (!IsOpening) BeginRelease();
    }

    /// <summary>A checkpoint could not read this of a page. If that is still what there is of the page, it is lost; else the next checkpoint has what there is now.</summary>
    internal void OnUnreadable(in PageImage image, string reason)
    {
        var page = image.Page;
        if (page is { Map: not null, IsResident: false } && page.Slot == image.Slot && page.Hash == image.Hash) Lose(page, reason);
    }

    /// <summary>The checkpoint under way has ended: it reads no slot any more.</summary>
    /// <param name="badSlot">It could not read this one, which is not used any more; -1: none.</param>
    internal void OnSnapshotReleased(int badSlot)
    {
        foreach (var slot in _retiredSlots)
        {
            if (slot != badSlot) _freeSlots.Push(slot);
        }
        _retiredSlots.Clear();
    }

    /// <summary>At the end of a turn: lets go of what is beyond the budget, some of it at once, some when it is written.</summary>
    internal void Shrink()
    {
        if (_resident.Count - _writing <= _budgetPages) return;
        if (_isEvicting)
        {
            Yield();
            return;
        }
        var target = _budgetPages - (_budgetPages / SlackPart);
        for (var steps = 0; steps < StepsOfATurnMax && _resident.Count - _writing > target; steps++)
        {
            if (NextVictim() is not { } page) continue;
            if (page.Slot >= 0) Drop(page);
            else if (_evict.Count < EvictJob.PagesMax && CanWrite && TakeSlot() is >= 0 and var slot) Collect(page, slot);
        }
        if (_evict.Count > 0)
        {
            _isEvicting = true;
            _store.Submit(DiskLane.Map, _evict);
        }
        Yield();
    }

    /// <summary>Between two pages of a long operation, which holds none: memory stays bounded whatever its length.</summary>
    internal void Yield()
    {
        for (var steps = 0; steps < StepsOfAYieldMax && _resident.Count - _writing > HardLimit; steps++)
        {
            if (NextVictim() is not { } page) continue;
            // What can't be written stays: memory is what there is then.
            if (page.Slot >= 0 || (CanWrite && WriteInPlace(page))) Drop(page);
        }
    }

    /// <summary>Snapshots of some map are gone whose versions are still to be handed down.</summary>
    internal bool IsHandingDown => _leaving.Count > 0;

    /// <summary>Blocks of a deleted snapshot that one turn hands down.</summary>
    internal int HandDownBlocks { get; }

    /// <summary>Versions that a page of what a snapshot keeps takes.</summary>
    internal int LayerPageVersions { get; }

    internal int HandDownSlices { get; private set; }

    /// <summary>Has a snapshot that is leaving, or more than one.</summary>
    internal void NoteLeaving(BlockMap map)
    {
        if (!_leaving.Contains(map)) _leaving.Add(map);
    }

    /// <summary>A slice of it.</summary>
    internal void HandDown()
    {
        HandDownSlices++;
        if (_leaving.Count > 0 && _leaving[0].HandDown(Math.Max(HandDownBlocks, 1))) _leaving.RemoveAt(0);
    }

    /// <summary>The store has stopped: what is not in memory stays where it is.</summary>
    internal bool IsClosed { get; private set; }

    public void Dispose()
    {
        IsClosed = true;
        _file.Dispose();
    }

    private bool CanWrite => _store.NowMs >= _noWriteBeforeMs;

    private bool CanGrow => _store.NowMs >= _noGrowthBeforeMs;

    /// <summary>The checkpoint under way has the entries.</summary>
    private bool IsHeld(MapPage page) => _segments.IsSnapshotHeld && page.Snapshot < _segments.Snapshot;

    /// <summary>One step of the clock; null: it was looked at since the last round, or is being written.</summary>
    private MapPage? NextVictim()
    {
        if (_hand >= _resident.Count) _hand = 0;
        if (_resident.Count == 0) return null;
        var page = _resident[_hand++];
        if (page.IsWriting) return null;
        if (!page.IsUsed) return page;
        page.IsUsed = false;
        return null;
    }

    private void AddResident(MapPage page)
    {
        page.IsUsed = true;
        page.ClockAt = _resident.Count;
        _resident.Add(page);
        _residentPages++;
        if (page is LayerPage) _residentLayerPages++;
        if (_resident.Count > _budgetPages && !IsOpening) _store.OnMapCacheFull();
    }

    private void RemoveResident(MapPage page)
    {
        if (page.ClockAt < 0) return;
        StopWriting(page);
        var last = _resident[^1];
        (_resident[page.ClockAt], last.ClockAt) = (last, page.ClockAt);
        _resident.RemoveAt(_resident.Count - 1);
        page.ClockAt = -1;
        _residentPages--;
        if (page is LayerPage) _residentLayerPages--;
    }

    /// <summary>Out of memory: its slot has it.</summary>
    private void Drop(MapPage page)
    {
        RemoveResident(page);
        if (!IsHeld(page)) GiveEntries(page.Entries);
        page.Put(null);
        _evictions++;
        CountEvicted(page, 1);
    }

    private void Install(MapPage page, MapEntry[] entries)
    {
        page.Put(entries);
        page.Snapshot = _segments.Snapshot;
        CountEvicted(page, -1);
        AddResident(page);
    }

    /// <summary>What it had is not known any more: not for the volume, and not for the clones that stand on its map.</summary>
    private void Lose(MapPage page, string reason)
    {
        page.Put(LostEntries);
        page.OnLost();
        CountEvicted(page, -1);
        _lostPages++;
        // What gave bad bytes is not used again.
        Place(page, -1, 0);
        _store.OnPageLost(page, reason);
    }

    private void CountEvicted(MapPage page, int by)
    {
        _evictedPages += by;
        if (page is LayerPage) _evictedLayerPages += by;
    }

    private void StopWriting(MapPage page)
    {
        if (!page.IsWriting) return;
        page.IsWriting = false;
        _writing--;
    }

    private void Place(MapPage page, int slot, ulong hash)
    {
        (page.Slot, page.Hash, page.PlacedAt) = (slot, hash, _segments.Snapshot);
        page.Stamp++;
    }

    private void Unplace(MapPage page)
    {
        if (page.Slot < 0) return;
        // A checkpoint under way knows the slots that were given before it began.
        if (_segments.IsSnapshotHeld && page.PlacedAt < _segments.Snapshot) _retiredSlots.Add(page.Slot);
        else _freeSlots.Push(page.Slot);
        Place(page, -1, 0);
    }

    /// <summary>-1: there is none without a longer page file, and that could not grow lately.</summary>
    private int TakeSlot()
    {
        if (_freeSlots.TryPop(out var slot)) return slot;
        var isKnown = _slotsBeyond.TryPeek(out slot);
        if (!isKnown) slot = _slotCount;
        if (!_file.Has(slot) && !CanGrow) return -1;
        if (isKnown) _slotsBeyond.Pop();
        else _slotCount++;
        return slot;
    }

    /// <summary>A slot that was taken, and into which nothing was written that counts.</summary>
    private void GiveSlot(int slot)
    {
        if (_file.Has(slot)) _freeSlots.Push(slot);
        else _slotsBeyond.Push(slot);
    }

    private MapEntry[] TakeEntries(bool isCleared)
    {
        if (!_spares.TryPop(out var entries)) return new MapEntry[MapPage.Blocks];
        if (isCleared) Array.Clear(entries);
        return entries;
    }

    private void GiveEntries(MapEntry[] entries)
    {
        if (_spares.Count < Math.Min(SparesMax, (_budgetPages / SlackPart) + EvictJob.PagesMax)) _spares.Push(entries);
    }
}
