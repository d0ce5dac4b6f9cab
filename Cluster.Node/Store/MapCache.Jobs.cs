using System.Diagnostics;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>What disk threads do for the cache: they write pages, read those back that a client waits for, and those whose map is gone.</summary>
public sealed partial class MapCache
{
    private readonly Queue<MapPage> _releases = new();
    private readonly Stack<LoadJob> _loadJobs = new();
    private readonly long _budgetBytes;
    private long _residentPages;
    private long _evictedPages;
    private long _residentLayerPages;
    private long _evictedLayerPages;
    private long _evictions;
    private long _written;
    private long _writeFailures;
    private long _loadsInPlace;
    private long _loadsByThread;
    private long _ticksInPlace;
    private long _ticksByThread;
    private long _lostPages;

    public MapCacheFacts Facts => new(_budgetBytes, Volatile.Read(ref _residentPages), Volatile.Read(ref _evictedPages), Volatile.Read(ref _evictions), Volatile.Read(ref _written), Volatile.Read(ref _writeFailures),
        Volatile.Read(ref _loadsInPlace), Volatile.Read(ref _loadsByThread), Volatile.Read(ref _ticksInPlace) / (double)Stopwatch.Frequency,
        Volatile.Read(ref _ticksByThread) / (double)Stopwatch.Frequency, Volatile.Read(ref _lostPages), _file.LengthBytes,
        Volatile.Read(ref _residentLayerPages), Volatile.Read(ref _evictedLayerPages));

    internal long LoadsInPlace => _loadsInPlace;

    /// <summary>Pages whose maps are gone, and that were not read yet: their segments still count what they have.</summary>
    internal bool IsReleasing => _releases.Count > 0 || _isReleasing;

    /// <summary>Pages that are to be read back on a disk thread, for one client's read or the cleaner.</summary>
    internal LoadJob TakeLoadJob() => _loadJobs.TryPop(out var job) ? job : new LoadJob(this);

    /// <summary>Of an open, at its end: all that was trimmed or deleted is given back before it is asked which segments are free. Blocks.</summary>
    internal void DrainReleases()
    {
        while (_releases.Count > 0)
        {
            _release.Collect();
            _release.Execute();
            OnReleased(_release);
        }
    }

    private void Collect(MapPage page, int slot)
    {
        page.IsWriting = true;
        _writing++;
        _evict.Add(page, slot);
    }

    private bool WriteInPlace(MapPage page)
    {
        if (TakeSlot() is not (>= 0 and var slot)) return false;
        var result = _file.TryWrite(slot, page.Entries);
        if (!result.IsOk)
        {
            GiveSlot(slot);
            // A disk thread makes the file longer at this moment: then soon.
            if (result.Status != IoStatus.Busy) OnWriteFailed(result, slot);
            return false;
        }
        _written++;
        Place(page, slot, MapPageFile.HashOf(page.Entries));
        if (page is not LayerPage layerPage) return true;
        Span<ulong> filter = stackalloc ulong[LayerFilter.Words];
        LayerFilter.Make(page.Entries, filter);
        layerPage.TakeFilter(filter);
        return true;
    }

    private void OnWriteFailed(DiskResult result, int slot)
    {
        _writeFailures++;
        // Without room the file is of use as far as it goes.
        if (result.Status == IoStatus.NoSpace && !_file.Has(slot)) _noGrowthBeforeMs = _store.NowMs + WriteRetryMs;
        else _noWriteBeforeMs = _store.NowMs + WriteRetryMs;
        _store.OnMapCacheStuck(result.Detail ?? "a write failed");
    }

    private void OnEvicted(EvictJob job)
    {
        _isEvicting = false;
        for (var index = 0; index < job.Count; index++)
        {
            var (page, entries, slot) = (job.Pages[index]!, job.Entries[index]!, job.Slots[index]);
            // Changed meanwhile, it has other entries or none; and nobody has these any more, but perhaps a checkpoint.
            var isSame = page.IsWriting && page.Resident == entries;
            if (isSame) StopWriting(page);
            if (!isSame || index >= job.Done) GiveSlot(slot);
            else
            {
                Place(page, slot, job.Hashes[index]);
                if (page is LayerPage layerPage) layerPage.TakeFilter(job.FilterOf(index));
                if (!page.IsUsed && _resident.Count > _budgetPages - (_budgetPages / SlackPart)) Drop(page);
            }
        }
        _written += job.Done;
        if (!job.Result.IsOk) OnWriteFailed(job.Result, job.Slots[job.Done]);
        job.Clear();
        _store.OnMapCacheFull();
        _store.OnJobDone();
    }

    private void OnLoaded(LoadJob job)
    {
        _ticksByThread += job.Ticks;
        for (var index = 0; index < job.Count; index++)
        {
            var page = job.Pages[index]!;
            // Read back meanwhile, or gone: what the thread has read is of no use, and proves nothing.
            var isWanted = page is { Map: not null, IsResident: false } && page.Stamp == job.Stamps[index];
            if (isWanted && job.Results[index].IsOk)
            {
                _loadsByThread++;
                Install(page, job.Entries[index]!);
                continue;
            }
            GiveEntries(job.Entries[index]!);
            if (isWanted) Lose(page, job.Results[index].Detail ?? "it can't be read");
        }
        var then = job.Then!;
        job.Clear();
        _loadJobs.Push(job);
        then.OnPagesLoaded();
        _store.OnJobDone();
    }

    private void BeginRelease()
    {
        if (_isReleasing || _releases.Count == 0 || _store.IsStopping) return;
        _isReleasing = true;
        _release.Collect();
        _store.Submit(DiskLane.Map, _release);
    }

