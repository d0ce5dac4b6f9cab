using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

// R19, as naive as can be: each block keeps all versions that somebody sees, and what a snapshot sees is the newest one before it.
internal sealed partial class SimVolumeStore
{
    /// <summary>Versions that the volume does not see any more and some snapshot does; ascending.</summary>
    private readonly SortedDictionary<ulong, List<Cell>> _older = [];
    private readonly SortedSet<ulong> _snapshots = [];

    public IReadOnlyList<ulong> Snapshots => [.. _snapshots];

    public IoStatus SetSnapshots(IReadOnlyList<ulong> sequences)
    {
        var bytes = new byte[SnapshotsBody.SizeBytesMax];
        Stage(new SimOperation(SimOperationKind.Snapshots) { Bytes = new SnapshotsBody([.. sequences]).Encode(bytes).ToArray() });
        return IoStatus.Ok;
    }

    public ulong DigestSnapshot(ulong snapshot, BlockRange range)
    {
        var hash = new System.IO.Hashing.XxHash3();
        foreach (var (block, cell) in SeenBy(snapshot))
        {
            if (range.Contains(block) && cell.Encoded is not null) AppendTo(hash, block, in cell);
        }
        return hash.GetCurrentHashAsUInt64();
    }

    public ulong NextSnapshot(BlockRange range, ulong below)
    {
        foreach (var snapshot in _snapshots.Reverse())
        {
            if (snapshot >= below) continue;
            for (var block = range.First; block < range.End; block++)
            {
                if (Kept(snapshot, block) is { Encoded: not null }) return snapshot;
            }
        }
        return 0;
    }

    /// <summary>The version of the block that this snapshot is the newest one to see, and the volume does not; with 0 the volume's.</summary>
    private Cell? Kept(ulong snapshot, ulong block)
    {
        if (snapshot == 0) return Newest(block);
        if (!_older.TryGetValue(block, out var versions)) return null;
        foreach (var version in versions)
        {
            if (SeenNewest(block, version) == snapshot) return version;
        }
        return null;
    }

    private bool HasVersion(ulong block, ulong sequence) =>
        Newest(block)?.Sequence == sequence || (_older.TryGetValue(block, out var versions) && versions.Exists(version => version.Sequence == sequence));

    private bool HasBytes(ulong block) =>
        Newest(block)?.Encoded is not null || (_older.TryGetValue(block, out var versions) && versions.Exists(version => version.Encoded is not null));

    public SnapshotUsage UsageOf(ulong snapshot)
    {
        var all = SeenBy(snapshot).Count(seen => seen.Cell.Encoded is not null);
        var blocks = SeenBy(snapshot).Count(seen => seen.Cell.Encoded is not null && SequenceOf(seen.Block, withTail: false) != seen.Cell.Sequence
            && !_snapshots.Any(other => other != snapshot && View(other, seen.Block)?.Sequence == seen.Cell.Sequence));
        return new SnapshotUsage(blocks * 16L, blocks, (all - blocks) * 16L);
    }

