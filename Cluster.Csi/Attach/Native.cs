using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Attach;

/// <summary>System calls that .NET has no form of. 64-bit Linux.</summary>
internal static unsafe partial class Native
{
    public const int ReadOnly = 0;
    public const int ReadWrite = 2;

    /// <summary>On a block device: EBUSY while somebody else has claimed it (a mount, a format, a device over it).</summary>
    public const int Exclusive = 0x80;

    /// <summary>O_DIRECT, which differs between architectures.</summary>
    public static readonly int Direct = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x10000 : 0x4000;
    public const int CloseOnExec = 0x80000;
    public const int SeekData = 3;
    public const int SeekHole = 4;

    public const int NoSuchEntry = 2;
    public const int NoSuchDevice = 6;
    public const int Busy = 16;

    /// <summary>SIGWINCH: the volume behind a device has another size.</summary>
    public const int WindowChanged = 28;
    public const int Kill = 9;

    /// <summary>BLKZEROOUT, _IO(0x12, 127): a range as two u64, offset and length in bytes (linux/fs.h).</summary>
    private const ulong ZeroOut = 0x127f;

    private const int PathMax = 4096;
    private const int PidfdSendSignalCall = 424;
    private const int PidfdOpenCall = 434;

    /// <summary>The handle, or an invalid one and the error number.</summary>
    public static SafeFileHandle Open(string path, int flags, out int error)
    {
        var descriptor = OpenCall(path, flags | CloseOnExec, 0);
        error = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <summary>Where the next data or hole from an offset on begins; -1 and NoSuchDevice past the last.</summary>
    public static long Seek(SafeFileHandle file, long offset, int whence, out int error)
    {
        var at = SeekCall(file, offset, whence);
        error = at < 0 ? Marshal.GetLastPInvokeError() : 0;
        return at;
    }

    public static int Sync(SafeFileHandle file) => SyncCall(file) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <summary>Zeroes a range of a block device. 0, or the error number.</summary>
    public static int Zero(SafeFileHandle device, ulong offset, ulong length)
    {
        var range = stackalloc ulong[2] { offset, length };
        return ControlCall(device, ZeroOut, range) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>The path without symbolic links, as the kernel will show it; null if there is none.</summary>
    public static string? RealPath(string path)
    {
        var buffer = stackalloc byte[PathMax];
        return RealPathCall(path, buffer) == null ? null : Marshal.PtrToStringUTF8((nint)buffer);
    }

    /// <summary>A handle to just this process, that no other gets with its pid; invalid if it is gone.</summary>
    public static SafeFileHandle OpenProcess(int pid) => new((nint)Syscall(PidfdOpenCall, pid, 0, 0, 0), ownsHandle: true);

    public static bool Signal(SafeFileHandle process, int signal)
    {
        var added = false;
        process.DangerousAddRef(ref added);
        try
        {
            return Syscall(PidfdSendSignalCall, process.DangerousGetHandle(), signal, 0, 0) == 0;
        }
        finally
        {
            if (added) process.DangerousRelease();
        }
    }

    public static FileSystemStats? Statistics(string path)
    {
        // unsigned long f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, and more that does not matter here.
        var fields = stackalloc ulong[32];
        if (StatisticsCall(path, fields) != 0) return null;
        var (unit, total, free, available) = (fields[1], fields[2], fields[3], fields[4]);
        return new FileSystemStats(total * unit, available * unit, (total - free) * unit, fields[5], fields[6], fields[5] - fields[6]);
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenCall(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long SeekCall(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int ControlCall(SafeFileHandle file, ulong request, ulong* argument);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int SyncCall(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "realpath", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte* RealPathCall(string path, byte* resolved);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long Syscall(long number, long first, long second, long third, long fourth);

    [LibraryImport("libc", EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatisticsCall(string path, ulong* into);
}
