using System.Buffers;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// A pooled buffer of native memory, aligned to 4 KiB unless it is smaller, that block bytes live in from the socket to the disk. Reference counted (thread-safe):
/// the one who rents it holds one reference; whoever keeps it beyond the call it was given in takes another with <see cref="AddReference"/>.
/// </summary>
public sealed unsafe class IoBuffer : MemoryManager<byte>
{
    private readonly BufferPool _pool;
    private readonly byte* _memory;
    private int _references;

    internal IoBuffer(BufferPool pool, int sizeClass, int capacityBytes, int roomBytes, byte* memory)
    {
        (_pool, SizeClass, CapacityBytes, RoomBytes) = (pool, sizeClass, capacityBytes, roomBytes);
        _memory = memory;
    }

    public int CapacityBytes { get; }

    /// <summary>Memory that it takes once all of it was written to: whole pages, but for the smallest.</summary>
    public int RoomBytes { get; }

    /// <summary>Bytes in use, set by whoever filled the buffer.</summary>
    public int Length { get; set; }

    public Span<byte> Span => new(_memory, Length);

    public Span<byte> Whole => new(_memory, CapacityBytes);

    public byte* Pointer => _memory;

    internal int SizeClass { get; }

    /// <summary>References that are held now. Any thread; for looks, not for decisions.</summary>
    public int References => Volatile.Read(ref _references);

    public void AddReference()
    {
        var now = Interlocked.Increment(ref _references);
        Invariant.That(now > 1, "a buffer was referenced after its last release");
    }

    /// <summary>Gives a reference back; the last one returns the buffer to its pool.</summary>
    public void Release()
    {
        var now = Interlocked.Decrement(ref _references);
        Invariant.That(now >= 0, "a buffer was released twice");
        if (now == 0) _pool.Return(this);
    }

    internal void Rented(int lengthBytes)
    {
        Length = lengthBytes;
        Volatile.Write(ref _references, 1);
    }

    public override Span<byte> GetSpan() => Whole;

    public override MemoryHandle Pin(int elementIndex = 0) => new(_memory + elementIndex);

    public override void Unpin()
    {
    }

    /// <summary>The pool owns the memory; a buffer is given back with <see cref="Release"/>.</summary>
    protected override void Dispose(bool disposing)
    {
    }
}
