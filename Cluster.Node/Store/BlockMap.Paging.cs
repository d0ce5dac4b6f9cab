using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// Pages that are not in memory (<see cref="MapCache"/>). Whatever looks at a page's entries has it read back first, in place; those who can wait ask before which are absent. None leaves memory
/// within an operation.
/// </summary>
public sealed partial class BlockMap
{
    /// <summary>Entries that are <see cref="MapEntry.IsLost"/>; only while a store is opened.</summary>
    private long _lostEntries;

    /// <summary>Pages that a long change asks for ahead of itself: the device is kept busy while the loop is.</summary>
    private const int PagesAhead = 32;

    /// <summary>Adds the pages, of this map and of those below, that a look at the range may read and that are not in memory.</summary>
    internal void FindAbsent(BlockRange range, List<MapPage> absent)
    {
        for (var number = range.First >> MapPage.BlocksLog2; number <= (range.End - 1) >> MapPage.BlocksLog2; number++)
        {
            for (var map = this; map is not null; map = map.Base?.Map)
            {
                if (map._pages.TryGetValue(number, out var page) && !page.IsResident) absent.Add(page);
            }
        }
        for (var below = Base; below is not null; below = below.Map.Base)
        {
            var (map, snapshot) = below;
            for (var index = map.FirstAtOrAfter(snapshot); index < map._layers.Count; index++) map._layers[index].FindAbsent(range, absent);
        }
    }

    /// <summary>Adds the map's own pages that may have a version of the block, the volume's or a snapshot's, and are not in memory; those that are there are spared while others are read.</summary>
    internal void FindAbsentOf(ulong block, List<MapPage> absent)
    {
        if (_pages.TryGetValue(block >> MapPage.BlocksLog2, out var page)) Want(page, absent);
        foreach (var layer in _layers)
        {
            if (layer.Holder(block) is { } holder) Want(holder, absent);
        }
    }

    private static void Want(MapPage page, List<MapPage> absent)
    {
        page.IsUsed = true;
        if (!page.IsResident && !absent.Contains(page)) absent.Add(page);
    }

    /// <summary>
    /// The blocks are about to be written or trimmed: what is not in memory of the pages at both ends of the range is asked for, so that it is there when the change is committed, and so are those
    /// where the newest snapshot would keep what was there.
    /// </summary>
    internal void Advise(BlockRange range)
    {
        if (cache is not { HasEvicted: true } || range.Count == 0) return;
        var (first, last) = (range.First >> MapPage.BlocksLog2, (range.End - 1) >> MapPage.BlocksLog2);
        if (_pages.TryGetValue(first, out var page) && !page.IsResident) cache.Advise(page);
        if (last != first && _pages.TryGetValue(last, out page) && !page.IsResident) cache.Advise(page);
        if (_layers.Count > 0) _layers[^1].Advise(range);
        if (Base is null) return;
        AdviseBase(range.First);
        if (range.Count > 1) AdviseBase(range.End - 1);
    }

    /// <summary>A clone's block that it has not written itself yet: what the base has of it is counted when it is.</summary>
    private void AdviseBase(ulong block)
    {
        if (_pages.TryGetValue(block >> MapPage.BlocksLog2, out var own) && own.IsResident && own.Entries[block & (MapPage.Blocks - 1)].IsMapped) return;
        for (var below = Base; below is not null; below = below.Map.Base)
        {
            var (map, snapshot) = below;
            if (map._pages.TryGetValue(block >> MapPage.BlocksLog2, out var page) && !page.IsResident) cache!.Advise(page);
            for (var index = map.FirstAtOrAfter(snapshot); index < map._layers.Count; index++)
            {
                if (map._layers[index].Holder(block) is { IsResident: false } holder) cache!.Advise(holder);
            }
        }
    }

    /// <summary>Reads in place what is absent of the range. What is lost with that makes the map damaged, before anybody relies on it.</summary>
    /// <param name="range">Of a record's size.</param>
    internal void ReachAll(BlockRange range)
    {
        if (cache is not { HasEvicted: true } || range.Count == 0) return;
        for (var number = range.First >> MapPage.BlocksLog2; number <= (range.End - 1) >> MapPage.BlocksLog2; number++)
        {
            for (var map = this; map is not null; map = map.Base?.Map)
            {
                if (map._pages.TryGetValue(number, out var page)) map.Reached(page);
            }
        }
        for (var below = Base; below is not null; below = below.Map.Base)
        {
            var (map, snapshot) = below;
            for (var index = map.FirstAtOrAfter(snapshot); index < map._layers.Count; index++) map._layers[index].ReachAll(range);
        }
    }

    /// <summary>The same of what all snapshots of the volume's own keep.</summary>
    internal void ReachLayers(BlockRange range)
    {
        if (cache is not { HasEvicted: true }) return;
        foreach (var layer in _layers) layer.ReachAll(range);
    }

    /// <summary>The same of all that <see cref="TryGetKept(ulong, ulong, out MapEntry, out BlockMap)"/> looks at.</summary>
    internal void ReachKept(BlockRange range, ulong snapshot)
    {
        if (cache is not { HasEvicted: true }) return;
        // Which snapshot keeps what a clone has of its base, all of them tell.
        if (Base is not null) ReachLayers(range);
        else if (IndexOf(snapshot) is >= 0 and var index)
        {
            for (var at = index; at < _layers.Count && (at == index || _layers[at].IsHidden); at++) _layers[at].ReachAll(range);
        }
    }

    /// <summary>A long change of these pages, in this order, is at one of them: those that it comes to soon are asked for.</summary>
    private void AskAhead(ReadOnlySpan<ulong> numbers, int at)
    {
        if (cache is not { HasEvicted: true }) return;
        for (var index = at == 0 ? 0 : at + PagesAhead - 1; index < Math.Min(numbers.Length, at + PagesAhead); index++)
        {
            if (_pages.TryGetValue(numbers[index], out var page) && !page.IsResident) cache.Advise(page);
        }
    }

    /// <summary>Between two pages of a long look, which holds neither.</summary>
    internal void Yield() => cache?.Yield();

    internal MapPage Reached(MapPage page)
    {
        page.IsUsed = true;
        if (!page.IsResident) cache!.Load(page);
        return page;
    }

    internal void BeginChange(MapPage page)
    {
        if (cache is not null)
        {
            cache.BeginChange(page);
            return;
        }
        if (page.Snapshot < segments.Snapshot && segments.IsSnapshotHeld) page.Put((MapEntry[])page.Entries.Clone());
        page.Snapshot = segments.Snapshot;
    }

    /// <summary>
    /// The page is trimmed as a whole and nothing in it is as new as that: it goes without being read, and what it keeps of segments is given back in the background. Not where a snapshot may
    /// see some of it, nor in a clone, whose entries are not all its own.
    /// </summary>
    private bool TryDropUnread(ulong number, MapPage page, ulong sequence)
    {
        if (page.IsResident || page.SequenceMax >= sequence || _layers.Count > 0 || Base is not null || _lostEntries > 0) return false;
        StoredBytes -= page.StoredBytes;
        MappedBlocks -= page.Mapped;
        Entries -= page.Mapped;
        _pages.Remove(number);
        _pagesRemoved = true;
        cache!.Release(page);
        return true;
    }

    internal void ReleasePage(MapPage page)
    {
        if (!page.IsResident)
        {
            cache!.Release(page);
            return;
        }
        foreach (ref readonly var entry in page.Entries.AsSpan())
        {
            if (entry.IsMapped) segments.RemoveLive(in entry);
        }
        cache?.Forget(page);
    }
}
