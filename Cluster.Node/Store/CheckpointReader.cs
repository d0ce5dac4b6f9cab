using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Loads the checkpoint into a store that is being opened. Bad bytes within a volume's frames damage that volume; anything else that is
/// not as it was written fails the open, as a log whose older part was recycled can't stand without it. Blocks.
/// </summary>
internal sealed class CheckpointReader : IDisposable
{
    private readonly IDiskFile _file;
    private readonly Func<VolumeId, VolumeStore> _volumeOf;
    private readonly Dictionary<uint, Segment> _segments = [];
    private readonly HashSet<uint> _lost = [];
    private readonly IoBuffer _buffer = BufferPool.Shared.Rent(CheckpointFrame.SizeBytes + CheckpointFrame.BodyBytesMax);
    private List<FoundSegment> _found;
    private Guid _storeId;

    private CheckpointReader(IDiskFile file, List<FoundSegment> found, Func<VolumeId, VolumeStore> volumeOf) =>
        (_file, _found, _volumeOf) = (file, found, volumeOf);

    /// <summary>Number of the checkpoint; 0: there is none.</summary>
    public ulong Number { get; private set; }

    /// <summary>The log goes on from here.</summary>
    public LogPosition Position { get; private set; }

    public long LengthBytes { get; private set; }

    /// <summary>Segments with records of its tails.</summary>
    public HashSet<Segment> TailSegments { get; } = [];

    /// <summary>It names segments that are used anew by now.</summary>
    public bool HasLost => _lost.Count > 0;

    /// <summary>The segments, with the number of those whose header is bad but that the checkpoint knows.</summary>
    public List<FoundSegment> Found => _found;

    public void Dispose()
    {
        _buffer.Release();
        _file.Dispose();
    }

    /// <summary>Missing: there is none. Null reader with any other status than Ok.</summary>
    public static IoStatus TryLoad(IDisk disk, Guid storeId, List<FoundSegment> found, Func<VolumeId, VolumeStore> volumeOf,
        out CheckpointReader? loaded, out string reason)
    {
        (loaded, reason) = (null, "");
        var opened = disk.Open(CheckpointWriter.Name, create: false, out var file);
        if (!opened.IsOk)
        {
            reason = opened.Detail ?? "";
            return opened.Status;
        }
        var reader = new CheckpointReader(file!, found, volumeOf) { _storeId = storeId };
        var status = reader.Load(out reason);
        if (status == IoStatus.Ok) loaded = reader;
        else reader.Dispose();
        return status;
    }

    private IoStatus Load(out string reason)
    {
        reason = "";
        long at = 0;
        for (uint index = 0; ; index++)
        {
            var status = ReadFrame(at, index, out var frame, out var bodyIsGood);
            if (status == IoStatus.Ok && (index == 0) != (frame.Kind == CheckpointFrameKind.Store)) status = IoStatus.Malformed;
            if (status == IoStatus.Ok && !bodyIsGood && frame.Volume == 0) status = IoStatus.BadChecksum;
            if (status != IoStatus.Ok)
            {
                reason = $"the checkpoint is damaged at byte {at}";
                return status;
            }
            at += CheckpointFrame.SizeBytes + frame.LengthBytes;
            var body = _buffer.Span.Slice(CheckpointFrame.SizeBytes, (int)frame.LengthBytes);
            if (!bodyIsGood) _volumeOf(new VolumeId(frame.Volume)).MarkDamaged($"the checkpoint is damaged before byte {at}");
            else if (!Apply(in frame, body))
            {
                reason = $"the checkpoint makes no sense before byte {at}";
                return IoStatus.Malformed;
            }
            if (frame.Kind != CheckpointFrameKind.End) continue;
            LengthBytes = at;
            return IoStatus.Ok;
        }
    }

    private IoStatus ReadFrame(long at, uint index, out CheckpointFrame frame, out bool bodyIsGood)
    {
        (frame, bodyIsGood) = (default, false);
        var header = _buffer.Span[..CheckpointFrame.SizeBytes];
        var read = _file.Read(at, header);
        if (!read.IsOk) return read.Status;
        var status = CheckpointFrame.TryDecode(header[..read.Count], out frame);
        if (status != IoStatus.Ok) return status;
        if (frame.Index != index) return IoStatus.Malformed;
        var body = _buffer.Span.Slice(CheckpointFrame.SizeBytes, (int)frame.LengthBytes);
        read = _file.Read(at + CheckpointFrame.SizeBytes, body);
        if (!read.IsOk) return read.Status;
        bodyIsGood = read.Count == body.Length && XxHash3.HashToUInt64(body) == frame.BodyHash;
        return IoStatus.Ok;
    }

    private bool Apply(in CheckpointFrame frame, ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(body);
        if (frame.Kind == CheckpointFrameKind.Store) return ApplyStore(ref reader);
        if (frame.Kind == CheckpointFrameKind.Segments) return ApplySegments(ref reader);
        if (frame.Kind == CheckpointFrameKind.End) return reader.U32() == frame.Index + 1 && reader.AtEnd;
        if (frame.Volume == 0) return false;
        var volume = _volumeOf(new VolumeId(frame.Volume));
        if (volume.Damage is not null && frame.Kind != CheckpointFrameKind.Volume) return true;
        var isGood = frame.Kind switch
        {
            CheckpointFrameKind.Volume => volume.LoadState(ref reader),
            CheckpointFrameKind.Tombstones => ApplyTombstones(ref reader, volume.Map.Tombstones),
            CheckpointFrameKind.Tail => ApplyTail(ref reader, volume),
            CheckpointFrameKind.Page => ApplyPage(ref reader, volume.Map),
            CheckpointFrameKind.Snapshots => ApplySnapshots(ref reader, volume.Map),
            CheckpointFrameKind.SnapshotTombstones => volume.Map.Layer(reader.U64()) is { } layer && ApplyTombstones(ref reader, layer.Tombstones),
            CheckpointFrameKind.SnapshotPage => volume.Map.Layer(reader.U64()) is { } layer && ApplyPage(ref reader, layer),
            _ => false,
        };
        if (!isGood) volume.MarkDamaged($"its part of the checkpoint names what is not there ({frame.Kind}, frame {frame.Index})");
        return true;
    }

