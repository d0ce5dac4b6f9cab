using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Writes a checkpoint: to a new file, fdatasync, rename over the old one, fsync of the directory. Until then the old one counts.
/// Blocks; disk thread.
/// </summary>
internal sealed class CheckpointWriter
{
    public const string Name = "checkpoint";
    public const string NewName = "checkpoint.new";
    private const int SegmentEntryBytes = 28;
    private const int TombstoneBytes = 24;
    private const int TailEntryBytes = 12;
    public const int PageEntryBytes = 32;

    private readonly IDiskFile _file;
    private readonly byte[] _body = new byte[CheckpointFrame.BodyBytesMax];
    private readonly IoBuffer _out = BufferPool.Shared.Rent(BufferPool.LargestBytes);
    private int _outUsed;
    private long _written;
    private uint _frames;
    private DiskResult _result = DiskResult.Done();

    private readonly MapPageFile _evicted;
    private MapEntry[]? _read;
    private PageImage? _lost;

    /// <summary>So many pages that are not in memory are asked for ahead of the one that is written.</summary>
    private const int PagesAhead = 64;

    private CheckpointWriter(IDiskFile file, MapPageFile evicted) => (_file, _evicted) = (file, evicted);

    public static DiskResult Write(IDisk disk, CheckpointSnapshot snapshot, MapPageFile evicted, out long bytes) => Write(disk, snapshot, evicted, out bytes, out _);

    /// <param name="disk">The home.</param>
    /// <param name="snapshot">Of the store.</param>
    /// <param name="evicted">Has the pages that are not in memory.</param>
    /// <param name="bytes">How long it is.</param>
    /// <param name="lost">Not null: this one could not be read there, and there is no checkpoint: it would leave the page's blocks out.</param>
    public static DiskResult Write(IDisk disk, CheckpointSnapshot snapshot, MapPageFile evicted, out long bytes, out PageImage? lost)
    {
        lost = null;
        bytes = 0;
        var result = CheckpointRoom.OpenNew(disk, out var file);
        if (!result.IsOk) return result;
        var writer = new CheckpointWriter(file!, evicted);
        writer.WriteAll(snapshot);
        writer._out.Release();
        (result, lost) = (writer._result, writer._lost);
        if (result.IsOk) result = file!.Sync();
        file!.Dispose();
        // What is half written must not take the room that a full disk lacks; if it can't go, the next attempt removes it.
        if (!result.IsOk) _ = disk.Delete(NewName);
        if (result.IsOk) result = disk.Rename(NewName, Name);
        if (result.IsOk) result = disk.SyncDirectoryOf(Name);
        bytes = writer._written;
        return result;
    }

    private void WriteAll(CheckpointSnapshot snapshot)
    {
        var writer = new BodyWriter(_body);
        writer.U64(snapshot.Number);
        writer.Guid(snapshot.StoreId);
        writer.U64(snapshot.Position.Number);
        writer.U32(snapshot.Position.OffsetBytes);
        writer.U32((uint)snapshot.Volumes.Count);
        Frame(CheckpointFrameKind.Store, default, writer.Length);
        WriteSegments(snapshot.Segments);
        foreach (var map in snapshot.Detached)
        {
            writer = new BodyWriter(_body);
            writer.U32(map.IsDamaged ? 1U : 0);
            writer.U32(0);
            Frame(CheckpointFrameKind.Detached, map.Volume, writer.Length);
            WriteMap(map);
        }
        foreach (var volume in snapshot.Volumes)
        {
            volume.State.CopyTo(_body, 0);
            Frame(CheckpointFrameKind.Volume, volume.Volume, volume.State.Length);
            WriteTombstones(volume.Volume, CheckpointFrameKind.Tombstones, 0, volume.Tombstones);
            WriteTail(volume);
            WriteMap(volume);
        }
        writer = new BodyWriter(_body);
        writer.U32(_frames + 1);
        Frame(CheckpointFrameKind.End, default, writer.Length);
        Flush();
    }

    private void WriteMap(VolumeSnapshot map)
    {
        if (map.Base is { } below)
        {
            var writer = new BodyWriter(_body);
            writer.U64(below.Origin.Value);
            writer.U64(below.Snapshot);
            writer.U32((uint)below.Detached);
            writer.U32(0);
            Frame(CheckpointFrameKind.Base, map.Volume, writer.Length);
        }
        // Before the pages: an open adds up what each snapshot sees as they go by.
        WriteSequences(map);
        for (var index = 0; index < map.Pages.Length; index++)
        {
            AskAhead(map.Pages, index);
            WritePage(map.Volume, in map.Pages[index]);
            // What is written is not kept from being freed.
            map.Pages[index] = default;
        }
        WriteLayers(map);
    }

    private void WriteSegments(IReadOnlyList<SegmentUse> segments)
    {
        foreach (var part in segments.Chunk(CheckpointFrame.BodyBytesMax / SegmentEntryBytes))
        {
            var writer = new BodyWriter(_body);
            foreach (var use in part)
            {
                writer.U32((uint)use.Segment.Index);
                writer.U64(use.Number);
                writer.Guid(use.Segment.Id);
            }
            Frame(CheckpointFrameKind.Segments, default, writer.Length);
        }
    }

    private void WriteSequences(VolumeSnapshot volume)
    {
        if (volume.Layers.Length == 0) return;
        WriteSequences(volume.Volume, CheckpointFrameKind.Snapshots, volume.Layers);
        if (volume.Layers.Any(layer => layer.IsHidden)) WriteSequences(volume.Volume, CheckpointFrameKind.HiddenSnapshots, volume.Layers.Where(layer => layer.IsHidden));
    }

