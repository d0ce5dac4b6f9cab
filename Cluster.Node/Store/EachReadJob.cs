using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// A read of committed blocks for repair: each block by itself, so that one that is bad spoils no other. Always on a disk thread; the segments it reads are held.
/// Rare: not pooled.
/// </summary>
internal sealed class EachReadJob : DiskJob
{
    private readonly BlockStore _store;
    private readonly VolumeId _volume;
    private readonly BlockRange _range;
    private readonly ulong _snapshot;
    private readonly IEachReadCompletion _completion;
    private readonly ulong _token;
    private readonly MapEntry[] _entries;
    private readonly Segment?[] _segments;
    private readonly VolumeId[] _writtenAs;
    private readonly IoBuffer _reply;
    private ulong _bad;

    /// <summary>Takes the map as it is now. <paramref name="snapshot"/> 0: the volume's own blocks.</summary>
    public EachReadJob(BlockStore store, VolumeStore volume, BlockRange range, ulong snapshot, IEachReadCompletion completion, ulong token)
    {
        (_store, _volume, _range, _snapshot, _completion, _token) = (store, volume.Volume, range, snapshot, completion, token);
        _entries = new MapEntry[range.Count];
        _segments = new Segment?[range.Count];
        _writtenAs = new VolumeId[range.Count];
        var total = (int)range.Count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < _entries.Length; index++)
        {
            if (!volume.Map.TryGetKept(snapshot, range.First + (ulong)index, out _entries[index], out var holder))
            {
                _entries[index] = default;
                continue;
            }
            _writtenAs[index] = holder.Volume;
            total += _entries[index].LengthBytes;
            if (_entries[index].Segment == MapEntry.NoSegment) continue;
            _segments[index] = store.Segments[_entries[index].Segment];
            _segments[index]!.Readers++;
        }
        _reply = BufferPool.Shared.Rent(total);
        for (var index = 0; index < _entries.Length; index++) DescriptorOf(volume.Map, index).Write(_reply.Span[(index * ReadDescriptor.SizeBytes)..]);
    }

    public override bool MayBeLeft => true;

    public override void Execute()
    {
        var at = _entries.Length * ReadDescriptor.SizeBytes;
        for (var index = 0; index < _entries.Length; index++)
        {
            if (_segments[index] is not { } segment) continue;
            ref readonly var entry = ref _entries[index];
            var bytes = _reply.Span.Slice(at, entry.LengthBytes);
            var block = _range.First + (ulong)index;
            var isRead = segment.File.ReadExactly(entry.OffsetBytes, bytes).IsOk;
            var isGood = isRead && entry.Descriptor.Matches(_writtenAs[index], 0, block, bytes);
            if (!isGood)
            {
                // A read that failed was counted where it failed; bad bytes are known here only.
                if (isRead) segment.CountBad(entry.OffsetBytes);
                _bad |= 1UL << index;
                continue;
            }
            at += entry.LengthBytes;
            // What was written as another volume's leaves the node as this one's.
            if (_writtenAs[index] != _volume) BlockDescriptor.Of(entry.Encoding, _volume, 0, block, bytes).Write(_reply.Span[(index * ReadDescriptor.SizeBytes)..]);
        }
        _reply.Length = at;
    }

    public override void Complete()
    {
        foreach (var segment in _segments)
        {
            if (segment is not null) segment.Readers--;
        }
        _completion.OnReadEach(_token, IoStatus.Ok, _bad, _reply);
        _store.OnJobDone(this);
    }

    private ReadDescriptor DescriptorOf(BlockMap map, int index)
    {
        var block = _range.First + (ulong)index;
        if (_entries[index] is { IsMapped: true, LengthBytes: 0 } zero && _writtenAs[index] != _volume)
            return new ReadDescriptor(BlockDescriptor.Of(zero.Encoding, _volume, 0, block, []), zero.Sequence);
        return _entries[index].IsMapped
            ? new ReadDescriptor(_entries[index].Descriptor, _entries[index].Sequence)
            : new ReadDescriptor(BlockDescriptor.Of(BlockEncoding.Zero, _volume, 0, block, []), _snapshot == 0 ? map.Tombstones.SequenceOf(block) : 0);
    }
}