    public ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents)
    {
        for (var block = range.First; block < range.End && extents.Count < extentsMax; block++)
        {
            var before = from == 0 ? null : View(from, block);
            var after = to == 0 ? Newest(block) : View(to, block);
            if (before?.Sequence != after?.Sequence && (before?.Encoded ?? after?.Encoded) is not null) extents.Add(new BlockRange(block, 1));
        }
        return range.End;
    }

    /// <summary>What a snapshot holds, for comparing replicas: block, sequence and bytes.</summary>
    public IEnumerable<(ulong Block, ulong Sequence, ulong Value)> SnapshotContent(ulong snapshot)
    {
        foreach (var (block, cell) in SeenBy(snapshot))
        {
            if (cell.Encoded is not null) yield return (block, cell.Sequence, BitConverter.ToUInt64(cell.Encoded));
        }
    }

    /// <summary>What a clone of the snapshot begins with, as entry of its own log: the model shares nothing.</summary>
    public SimOperation CloneOf(ulong snapshot) => new(SimOperationKind.Clone)
    {
        Sequence = snapshot,
        Content = [.. SeenBy(snapshot).Where(seen => seen.Cell.Encoded is not null).Select(seen => (seen.Block, seen.Cell.Sequence, seen.Cell.Descriptor, seen.Cell.Encoded!))],
    };

    private void ApplyClone(SimOperation operation)
    {
        foreach (var (block, sequence, descriptor, encoded) in operation.Content)
            _map[block] = new Cell(sequence, BlockDescriptor.Of(descriptor.Encoding, Volume, 0, block, encoded), encoded);
        (LastSequence, CommitWatermark, AppendedSequence) = (operation.Sequence, operation.Sequence, operation.Sequence);
    }

    private IEnumerable<(ulong Block, Cell Cell)> SeenBy(ulong snapshot)
    {
        foreach (var block in _map.Keys.ToList())
        {
            if (View(snapshot, block) is { } cell) yield return (block, cell);
        }
    }

    private Cell? Newest(ulong block) => _map.TryGetValue(block, out var cell) ? cell : null;

    private Cell? View(ulong snapshot, ulong block)
    {
        if (_map.TryGetValue(block, out var newest) && newest.Sequence < snapshot) return newest;
        if (!_older.TryGetValue(block, out var versions)) return null;
        for (var index = versions.Count - 1; index >= 0; index--)
        {
            if (versions[index].Sequence < snapshot) return versions[index];
        }
        return null;
    }

    /// <summary>In any order: its place among the versions is its sequence's.</summary>
    private void Put(ulong block, Cell cell)
    {
        var isKnown = _map.TryGetValue(block, out var newest);
        if (isKnown && newest.Sequence == cell.Sequence) return;
        if (!isKnown || newest.Sequence < cell.Sequence)
        {
            _map[block] = cell;
            if (!isKnown) return;
            cell = newest;
        }
        if (_snapshots.Count == 0) return;
        if (!_older.TryGetValue(block, out var versions)) _older.Add(block, versions = []);
        var place = versions.FindIndex(version => version.Sequence >= cell.Sequence);
        if (place < 0) versions.Add(cell);
        else if (versions[place].Sequence != cell.Sequence) versions.Insert(place, cell);
        Prune(block);
    }

    /// <summary>Of the older versions only those stay that a snapshot sees.</summary>
    private void Prune(ulong block)
    {
        if (!_older.TryGetValue(block, out var versions)) return;
        versions.RemoveAll(version => SeenNewest(block, version) == 0);
        if (versions.Count == 0) _older.Remove(block);
    }

    private void PruneAll()
    {
        foreach (var block in _older.Keys.ToList()) Prune(block);
    }

    /// <summary>The newest snapshot that sees this version; 0: none does.</summary>
    private ulong SeenNewest(ulong block, Cell version)
    {
        foreach (var snapshot in _snapshots.Reverse())
        {
            if (snapshot <= version.Sequence) break;
            if (View(snapshot, block)?.Sequence == version.Sequence) return snapshot;
        }
        return 0;
    }

    private void ApplyMarker(in RecordHeader header, byte[] bytes)
    {
        var marker = SnapshotMarker.TryDecode(bytes.AsSpan(header.PayloadOffset)) ?? throw new InvariantException("the log holds a marker that is none");
        if (IsMain) _node.World.History.OnCommitted(_node, in header, marker);
        if (marker.RestoreFrom != 0) Restore(marker, header.Sequence);
        _snapshots.IntersectWith(marker.Kept);
        if (marker.Creates) _snapshots.Add(header.Sequence);
        PruneAll();
    }

    private static bool MayRestore(TailRecord record, ulong block) =>
        record.Header.Kind == RecordKind.Marker && SnapshotMarker.TryDecode(record.Bytes.AsSpan(record.Header.PayloadOffset)) is { RestoreFrom: not 0 } marker && marker.Part.Contains(block);

    public ulong RestoreEnd(ulong snapshot, ulong from) => SimRestores.EndOf(_node.World, from);

    /// <summary>What was not there then is trimmed now, and what was there and has changed since is a new version.</summary>
    private void Restore(SnapshotMarker marker, ulong sequence)
    {
        foreach (var block in _map.Keys.Where(marker.Part.Contains).ToList())
        {
            if (View(marker.RestoreFrom, block) is { Encoded: not null } then)
            {
                if (then.Sequence != _map[block].Sequence) Put(block, then with { Sequence = sequence });
            }
            else if (_map[block].Encoded is not null) Put(block, new Cell(sequence, default, null));
        }
    }

    private void ApplySnapshots(byte[] bytes)
    {
        Invariant.That(SnapshotsBody.TryDecode(bytes, out var set), "the log holds a list of snapshots that is none");
        _snapshots.Clear();
        _snapshots.UnionWith(set.Sequences);
        PruneAll();
    }

    /// <summary>A tombstone that hides something from the volume, or from a snapshot, stays until that is gone.</summary>
    private void ForgetOlder(ulong upTo)
    {
        foreach (var (block, versions) in _older.ToList())
        {
            if (versions[0] is not { Encoded: null } oldest || oldest.Sequence > upTo) continue;
            versions.RemoveAt(0);
            _node.World.History.Forgotten++;
            if (versions.Count == 0) _older.Remove(block);
        }
    }

    /// <summary>
    /// As the store's contract says, stage by stage: trims, first the volume's, then those that only snapshots see; the volume's blocks; those that only snapshots see.
    /// </summary>
    private (IoStatus Status, ChangeCursor? Next) ReadStages(ulong since, ulong upTo, ChangeCursor? cursor, List<IoBuffer> records)
    {
        var looked = 0;
        var lookedMax = (int)_node.World.Random.Between(1, 6);
        foreach (var (at, cell) in Stages())
        {
            if (cursor is not null && IsBefore(at, cursor)) continue;
            if (looked++ == lookedMax) return (IoStatus.Ok, at);
            if (cell.Sequence > since && cell.Sequence <= upTo) records.Add(ResyncRecord(at.NextBlock, cell, at.Snapshot));
        }
        return (IoStatus.Ok, null);
    }

    private IEnumerable<(ChangeCursor At, Cell Cell)> Stages()
    {
        for (var stage = 0; stage <= 2; stage += 2)
        {
            foreach (var (block, cell) in _map)
            {
                if (cell.Encoded is null == (stage == 0)) yield return (new ChangeCursor(stage == 0 ? 0 : 1, block), cell);
            }
            foreach (var snapshot in _snapshots.Reverse())
            {
                foreach (var (block, versions) in _older)
                {
                    foreach (var cell in versions)
                    {
                        if (cell.Encoded is null == (stage == 0) && SeenNewest(block, cell) == snapshot) yield return (new ChangeCursor(stage, block, snapshot), cell);
                    }
                }
            }
        }
    }

    /// <summary>The newest snapshot comes first, behind the volume itself.</summary>
    private static bool IsBefore(ChangeCursor one, ChangeCursor other)
    {
        if (one.Stage != other.Stage) return one.Stage < other.Stage;
        if (one.Snapshot != other.Snapshot) return other.Snapshot != 0 && (one.Snapshot == 0 || one.Snapshot > other.Snapshot);
        return one.NextBlock < other.NextBlock;
    }
}
