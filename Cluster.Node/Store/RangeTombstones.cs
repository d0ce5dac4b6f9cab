using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>A range that was trimmed or zeroed by the record of this sequence.</summary>
public readonly record struct Tombstone(ulong First, ulong End, ulong Sequence);

/// <summary>
/// Which ranges were trimmed or zeroed, and when (R20). Sorted and disjoint; where two overlap the newer one stays. A trim of any size
/// is one entry.
/// </summary>
public sealed class RangeTombstones
{
    private readonly List<Tombstone> _list = [];
    private readonly List<Tombstone> _scratch = [];

    public int Count => _list.Count;

    public Tombstone this[int index] => _list[index];

    public Tombstone[] ToArray() => [.. _list];

    /// <summary>0: the block lies in no tombstone.</summary>
    public ulong SequenceOf(ulong block)
    {
        var index = FirstEndingAfter(block);
        return index < _list.Count && _list[index].First <= block ? _list[index].Sequence : 0;
    }

    /// <summary>Index of the first tombstone that ends above the block.</summary>
    public int FirstEndingAfter(ulong block)
    {
        var (low, high) = (0, _list.Count);
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (_list[middle].End > block) high = middle;
            else low = middle + 1;
        }
        return low;
    }

    /// <summary>Adds a range; parts that a newer tombstone covers stay as they are.</summary>
    public void Add(BlockRange range, ulong sequence)
    {
        var from = FirstEndingAfter(range.First);
        var to = from;
        _scratch.Clear();
        var at = range.First;
        for (; to < _list.Count && _list[to].First < range.End; to++)
        {
            var old = _list[to];
            if (old.First < range.First) Push(new Tombstone(old.First, range.First, old.Sequence));
            if (old.First > at) Push(new Tombstone(at, old.First, sequence));
            var (first, end) = (Math.Max(old.First, range.First), Math.Min(old.End, range.End));
            Push(new Tombstone(first, end, Math.Max(old.Sequence, sequence)));
            if (old.End > range.End) Push(new Tombstone(range.End, old.End, old.Sequence));
            at = end;
        }
        if (at < range.End) Push(new Tombstone(at, range.End, sequence));
        Replace(from, to);
    }

    public void Add(Tombstone tombstone)
    {
        for (var first = tombstone.First; first < tombstone.End;)
        {
            var range = new BlockRange(first, (uint)Math.Min(tombstone.End - first, Limits.RangeBlocksMax));
            Add(range, tombstone.Sequence);
            first = range.End;
        }
    }

    /// <summary>Drops those of this sequence or an older one.</summary>
    public void RemoveUpTo(ulong sequence) => _list.RemoveAll(tombstone => tombstone.Sequence <= sequence);

    /// <summary>As read from a checkpoint: ascending and disjoint, else false.</summary>
    public bool TryAppend(Tombstone tombstone)
    {
        if (tombstone.First >= tombstone.End || (_list.Count > 0 && tombstone.First < _list[^1].End)) return false;
        _list.Add(tombstone);
        return true;
    }

    /// <summary>Neighbours of the same sequence are one.</summary>
    private void Push(Tombstone tombstone)
    {
        if (_scratch.Count > 0 && _scratch[^1].End == tombstone.First && _scratch[^1].Sequence == tombstone.Sequence)
            _scratch[^1] = _scratch[^1] with { End = tombstone.End };
        else _scratch.Add(tombstone);
    }

    private void Replace(int from, int to)
    {
        var shared = Math.Min(to - from, _scratch.Count);
        for (var index = 0; index < shared; index++) _list[from + index] = _scratch[index];
        if (to - from > shared) _list.RemoveRange(from + shared, to - from - shared);
        for (var index = shared; index < _scratch.Count; index++) _list.Insert(from + index, _scratch[index]);
    }
}
