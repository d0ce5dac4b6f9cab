using System.Runtime.InteropServices;
using Cluster.Messages.Model;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Node.Store;

/// <summary>The system calls that .NET does not offer as they are: preadv2 with RWF_NOWAIT, fdatasync, fallocate, fsync of a
/// directory, posix_fadvise.</summary>
internal static unsafe partial class LibC
{
    public const int NoWait = 8;
    public const int AdviseWillNeed = 3;

    /// <summary>FALLOC_FL_KEEP_SIZE.</summary>
    public const int KeepSize = 1;

    public const int ReadOnly = 0;
    public const int ReadWrite = 2;

    /// <summary>O_EXCL.</summary>
    public const int Exclusive = 0x80;
    public const int CloseOnExec = 0x80000;
    public const int SeekEnd = 2;
    public const int ErrorNoMemory = 12;
    public const int ErrorManyFilesOfSystem = 23;
    public const int ErrorManyFiles = 24;
    public const int ErrorWouldBlock = 11;
    public const int ErrorNoSpace = 28;
    public const int ErrorReadOnly = 30;
    public const int ErrorQuota = 122;
    private const int ErrorMissing = 2;
    private const int ErrorInterrupted = 4;
    private const int ErrorNoRight = 1;
    private const int ErrorNoAccess = 13;
    private const int ErrorBusy = 16;
    private const int ErrorAgain = 11;
    private const int ErrorInvalid = 22;
    private const int ErrorUnsupported = 95;
    private const int CurrentDirectory = -100;
    private const uint StatxBasic = 0x7FF;

    /// <summary>AT_EMPTY_PATH.</summary>
    private const int EmptyPath = 0x1000;

    /// <summary>O_DIRECTORY differs between the two architectures that are built for.</summary>
    public static int ReadOnlyDirectory => CloseOnExec | (RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x4000 : 0x10000);

    public static bool WasInterrupted => Marshal.GetLastPInvokeError() == ErrorInterrupted;

    public static bool WouldBlock => Marshal.GetLastPInvokeError() == ErrorAgain;

    public static bool IsUnsupported => Marshal.GetLastPInvokeError() is ErrorUnsupported or ErrorInvalid;

    /// <summary>The device number of the path's file system; 0 if the system does not say.</summary>
    public static ulong FileSystemOf(string path)
    {
        // struct statx, 256 bytes: major and minor number of the device at 136 and 140.
        var fields = stackalloc uint[64];
        return Statx(CurrentDirectory, path, 0, StatxBasic, fields) == 0 ? ((ulong)fields[34] << 32) | fields[35] : 0;
    }

    /// <summary>The same of what is open.</summary>
    public static ulong FileSystemOf(SafeFileHandle file)
    {
        var fields = stackalloc uint[64];
        return Statx(file, "", EmptyPath, StatxBasic, fields) == 0 ? ((ulong)fields[34] << 32) | fields[35] : 0;
    }

    /// <summary>Bytes that are free for this process in the file system of what is open; 0 if it does not say.</summary>
    public static long FreeBytesOf(SafeFileHandle file)
    {
        // struct statvfs of 64-bit systems: size of a fragment at 8, fragments that are free for all at 32; all u64, 112 bytes in all.
        var fields = stackalloc ulong[32];
        return Fstatvfs(file, fields) == 0 ? (long)UInt128.Min((UInt128)fields[1] * fields[4], (UInt128)long.MaxValue) : 0;
    }

    /// <summary>File system and inode of what the path leads to; 0: it can't be told, or nothing is there.</summary>
    public static UInt128 IdentityOf(string path)
    {
        // struct statx: the inode is u64 at 32.
        var fields = stackalloc uint[64];
        return Statx(CurrentDirectory, path, 0, StatxBasic, fields) == 0 ? new UInt128(((ulong)fields[34] << 32) | fields[35], ((ulong)fields[9] << 32) | fields[8]) : 0;
    }

    /// <summary>The number of the device that the path is; 0 if it is none.</summary>
    public static ulong DeviceOf(string path)
    {
        var fields = stackalloc uint[64];
        return IsBlockDevice(path, fields) ? ((ulong)fields[32] << 32) | fields[33] : 0;
    }

    public static bool IsBlockDevice(string path)
    {
        var fields = stackalloc uint[64];
        return IsBlockDevice(path, fields);
    }

    /// <summary>struct statx: the mode is u16 at 28, its type S_IFBLK 0x6000; major and minor number of what it is at 128 and 132.</summary>
    private static bool IsBlockDevice(string path, uint* fields) => Statx(CurrentDirectory, path, 0, StatxBasic, fields) == 0 && (fields[7] & 0xF000) == 0x6000;

    /// <summary>Of an open: Missing, Busy, and what the process lacks, told apart.</summary>
    public static DiskResult OpenFailure(string call)
    {
        var error = Marshal.GetLastPInvokeError();
        var status = error switch { ErrorMissing => IoStatus.Missing, ErrorBusy => IoStatus.Busy, _ => IoStatus.DeviceError };
        return DiskResult.Failed(status, $"{call}: {Marshal.GetPInvokeErrorMessage(error)} (errno {error})") with
        {
            IsOfProcess = error is ErrorNoRight or ErrorNoAccess or ErrorManyFiles or ErrorManyFilesOfSystem or ErrorNoMemory,
        };
    }

    public static DiskResult Failure(string call)
    {
        var error = Marshal.GetLastPInvokeError();
        var status = error is ErrorNoSpace or ErrorQuota ? IoStatus.NoSpace : IoStatus.DeviceError;
        return DiskResult.Failed(status, $"{call}: {Marshal.GetPInvokeErrorMessage(error)} (errno {error})");
    }

    [LibraryImport("libc", EntryPoint = "pwritev", SetLastError = true)]
    public static partial nint WriteVectors(SafeFileHandle file, IoVector* vectors, int count, long offset);

    [LibraryImport("libc", EntryPoint = "preadv2", SetLastError = true)]
    public static partial nint ReadVectors(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "pread", SetLastError = true)]
    public static partial nint Read(SafeFileHandle file, byte* to, nuint length, long offset);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int Fdatasync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    public static partial int Advise(SafeFileHandle file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    public static partial long Seek(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    public static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, uint* into);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(SafeFileHandle file, string path, int flags, uint mask, uint* into);

    [LibraryImport("libc", EntryPoint = "fstatvfs", SetLastError = true)]
    private static partial int Fstatvfs(SafeFileHandle file, ulong* into);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int descriptor);
}
