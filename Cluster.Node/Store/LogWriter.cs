using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// The end of the log: gathers the entries of a turn and writes them with one pwritev per segment. Place and order are settled when an
/// entry is staged; its bytes are in the file after <see cref="Flush"/>. The log goes on in a new segment at each open, never behind
/// what a crash left. Loop only.
/// </summary>
public sealed unsafe class LogWriter : IDisposable
{
    private const int VectorsPerEntry = 2;
    private const int EntriesMax = (DiskFileExtensions.VectorsMax - 2) / VectorsPerEntry;
    private const int EntryBytesMax = EntryPrefix.SizeBytes + EntryPrefix.AlignmentBytes + Limits.RecordBytesMax;
    private const int SlotBytes = EntryPrefix.SizeBytes + EntryPrefix.AlignmentBytes;

    private static readonly byte[] Zeroes = GC.AllocateArray<byte>(128 << 10, pinned: true);

    private readonly SegmentTable _segments;
    private readonly StoreIdentity _identity;
    private readonly IoBuffer _arena = BufferPool.Shared.Rent(SegmentHeader.SizeBytes + (EntriesMax * SlotBytes));
    private readonly IoVector[] _vectors = GC.AllocateArray<IoVector>(DiskFileExtensions.VectorsMax, pinned: true);
    private readonly IoBuffer[] _held = new IoBuffer[EntriesMax];
    private readonly List<Segment> _dirty = [];
    private Segment? _active;
    private LogPosition _last;
    private ulong _nextNumber;
    private int _arenaUsed;
    private int _vectorCount;
    private int _heldCount;
    private uint _stagedBytes;
    private bool _leaves;
    private ulong _reserved;

    /// <param name="last">Where the log ends; the first segment taken is chained to it.</param>
    public LogWriter(SegmentTable segments, StoreIdentity identity, LogPosition last, ulong nextNumber)
    {
        (_segments, _identity, _last, _nextNumber) = (segments, identity, last, nextNumber);
        _arena.Whole.Clear();
    }

    /// <summary>Numbers between two segments of the cleaner: the log may leave so many of its own before one of them is whole.</summary>
    private const ulong NumbersBetween = 256;

    /// <summary>The log is about to leave its segment; nothing is staged.</summary>
    public Action? Leaving { get; set; }

    /// <summary>Of the next segment.</summary>
    public ulong NextNumber => _nextNumber;

    /// <summary>Set at the first failed write: nothing more is taken (R10).</summary>
    public DiskResult? Failure { get; private set; }

    public Segment? Active => _active;

    /// <summary>What must be on media before the first segment is used, one of the cleaner's too; null: nothing. It may block. If it fails the log has failed.</summary>
    public Func<DiskResult>? BeforeFirst { get; set; }

    /// <summary>End of what is staged, and after <see cref="Flush"/> of what is written.</summary>
    public LogPosition End => _active is null ? _last : new LogPosition(_active.Number, _active.EndBytes);

    /// <summary>All below is on media; each entry carries it (the flush watermark).</summary>
    public LogPosition Durable { get; set; }

    /// <summary>The newest value of <see cref="Durable"/> that an entry carries.</summary>
    public LogPosition NotedDurable { get; private set; }

    /// <summary>Written, and not covered by an fdatasync that has begun. The caller empties it when it begins one.</summary>
    public List<Segment> Dirty => _dirty;

    public long AppendedBytes { get; private set; }

    public bool HasStaged => _vectorCount > 0;

    /// <summary>Bytes of the longest record that still goes into the segment where the log is.</summary>
    public int SegmentRoomBytes => _active is null ? 0
        : Math.Max(0, _segments.SegmentBytes - (int)_active.EndBytes - EntryPrefix.SizeBytes - EntryPrefix.AlignmentBytes);

    /// <summary>Whether <paramref name="space"/> lets an entry of a record of this length in.</summary>
    public bool HasRoom(int recordBytes, SpaceClass space)
    {
        var isReserveWhole = space == SpaceClass.Last || _segments.AvailableCount >= _segments.Reserve(space);
        if (_active is not null && Fits(recordBytes) && isReserveWhole) return true;
        return _segments.AvailableCount > _segments.Reserve(space);
    }

    /// <summary>Bytes that surely fit into the segment where the log is and into whole ones, but for the reserve.</summary>
    public long RoomBytes(SpaceClass space)
    {
        var segments = _segments.AvailableCount - _segments.Reserve(space);
        return segments < 0 ? 0 : SegmentRoomBytes + ((long)segments * (_segments.SegmentBytes - SegmentHeader.SizeBytes));
    }

    /// <summary>Of them, those in one whole segment.</summary>
    internal long SegmentDataBytes => _segments.SegmentBytes - SegmentHeader.SizeBytes - EntryBytesMax;

