using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>
/// What waits to be sent on one socket: buffers by reference, and chunks that small sends are copied into one behind
/// the other. Each piece holds a reference to its buffer until the kernel has its last byte. Loop thread only.
/// </summary>
internal sealed class OutQueue
{
    private const int PiecesInitial = 16;
    private Piece[] _ring = new Piece[PiecesInitial];
    private int _head;
    private int _count;
    private IoBuffer? _chunk;
    private int _chunkUsed;

    private struct Piece
    {
        public IoBuffer Buffer;
        public int Offset;
        public int Length;
    }

    public long Bytes { get; private set; }

    public void Copy(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var chunk = ChunkWithRoom();
            var taken = Math.Min(bytes.Length, chunk.CapacityBytes - _chunkUsed);
            bytes[..taken].CopyTo(chunk.Whole[_chunkUsed..]);
            AppendFromChunk(chunk, taken);
            bytes = bytes[taken..];
        }
    }

    public void Reference(IoBuffer buffer, int offset, int length)
    {
        Invariant.That(offset >= 0 && length >= 0 && length <= buffer.CapacityBytes - offset, "a send lies outside its buffer");
        if (length == 0) return;
        buffer.AddReference();
        Push(new Piece { Buffer = buffer, Offset = offset, Length = length });
        Bytes += length;
    }

    /// <summary>Fills vectors with what goes out next; answers their number and the bytes in them.</summary>
    public unsafe int Gather(LibC.IoVector* vectors, int vectorsMax, out long bytes)
    {
        bytes = 0;
        var count = Math.Min(_count, vectorsMax);
        for (var index = 0; index < count; index++)
        {
            ref var piece = ref At(index);
            vectors[index].Base = piece.Buffer.Pointer + piece.Offset;
            vectors[index].Length = (nuint)piece.Length;
            bytes += piece.Length;
        }
        return count;
    }

    /// <summary>The kernel took that many bytes.</summary>
    public void Advance(long bytes)
    {
        Invariant.That(bytes <= Bytes, "more was sent than was queued");
        Bytes -= bytes;
        while (bytes > 0)
        {
            ref var piece = ref At(0);
            if (bytes < piece.Length)
            {
                piece.Offset += (int)bytes;
                piece.Length -= (int)bytes;
                return;
            }
            bytes -= piece.Length;
            PopHead();
        }
        if (_count == 0) ReleaseChunk();
    }

    public void Clear()
    {
        while (_count > 0) PopHead();
        ReleaseChunk();
        Bytes = 0;
    }

    private IoBuffer ChunkWithRoom()
    {
        if (_chunk is not null && _chunkUsed < _chunk.CapacityBytes) return _chunk;
        ReleaseChunk();
        return _chunk = BufferPool.Shared.Rent(LoopLimits.ChunkBytes);
    }

    /// <summary>Goes on with the last piece if that one ends where this one begins.</summary>
    private void AppendFromChunk(IoBuffer chunk, int length)
    {
        var offset = _chunkUsed;
        _chunkUsed += length;
        Bytes += length;
        if (_count > 0)
        {
            ref var last = ref At(_count - 1);
            if (ReferenceEquals(last.Buffer, chunk) && last.Offset + last.Length == offset)
            {
                last.Length += length;
                return;
            }
        }
        chunk.AddReference();
        Push(new Piece { Buffer = chunk, Offset = offset, Length = length });
    }

    private void ReleaseChunk()
    {
        _chunk?.Release();
        (_chunk, _chunkUsed) = (null, 0);
    }

    private ref Piece At(int index) => ref _ring[(_head + index) & (_ring.Length - 1)];

    private void Push(Piece piece)
    {
        if (_count == _ring.Length) Grow();
        _count++;
        At(_count - 1) = piece;
    }

    private void PopHead()
    {
        ref var piece = ref At(0);
        piece.Buffer.Release();
        piece = default;
        _head = (_head + 1) & (_ring.Length - 1);
        _count--;
    }

    private void Grow()
    {
        var larger = new Piece[_ring.Length * 2];
        for (var index = 0; index < _count; index++) larger[index] = At(index);
        (_ring, _head) = (larger, 0);
    }
}
