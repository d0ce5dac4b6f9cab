using System.Runtime.InteropServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>The pages of a layer: found by block, split when they are full, put together when they are nearly empty.</summary>
public sealed partial class SnapshotLayer
{
    /// <summary>So many versions fill a page.</summary>
    private readonly int _full = cache?.LayerPageVersions ?? MapPage.Blocks;

    /// <summary>A page that has no more than this is put together with its neighbour, if both have no more than <see cref="JoinedMax"/>.</summary>
    private int JoinBelow => Math.Max(_full / 8, 1);

    private int JoinedMax => _full * 3 / 4;

    /// <summary>A page that had to be read is likely to be followed by the next ones: the one so far ahead is asked for.</summary>
    private const int PagesAhead = 4;

    /// <summary>Ascending, and the first block of each.</summary>
    private readonly List<LayerPage> _pages = [];
    private readonly List<ulong> _firsts = [];

    public int PageCount => _pages.Count;

    /// <summary>As it is: its entries may not be in memory.</summary>
    internal LayerPage Peek(int index) => _pages[index];

    /// <summary>With its entries in memory.</summary>
    internal LayerPage Reach(int index)
    {
        var page = _pages[index];
        if (!page.IsResident) AdviseAt(index + PagesAhead);
        map.Reached(page);
        return page;
    }

    /// <summary>Versions of these blocks may come: the pages at both ends of the range that would take them are asked for, where they surely have none yet.</summary>
    internal void Advise(BlockRange range)
    {
        var (first, last) = (Math.Max(IndexOf(range.First), 0), Math.Max(IndexOf(range.End - 1), 0));
        if (_pages.Count > 0 && !_pages[first].MayHave(range.First)) AdviseAt(first);
        if (last != first && !_pages[last].MayHave(range.End - 1)) AdviseAt(last);
    }

    private void AdviseAt(int index)
    {
        if (index >= 0 && index < _pages.Count && _pages[index] is { IsResident: false } page) cache!.Advise(page);
    }

    /// <summary>The first page that may have something of this block or a later one.</summary>
    internal int PageFrom(ulong block)
    {
        var index = Math.Max(IndexOf(block), 0);
        return index < _pages.Count && _pages[index].Last < block ? index + 1 : index;
    }

    /// <summary>The page that may have a version of the block; null: none.</summary>
    internal LayerPage? Holder(ulong block) => IndexOf(block) is >= 0 and var index && _pages[index].MayHave(block) ? _pages[index] : null;

    /// <summary>Adds the pages that are not in memory and may have something of the range.</summary>
    internal void FindAbsent(BlockRange range, List<MapPage> absent)
    {
        for (var index = PageFrom(range.First); index < _pages.Count && _firsts[index] < range.End; index++)
        {
            if (!_pages[index].IsResident && MayHaveAny(_pages[index], range.First, range.End)) absent.Add(_pages[index]);
        }
    }

    /// <summary>Reads those in place.</summary>
    internal void ReachAll(BlockRange range)
    {
        for (var index = PageFrom(range.First); index < _pages.Count && _firsts[index] < range.End; index++)
        {
            if (!_pages[index].IsResident && MayHaveAny(_pages[index], range.First, range.End)) Reach(index);
        }
    }

    /// <summary>Of ranges of a record's size it is looked up block by block.</summary>
    private static bool MayHaveAny(LayerPage page, ulong from, ulong end)
    {
        var (first, last) = (Math.Max(page.First, from), Math.Min(page.Last, end - 1));
        if (page.IsResident || first > last || last - first >= Limits.RecordBlocksMax) return first <= last;
        for (var block = first; block <= last; block++)
        {
            if (page.MayHave(block)) return true;
        }
        return false;
    }

    /// <summary>The last page that does not begin behind the block; -1: none.</summary>
    private int IndexOf(ulong block)
    {
        var at = CollectionsMarshal.AsSpan(_firsts).BinarySearch(block);
        return at >= 0 ? at : ~at - 1;
    }

