using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>One piece of a read: bytes of a segment that go to one place of the reply.</summary>
internal readonly record struct ReadPiece(Segment Segment, uint OffsetBytes, int LengthBytes, int ReplyOffset);

/// <summary>
/// A read of committed blocks. It runs on the loop when the page cache has all of it, and else on the disk's read thread; the segments
/// it reads are held so that they are not used anew before it ends. Pooled.
/// </summary>
internal sealed class ReadJob(BlockStore store) : DiskJob
{
    private readonly ReadPiece[] _pieces = new ReadPiece[Limits.RecordBlocksMax];
    private int _pieceCount;
    private int _next;
    private VolumeId _volume;

    /// <summary>Under which each block was written: a clone shares blocks with the volumes below it.</summary>
    private readonly VolumeId[] _writtenAs = new VolumeId[Limits.RecordBlocksMax];
    private BlockRange _range;
    private IReadCompletion? _completion;
    private ulong _token;
    private IoBuffer? _reply;
    private IoStatus _status;
    private long _queued;

    /// <summary>Sets the read up from the map: descriptors into the reply, and the pieces to read.</summary>
    /// <param name="known">Per block the sequence of what the reader has: of a block whose bytes are of that sequence only that is said. Empty: nothing.</param>
    public void Prepare(VolumeId volume, BlockMap map, BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known)
    {
        (_volume, _range, _completion, _token, _status, _pieceCount, _next) = (volume, range, completion, token, IoStatus.Ok, 0, 0);
        var descriptorBytes = (int)range.Count * ReadDescriptor.SizeBytes;
        var total = descriptorBytes;
        for (var index = 0; index < (int)range.Count; index++)
        {
            if (map.Find(range.First + (ulong)index, out var entry, out _) && !IsKnown(known, index, in entry)) total += entry.LengthBytes;
        }
        _reply = BufferPool.Shared.Rent(total);
        store.NoteRead(total - descriptorBytes);
        var at = descriptorBytes;
        for (var index = 0; index < (int)range.Count; index++)
        {
            var block = range.First + (ulong)index;
            var isMapped = map.Find(block, out var entry, out var holder);
            if (isMapped && IsKnown(known, index, in entry))
            {
                _writtenAs[index] = volume;
                ReadDescriptor.Same(entry.Sequence).Write(_reply.Span[(index * ReadDescriptor.SizeBytes)..]);
                continue;
            }
            _writtenAs[index] = isMapped ? holder.Volume : volume;
            var descriptor = isMapped
                ? new ReadDescriptor(entry.Descriptor, entry.Sequence)
                : new ReadDescriptor(BlockDescriptor.Of(BlockEncoding.Zero, volume, 0, block, []), map.Tombstones.SequenceOf(block));
            descriptor.Write(_reply.Span[(index * ReadDescriptor.SizeBytes)..]);
            if (!isMapped || entry.LengthBytes == 0) continue;
            AddPiece(in entry, at);
            at += entry.LengthBytes;
        }
    }

    /// <summary>One sequence of the committed map has made one content of a block. Zeroes have no bytes to leave out.</summary>
    private static bool IsKnown(ReadOnlySpan<ulong> known, int index, in MapEntry entry) =>
        index < known.Length && known[index] == entry.Sequence && entry.LengthBytes > 0;

    /// <summary>Whether the page cache gave all of it.</summary>
    public bool TryReadCached()
    {
        var before = store.Stages.Enter(LoopStage.Disk);
        var isCached = ReadCached();
        store.Stages.Leave(before);
        if (isCached) _status = Verify();
        return isCached;
    }

    private bool ReadCached()
    {
        for (; _next < _pieceCount; _next++)
        {
            ref readonly var piece = ref _pieces[_next];
            if (!piece.Segment.File.TryReadCached(piece.OffsetBytes, _reply!.Span.Slice(piece.ReplyOffset, piece.LengthBytes)).IsOk)
                return false;
        }
        return true;
    }

    public void HoldSegments()
    {
        _queued = store.Stages.Now();
        for (var index = 0; index < _pieceCount; index++) _pieces[index].Segment.Readers++;
    }

    public override bool MayBeLeft => true;

    public override void Execute()
    {
        for (; _next < _pieceCount; _next++)
        {
            ref readonly var piece = ref _pieces[_next];
            if (piece.Segment.File.ReadExactly(piece.OffsetBytes, _reply!.Span.Slice(piece.ReplyOffset, piece.LengthBytes)).IsOk) continue;
            _status = IoStatus.DeviceError;
            return;
        }
        _status = Verify();
    }

    public override void Complete()
    {
        store.Stages.Ended(LoopWait.DiskRead, _queued);
        for (var index = 0; index < _pieceCount; index++) _pieces[index].Segment.Readers--;
        Deliver();
        store.OnJobDone(this);
    }

    /// <summary>Gives the answer and itself back. Last use of the job by the caller.</summary>
    public void Deliver()
    {
        var (completion, token, status, reply) = (_completion!, _token, _status, _reply!);
        (_completion, _reply) = (null, null);
        Array.Clear(_pieces, 0, _pieceCount);
        store.Return(this);
        if (status == IoStatus.Ok)
        {
            completion.OnRead(token, status, reply);
            return;
        }
        reply.Release();
        completion.OnRead(token, status, null);
    }

    /// <summary>Neighbours on disk are read as one.</summary>
    private void AddPiece(in MapEntry entry, int replyOffset)
    {
        if (_pieceCount > 0)
        {
            ref var last = ref _pieces[_pieceCount - 1];
            if (last.Segment.Index == entry.Segment && last.OffsetBytes + (uint)last.LengthBytes == entry.OffsetBytes)
            {
                last = last with { LengthBytes = last.LengthBytes + entry.LengthBytes };
                return;
            }
        }
        _pieces[_pieceCount++] = new ReadPiece(store.Segments[entry.Segment], entry.OffsetBytes, entry.LengthBytes, replyOffset);
    }

    /// <summary>What was written as another volume's leaves the node as this one's.</summary>
    private IoStatus Verify()
    {
        var reply = _reply!.Span;
        var at = (int)_range.Count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < (int)_range.Count; index++)
        {
            var descriptor = ReadDescriptor.Read(reply[(index * ReadDescriptor.SizeBytes)..]).Block;
            if (descriptor.Length == 0 && _writtenAs[index] == _volume) continue;
            var block = _range.First + (ulong)index;
            var bytes = reply.Slice(at, descriptor.Length);
            if (!descriptor.Matches(_writtenAs[index], 0, block, bytes)) return IoStatus.BadChecksum;
            if (_writtenAs[index] != _volume) BlockDescriptor.Of(descriptor.Encoding, _volume, 0, block, bytes).Write(reply[(index * ReadDescriptor.SizeBytes)..]);
            at += descriptor.Length;
        }
        return IoStatus.Ok;
    }
}
