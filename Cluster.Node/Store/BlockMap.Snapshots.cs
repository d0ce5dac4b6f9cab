using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The versions of blocks that snapshots see and the volume does not any more (R19).
/// <para>
/// A version lives from its sequence to the next change of its block. A snapshot sees it if its marker lies between the two. Each version is kept once: by the volume while
/// it is current, else by the newest snapshot that sees it, else not at all. So an overwrite costs one move, a new snapshot nothing, and deleting one hands each of its versions
/// to the next older snapshot, if that sees it: a few at a time, while the deleted one is hidden.
/// </para>
/// <para>
/// A copy that catches up gets versions and trims in any order (R8). Each one says when the versions before it ended: those are moved down to the newest snapshot older than it,
/// or dropped. A version may be kept too high for a while, never too low, and once all was told each is where it is at the owner. StoreModelSpecs compare with a list of all that ever happened.
/// </para>
/// <para>Invariant: of two versions of a block, the one that the newer snapshot keeps is newer than the older snapshot.</para>
/// </summary>
public sealed partial class BlockMap
{
    private readonly List<SnapshotLayer> _layers = [];

    /// <summary>Ascending by sequence.</summary>
    public IReadOnlyList<SnapshotLayer> Layers => _layers;

    /// <summary>Bytes that only snapshots hold.</summary>
    public long SnapshotBytes => _layers.Sum(layer => layer.StoredBytes);

    /// <summary>Of these, the bytes of snapshots that are deleted: clones stand on them.</summary>
    public long ClonesBytes => _layers.Sum(layer => layer.IsHidden ? layer.StoredBytes : 0);

    public SnapshotLayer? Layer(ulong snapshot) => IndexOf(snapshot) is >= 0 and var index ? _layers[index] : null;

    /// <summary>What the snapshot sees of the block, as far as the map has it itself.</summary>
    private bool TryGetAt(ulong snapshot, ulong block, out MapEntry entry)
    {
        var isFound = false;
        entry = default;
        for (var index = FirstAtOrAfter(snapshot); index < _layers.Count && !isFound; index++) isFound = _layers[index].TryGet(block, out entry);
        if ((isFound || TryGet(block, out entry)) && entry.Sequence <= snapshot) return true;
        entry = default;
        return false;
    }

    /// <summary>A marker: from here on the snapshot is there.</summary>
    public void AddSnapshot(ulong sequence)
    {
        var at = FirstAtOrAfter(sequence);
        Invariant.That(at == _layers.Count || _layers[at].Sequence != sequence, "a snapshot was made twice");
        var layer = new SnapshotLayer(this, sequence, segments, cache);
        var older = at > 0 ? _layers[at - 1].Sequence : 0;
        for (var index = 0; index < Tombstones.Count; index++)
        {
            if (Tombstones[index].Sequence < sequence && Tombstones[index].Sequence > older) layer.Tombstones.TryAppend(Tombstones[index]);
        }
        BeginSeen(layer, at);
        _layers.Insert(at, layer);
    }

    /// <summary>As read from a checkpoint, ascending, else false: empty, without trims of its own.</summary>
    public bool TryLoadSnapshot(ulong sequence)
    {
        if (sequence == 0 || (_layers.Count > 0 && sequence <= _layers[^1].Sequence)) return false;
        // A checkpoint of before 0.1.0 has them behind the pages.
        _isSeenUnknown |= Entries > 0;
        _layers.Add(new SnapshotLayer(this, sequence, segments, cache));
        return true;
    }

    /// <summary>As read from a checkpoint. False: there is no such snapshot, or it has this block or a later one already.</summary>
    public bool TryLoad(ulong snapshot, ulong block, in MapEntry entry)
    {
        if (Layer(snapshot) is not { } layer || !layer.TryLoad(block, in entry)) return false;
        NoteBegun(entry.Sequence, BytesOf(in entry));
        return true;
    }

    /// <summary>Deletes every snapshot that is not among these.</summary>
    public void KeepSnapshots(IReadOnlyList<ulong> kept)
    {
        var wanted = kept.ToHashSet();
        // One that comes back is made anew: what it kept is not whole any more.
        if (_leaving.Exists(layer => wanted.Contains(layer.Sequence))) HandDownLeaving();
        var (layers, loadsUpTo) = (_layers.ToArray(), LoadsOfASlice);
        for (var index = layers.Length - 1; index >= 0; index--)
        {
            var layer = layers[index];
            if (layer.IsLeaving) continue;
            layer.IsHidden = !wanted.Contains(layer.Sequence);
            // What clones stand on stays, and the volume knows no more of it.
            if (layer.IsHidden && !_pins.ContainsKey(layer.Sequence)) Leave(layer, loadsUpTo);
        }
    }

    /// <summary>
    /// Puts in a version whose block may have changed since (R8): <paramref name="newest"/> is the newest snapshot that sees it, or <see cref="ulong.MaxValue"/> if the volume
    /// does. Answers whether it is kept.
    /// </summary>
    public bool Insert(ulong block, in MapEntry entry, ulong newest)
    {
        if (!FindEnd(block, entry.Sequence, newest, out var end)) return false;
        var wasThere = TryGet(block, out _);
        EndBefore(block, entry.Sequence);
        var isThere = end == ulong.MaxValue || TryGet(block, out _);
        if (wasThere != isThere) NoteShared(block, isThere ? -1 : 1);
        if (end == ulong.MaxValue)
        {
            var page = Writable(block >> MapPage.BlocksLog2);
            Add(page, ref page.Entries[block & (MapPage.Blocks - 1)], in entry);
            return true;
        }
        return Keep(block, in entry, end);
    }

