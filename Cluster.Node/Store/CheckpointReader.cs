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
    private readonly BlockStore _store;
    private readonly Dictionary<uint, Segment> _segments = [];
    private readonly HashSet<uint> _lost = [];
    private readonly IoBuffer _buffer = BufferPool.Shared.Rent(CheckpointFrame.SizeBytes + CheckpointFrame.BodyBytesMax);
    private List<FoundSegment> _found;
    private Guid _storeId;

    /// <summary>The detached map whose frames are being read.</summary>
    private BlockMap? _detached;

    private readonly List<BlockMap> _allDetached = [];

    /// <summary>What stands on what; put together at the end, as either may come first.</summary>
    private readonly List<(BlockMap Map, VolumeId Origin, ulong Snapshot, uint Detached)> _bases = [];

    private CheckpointReader(IDiskFile file, List<FoundSegment> found, BlockStore store) => (_file, _found, _store) = (file, found, store);

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
    public static IoStatus TryLoad(IDisk disk, Guid storeId, List<FoundSegment> found, BlockStore store,
        out CheckpointReader? loaded, out string reason)
    {
        (loaded, reason) = (null, "");
        var opened = disk.Open(CheckpointWriter.Name, create: false, out var file);
        if (!opened.IsOk)
        {
            reason = opened.Detail ?? "";
            return opened.Status;
        }
        var reader = new CheckpointReader(file!, found, store) { _storeId = storeId };
        var status = reader.Load(out reason);
        if (status == IoStatus.Ok) loaded = reader;
        else reader.Dispose();
        return status;
    }

    private IoStatus Load(out string reason)
    {
        reason = "";
        long at = 0;
        // Before the first page of it goes to the page file: what that leaves free is known from here on.
        _store.NoteCheckpointBytes(_file.LengthBytes);
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
            if (frame.Kind is CheckpointFrameKind.Detached) BeginDetached(new VolumeId(frame.Volume));
            else if (frame.Kind is CheckpointFrameKind.Volume or CheckpointFrameKind.End) _detached = null;
            if (!bodyIsGood && _detached is not null) _detached.IsDamaged = true;
            else if (!bodyIsGood) _store.VolumeOf(new VolumeId(frame.Volume)).MarkDamaged($"the checkpoint is damaged before byte {at}");
            else if (!Apply(in frame, body))
            {
                reason = $"the checkpoint makes no sense before byte {at}";
                return IoStatus.Malformed;
            }
            _store.Maps.Yield();
            if (frame.Kind != CheckpointFrameKind.End) continue;
            LengthBytes = at;
            JoinBases();
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
        if (_detached is { } detached)
        {
            if (!ApplyToMap(frame.Kind, ref reader, detached)) detached.IsDamaged = true;
            return true;
        }
        var volume = _store.VolumeOf(new VolumeId(frame.Volume));
        if (volume.Damage is not null && frame.Kind != CheckpointFrameKind.Volume) return true;
        var isGood = frame.Kind switch
        {
            CheckpointFrameKind.Volume => volume.LoadState(ref reader),
            CheckpointFrameKind.Tombstones => ApplyTombstones(ref reader, volume.Map.Tombstones),
            CheckpointFrameKind.Tail => ApplyTail(ref reader, volume),
            _ => ApplyToMap(frame.Kind, ref reader, volume.Map),
        };
        if (!isGood) volume.MarkDamaged($"its part of the checkpoint names what is not there ({frame.Kind}, frame {frame.Index})");
        return true;
    }

    private bool ApplyToMap(CheckpointFrameKind kind, ref BodyReader reader, BlockMap map) => kind switch
    {
        CheckpointFrameKind.Page => ApplyPage(ref reader, map),
        CheckpointFrameKind.Snapshots => ApplySnapshots(ref reader, map),
        CheckpointFrameKind.SnapshotTombstones => map.Layer(reader.U64()) is { } layer && ApplyTombstones(ref reader, layer.Tombstones),
        CheckpointFrameKind.SnapshotPage => map.Layer(reader.U64()) is { } layer && ApplyPage(ref reader, map, layer.Sequence),
        CheckpointFrameKind.HiddenSnapshots => ApplyHidden(ref reader, map),
        CheckpointFrameKind.Base => ApplyBase(ref reader, map),
        CheckpointFrameKind.Detached => ApplyDetached(ref reader, map),
        _ => false,
    };

    private void BeginDetached(VolumeId volume)
    {
        _detached = new BlockMap(_store.Segments, volume, _store.Maps);
        _allDetached.Add(_detached);
    }

    private static bool ApplyDetached(ref BodyReader reader, BlockMap map)
    {
        var (damaged, zero) = (reader.U32(), reader.U32());
        map.IsDamaged |= damaged == 1;
        return reader.AtEnd && damaged <= 1 && zero == 0;
    }

    private bool ApplyBase(ref BodyReader reader, BlockMap map)
    {
        var (origin, snapshot, detached, zero) = (new VolumeId(reader.U64()), reader.U64(), reader.U32(), reader.U32());
        if (!reader.AtEnd || !origin.IsValid || zero != 0 || _bases.Exists(known => known.Map == map)) return false;
        _bases.Add((map, origin, snapshot, detached));
        return true;
    }

    private static bool ApplyHidden(ref BodyReader reader, BlockMap map)
    {
        while (reader.Remaining > 0)
        {
            var sequence = reader.U64();
            if (!reader.Ok || map.Layer(sequence) is not { } layer) return false;
            layer.IsHidden = true;
        }
        return true;
    }

    /// <summary>A map without what it stands on is damaged, and so is its volume: marked as such before the log is read.</summary>
    private void JoinBases()
    {
        foreach (var (map, origin, snapshot, detached) in _bases)
        {
            var below = detached == 0 ? (_store.Find(origin) as VolumeStore)?.Map : detached <= _allDetached.Count ? _allDetached[(int)detached - 1] : null;
            if (below is null || below.Volume != origin || !map.TryStandOn(below, snapshot))
            {
                map.IsDamaged = true;
                _store.OwnerOf(map)?.MarkDamaged($"snapshot {snapshot} of volume {origin}, which it was cloned from, is not in the checkpoint");
            }
        }
        foreach (var map in _allDetached)
        {
            map.MarkDetached();
            _store.AddDetached(map);
        }
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
            if (at < 0 && _store.LacksDisks)
            {
                if (number == 0 || !_segments.TryAdd(index, _store.Segments.AddMissing(id, number))) return false;
                continue;
            }
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

    private bool ApplyPage(ref BodyReader reader, BlockMap map, ulong snapshot)
    {
        var number = reader.U64();
        if (!reader.Ok || reader.Remaining == 0 || number > Limits.BlockIndexMax >> MapPage.BlocksLog2) return false;
        while (reader.Remaining > 0)
        {
            if (!ReadEntry(ref reader, out var index, out var entry) || entry.Sequence > snapshot) return false;
            if (!map.TryLoad(snapshot, (number << MapPage.BlocksLog2) + index, in entry)) return false;
        }
        return true;
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
        if (segmentIndex == unchecked((uint)MapEntry.MaskSegment) || (length > 0 && segmentIndex == unchecked((uint)MapEntry.BaseSegment)))
        {
            entry.Segment = unchecked((int)segmentIndex);
            return entry.OffsetBytes == 0 && (length == 0 || !entry.IsMask);
        }
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
        // Those that only clones know count too.
        return map.Layers.Count <= 2 * Limits.SnapshotsMax;
    }
}
