using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// Buffers by size class. Those that are given back keep their memory for the next, warm, up to <see cref="KeptBytesMax"/> and as far as all buffers together stay within
/// <see cref="LimitBytes"/>; beyond that the system gets the memory, first that of sizes which nobody wants any more. Renting never fails: who takes in work asks before <see cref="IsTight"/>, and waits. Thread-safe;
/// one per process (<see cref="Shared"/>).
/// </summary>
public sealed unsafe class BufferPool
{
    /// <summary>Classes fit one encoded block, without and with its headers, a few blocks, and whole records of 16, 32 and 64 blocks.</summary>
    private static readonly int[] ClassBytes = [512, 4096, 4608, 8192, 20480, 36864, 73728, 139264, 278528, 1 << 20];

    public const long KeptBytesMax = 64L << 20;

    /// <summary>Of the limit, in per cent: from here on nothing that can wait is taken in.</summary>
    public const int TightPercent = 70;

    public static readonly BufferPool Shared = new();

    private readonly SizeClass[] _classes = [.. ClassBytes.Select(bytes => new SizeClass(bytes))];
    private long _keptBytes;
    private long _rentedBytes;
    private long _limitBytes = long.MaxValue;
    private long _tightBytes = long.MaxValue;

    private sealed class SizeClass(int bytes)
    {
        public readonly int Bytes = bytes;
        public readonly BufferMemory Memory = new(bytes);
        public readonly Stack<IoBuffer> Warm = new();

        /// <summary>Their pages are the system's.</summary>
        public readonly Stack<IoBuffer> Cold = new();

        /// <summary>On the clock of <see cref="Environment.TickCount64"/>.</summary>
        public long LastRentedMs;
    }

    /// <summary>A size that nobody has asked for in so long makes room for one that is in use.</summary>
    public long StaleMs { get; init; } = 1000;

    public static int LargestBytes => ClassBytes[^1];

    /// <summary>Memory of buffers that are out on rent now.</summary>
    public long RentedBytes => Interlocked.Read(ref _rentedBytes);

    /// <summary>Memory of buffers that wait to be used again.</summary>
    public long KeptBytes => Interlocked.Read(ref _keptBytes);

    /// <summary>What buffers are to take together.</summary>
    public long LimitBytes
    {
        get => Interlocked.Read(ref _limitBytes);
        set
        {
            Interlocked.Exchange(ref _limitBytes, value);
            Interlocked.Exchange(ref _tightBytes, value == long.MaxValue ? value : value / 100 * TightPercent);
        }
    }

    /// <summary>Little is left of the limit: what can wait is to wait.</summary>
    public bool IsTight => RentedBytes >= Interlocked.Read(ref _tightBytes);

    /// <summary>A buffer of at least <paramref name="lengthBytes"/>, whose content is undefined. At most <see cref="LargestBytes"/>.</summary>
    public IoBuffer Rent(int lengthBytes)
    {
        var index = ClassOf(lengthBytes);
        Volatile.Write(ref _classes[index].LastRentedMs, Environment.TickCount64);
        var (buffer, wasWarm) = Take(index);
        Interlocked.Add(ref _rentedBytes, buffer.RoomBytes);
        if (wasWarm) Interlocked.Add(ref _keptBytes, -buffer.RoomBytes);
        else if (RentedBytes + KeptBytes > LimitBytes) CoolOthers(buffer.RoomBytes);
        buffer.Rented(lengthBytes);
        return buffer;
    }

    /// <summary>Gives the memory of all buffers that are not on rent to the system.</summary>
    public void Trim() => CoolOthers(long.MaxValue);

    internal void Return(IoBuffer buffer)
    {
        var size = _classes[buffer.SizeClass];
        var rented = Interlocked.Add(ref _rentedBytes, -buffer.RoomBytes);
        var isKept = Interlocked.Add(ref _keptBytes, buffer.RoomBytes) <= Math.Min(KeptBytesMax, LimitBytes - rented) || !size.Memory.CanCool;
        // A fill with large writes leaves its buffers behind; without this every small one that comes after would go to the system and back, with a call and page faults each.
        if (!isKept) isKept = CoolStale(buffer.RoomBytes, size);
        if (!isKept)
        {
            isKept = !size.Memory.Cool(buffer.Pointer);
            if (!isKept) Interlocked.Add(ref _keptBytes, -buffer.RoomBytes);
        }
        lock (size.Warm) (isKept ? size.Warm : size.Cold).Push(buffer);
    }

    private (IoBuffer Buffer, bool WasWarm) Take(int index)
    {
        var size = _classes[index];
        lock (size.Warm)
        {
            if (size.Warm.TryPop(out var warm)) return (warm, true);
            return (size.Cold.TryPop(out var cold) ? cold : new IoBuffer(this, index, size.Bytes, size.Memory.RoomBytes, size.Memory.Carve()), false);
        }
    }

    /// <summary>Warm buffers of other classes make room, the largest first.</summary>
    private void CoolOthers(long bytes)
    {
        for (var index = _classes.Length - 1; index >= 0 && bytes > 0; index--)
        {
            var size = _classes[index];
            if (!size.Memory.CanCool) continue;
            while (bytes > 0 && CoolOne(size) is > 0 and var freed) bytes -= freed;
        }
    }

    /// <summary>Makes room for a buffer that is to stay warm.</summary>
    /// <returns>False: nothing stale is as large.</returns>
    private bool CoolStale(long bytes, SizeClass inUse)
    {
        var usedSince = Environment.TickCount64 - StaleMs;
        for (var index = _classes.Length - 1; index >= 0; index--)
        {
            var size = _classes[index];
            if (size == inUse || !size.Memory.CanCool || Volatile.Read(ref size.LastRentedMs) > usedSince) continue;
            while (bytes > 0 && CoolOne(size) is > 0 and var freed) bytes -= freed;
            if (bytes <= 0) return true;
        }
        return false;
    }

    /// <returns>Bytes that the system has now; 0 when nothing is warm, or memory is locked.</returns>
    private int CoolOne(SizeClass size)
    {
        IoBuffer? buffer;
        // The system's call is outside of the lock, which each I/O takes.
        lock (size.Warm)
        {
            if (!size.Warm.TryPop(out buffer)) return 0;
        }
        var isCold = size.Memory.Cool(buffer.Pointer);
        if (isCold) Interlocked.Add(ref _keptBytes, -buffer.RoomBytes);
        lock (size.Warm) (isCold ? size.Cold : size.Warm).Push(buffer);
        return isCold ? buffer.RoomBytes : 0;
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
