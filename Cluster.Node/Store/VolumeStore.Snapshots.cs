using System.IO.Hashing;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Snapshots: markers take effect when they are committed (R19).</summary>
public sealed partial class VolumeStore
{
    /// <summary>Pages that one look for changes takes at most: 32 MiB of blocks, however they are spread.</summary>
    private const int ChangedPagesMax = 16;

    private IReadOnlyList<ulong>? _snapshots;

    /// <summary>The newest marker that took effect.</summary>
    private ulong _lastMarker;

    public int CloneDepth => Map.Depth;

    public IReadOnlyList<ulong> Snapshots => _snapshots ??= [.. Map.Layers.Where(layer => !layer.IsHidden).Select(layer => layer.Sequence)];

    public IoStatus SetSnapshots(IReadOnlyList<ulong> sequences)
    {
        if (Refusal() is { } refusal) return refusal;
        var payload = new SnapshotsBody([.. sequences]).Encode(new byte[SnapshotsBody.SizeBytesMax]);
        var status = StageOwn(new RecordHeader { Kind = StoreRecordKind.Snapshots }, payload, SpaceClass.Control);
        if (status == IoStatus.Ok) ApplySnapshots(sequences);
        return status;
    }

    public ulong DigestSnapshot(ulong snapshot, BlockRange range)
    {
        Invariant.That(range.Count <= Limits.RecordBlocksMax, "a digest of too many blocks was asked for");
        Span<ulong> words = stackalloc ulong[3 * Limits.RecordBlocksMax];
        var count = 0;
        Map.ReachAll(range);
        Map.ReachLayers(range);
        if (Damage is not null) return UnknownDigest;
        for (var block = range.First; block < range.End; block++)
        {
            if (!Map.FindAt(snapshot, block, out var entry, out _) || entry.LengthBytes == 0) continue;
            (words[count], words[count + 1], words[count + 2]) = (block, entry.Sequence, entry.Checksum);
            count += 3;
        }
        return XxHash3.HashToUInt64(MemoryMarshal.AsBytes(words[..count]));
    }

    public SnapshotUsage UsageOf(ulong snapshot)
    {
        // What a clone stands on stays when the snapshot is deleted.
        var seen = Damage is null && !Map.HasDamagedBase ? Map.SeenBytes(snapshot) : null;
        if (Map.Layer(snapshot) is not { } layer || Map.IsPinnedAt(snapshot)) return new SnapshotUsage(0, 0, seen);
        var older = Map.Layers.TakeWhile(other => other.Sequence < snapshot).LastOrDefault(other => !other.IsLeaving)?.Sequence ?? 0;
        var (bytes, blocks) = layer.NotSeenBy(older);
        return new SnapshotUsage(bytes, blocks, seen - bytes);
    }