    /// <summary>The sequence at which the version ended, as far as is known; false: it is here already.</summary>
    private bool FindEnd(ulong block, ulong sequence, ulong newest, out ulong end)
    {
        end = newest == ulong.MaxValue ? newest : newest + 1;
        if (TryGet(block, out var now))
        {
            if (now.Sequence == sequence) return false;
            if (now.Sequence > sequence) end = Math.Min(end, now.Sequence);
        }
        if (Tombstones.SequenceOf(block) is var trimmed && trimmed >= sequence) end = Math.Min(end, trimmed);
        for (var index = FirstAtOrAfter(sequence); index < _layers.Count; index++)
        {
            if (_layers[index].Tombstones.SequenceOf(block) is var seen && seen >= sequence) end = Math.Min(end, seen);
            if (!_layers[index].TryGet(block, out var kept)) continue;
            if (kept.Sequence == sequence) return false;
            if (kept.Sequence > sequence) end = Math.Min(end, kept.Sequence);
        }
        return true;
    }

    /// <summary>The block changed at this sequence: versions before it are seen by older snapshots at most.</summary>
    private void EndBefore(ulong block, ulong sequence)
    {
        if (TryGet(block, out var now) && now.Sequence < sequence)
        {
            var page = Writable(block >> MapPage.BlocksLog2);
            Remove(page, ref page.Entries[block & (MapPage.Blocks - 1)]);
            DropIfEmpty(block >> MapPage.BlocksLog2, page);
            Keep(block, in now, sequence);
        }
        for (var index = FirstAtOrAfter(sequence); index < _layers.Count; index++)
        {
            if (!_layers[index].TryGet(block, out var kept) || kept.Sequence >= sequence) continue;
            _layers[index].Remove(block);
            NoteBegun(kept.Sequence, -BytesOf(in kept));
            Keep(block, in kept, sequence);
        }
    }

    /// <summary>Gives a version that ended to the newest snapshot that sees it, if one does.</summary>
    private bool Keep(ulong block, in MapEntry entry, ulong end)
    {
        var index = FirstAtOrAfter(end) - 1;
        if (index < 0 || _layers[index].Sequence < entry.Sequence) return false;
        _layers[index].Add(block, in entry);
        NoteBegun(entry.Sequence, BytesOf(in entry));
        return true;
    }

    /// <summary>Trims what snapshots from the sequence on may have of the range from before it: a trim that comes late (R8).</summary>
    private void TrimLayers(BlockRange range, ulong sequence)
    {
        for (var index = FirstAtOrAfter(sequence); index < _layers.Count; index++)
        {
            var layer = _layers[index];
            if (index == FirstAtOrAfter(sequence)) layer.Tombstones.Add(range, sequence);
            for (var block = layer.NextBlock(range.First); block < range.End; block = layer.NextBlock(block + 1))
            {
                Yield();
                EndBefore(block, sequence);
            }
        }
    }

    /// <summary>The cleaner moved bytes that snapshots have: versions that a restore made share them.</summary>
    private void MoveInLayers(ulong block, in MapEntry old, in MapEntry to)
    {
        foreach (var layer in _layers)
        {
            if (layer.TryGet(block, out var kept) && IsSamePlace(in kept, in old)) layer.Replace(block, PlacedAs(in kept, in to));
        }
    }

    /// <summary>The entry of the block whose bytes lie there: the volume's, or a snapshot's.</summary>
    public bool TryFindAt(ulong block, int segment, uint offsetBytes, out MapEntry entry)
    {
        if (TryGet(block, out entry) && entry.Segment == segment && entry.OffsetBytes == offsetBytes) return true;
        foreach (var layer in _layers)
        {
            if (layer.TryGet(block, out entry) && entry.Segment == segment && entry.OffsetBytes == offsetBytes) return true;
        }
        entry = default;
        return false;
    }

    /// <summary>The version of this sequence, wherever it is kept.</summary>
    public bool TryFindVersion(ulong block, ulong sequence, out MapEntry entry)
    {
        if (TryGet(block, out entry) && entry.Sequence == sequence) return true;
        for (var index = FirstAtOrAfter(sequence); index < _layers.Count; index++)
        {
            if (_layers[index].TryGet(block, out entry) && entry.Sequence == sequence) return true;
        }
        return false;
    }

    /// <summary>Entries in segments that were used anew; none is left once the log behind the checkpoint was replayed.</summary>
    public long CountLost() => _lostEntries + _layers.Sum(layer => layer.LostEntries);

    private static bool IsSamePlace(in MapEntry one, in MapEntry other) => one.Segment == other.Segment && one.OffsetBytes == other.OffsetBytes;

    private static MapEntry PlacedAs(in MapEntry entry, in MapEntry place) => entry with { Segment = place.Segment, OffsetBytes = place.OffsetBytes };

    private int IndexOf(ulong snapshot)
    {
        var index = FirstAtOrAfter(snapshot);
        return index < _layers.Count && _layers[index].Sequence == snapshot ? index : -1;
    }

    /// <summary>Index of the oldest snapshot that is not older than the sequence.</summary>
    private int FirstAtOrAfter(ulong sequence)
    {
        var (low, high) = (0, _layers.Count);
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (_layers[middle].Sequence >= sequence) high = middle;
            else low = middle + 1;
        }
        return low;
    }
}
