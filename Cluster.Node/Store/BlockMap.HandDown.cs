namespace Cluster.Node.Store;

/// <summary>
/// How a deleted snapshot goes: it is hidden at once, and what it keeps is handed to the next older one, or freed, in slices. Meanwhile it is a layer like any other, and may get versions of blocks that change:
/// those are kept too high for a while, which is allowed.
/// </summary>
public sealed partial class BlockMap
{
    /// <summary>That many leave at one time at most; one more has all of them gone first, so that a checkpoint never has more layers than an open takes.</summary>
    private const int LeavingMax = 1024;

    /// <summary>Hidden, and no clone stands on them.</summary>
    private readonly List<SnapshotLayer> _leaving = [];

    /// <summary>Pages that one slice reads back in place, about: a few hundred microseconds from the page cache, from a disk as many of its reads.</summary>
    private const int HandDownLoadsMax = 32;

    /// <summary>A snapshot is gone. What little it keeps goes at once, and so does everything while the log is read again: segments that were used anew since must be named by nothing then.</summary>
    /// <param name="layer">The snapshot's.</param>
    /// <param name="loadsUpTo">Once so many pages were read back in all, none goes at once any more.</param>
    private void Leave(SnapshotLayer layer, long loadsUpTo)
    {
        if (layer.IsLeaving) return;
        if (_leaving.Count == LeavingMax) HandDownLeaving();
        (layer.IsLeaving, layer.IsHidden) = (true, true);
        _leaving.Add(layer);
        if (cache is null || cache.IsOpening || (IsLittle(layer) && cache.LoadsInPlace < loadsUpTo)) HandDownLast();
        else cache.NoteLeaving(this);
    }

    /// <summary>For each version a page may have to be read back, to which it goes.</summary>
    private bool IsLittle(SnapshotLayer layer) => layer.Blocks <= (cache!.HasEvicted ? Math.Min(HandDownLoadsMax, cache.HandDownBlocks) : cache.HandDownBlocks);

    private long LoadsOfASlice => (cache?.LoadsInPlace ?? 0) + HandDownLoadsMax;

    /// <summary>An open has read all there is: those that were leaving when the store stopped are gone with it.</summary>
    internal void HandDownAll()
    {
        foreach (var layer in _layers.Where(layer => layer.IsHidden && !_pins.ContainsKey(layer.Sequence)).ToArray()) Leave(layer, long.MaxValue);
        // As the last slice does it: what is dropped may lie in segments that have been used anew since.
        if (IsDetached && IsPinned) DropUnseen();
    }

    /// <summary>So many blocks at most, and less if pages have to be read back for more than some. True: nothing is left to do.</summary>
    internal bool HandDown(int blocksMax) => HandDown(blocksMax, LoadsOfASlice);

    /// <summary>All of it, in this call.</summary>
    private void HandDownLeaving()
    {
        while (!HandDown(int.MaxValue, long.MaxValue)) continue;
    }

    private bool HandDown(int blocksMax, long loadsUpTo)
    {
        while (_leaving.Count > 0 && blocksMax > 0 && HandDown(_leaving[0], ref blocksMax, loadsUpTo))
        {
            Remove(_leaving[0]);
            _leaving.RemoveAt(0);
            // What it was the last to see of a map that no volume has any more.
            if (IsDetached && IsPinned) DropUnseen();
        }
        return _leaving.Count == 0;
    }

    private void HandDownLast()
    {
        var layer = _leaving[^1];
        for (var all = int.MaxValue; !HandDown(layer, ref all, long.MaxValue);) all = int.MaxValue;
        Remove(layer);
        _leaving.RemoveAt(_leaving.Count - 1);
    }

    private bool HandDown(SnapshotLayer layer, ref int blocksMax, long loadsUpTo)
    {
        var index = IndexOf(layer.Sequence);
        var older = index > 0 ? _layers[index - 1] : null;
        while (layer.PageCount > 0 && blocksMax > 0)
        {
            Yield();
            if (cache is not null && cache.LoadsInPlace >= loadsUpTo) return false;
            blocksMax -= layer.HandDown(older, blocksMax, loadsUpTo);
        }
        return layer.PageCount == 0;
    }

    /// <summary>It keeps nothing any more.</summary>
    private void Remove(SnapshotLayer layer)
    {
        var index = IndexOf(layer.Sequence);
        _layers.RemoveAt(index);
        EndSeen(layer, index);
        // What was trimmed between the older snapshot and this one is so for the next newer one.
        for (var at = 0; at < layer.Tombstones.Count && index < _layers.Count; at++) _layers[index].Tombstones.Add(layer.Tombstones[at]);
    }
}
