using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// A segment that the cleaner fills beside the log, with nothing but blocks that it moves. It is no part of the log, and nothing names it, until it is whole and on media and the log next leaves
/// its segment: then one write of its header and first prefix puts it into the chain, and the maps go over to the copies (docs/adr/0014-cold-segments.md). Loop only, but for <see cref="WriteStaged"/>.
/// </summary>
internal sealed class ColdSegment(Segment segment, ulong number, uint segmentBytes)
{
    /// <summary>What one window of a source may become: no more than the window, and a record that was begun before.</summary>
    private static readonly int StagedBytesMax = 2 * BufferPool.LargestBytes;

    /// <summary>Header and first prefix: written last.</summary>
    public const int LinkBytes = SegmentHeader.SizeBytes + EntryPrefix.SizeBytes;

    /// <summary>Pages that one turn takes from the page cache; a disk thread reads the others.</summary>
    private const int CachedLoadsMax = 32;

    private readonly byte[] _firstPrefix = new byte[EntryPrefix.SizeBytes];
    private readonly List<Move> _moves = [];
    private readonly List<Incarnation> _volumes = [];
    private byte[] _staged = new byte[StagedBytesMax];
    private int _stagedBytes;
    private uint _writtenBytes = LinkBytes;
    private bool _closes;
    private int _applied;
    private int _prepared;
    private DiskResult _result;

    private readonly record struct Move(int Volume, ulong Block, MapEntry Entry);

    /// <summary>A volume as it was when the first of its blocks came: a record with its commit watermark means nothing once its order began anew.</summary>
    /// <param name="IsDropped">Its copies are left alone: the maps keep the places that they have.</param>
    private readonly record struct Incarnation(VolumeId Id, VolumeStore? Volume, int Orders, ulong Watermark, bool IsDropped = false);

    public Segment Segment { get; } = segment;

    /// <summary>Its number in the log once it is there.</summary>
    public ulong Number { get; } = number;

    public uint EndBytes { get; private set; } = SegmentHeader.SizeBytes;

    /// <summary>Those whose last live block is in here.</summary>
    public List<(Segment Segment, ulong Number)> Sources { get; } = [];

    /// <summary>It takes no more copies: each is noted in memory until the maps have gone over to it.</summary>
    public bool IsNoted => _moves.Count >= CleanerPolicy.MovesMax(segmentBytes);

    /// <summary>A job writes it.</summary>
    public bool IsWriting { get; private set; }

    /// <summary>All of it but the header and the first prefix is on media.</summary>
    public bool IsReady { get; private set; }

    /// <summary>In the log with all its copies, or given up.</summary>
    public bool IsGone { get; private set; }

    public bool IsLinked { get; private set; }

    /// <summary>That it is on media could not be had: what is read from it later need not be there (R10).</summary>
    public bool HasFailedSync { get; private set; }

    /// <summary>Sources that hold nothing but what is copied here.</summary>
    public int LiveSources
    {
        get
        {
            var count = 0;
            foreach (var (source, number) in Sources)
            {
                if (source.Number == number && !source.IsDead) count++;
            }
            return count;
        }
    }

    public bool NeedsWrite => !IsReady && !IsGone && (_stagedBytes > 0 || _closes);

    /// <summary>Bytes of the longest record that still goes in.</summary>
    public int RoomBytes => Math.Max(0, Math.Min((int)(segmentBytes - EndBytes) - EntryPrefix.SizeBytes - EntryPrefix.AlignmentBytes,
        StagedBytesMax - _stagedBytes - EntryPrefix.SizeBytes - EntryPrefix.AlignmentBytes));

    /// <summary>It takes no more.</summary>
    public void Close() => _closes = true;

    /// <summary>Takes what was gathered.</summary>
    /// <param name="durable">As the log's entries carry it.</param>
    public void Add(PackBuilder pack, VolumeStore? volume, LogPosition durable)
    {
        Invariant.That(!IsWriting && !IsReady && !_closes, "a cold segment that is closed took more");
        var watermark = volume?.CommitWatermark ?? 0;
        var record = pack.Build(watermark, out var header);
        var place = new EntryPlace(Segment.Index, EndBytes);
        var hash = BinaryPrimitives.ReadUInt64LittleEndian(record.Span[(RecordHeader.SizeBytes - 8)..]);
        var prefix = new EntryPrefix(EntryKind.Record, (uint)header.TotalBytes, new LogPosition(Number, EndBytes), pack.Volume.Value, durable, hash);
        if (EndBytes == SegmentHeader.SizeBytes) prefix.Encode(_firstPrefix, Segment.Seed);
        else
        {
            prefix.Encode(_staged.AsSpan(_stagedBytes), Segment.Seed);
            _stagedBytes += EntryPrefix.SizeBytes;
        }
        record.Span[..header.TotalBytes].CopyTo(_staged.AsSpan(_stagedBytes));
        _stagedBytes += header.TotalBytes;
        var filling = (int)(prefix.TotalBytes - EntryPrefix.SizeBytes) - header.TotalBytes;
        _staged.AsSpan(_stagedBytes, filling).Clear();
        _stagedBytes += filling;
        EndBytes = prefix.End.OffsetBytes;
        NoteMoves(IndexOf(pack.Volume, volume, watermark), in header, record.Span, place);
        record.Release();
    }