    /// <summary>
    /// Bytes of data entries that surely fit, whatever their sizes: the end of a segment stays empty when it is too short for the next one. Free segments of a disk that hangs are none.
    /// </summary>
    public long DataRoomBytes => RoomIn(_segments.UsableCount);

    /// <summary>The same without segments that go with their disk.</summary>
    public long LastingRoomBytes => RoomIn(_segments.LastingCount - _segments.Hung.Free);

    private long RoomIn(int available)
    {
        var segments = available - _segments.Reserve(SpaceClass.Data);
        if (segments < 0) return 0;
        var here = _active is null ? 0 : Math.Max(0, _segments.SegmentBytes - _active.EndBytes - EntryBytesMax);
        return here + (segments * SegmentDataBytes);
    }

    /// <summary>Stages a record as the next entry. Ok, NoSpace or DeviceError; on anything but Ok nothing was staged.</summary>
    public IoStatus Stage(VolumeId volume, IoBuffer record, int lengthBytes, SpaceClass space, out EntryPlace place)
    {
        var status = Begin(lengthBytes, space, out place);
        if (status != IoStatus.Ok) return status;
        var hash = BinaryPrimitives.ReadUInt64LittleEndian(record.Span[(RecordHeader.SizeBytes - 8)..]);
        AddPrefix(EntryKind.Record, volume.Value, (uint)lengthBytes, hash);
        record.AddReference();
        _held[_heldCount++] = record;
        AddVector(record.Pointer, lengthBytes);
        return IoStatus.Ok;
    }

    /// <summary>Stages an entry that carries nothing but the flush watermark.</summary>
    public IoStatus StageWatermark()
    {
        var status = Begin(0, SpaceClass.Last, out _);
        if (status == IoStatus.Ok) AddPrefix(EntryKind.Watermark, 0, 0, 0);
        return status;
    }

    /// <summary>The log goes on in another segment, whatever room this one has. On anything but Ok it stays where it is.</summary>
    public IoStatus Leave()
    {
        _leaves = true;
        var status = StageWatermark();
        _leaves = false;
        return status;
    }

    /// <summary>Writes what is staged. After a failure nothing is retried.</summary>
    public DiskResult Flush()
    {
        if (Failure is { } known) return known;
        if (_vectorCount == 0) return DiskResult.Done();
        var active = _active!;
        var result = WriteZeroes(active);
        if (result.IsOk) result = active.File.WriteAll(active.WrittenBytes, _vectors.AsSpan(0, _vectorCount));
        for (var index = 0; index < _heldCount; index++) _held[index].Release();
        Array.Clear(_held, 0, _heldCount);
        (_vectorCount, _heldCount, _arenaUsed, _stagedBytes) = (0, 0, 0, 0);
        if (!result.IsOk)
        {
            Failure = result;
            return result;
        }
        AppendedBytes += active.EndBytes - active.WrittenBytes;
        active.WrittenBytes = active.EndBytes;
        if (active.IsDirty) return result;
        active.IsDirty = true;
        _dirty.Add(active);
        return result;
    }

    /// <summary>
    /// Before the log gets where nothing of its present use was written yet, that is zeroed for a stretch (<see cref="IDiskFile.AheadBytes"/>). What lies behind the end is of no use: in a segment of which the
    /// log has only the header on its way no byte is needed any more (rule 5 of docs/disk-format.md), whether or not that header is on media when a crash comes.
    /// </summary>
    private DiskResult WriteZeroes(Segment active)
    {
        var stretch = (uint)active.File.AheadBytes;
        if (stretch == 0 || active.EndBytes <= active.ZeroedBytes) return DiskResult.Done();
        var to = Math.Min((active.EndBytes + stretch - 1) / stretch * stretch, (uint)_segments.SegmentBytes);
        var result = DiskResult.Done();
        while (result.IsOk && active.ZeroedBytes < to)
        {
            result = active.File.WriteAll(active.ZeroedBytes, Zeroes.AsSpan(0, (int)Math.Min((uint)Zeroes.Length, to - active.ZeroedBytes)));
            active.ZeroedBytes += (uint)result.Count;
        }
        return result;
    }

    public void Dispose()
    {
        for (var index = 0; index < _heldCount; index++) _held[index].Release();
        _heldCount = 0;
        _arena.Release();
    }

    /// <summary>A number for a segment that goes into the log later, ahead of what the log gets to by then.</summary>
    internal ulong ReserveNumber() => _reserved = Math.Max(_nextNumber, _reserved) + NumbersBetween;

    /// <summary>One that was reserved goes with a segment that is given up: parts of that may have been written, and no other one is to be taken for it.</summary>
    internal void Skip(ulong number) => _nextNumber = Math.Max(_nextNumber, number + 1);

