using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Reads of committed blocks, of what is allocated, of the tail, and of what changed.</summary>
public sealed partial class VolumeStore
{
    /// <summary>Room in a record for one block more: descriptor and bytes.</summary>
    private const int ChangeBytesPerBlock = BlockDescriptor.SizeBytes + Limits.EncodedBlockBytesMax;
    private const int StageTombstones = 0;
    private const int StageBlocks = 1;
    private const int StageSnapshots = 2;

    public void Read(BlockRange range, IReadCompletion completion, ulong token)
    {
        var status = IsDeleted ? IoStatus.Deleted
            : Damage is not null ? IoStatus.BadChecksum
            : range.Count is 0 or > Limits.RecordBlocksMax || range.End > Limits.BlockIndexMax ? IoStatus.OutOfRange
            : _store.WriteStaged();
        if (status != IoStatus.Ok)
        {
            completion.OnRead(token, status, null);
            return;
        }
        var job = _store.TakeReadJob();
        job.Prepare(Volume, Map, range, completion, token);
        if (job.TryReadCached())
        {
            job.Deliver();
            return;
        }
        job.HoldSegments();
        _store.Submit(DiskLane.Read, job);
    }

    public ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents)
    {
        var limit = extents.Count + extentsMax;
        var at = range.First;
        var numbers = Map.PageNumbers();
        var index = numbers.BinarySearch(at >> MapPage.BlocksLog2);
        if (index < 0) index = ~index;
        while (at < range.End)
        {
            // Up to the next page, or to the end, nothing is mapped.
            var pageFirst = index < numbers.Length ? numbers[index] << MapPage.BlocksLog2 : ulong.MaxValue;
            if (at < pageFirst)
            {
                var gapEnd = Math.Min(pageFirst, range.End);
                if (!AddExtent(extents, limit, at, gapEnd, false)) return at;
                at = gapEnd;
                continue;
            }
            var page = Map.Page(numbers[index++]);
            for (var end = Math.Min(pageFirst + MapPage.Blocks, range.End); at < end; at++)
            {
                ref readonly var entry = ref page.Entries[at & (MapPage.Blocks - 1)];
                if (!AddExtent(extents, limit, at, at + 1, entry.IsMapped && entry.Encoding != BlockEncoding.Zero)) return at;
            }
        }
        return at;
    }

    public (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence)
    {
        if (IsDeleted) return (IoStatus.Deleted, null);
        if (Damage is not null) return (IoStatus.BadChecksum, null);
        if (sequence <= CommitWatermark || sequence > LastSequence) return (IoStatus.OutOfRange, null);
        var written = _store.WriteStaged();
        if (written != IoStatus.Ok) return (written, null);
        ref readonly var record = ref _tail[(int)(sequence - CommitWatermark - 1)];
        var buffer = BufferPool.Shared.Rent(record.TotalBytes);
        var status = IoStatus.DeviceError;
        if (_store.Segments[record.Place.Segment].File.ReadExactly(record.Place.RecordOffsetBytes, buffer.Span).IsOk)
        {
            status = RecordHeader.TryDecode(buffer.Span, out var header);
            if (status == IoStatus.Ok) status = StoreRecord.CheckPayload(in header, buffer.Span);
            if (status == IoStatus.Ok && (header.Volume != Volume || header.Sequence != sequence)) status = IoStatus.BadChecksum;
        }
        if (status == IoStatus.Ok) return (status, buffer);
        buffer.Release();
        return (status == IoStatus.DeviceError ? status : IoStatus.BadChecksum, null);
    }

    public long EstimateChanges(ulong since, ulong upTo, ulong fromBlock = 0)
    {
        long total = 0;
        for (var index = Map.Tombstones.FirstEndingAfter(fromBlock); index < Map.Tombstones.Count; index++)
        {
            if (IsBetween(Map.Tombstones[index].Sequence, since, upTo)) total += RecordHeader.SizeBytes;
        }
        // Of what only snapshots hold nothing is left out, whatever the block: there is no cursor in it.
        foreach (var layer in Map.Layers)
        {
            if (layer.Sequence > since) total += layer.StoredBytes + (layer.Blocks * (RecordHeader.SizeBytes + BlockDescriptor.SizeBytes)) + (layer.Tombstones.Count * (long)RecordHeader.SizeBytes);
        }
        foreach (var number in Map.PageNumbers())
        {
            var page = Map.Page(number);
            if (page.SequenceMax > since && number >= fromBlock >> MapPage.BlocksLog2) total += page.StoredBytes + (page.Mapped * (RecordHeader.SizeBytes + BlockDescriptor.SizeBytes));
        }
        return total;
    }

    public (IoStatus Status, ChangeCursor? Next) ReadChanges(ulong since, ulong upTo, ChangeCursor? cursor, int bytesMax,
        List<IoBuffer> records)
    {
        if (IsDeleted) return (IoStatus.Deleted, null);
        if (Damage is not null) return (IoStatus.BadChecksum, null);
        var written = _store.WriteStaged();
        if (written != IoStatus.Ok) return (written, null);
        var bytes = 0;
        cursor ??= new ChangeCursor(StageTombstones, 0);
        if (cursor.Stage == StageTombstones)
        {
            var next = ReadTombstones(since, upTo, cursor, bytesMax, records, ref bytes);
            if (next is not null) return (IoStatus.Ok, next);
            cursor = new ChangeCursor(StageBlocks, 0);
        }
        if (cursor.Stage == StageBlocks)
        {
            var (status, next) = ReadBlocks(since, upTo, cursor.NextBlock, bytesMax, records, ref bytes);
            if (status != IoStatus.Ok || next is not null) return (status, next);
            cursor = new ChangeCursor(StageSnapshots, 0, ulong.MaxValue);
        }
        return ReadSnapshots(since, upTo, cursor, bytesMax, records, bytes);
    }

    private static bool IsBetween(ulong sequence, ulong since, ulong upTo) => sequence > since && sequence <= upTo;

    private static bool AddExtent(List<(BlockRange Range, bool Allocated)> extents, int limit, ulong first, ulong end, bool allocated)
    {
        if (extents.Count > 0 && extents[^1] is var last && last.Range.End == first && last.Allocated == allocated
            && end - last.Range.First <= uint.MaxValue)
        {
            extents[^1] = (new BlockRange(last.Range.First, (uint)(end - last.Range.First)), allocated);
            return true;
        }
        if (extents.Count >= limit) return false;
        extents.Add((new BlockRange(first, (uint)(end - first)), allocated));
        return true;
    }

    /// <summary>Those of the volume, then of each snapshot those since the snapshot before.</summary>
    private ChangeCursor? ReadTombstones(ulong since, ulong upTo, ChangeCursor cursor, int bytesMax, List<IoBuffer> records, ref int bytes)
    {
        var from = cursor.NextBlock;
        if (cursor.Snapshot == 0)
        {
            if (ReadTombstones(Map.Tombstones, since, upTo, from, bytesMax, records, ref bytes) is { } next) return next;
            from = 0;
        }
        ulong older = 0;
        foreach (var layer in Map.Layers)
        {
            if (layer.Sequence >= cursor.Snapshot)
            {
                var start = layer.Sequence == cursor.Snapshot ? from : 0;
                var next = ReadTombstones(layer.Tombstones, Math.Max(since, older), upTo, start, bytesMax, records, ref bytes);
                if (next is not null) return next with { Snapshot = layer.Sequence };
            }
            older = layer.Sequence;
        }
        return null;
    }

    private ChangeCursor? ReadTombstones(RangeTombstones tombstones, ulong since, ulong upTo, ulong from, int bytesMax, List<IoBuffer> records, ref int bytes)
    {
        for (var index = tombstones.FirstEndingAfter(from); index < tombstones.Count; index++)
        {
            var tombstone = tombstones[index];
            if (!IsBetween(tombstone.Sequence, since, upTo)) continue;
            for (var first = Math.Max(from, tombstone.First); first < tombstone.End;)
            {
                if (bytes >= bytesMax) return new ChangeCursor(StageTombstones, first);
                var range = new BlockRange(first, (uint)Math.Min(tombstone.End - first, Limits.RangeBlocksMax));
                records.Add(StoreRecord.Build(ResyncHeader(RecordKind.Trim, range, tombstone.Sequence), []));
                bytes += RecordHeader.SizeBytes;
                first = range.End;
            }
        }
        return null;
    }

    private RecordHeader ResyncHeader(RecordKind kind, BlockRange range, ulong sequence) =>
        new() { Kind = kind, Flags = RecordFlags.Resync, Volume = Volume, Range = range, Sequence = sequence };

    /// <summary>What only snapshots hold, from the newest one down: what moves meanwhile moves to an older one.</summary>
    private (IoStatus Status, ChangeCursor? Next) ReadSnapshots(ulong since, ulong upTo, ChangeCursor cursor, int bytesMax, List<IoBuffer> records, int bytes)
    {
        for (var at = Map.Layers.Count - 1; at >= 0; at--)
        {
            var layer = Map.Layers[at];
            if (layer.Sequence > cursor.Snapshot || layer.Sequence <= since) continue;
            var from = layer.Sequence == cursor.Snapshot ? cursor.NextBlock : 0;
            var numbers = layer.PageNumbers();
            var index = numbers.BinarySearch(from >> MapPage.BlocksLog2);
            for (index = index < 0 ? ~index : index; index < numbers.Length; index++)
            {
                var page = layer.Page(numbers[index])!;
                var pageFirst = numbers[index] << MapPage.BlocksLog2;
                var next = page.Find((int)(Math.Max(from, pageFirst) - pageFirst));
                for (next = next < 0 ? ~next : next; next < page.Count; next++)
                {
                    if (!IsBetween(page[next].Sequence, since, upTo)) continue;
                    var block = pageFirst + page.Indexes[next];
                    if (bytes >= bytesMax) return (IoStatus.Ok, new ChangeCursor(StageSnapshots, block, layer.Sequence));
                    var status = BuildOne(in page[next], block, layer.Sequence, out var record);
                    if (status != IoStatus.Ok) return (status, null);
                    records.Add(record!);
                    bytes += record!.Length;
                }
            }
        }
        return (IoStatus.Ok, null);
    }

    private IoStatus BuildOne(in MapEntry entry, ulong block, ulong snapshot, out IoBuffer? record)
    {
        record = null;
        var header = ResyncHeader(RecordKind.Write, new BlockRange(block, 1), entry.Sequence);
        (header.DescriptorCount, header.PayloadLength, header.ExpectedSequence) = (1, entry.LengthBytes, snapshot);
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var status = ReadBlock(in entry, block, buffer.Span.Slice(header.PayloadOffset, entry.LengthBytes));
        if (status != IoStatus.Ok)
        {
            buffer.Release();
            return status;
        }
        entry.Descriptor.Write(buffer.Span[RecordHeader.SizeBytes..]);
        header.Encode(buffer.Span);
        record = buffer;
        return IoStatus.Ok;
    }

    private (IoStatus Status, ChangeCursor? Next) ReadBlocks(ulong since, ulong upTo, ulong from, int bytesMax, List<IoBuffer> records,
        ref int bytes)
    {
        var numbers = Map.PageNumbers();
        var index = numbers.BinarySearch(from >> MapPage.BlocksLog2);
        if (index < 0) index = ~index;
        for (; index < numbers.Length; index++)
        {
            var page = Map.Page(numbers[index]);
            if (page.SequenceMax <= since) continue;
            var pageFirst = numbers[index] << MapPage.BlocksLog2;
            var at = (int)(Math.Max(from, pageFirst) - pageFirst);
            while (at < MapPage.Blocks)
            {
                ref readonly var entry = ref page.Entries[at];
                if (!entry.IsMapped || !IsBetween(entry.Sequence, since, upTo))
                {
                    at++;
                    continue;
                }
                if (bytes >= bytesMax) return (IoStatus.Ok, new ChangeCursor(StageBlocks, pageFirst + (ulong)at));
                var count = RunOf(page, at);
                var status = BuildRun(page, pageFirst, at, count, out var record);
                if (status != IoStatus.Ok) return (status, null);
                records.Add(record!);
                bytes += record!.Length;
                at += count;
            }
        }
        return (IoStatus.Ok, null);
    }

    /// <summary>Neighbouring blocks of one sequence, as many as one record holds.</summary>
    private static int RunOf(MapPage page, int at)
    {
        var count = 1;
        while (count < Limits.RecordBlocksMax && at + count < MapPage.Blocks
            && page.Entries[at + count].Sequence == page.Entries[at].Sequence)
            count++;
        return count;
    }

    private IoStatus BuildRun(MapPage page, ulong pageFirst, int at, int count, out IoBuffer? record)
    {
        record = null;
        var header = ResyncHeader(RecordKind.Write, new BlockRange(pageFirst + (ulong)at, (uint)count), page.Entries[at].Sequence);
        header.DescriptorCount = (uint)count;
        var buffer = BufferPool.Shared.Rent(RecordHeader.SizeBytes + (count * ChangeBytesPerBlock));
        var offset = header.PayloadOffset;
        for (var index = 0; index < count; index++)
        {
            ref readonly var entry = ref page.Entries[at + index];
            var status = ReadBlock(in entry, pageFirst + (ulong)(at + index), buffer.Span.Slice(offset, entry.LengthBytes));
            if (status != IoStatus.Ok)
            {
                buffer.Release();
                return status;
            }
            entry.Descriptor.Write(buffer.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
            offset += entry.LengthBytes;
        }
        header.PayloadLength = (uint)(offset - header.PayloadOffset);
        buffer.Length = offset;
        header.Encode(buffer.Span);
        record = buffer;
        return IoStatus.Ok;
    }

    internal IoStatus ReadBlock(in MapEntry entry, ulong block, Span<byte> to)
    {
        if (entry.LengthBytes == 0) return IoStatus.Ok;
        if (entry.Segment <= MapEntry.LostSegment) return IoStatus.BadChecksum;
        if (!_store.Segments[entry.Segment].File.ReadExactly(entry.OffsetBytes, to).IsOk) return IoStatus.DeviceError;
        return entry.Descriptor.Matches(Volume, 0, block, to) ? IoStatus.Ok : IoStatus.BadChecksum;
    }

    /// <summary>Where a block lies that can't be read, for an operator.</summary>
    internal string Explain(in MapEntry entry, IoStatus status) => entry.Segment <= MapEntry.LostSegment
        ? $"lies in a segment that was used anew, written as {entry.Sequence}"
        : $"{(status == IoStatus.BadChecksum ? "does not match its checksum" : $"can't be read ({status})")}: {entry.LengthBytes} B at {entry.OffsetBytes} of "
        + $"{_store.Segments[entry.Segment].Name}, written as {entry.Sequence}";
}