    /// <summary>Disk thread: what was added since, and when it closes also that it is on media.</summary>
    public void WriteStaged()
    {
        _result = _stagedBytes == 0 ? DiskResult.Done() : Segment.File.WriteAll(_writtenBytes, _staged.AsSpan(0, _stagedBytes));
        if (!_result.IsOk || !_closes) return;
        _result = Segment.File.Sync();
        HasFailedSync = !_result.IsOk;
    }

    public void OnWriteBegins() => IsWriting = true;

    public DiskResult OnWritten()
    {
        IsWriting = false;
        if (!_result.IsOk) return _result;
        _writtenBytes += (uint)_stagedBytes;
        _stagedBytes = 0;
        if (!_closes) return _result;
        IsReady = true;
        _staged = [];
        return _result;
    }

    /// <summary>Whether the volumes still are those whose blocks are here.</summary>
    public bool IsCurrent(IReadOnlyDictionary<VolumeId, VolumeStore> volumes) =>
        _volumes.TrueForAll(each => volumes.GetValueOrDefault(each.Id) == each.Volume && (each.Volume is null || each.Volume.Orders == each.Orders));

    /// <summary>What goes before the rest: the header with the place that the log comes from, and the first prefix.</summary>
    public void EncodeLink(in SegmentHeader header, Span<byte> to)
    {
        header.Encode(to);
        _firstPrefix.CopyTo(to[SegmentHeader.SizeBytes..]);
    }

    /// <summary>It is in the log.</summary>
    public void OnLinked()
    {
        IsLinked = Segment.IsTakingIn = true;
        foreach (var each in _volumes) each.Volume?.NoteLogged(each.Watermark);
    }

    /// <summary>
    /// What <see cref="Apply"/> has next: so many more copies, or fewer if the pages that they want are more than one job reads. Adds those that are not in memory.
    /// </summary>
    public void Prepare(BlockStore store, int movesMax, List<MapPage> absent)
    {
        var end = Math.Min(_moves.Count, _applied + movesMax);
        if (!store.Maps.HasEvicted)
        {
            _prepared = end;
            return;
        }
        var (maps, loads) = (MapsOf(store), 0);
        for (_prepared = _applied; _prepared < end && absent.Count < MapCache.LoadJob.PagesMax; _prepared++)
        {
            var before = absent.Count;
            foreach (var map in maps[_moves[_prepared].Volume]) map.FindAbsentOf(_moves[_prepared].Block, absent);
            for (var at = absent.Count - 1; at >= before && loads < CachedLoadsMax; at--)
            {
                if (!store.Maps.TryLoadCached(absent[at])) continue;
                loads++;
                absent.RemoveAt(at);
            }
        }
    }

    /// <summary>It is in the log: the maps name those of the copies that they still have the bytes of, of all that was prepared. True: those were the last.</summary>
    public bool Apply(BlockStore store)
    {
        var maps = MapsOf(store);
        for (; _applied < _prepared; _applied++)
        {
            store.Maps.Yield();
            var (volume, block, entry) = _moves[_applied];
            foreach (var map in maps[volume]) map.Move(block, in entry);
        }
        return _applied == _moves.Count;
    }

    /// <summary>The maps of that volume do not go over any more.</summary>
    public void Drop(VolumeId id)
    {
        for (var index = 0; index < _volumes.Count; index++)
        {
            if (_volumes[index].Id == id && _applied < _moves.Count) (_volumes[index], HasDropped) = (_volumes[index] with { IsDropped = true }, true);
        }
    }

    /// <summary>Some of its sources were not emptied by it, and through no fault of theirs.</summary>
    public bool HasDropped { get; private set; }

    /// <summary>Copies that the maps have gone over to, or not, as it was.</summary>
    public int Applied => _applied;

    public void OnGone() => (IsGone, Segment.IsTakingIn) = (true, false);

    private List<List<BlockMap>> MapsOf(BlockStore store) => _volumes.ConvertAll(each => each.IsDropped ? [] : store.MapsOf(each.Id));

    private int IndexOf(VolumeId id, VolumeStore? volume, ulong watermark)
    {
        // The highest watermark counts: it is logged with the last of the records.
        for (var index = _volumes.Count - 1; index >= 0; index--)
        {
            if (_volumes[index].Id != id) continue;
            _volumes[index] = _volumes[index] with { Watermark = watermark };
            return index;
        }
        _volumes.Add(new Incarnation(id, volume, volume?.Orders ?? 0, watermark));
        return _volumes.Count - 1;
    }

    private void NoteMoves(int volume, in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        var blocks = new RecordBlocks(in header, record);
        var offset = place.RecordOffsetBytes + (uint)blocks.OffsetBytes;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = StoreRecord.DescriptorAt(record, index);
            _moves.Add(new Move(volume, blocks.BlockAt(index), VolumeStore.EntryOf(descriptor, blocks.SequenceAt(index), place.Segment, offset)));
            offset += descriptor.Length;
        }
    }
}
