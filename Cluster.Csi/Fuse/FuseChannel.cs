using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Fuse;

/// <summary>/dev/fuse, mounted over one regular file: the mount's root is the file itself. Any thread.</summary>
internal sealed unsafe partial class FuseChannel : IDisposable
{
    private const int ReadWriteCloseOnExec = 2 | 0x80000;
    private const ulong NoSuidNoDev = 2 | 4;
    private const ulong ReadOnlyFlag = 1;
    private const int Interrupted = 4;
    private const int NotFound = 2;
    private const int TryAgain = 11;
    private const int Unmounted = 19;

    private readonly SafeFileHandle _device;

    private FuseChannel(SafeFileHandle device) => _device = device;

    /// <summary>Throws IOException.</summary>
    public static FuseChannel Mount(string path, bool readOnly)
    {
        var descriptor = Open("/dev/fuse", ReadWriteCloseOnExec, 0);
        if (descriptor < 0) throw new IOException($"/dev/fuse can't be opened: {Marshal.GetLastPInvokeErrorMessage()}");
        var device = new SafeFileHandle(descriptor, ownsHandle: true);
        var options = string.Create(CultureInfo.InvariantCulture,
            $"fd={descriptor},rootmode={Convert.ToString(FuseProtocol.FileMode, 8)},user_id=0,group_id=0,default_permissions,max_read={FuseProtocol.TransferBytesMax}");
        if (Mount("myrmidon", path, "fuse", NoSuidNoDev | (readOnly ? ReadOnlyFlag : 0), options) == 0) return new FuseChannel(device);
        var error = Marshal.GetLastPInvokeErrorMessage();
        device.Dispose();
        throw new IOException($"{path} can't be mounted over: {error}");
    }

    /// <summary>The next request's length; 0 when the file was unmounted. Blocks.</summary>
    public int Read(Span<byte> into)
    {
        fixed (byte* to = into)
        {
            while (true)
            {
                var count = Read(_device, to, (nuint)into.Length);
                if (count > 0) return (int)count;
                var error = count == 0 ? Unmounted : Marshal.GetLastPInvokeError();
                if (error == Unmounted) return 0;
                // A request that was taken back before it was read.
                if (error is not (Interrupted or NotFound or TryAgain)) throw new IOException($"/dev/fuse can't be read: error {error}");
            }
        }
    }

    /// <summary>One whole reply. What was given up by the kernel meanwhile needs none.</summary>
    public void Write(ReadOnlySpan<byte> reply)
    {
        fixed (byte* from = reply)
        {
            if (Write(_device, from, (nuint)reply.Length) >= 0) return;
            var error = Marshal.GetLastPInvokeError();
            if (error is not (NotFound or Unmounted)) throw new IOException($"a reply of {reply.Length} B was not taken by /dev/fuse: error {error}");
        }
    }

    public void Dispose() => _device.Dispose();

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string type, ulong flags, string options);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(SafeFileHandle file, byte* into, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(SafeFileHandle file, byte* from, nuint count);
}