    public ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents)
    {
        var (before, looked) = (extents.Count, LookForChanged(from, to, range, extentsMax, extents));
        if (Damage is null) return looked;
        // Part of the map was lost by this look: nothing that has changed may be left out.
        extents.RemoveRange(before, extents.Count - before);
        extents.Add(range);
        return range.End;
    }

    private ulong LookForChanged(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents)
    {
        var limit = extents.Count + extentsMax;
        Span<bool> changed = stackalloc bool[MapPage.Blocks];
        var (looked, last) = (0, (range.End - 1) >> MapPage.BlocksLog2);
        var loads = _store.Maps.LoadsInPlace;
        for (var number = NextOfAll(range.First >> MapPage.BlocksLog2, withBase: from == 0); number <= last; number = NextOfAll(number + 1, withBase: from == 0))
        {
            var first = number << MapPage.BlocksLog2;
            if (looked++ == ChangedPagesMax || (looked > 1 && _store.Maps.LoadsInPlace - loads >= PagesReadMax)) return first;
            Map.Yield();
            changed.Clear();
            MarkChanged(number, from, to, changed);
            for (var block = Math.Max(first, range.First); block < Math.Min(first + MapPage.Blocks, range.End); block++)
            {
                if (changed[(int)(block - first)] && !AddRun(extents, limit, block)) return block;
            }
        }
        return range.End;
    }

    private static bool AddRun(List<BlockRange> extents, int limit, ulong block)
    {
        if (extents.Count > 0 && extents[^1].End == block && extents[^1].Count < uint.MaxValue)
        {
            extents[^1] = extents[^1] with { Count = extents[^1].Count + 1 };
            return true;
        }
        if (extents.Count >= limit) return false;
        extents.Add(new BlockRange(block, 1));
        return true;
    }

    /// <summary>Which blocks of the page changed between the snapshots; from 0: which hold data in <paramref name="to"/>.</summary>
    private void MarkChanged(ulong number, ulong from, ulong to, Span<bool> changed)
    {
        var first = number << MapPage.BlocksLog2;
        for (var index = 0; index < MapPage.Blocks; index++)
        {
            var block = first + (ulong)index;
            var isSeen = to == 0 ? Map.Find(block, out var now, out _) : Map.FindAt(to, block, out now, out _);
            if (from == 0) changed[index] = isSeen && now.Encoding != BlockEncoding.Zero;
            else
            {
                var wasSeen = Map.FindAt(from, block, out var before, out _);
                changed[index] = wasSeen != isSeen || (isSeen && now.Sequence != before.Sequence);
            }
        }
    }

    /// <summary>The next page, from that number on, of which the volume or a snapshot has something; MaxValue: none. What lies below a clone is the same for all its snapshots.</summary>
    private ulong NextOfAll(ulong from, bool withBase)
    {
        var next = withBase ? Map.NextPage(from) : Map.NextOwnPage(from);
        foreach (var layer in Map.Layers)
        {
            Map.Yield();
            next = Math.Min(next, layer.NextPage(from));
        }
        return next;
    }

    /// <summary>Null: the payload is none.</summary>
    private static SnapshotMarker? MarkerOf(in RecordHeader header, ReadOnlySpan<byte> record) =>
        SnapshotMarker.TryDecode(record.Slice(header.PayloadOffset, (int)header.PayloadLength));

    public ulong RestoreEnd(ulong snapshot, ulong from) => Map.RestoreEnd(snapshot, from);

    private void ApplyMarker(ulong sequence)
    {
        Invariant.That(_markers.Remove(sequence, out var marker), "a marker was committed that is not in the tail");
        Map.KeepSnapshots(marker!.Kept);
        if (marker.Creates) Map.AddSnapshot(sequence);
        // One that this copy does not have can't be restored here: the owner keeps copies that are only partly there away from restores (R19).
        if (marker.RestoreFrom != 0)
        {
            Invariant.That(Map.Layer(marker.RestoreFrom) is not null, "a snapshot was to be restored that is not here");
            Map.Restore(marker.RestoreFrom, marker.Part, sequence);
        }
        (_snapshots, _lastMarker) = (null, sequence);
    }

    /// <summary>
    /// What is applied outside the order must be replayed behind the markers that came before it: what a snapshot sees is not overwritten then. Such records carry no
    /// watermark of this replica, so one that does goes ahead of them: a truncation of nothing.
    /// </summary>
    private IoStatus LogMarkers() => _lastMarker <= _loggedWatermark ? IoStatus.Ok : LogWatermark();

    /// <summary>A replay of the log as it is staged now commits all that is committed.</summary>
    internal IoStatus LogWatermark() => _loggedWatermark >= CommitWatermark || Damage is not null ? IoStatus.Ok
        : StageOwn(new RecordHeader { Kind = StoreRecordKind.Truncate, Sequence = LastSequence }, [], SpaceClass.Last);

    private void ApplySnapshots(IReadOnlyList<ulong> sequences)
    {
        Map.KeepSnapshots(sequences);
        foreach (var sequence in sequences)
        {
            if (Map.Layer(sequence) is null) Map.AddSnapshot(sequence);
        }
        _snapshots = null;
    }
}
