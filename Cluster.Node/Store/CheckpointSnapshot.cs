using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>A page as it is when the snapshot is taken: its entries, or the slot of the page file that has them and is not used anew before the checkpoint ends.</summary>
internal readonly record struct PageImage(MapPage Page, ulong Number, MapEntry[]? Entries, int Slot, ulong Hash)
{
    public static PageImage Of(MapPage page, ulong number)
    {
        Invariant.That(!page.IsLost, "a page that could not be read back was to go into a checkpoint as an empty one");
        return new(page, number, page.Resident, page.Slot, page.Hash);
    }
}

/// <summary>One volume as a checkpoint will have it. Entries are shared with the live map, which copies those of a page before it changes
/// it.</summary>
internal sealed record VolumeSnapshot(VolumeId Volume, byte[] State, Tombstone[] Tombstones, TailPlace[] Tail,
    PageImage[] Pages, LayerSnapshot[] Layers, BaseSnapshot? Base)
{
    private const int FixedBytes = 64;

    /// <summary>It is a detached map: what it holds is not known.</summary>
    public bool IsDamaged { get; init; }

    public static VolumeSnapshot Of(VolumeStore volume, Func<BlockMap, int> indexOf)
    {
        var windows = new byte[volume.Windows.EncodedBytes];
        volume.Windows.Encode(windows);
        var state = new byte[FixedBytes + volume.Header.Length + windows.Length + (3 * (volume.Damage?.Length ?? 0))];
        var writer = new BodyWriter(state);
        writer.U64(volume.CommitWatermark);
        writer.U64(volume.CommittedEpoch);
        writer.U64(volume.HeaderNumber);
        writer.Bytes(volume.Header.Span);
        writer.Bytes(windows);
        writer.Text(volume.Damage ?? "");

        var tail = new TailPlace[volume.Tail.Count];
        for (var index = 0; index < tail.Length; index++)
            tail[index] = new TailPlace(volume.Tail[index].Place, volume.Tail[index].TotalBytes);
        return Of(volume.Map, indexOf) with { State = state[..writer.Length], Tail = tail };
    }

    /// <summary>A map alone.</summary>
    public static VolumeSnapshot Of(BlockMap map, Func<BlockMap, int> indexOf)
    {
        var numbers = map.PageNumbers();
        var pages = new PageImage[numbers.Length];
        for (var index = 0; index < pages.Length; index++) pages[index] = PageImage.Of(map.Peek(numbers[index]), numbers[index]);
        var below = map.Base is { } under ? new BaseSnapshot(under.Map.Volume, under.Snapshot, indexOf(under.Map)) : null;
        return new VolumeSnapshot(map.Volume, [], map.Tombstones.ToArray(), [], pages, [.. map.Layers.Select(LayerSnapshot.Of)], below) { IsDamaged = map.IsDamaged };
    }
}

/// <summary>What a clone stands on.</summary>
/// <param name="Detached">0: the map that the origin has.</param>
internal sealed record BaseSnapshot(VolumeId Origin, ulong Snapshot, int Detached);

/// <summary>What one of the volume's snapshots holds; pages are shared likewise.</summary>
/// <param name="Pages">Ascending; the number of each is its first block.</param>
internal sealed record LayerSnapshot(ulong Sequence, bool IsHidden, Tombstone[] Tombstones, PageImage[] Pages)
{
    public static LayerSnapshot Of(SnapshotLayer layer)
    {
        var pages = new PageImage[layer.PageCount];
        for (var index = 0; index < pages.Length; index++) pages[index] = PageImage.Of(layer.Peek(index), layer.Peek(index).First);
        return new LayerSnapshot(layer.Sequence, layer.IsHidden, layer.Tombstones.ToArray(), pages);
    }
}

internal readonly record struct TailPlace(EntryPlace Place, int TotalBytes);

/// <summary>What one checkpoint holds: all that the log says below <see cref="Position"/>. Taken on the loop, written by the disk
/// thread.</summary>
internal sealed record CheckpointSnapshot(ulong Number, Guid StoreId, LogPosition Position, IReadOnlyList<SegmentUse> Segments,
    IReadOnlyList<VolumeSnapshot> Detached, IReadOnlyList<VolumeSnapshot> Volumes)
{
    public static CheckpointSnapshot Of(ulong number, Guid storeId, LogPosition position, SegmentTable table,
        IEnumerable<VolumeStore> volumes, IReadOnlyList<BlockMap> detached)
    {
        var indexes = detached.Select((map, index) => KeyValuePair.Create(map, index + 1)).ToDictionary();
        int IndexOf(BlockMap map) => indexes.GetValueOrDefault(map);
        return new(number, storeId, position,
            [.. table.All.Where(segment => segment.Number > 0).Select(segment => new SegmentUse(segment, segment.Number, segment.IsDead, segment.TailRecords > 0))],
            [.. detached.Select(map => VolumeSnapshot.Of(map, IndexOf))],
            [.. volumes.OrderBy(volume => volume.Volume).Select(volume => VolumeSnapshot.Of(volume, IndexOf))]);
    }
}

/// <summary>A segment in use when the snapshot was taken; a dead one is free once the checkpoint is on media.</summary>
/// <param name="HasTail">Uncommitted records lie there: an open reads them from where the checkpoint says.</param>
internal readonly record struct SegmentUse(Segment Segment, ulong Number, bool IsDead, bool HasTail);