    /// <summary>Puts a segment of the cleaner into the log, behind what was written. False: a write failed, and nothing more is taken.</summary>
    internal bool Link(ColdSegment cold)
    {
        Invariant.That(!HasStaged && cold.Number >= _nextNumber, "a segment was linked out of order");
        if (!MayUse()) return false;
        var segment = cold.Segment;
        var header = new SegmentHeader(segment.Id, segment.Disk, _identity.StoreId, cold.Number, End, (uint)_segments.SegmentBytes, _identity.OpenCount);
        cold.EncodeLink(in header, _arena.Whole);
        var result = segment.File.WriteAll(0, _arena.Whole[..ColdSegment.LinkBytes]);
        if (!result.IsOk)
        {
            Failure = result;
            return false;
        }
        Seal();
        AppendedBytes += cold.EndBytes;
        (segment.Number, segment.EndBytes, segment.WrittenBytes, segment.SealedAtBytes) = (cold.Number, cold.EndBytes, cold.EndBytes, AppendedBytes);
        (_last, _active, _nextNumber) = (new LogPosition(cold.Number, cold.EndBytes), null, cold.Number + 1);
        if (segment.IsDirty) return true;
        segment.IsDirty = true;
        _dirty.Add(segment);
        return true;
    }

    private bool MayUse()
    {
        if (BeforeFirst is not { } before) return true;
        BeforeFirst = null;
        var result = before();
        if (!result.IsOk) Failure = result;
        return result.IsOk;
    }

    private void Seal()
    {
        if (_active is not null) _active.SealedAtBytes = AppendedBytes;
    }

    private bool Fits(int recordBytes) => !_leaves &&
        _active!.EndBytes + EntryPrefix.Align((uint)(EntryPrefix.SizeBytes + recordBytes)) <= (uint)_segments.SegmentBytes;

    private IoStatus Begin(int recordBytes, SpaceClass space, out EntryPlace place)
    {
        place = default;
        if (Failure is not null) return IoStatus.DeviceError;
        if (!HasRoom(recordBytes, space)) return IoStatus.NoSpace;
        if (_active is null || !Fits(recordBytes))
        {
            var status = Roll(space);
            if (status != IoStatus.Ok) return status;
        }
        if (_vectorCount + VectorsPerEntry > _vectors.Length || _heldCount == EntriesMax || _arenaUsed + SlotBytes > _arena.CapacityBytes)
        {
            if (!Flush().IsOk) return IoStatus.DeviceError;
        }
        place = new EntryPlace(_active!.Index, _active.EndBytes);
        return IoStatus.Ok;
    }

    /// <summary>The log leaves its segment for the next. The new header goes out with the first entries: neither is believed without the
    /// other's sync.</summary>
    private IoStatus Roll(SpaceClass space)
    {
        if (!Flush().IsOk) return IoStatus.DeviceError;
        Seal();
        Leaving?.Invoke();
        if (Failure is not null) return IoStatus.DeviceError;
        var taken = _segments.Take(_identity.NewId, space, out var next);
        if (!taken.IsOk) return taken.Status == IoStatus.NoSpace ? IoStatus.NoSpace : IoStatus.DeviceError;
        if (!MayUse()) return IoStatus.DeviceError;
        var header = new SegmentHeader(next!.Id, next.Disk, _identity.StoreId, _nextNumber++, End, (uint)_segments.SegmentBytes,
            _identity.OpenCount);
        _active = next;
        next.Number = header.Number;
        (next.EndBytes, next.WrittenBytes, next.ZeroedBytes) = (SegmentHeader.SizeBytes, 0, 0);
        header.Encode(_arena.Whole);
        AddVector(_arena.Pointer, SegmentHeader.SizeBytes);
        _arenaUsed = SegmentHeader.SizeBytes;
        return IoStatus.Ok;
    }

    /// <summary>The filling up to the multiple of 8 stands before each prefix, so that both are one piece of the gather write.</summary>
    private void AddPrefix(EntryKind kind, ulong volume, uint lengthBytes, ulong recordHash)
    {
        var active = _active!;
        var filling = (int)(active.EndBytes - active.WrittenBytes - _stagedBytes);
        _arena.Whole.Slice(_arenaUsed, filling).Clear();
        var prefix = new EntryPrefix(kind, lengthBytes, new LogPosition(active.Number, active.EndBytes), volume, Durable, recordHash);
        prefix.Encode(_arena.Whole[(_arenaUsed + filling)..], active.Seed);
        AddVector(_arena.Pointer + _arenaUsed, filling + EntryPrefix.SizeBytes);
        _arenaUsed += filling + EntryPrefix.SizeBytes;
        NotedDurable = Durable;
        active.EndBytes = prefix.End.OffsetBytes;
    }

    private void AddVector(byte* start, int lengthBytes)
    {
        _vectors[_vectorCount++] = new IoVector(start, lengthBytes);
        _stagedBytes += (uint)lengthBytes;
    }
}
