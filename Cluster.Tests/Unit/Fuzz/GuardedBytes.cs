using System.Runtime.InteropServices;

namespace Cluster.Tests.Unit.Fuzz;

/// <summary>Memory that ends where no page is: a read beyond an input that was put there ends the process, whoever does it. One thread's.</summary>
internal sealed unsafe class GuardedBytes : IDisposable
{
    private const int PageBytes = 4096;
    private const int ProtectNone = 0;
    private const int ProtectReadWrite = 3;
    private const int MapPrivateAnonymous = 0x22;

    private readonly byte* _start;
    private readonly int _bytes;

    public GuardedBytes(int bytesMax)
    {
        _bytes = (bytesMax + PageBytes - 1) / PageBytes * PageBytes;
        _start = Map(null, (nuint)(_bytes + PageBytes), ProtectReadWrite, MapPrivateAnonymous, -1, 0);
        Assert.True((nint)_start != -1 && Protect(_start + _bytes, PageBytes, ProtectNone) == 0, "no guarded memory");
    }

    /// <summary>The input, at the very end; what was put there before is gone.</summary>
    public ReadOnlySpan<byte> Put(ReadOnlySpan<byte> input)
    {
        var to = new Span<byte>(_start + _bytes - input.Length, input.Length);
        input.CopyTo(to);
        return to;
    }

    public void Dispose() => _ = Unmap(_start, (nuint)(_bytes + PageBytes));

    [DllImport("libc", EntryPoint = "mmap")]
    private static extern byte* Map(void* address, nuint length, int protection, int flags, int file, nint offset);

    [DllImport("libc", EntryPoint = "mprotect")]
    private static extern int Protect(void* address, nuint length, int protection);

    [DllImport("libc", EntryPoint = "munmap")]
    private static extern int Unmap(void* address, nuint length);
}