    private LayerPage Writable(int index)
    {
        var page = Reach(index);
        map.BeginChange(page);
        return page;
    }

    private void Insert(ulong block, in MapEntry entry)
    {
        var stretch = LayerPage.StretchOf(block);
        var index = IndexOf(block);
        if (index < 0 || _pages[index].Stretch != stretch)
        {
            index++;
            if (index == _pages.Count || _pages[index].Stretch != stretch) Open(index, block);
        }
        else if (_pages[index].Mapped == _full && block > _pages[index].Last) index = RoomBehind(index, block);
        var page = Writable(index);
        var at = page.Find(block);
        Invariant.That(at < 0, "a snapshot was given two versions of a block");
        at = ~at;
        if (page.Mapped == _full) page = MakeRoom(ref index, ref at, page, block);
        var frames = page.Frames;
        page.Insert(at, block, in entry);
        Frames += page.Frames - frames;
        _firsts[index] = page.First;
    }

    /// <summary>Where blocks come in order what is full stays so, and is not even read: they go to the next page, if that is not well filled, or to a new one. Answers which.</summary>
    private int RoomBehind(int index, ulong block)
    {
        var stretch = _pages[index++].Stretch;
        if (index == _pages.Count || _pages[index].Stretch != stretch || _pages[index].Mapped >= JoinedMax) Open(index, block);
        return index;
    }

    /// <summary>Splits a full page; where blocks come in order, downwards, what is full stays so.</summary>
    private LayerPage MakeRoom(ref int index, ref int at, LayerPage page, ulong block)
    {
        if (at == 0) return Open(index, block);
        var half = _full / 2;
        var frames = page.Frames;
        var upper = Open(index + 1, page.BlockAt(half));
        page.SplitTo(upper, half);
        Frames += page.Frames + upper.Frames - frames;
        if (at <= half) return page;
        (index, at) = (index + 1, at - half);
        return upper;
    }

    private LayerPage Open(int index, ulong first)
    {
        var page = cache is null ? new LayerPage(map, this, first, new MapEntry[MapPage.Blocks]) { Snapshot = segments.Snapshot } : cache.Make(map, this, first);
        _pages.Insert(index, page);
        _firsts.Insert(index, first);
        return page;
    }

    private void Close(int index)
    {
        var page = _pages[index];
        Frames -= page.Frames;
        _pages.RemoveAt(index);
        _firsts.RemoveAt(index);
        cache?.Forget(page);
    }

    private void RemoveAt(int index, LayerPage page, int at)
    {
        var frames = page.Frames;
        page.RemoveAt(at);
        Frames += page.Frames - frames;
        if (page.Mapped == 0)
        {
            Close(index);
            return;
        }
        _firsts[index] = page.First;
        if (page.Mapped > JoinBelow) return;
        if (!TryJoin(index - 1)) TryJoin(index);
    }

    /// <summary>Puts the page and the one behind it together. None is read for it.</summary>
    private bool TryJoin(int index)
    {
        if (index < 0 || index + 1 >= _pages.Count) return false;
        var (page, behind) = (_pages[index], _pages[index + 1]);
        if (!page.IsResident || !behind.IsResident || page.IsLost || behind.IsLost || page.Stretch != behind.Stretch || page.Mapped + behind.Mapped > JoinedMax) return false;
        map.BeginChange(page);
        var frames = page.Frames;
        page.Join(behind);
        Frames += page.Frames - frames;
        Close(index + 1);
        return true;
    }

    /// <summary>Only the first entries of the page stay; what the others counted was taken off.</summary>
    private void Cut(int index, LayerPage page, int count)
    {
        if (count == 0)
        {
            Close(index);
            return;
        }
        map.BeginChange(page);
        var frames = page.Frames;
        page.CutTo(count);
        Frames += page.Frames - frames;
    }
}