    private bool ApplyStore(ref BodyReader reader)
    {
        Number = reader.U64();
        var storeId = reader.Guid();
        Position = new LogPosition(reader.U64(), reader.U32());
        reader.U32();
        return reader.AtEnd && Number > 0 && storeId == _storeId;
    }

    /// <summary>A segment whose header says another number was used anew since: what the checkpoint has there was superseded by what the log has behind it.</summary>
    private bool ApplySegments(ref BodyReader reader)
    {
        while (reader.Remaining > 0)
        {
            var (index, number, id) = (reader.U32(), reader.U64(), reader.Guid());
            if (!reader.Ok || index > int.MaxValue / 2) return false;
            var at = _found.FindIndex(each => each.Segment.Id == id);
            // A header that can't be read, before an entry that tells its number: that is what it is.
            if (at < 0 || (_found[at].Number != number && (_found[at].HasHeader || _found[at].Number > number)))
            {
                _lost.Add(index);
                continue;
            }
            if (!_found[at].HasHeader) _found[at] = _found[at] with { Number = number };
            if (!_segments.TryAdd(index, _found[at].Segment)) return false;
        }
        return true;
    }

    private static bool ApplyTombstones(ref BodyReader reader, RangeTombstones tombstones)
    {
        while (reader.Remaining > 0)
        {
            var tombstone = new Tombstone(reader.U64(), reader.U64(), reader.U64());
            if (!reader.Ok || tombstone.End > Limits.BlockIndexMax || !tombstones.TryAppend(tombstone)) return false;
        }
        return true;
    }

    /// <summary>The checkpoint only says where the tail's records are; they are read again.</summary>
    private bool ApplyTail(ref BodyReader reader, VolumeStore volume)
    {
        while (reader.Remaining > 0)
        {
            var (index, offset, length) = (reader.U32(), reader.U32(), reader.U32());
            if (!reader.Ok || length is < RecordHeader.SizeBytes or > Limits.RecordBytesMax) return false;
            if (!_segments.TryGetValue(index, out var segment)) return false;
            var place = new EntryPlace(segment.Index, offset);
            var buffer = BufferPool.Shared.Rent((int)length);
            var isGood = segment.File.ReadExactly(place.RecordOffsetBytes, buffer.Span).IsOk
                && RecordHeader.TryDecode(buffer.Span, out var header) == IoStatus.Ok && volume.LoadTail(in header, buffer.Span, place);
            buffer.Release();
            if (!isGood) return false;
            TailSegments.Add(segment);
        }
        return true;
    }

    private bool ApplyPage(ref BodyReader reader, BlockMap map)
    {
        var page = new MapPage();
        var number = reader.U64();
        while (reader.Remaining > 0)
        {
            if (!ReadEntry(ref reader, out var index, out var entry) || page.Entries[index].IsMapped) return false;
            page.Load(index, in entry);
        }
        return number <= Limits.BlockIndexMax >> MapPage.BlocksLog2 && map.TryLoad(number, page);
    }

    private bool ApplyPage(ref BodyReader reader, SnapshotLayer layer)
    {
        var page = new SparsePage();
        var number = reader.U64();
        var above = -1;
        while (reader.Remaining > 0)
        {
            if (!ReadEntry(ref reader, out var index, out var entry) || index <= above || entry.Sequence > layer.Sequence) return false;
            page.Insert(page.Count, index, in entry);
            above = index;
        }
        return reader.Ok && page.Count > 0 && number <= Limits.BlockIndexMax >> MapPage.BlocksLog2 && layer.TryLoad(number, page);
    }

    private bool ReadEntry(ref BodyReader reader, out ushort index, out MapEntry entry)
    {
        index = reader.U16();
        var encoding = (BlockEncoding)reader.U8();
        reader.U8();
        var length = reader.U16();
        reader.U16();
        var segmentIndex = reader.U32();
        entry = new MapEntry
        {
            Encoding = encoding,
            LengthBytes = length,
            Segment = MapEntry.NoSegment,
            OffsetBytes = reader.U32(),
            Sequence = reader.U64(),
            Checksum = reader.U64(),
        };
        if (!reader.Ok || index >= MapPage.Blocks || !entry.IsMapped || !entry.Descriptor.IsPlausible) return false;
        if (length == 0) return true;
        if (_segments.TryGetValue(segmentIndex, out var segment)) entry.Segment = segment.Index;
        else if (_lost.Contains(segmentIndex)) entry.Segment = MapEntry.LostSegment - (int)segmentIndex;
        else return false;
        return true;
    }

    /// <summary>Before anything else of the snapshots, and before the volume's trims could be taken for theirs.</summary>
    private static bool ApplySnapshots(ref BodyReader reader, BlockMap map)
    {
        while (reader.Remaining > 0)
        {
            var sequence = reader.U64();
            if (!reader.Ok || !map.TryLoadSnapshot(sequence)) return false;
        }
        return map.Layers.Count <= Limits.SnapshotsMax;
    }
}
