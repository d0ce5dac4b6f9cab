using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Reads of committed blocks, of what is allocated, of the tail, and of what changed.</summary>
public sealed partial class VolumeStore
{
    /// <summary>Room in a record for one block more: descriptor and bytes.</summary>
    private const int ChangeBytesPerBlock = BlockDescriptor.SizeBytes + Limits.EncodedBlockBytesMax;

    /// <summary>Pages that one look at what is allocated reads back at most.</summary>
    private const int PagesReadMax = 64;
    private const int StageTombstones = 0;
    private const int StageBlocks = 1;
    private const int StageSnapshots = 2;

    /// <summary>Counts the times that the position was set: what is committed is not one thing before and after.</summary>
    private long _repositions;

    public void Read(BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known = default)
    {
        var status = RefusalOfRead(range);
        if (status != IoStatus.Ok) completion.OnRead(token, status, null);
        else if (!WaitsForPages(range, completion, token, known, int.MaxValue)) ReadMapped(range, completion, token, known);
    }

    /// <summary>The pages that the read waited for are in memory. If the replica is not what it was when it was asked, others are to be asked.</summary>
    /// <param name="jobsMax">They were more than one job reads: so many more may follow.</param>
    internal void ReadLoaded(BlockMap map, long position, BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known, int jobsMax)
    {
        var status = RefusalOfRead(range);
        if (status == IoStatus.Ok && (map != Map || position != _repositions)) status = IoStatus.DeviceError;
        if (status != IoStatus.Ok) completion.OnRead(token, status, null);
        else if (jobsMax == 0 || !WaitsForPages(range, completion, token, known, jobsMax)) ReadMapped(range, completion, token, known);
    }

    private IoStatus RefusalOfRead(BlockRange range) => IsDeleted ? IoStatus.Deleted
        : _store.Maps.IsClosed ? IoStatus.DeviceError
        : Damage is not null ? IoStatus.BadChecksum
        : range.Count is 0 or > Limits.RecordBlocksMax || range.End > Limits.BlockIndexMax ? IoStatus.OutOfRange
        : _store.WriteStaged();

    /// <summary>False: all that the read needs of the map is in memory, or was got from the page cache without waiting.</summary>
    private bool WaitsForPages(BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known, int jobsMax)
    {
        if (!_store.Maps.HasEvicted) return false;
        var absent = _store.AbsentPages;
        Map.FindAbsent(range, absent);
        MapCache.LoadJob? job = null;
        var (cached, wanted) = (0, 0);
        foreach (var page in absent)
        {
            if (cached < MapCache.LoadJob.PagesMax && _store.Maps.TryLoadCached(page))
            {
                cached++;
                continue;
            }
            wanted++;
            (job ??= _store.Maps.TakeLoadJob()).Add(page);
        }
        if (job is null) return false;
        // Of a clone whose origin has many snapshots. A page that has left memory again by then is read in place.
        jobsMax = Math.Min(jobsMax - 1, (wanted - 1) / MapCache.LoadJob.PagesMax);
        job.Then = _store.TakePagedRead().Prepare(this, _repositions, range, completion, token, known, jobsMax);
        // They lie in the home: not behind reads of another disk.
        _store.Submit(DiskLane.Map, job);
        return true;
    }

    private void ReadMapped(BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known)
    {
        Map.ReachAll(range);
        if (Damage is not null)
        {
            completion.OnRead(token, IoStatus.BadChecksum, null);
            return;
        }
        var job = _store.TakeReadJob();
        job.Prepare(Volume, Map, range, completion, token, known);
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
        var (before, looked) = (extents.Count, LookForAllocated(range, extentsMax, extents));
        if (Damage is null) return looked;
        // Part of the map was lost by this look: what is said may not be less than what there is.
        extents.RemoveRange(before, extents.Count - before);
        extents.Add((range, true));
        return range.End;
    }

    private ulong LookForAllocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents)
    {
        var limit = extents.Count + extentsMax;
        var at = range.First;
        var number = Map.NextPage(at >> MapPage.BlocksLog2);
        var loads = _store.Maps.LoadsInPlace;
        while (at < range.End && _store.Maps.LoadsInPlace - loads < PagesReadMax)
        {
            // Up to the next page, or to the end, nothing is mapped.
            var pageFirst = number < ulong.MaxValue ? number << MapPage.BlocksLog2 : ulong.MaxValue;
            if (at < pageFirst)
            {
                var gapEnd = Math.Min(pageFirst, range.End);
                if (!AddExtent(extents, limit, at, gapEnd, false)) return at;
                at = gapEnd;
                continue;
            }
            var current = number;
            // Before the page is held: pages may leave memory by this.
            number = Map.NextPage(number + 1);
            var page = Map.View(current);
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
            var page = Map.Peek(number);
            if (page.SequenceMax > since && number >= fromBlock >> MapPage.BlocksLog2) total += page.StoredBytes + (page.Mapped * (RecordHeader.SizeBytes + BlockDescriptor.SizeBytes));
        }
        return total + EstimateBelow(Map.Base, since);
    }

    public (IoStatus Status, ChangeCursor? Next) ReadChanges(ulong since, ulong upTo, ChangeCursor? cursor, int bytesMax,
        List<IoBuffer> records)
    {
        if (IsDeleted) return (IoStatus.Deleted, null);
        if (Damage is not null) return (IoStatus.BadChecksum, null);
        var written = _store.WriteStaged();
        if (written != IoStatus.Ok) return (written, null);
        var (status, next) = ReadChangesOf(since, upTo, cursor, bytesMax, records);
        // Part of the map was lost on the way: the changes are not all.
        return Damage is null ? (status, next) : (IoStatus.BadChecksum, null);
    }

    private (IoStatus Status, ChangeCursor? Next) ReadChangesOf(ulong since, ulong upTo, ChangeCursor? cursor, int bytesMax, List<IoBuffer> records)
    {
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

    internal IoStatus ReadBlock(in MapEntry entry, ulong block, Span<byte> to) => ReadBlock(Volume, in entry, block, to);

    /// <param name="writtenAs">The volume under which the block was written: that of the map that has the entry.</param>
    internal IoStatus ReadBlock(VolumeId writtenAs, in MapEntry entry, ulong block, Span<byte> to) => _store.ReadBlock(writtenAs, in entry, block, to);

    /// <summary>Where a block lies that can't be read, for an operator.</summary>
    internal string Explain(in MapEntry entry, IoStatus status) => _store.Explain(in entry, status);
}