    private void WriteLayers(VolumeSnapshot volume)
    {
        foreach (var layer in volume.Layers)
        {
            WriteTombstones(volume.Volume, CheckpointFrameKind.SnapshotTombstones, layer.Sequence, layer.Tombstones);
            WriteVersions(volume.Volume, layer);
        }
    }

    /// <summary>Those of 512 neighbouring blocks make a frame, in whatever pages they lie in memory.</summary>
    private void WriteVersions(VolumeId volume, LayerSnapshot layer)
    {
        var number = ulong.MaxValue;
        var writer = new BodyWriter(_body);
        for (var index = 0; index < layer.Pages.Length; index++)
        {
            AskAhead(layer.Pages, index);
            if (!_result.IsOk || EntriesOf(in layer.Pages[index]) is not { } entries) return;
            var stretch = LayerPage.StretchOf(layer.Pages[index].Number) << MapEntry.KeyBits;
            for (var at = 0; at < MapPage.Blocks && entries[at].IsMapped; at++)
            {
                var block = stretch | entries[at].Key;
                if (block >> MapPage.BlocksLog2 != number)
                {
                    if (number != ulong.MaxValue) Frame(CheckpointFrameKind.SnapshotPage, volume, writer.Length);
                    number = block >> MapPage.BlocksLog2;
                    writer = new BodyWriter(_body);
                    writer.U64(layer.Sequence);
                    writer.U64(number);
                }
                WriteEntry(ref writer, (ushort)(block & (MapPage.Blocks - 1)), in entries[at]);
            }
            layer.Pages[index] = default;
        }
        if (number != ulong.MaxValue) Frame(CheckpointFrameKind.SnapshotPage, volume, writer.Length);
    }

    private void WriteSequences(VolumeId volume, CheckpointFrameKind kind, IEnumerable<LayerSnapshot> layers)
    {
        var writer = new BodyWriter(_body);
        foreach (var layer in layers) writer.U64(layer.Sequence);
        Frame(kind, volume, writer.Length);
    }

    /// <param name="snapshot">Whose they are; 0: the volume's own.</param>
    private void WriteTombstones(VolumeId volume, CheckpointFrameKind kind, ulong snapshot, Tombstone[] tombstones)
    {
        foreach (var part in tombstones.Chunk((CheckpointFrame.BodyBytesMax - sizeof(ulong)) / TombstoneBytes))
        {
            var writer = new BodyWriter(_body);
            if (snapshot != 0) writer.U64(snapshot);
            foreach (var tombstone in part)
            {
                writer.U64(tombstone.First);
                writer.U64(tombstone.End);
                writer.U64(tombstone.Sequence);
            }
            Frame(kind, volume, writer.Length);
        }
    }

    private void WriteTail(VolumeSnapshot volume)
    {
        foreach (var part in volume.Tail.Chunk(CheckpointFrame.BodyBytesMax / TailEntryBytes))
        {
            var writer = new BodyWriter(_body);
            foreach (var record in part)
            {
                writer.U32((uint)record.Place.Segment);
                writer.U32(record.Place.EntryOffsetBytes);
                writer.U32((uint)record.TotalBytes);
            }
            Frame(CheckpointFrameKind.Tail, volume.Volume, writer.Length);
        }
    }

    private void WritePage(VolumeId volume, in PageImage page)
    {
        if (!_result.IsOk || EntriesOf(in page) is not { } entries) return;
        var writer = new BodyWriter(_body);
        writer.U64(page.Number);
        for (var index = 0; index < MapPage.Blocks; index++)
        {
            ref readonly var entry = ref entries[index];
            if (entry.IsMapped) WriteEntry(ref writer, (ushort)index, in entry);
        }
        Frame(CheckpointFrameKind.Page, volume, writer.Length);
    }

    private void AskAhead(PageImage[] pages, int at)
    {
        for (var index = at == 0 ? 0 : at + PagesAhead - 1; index < Math.Min(pages.Length, at + PagesAhead); index++) Advise(in pages[index]);
    }

    private void Advise(in PageImage page)
    {
        if (page.Entries is null && _result.IsOk) _evicted.Advise(page.Slot);
    }

    private MapEntry[]? EntriesOf(in PageImage page)
    {
        if (page.Entries is not null) return page.Entries;
        _read ??= new MapEntry[MapPage.Blocks];
        var result = _evicted.Read(page.Slot, page.Hash, _read);
        if (result.IsOk) return _read;
        (_result, _lost) = (result, page);
        return null;
    }

    private static void WriteEntry(ref BodyWriter writer, ushort index, in MapEntry entry)
    {
        writer.U16(index);
        writer.U8((byte)entry.Encoding);
        writer.U8(0);
        writer.U16(entry.LengthBytes);
        writer.U16(0);
        writer.U32(unchecked((uint)entry.Segment));
        writer.U32(entry.OffsetBytes);
        writer.U64(entry.Sequence);
        writer.U64(entry.Checksum);
    }

    private void Frame(CheckpointFrameKind kind, VolumeId volume, int length)
    {
        if (!_result.IsOk) return;
        if (_outUsed + CheckpointFrame.SizeBytes + length > _out.CapacityBytes) Flush();
        var body = _body.AsSpan(0, length);
        new CheckpointFrame(kind, (uint)length, _frames++, volume.Value, XxHash3.HashToUInt64(body)).Encode(_out.Whole[_outUsed..]);
        body.CopyTo(_out.Whole[(_outUsed + CheckpointFrame.SizeBytes)..]);
        _outUsed += CheckpointFrame.SizeBytes + length;
    }

    private void Flush()
    {
        if (!_result.IsOk) return;
        _result = _file.WriteAll(_written, _out.Whole[.._outUsed]);
        _written += _outUsed;
        _outUsed = 0;
    }
}