    private void OnReleased(ReleaseJob job)
    {
        for (var index = 0; index < job.Count; index++)
        {
            var page = job.Pages[index]!;
            if (!job.Results[index].IsOk)
            {
                // Nor is the slot used again.
                Place(page, -1, 0);
                _store.OnReleaseFailed(job.Results[index].Detail ?? "it can't be read");
                continue;
            }
            foreach (ref readonly var entry in job.Entries[index].AsSpan())
            {
                if (entry.IsMapped) _segments.RemoveLive(in entry);
            }
            Unplace(page);
        }
        job.Clear();
    }

    private void OnReleaseDone(ReleaseJob job)
    {
        OnReleased(job);
        _isReleasing = false;
        BeginRelease();
        if (!_isReleasing) _store.OnReleasesDone();
        _store.OnJobDone();
    }

    /// <summary>Writes up to a MiB of pages. One is under way at most.</summary>
    private sealed class EvictJob(MapCache cache) : DiskJob
    {
        public const int PagesMax = 64;

        public MapPage?[] Pages { get; } = new MapPage?[PagesMax];

        public MapEntry[]?[] Entries { get; } = new MapEntry[]?[PagesMax];

        public int[] Slots { get; } = new int[PagesMax];

        public ulong[] Hashes { get; } = new ulong[PagesMax];

        private readonly ulong[] _filters = new ulong[PagesMax * LayerFilter.Words];

        public Span<ulong> FilterOf(int index) => _filters.AsSpan(index * LayerFilter.Words, LayerFilter.Words);

        public int Count { get; private set; }

        /// <summary>So many were written, the first ones.</summary>
        public int Done { get; private set; }

        public DiskResult Result { get; private set; }

        public void Add(MapPage page, int slot)
        {
            (Pages[Count], Entries[Count], Slots[Count]) = (page, page.Entries, slot);
            Count++;
        }

        public override void Execute()
        {
            (Done, Result) = (0, DiskResult.Done());
            for (; Done < Count; Done++)
            {
                Hashes[Done] = MapPageFile.HashOf(Entries[Done]);
                if (Pages[Done] is LayerPage) LayerFilter.Make(Entries[Done], FilterOf(Done));
                Result = cache._file.Write(Slots[Done], Entries[Done]);
                if (!Result.IsOk) return;
            }
        }

        public override void Complete() => cache.OnEvicted(this);

        public void Clear()
        {
            Array.Clear(Pages);
            Array.Clear(Entries);
            Count = 0;
        }
    }

    /// <summary>Reads pages whose maps are gone. One is under way at most.</summary>
    private sealed class ReleaseJob(MapCache cache) : DiskJob
    {
        private const int PagesMax = 64;

        public MapPage?[] Pages { get; } = new MapPage?[PagesMax];

        public MapEntry[]?[] Entries { get; } = new MapEntry[]?[PagesMax];

        public DiskResult[] Results { get; } = new DiskResult[PagesMax];

        public int Count { get; private set; }

        public void Collect()
        {
            for (; Count < PagesMax && cache._releases.TryDequeue(out var page); Count++) (Pages[Count], Entries[Count]) = (page, cache.TakeEntries(isCleared: false));
        }

        public override void Execute()
        {
            for (var index = 0; index < Count; index++) Results[index] = cache._file.Read(Pages[index]!.Slot, Pages[index]!.Hash, Entries[index]);
        }

        public override void Complete() => cache.OnReleaseDone(this);

        public void Clear()
        {
            for (var index = 0; index < Count; index++) cache.GiveEntries(Entries[index]!);
            Array.Clear(Pages);
            Array.Clear(Entries);
            Count = 0;
        }
    }

    /// <summary>Reads pages back for a client's read, or for the cleaner. Pooled; as many as there are reads under way, and one.</summary>
    internal sealed class LoadJob(MapCache cache) : DiskJob
    {
        /// <summary>A read wants two of the volume's own, and two of each map below it; the cleaner one for each block of a record. More are read in place.</summary>
        public const int PagesMax = Limits.RecordBlocksMax;

        private readonly int[] _slots = new int[PagesMax];
        private readonly ulong[] _hashes = new ulong[PagesMax];

        public MapPage?[] Pages { get; } = new MapPage?[PagesMax];

        public MapEntry[]?[] Entries { get; } = new MapEntry[]?[PagesMax];

        public int[] Stamps { get; } = new int[PagesMax];

        public DiskResult[] Results { get; } = new DiskResult[PagesMax];

        public int Count { get; private set; }

        public IPagesLoaded? Then { get; set; }

        public long Ticks { get; private set; }

        public void Add(MapPage page)
        {
            if (Count == PagesMax || page is not { Map: not null, IsResident: false }) return;
            (Pages[Count], _slots[Count], _hashes[Count], Stamps[Count]) = (page, page.Slot, page.Hash, page.Stamp);
            Entries[Count++] = cache.TakeEntries(isCleared: false);
        }

        public override void Execute()
        {
            var began = Stopwatch.GetTimestamp();
            for (var index = 0; index < Count; index++) Results[index] = cache._file.Read(_slots[index], _hashes[index], Entries[index]);
            Ticks = Stopwatch.GetTimestamp() - began;
        }

        public override void Complete() => cache.OnLoaded(this);

        public void Clear()
        {
            Array.Clear(Pages);
            Array.Clear(Entries);
            (Count, Then) = (0, null);
        }
    }
}

/// <summary>Waits for pages.</summary>
internal interface IPagesLoaded
{
    /// <summary>On the loop; each page was read back, or is lost.</summary>
    void OnPagesLoaded();
}
