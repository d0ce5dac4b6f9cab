using System.Runtime.InteropServices;

namespace Cluster.Messages.Wire;

/// <summary>
/// Address space for the buffers of one size class, taken from the kernel in pieces of <see cref="RegionBytes"/>, which cost nothing until they are written to. Unlike what an allocator keeps,
/// what a buffer gives back (<see cref="Cool"/>) is the system's again at once, whatever lies beside it. One thread at a time.
/// </summary>
internal sealed unsafe partial class BufferMemory(int classBytes)
{
    private const int RegionBytes = 16 << 20;
    private const int PageBytesLeast = 4096;
    private const int ReadWrite = 3;
    private const int PrivateAnonymousNoReserve = 0x4022;
    private const int DontNeed = 4;
    private const int NoHugePage = 15;
    private const nint MapFailed = -1;

    private readonly List<Region> _regions = [];
    private int _used = RegionBytes;

    /// <summary>What a buffer takes when all of it has been written to. Small ones share pages.</summary>
    public int RoomBytes { get; } = classBytes < PageBytesLeast ? classBytes : RoundUp(classBytes, classBytes < Environment.SystemPageSize ? PageBytesLeast : Environment.SystemPageSize);

    /// <summary>Its pages are its own, and can be given back.</summary>
    public bool CanCool => RoomBytes % Environment.SystemPageSize == 0;

    /// <summary>Bytes of the next buffer, all zeroes.</summary>
    public byte* Carve()
    {
        if (_used + RoomBytes > RegionBytes)
        {
            _regions.Add(new Region());
            _used = 0;
        }
        var at = (byte*)_regions[^1].Start + _used;
        _used += RoomBytes;
        return at;
    }

    /// <summary>The system takes the pages back; the next who writes gets new ones, of zeroes.</summary>
    /// <returns>False: it does not, for the process' memory is locked, and the buffer is as it was.</returns>
    public bool Cool(byte* buffer) => Advise((nint)buffer, (nuint)RoomBytes, DontNeed) == 0;

    private static int RoundUp(int bytes, int unit) => (bytes + unit - 1) / unit * unit;

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int descriptor, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise", SetLastError = true)]
    private static partial int Advise(nint address, nuint length, int advice);

    /// <summary>Goes with the last buffer that lies in it, and the pool.</summary>
    private sealed class Region
    {
        public Region()
        {
            Start = Map(0, RegionBytes, ReadWrite, PrivateAnonymousNoReserve, -1, 0);
            if (Start == MapFailed) throw new OutOfMemoryException($"the kernel gives no address space for buffers (errno {Marshal.GetLastPInvokeError()})");
            // One byte written would otherwise be two megabytes of memory. A kernel without huge pages refuses, and means the same.
            _ = Advise(Start, RegionBytes, NoHugePage);
        }

        ~Region() => Unmap(Start, RegionBytes);

        public nint Start { get; }
    }
}
