using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// Buffers by size class, kept for reuse up to <see cref="KeptBytesMax"/> and freed above it. Thread-safe; one per process (<see cref="Shared"/>).
/// </summary>
public sealed class BufferPool
{
    /// <summary>Classes fit one encoded block with its headers, a few blocks, and whole records of 16, 32 and 64 blocks.</summary>
    private static readonly int[] ClassBytes = [512, 4608, 8192, 20480, 36864, 73728, 139264, 278528, 1 << 20];

    public const long KeptBytesMax = 64L << 20;

    public static readonly BufferPool Shared = new();

    private readonly Stack<IoBuffer>[] _free = [.. ClassBytes.Select(_ => new Stack<IoBuffer>())];
    private long _keptBytes;
    private long _rentedBytes;

    public static int LargestBytes => ClassBytes[^1];

    /// <summary>Bytes out on rent now.</summary>
    public long RentedBytes => Interlocked.Read(ref _rentedBytes);

    /// <summary>A buffer of at least <paramref name="lengthBytes"/>, whose content is undefined. At most <see cref="LargestBytes"/>.</summary>
    public IoBuffer Rent(int lengthBytes)
    {
        var index = ClassOf(lengthBytes);
        IoBuffer? buffer = null;
        var stack = _free[index];
        lock (stack)
        {
            if (stack.Count > 0) buffer = stack.Pop();
        }
        if (buffer is not null) Interlocked.Add(ref _keptBytes, -buffer.CapacityBytes);
        else buffer = new IoBuffer(this, index, ClassBytes[index]);
        Interlocked.Add(ref _rentedBytes, buffer.CapacityBytes);
        buffer.Rented(lengthBytes);
        return buffer;
    }

    internal void Return(IoBuffer buffer)
    {
        Interlocked.Add(ref _rentedBytes, -buffer.CapacityBytes);
        if (Interlocked.Add(ref _keptBytes, buffer.CapacityBytes) > KeptBytesMax)
        {
            Interlocked.Add(ref _keptBytes, -buffer.CapacityBytes);
            buffer.Free();
            return;
        }
        var stack = _free[buffer.SizeClass];
        lock (stack) stack.Push(buffer);
    }

    private static int ClassOf(int lengthBytes)
    {
        for (var index = 0; index < ClassBytes.Length; index++)
        {
            if (lengthBytes <= ClassBytes[index]) return index;
        }
        throw new InvariantException($"a buffer of {lengthBytes} B was asked for; the largest class holds {LargestBytes} B");
    }
}
