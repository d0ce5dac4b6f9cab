using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Node.Journal.Raft;

/// <summary>
/// What has to be on media before anything is acknowledged. A failed sync throws: after it, nothing may be retried (fsync(2)).
/// </summary>
internal static partial class DurableFiles
{
    private const int KeepSize = 1;
    private const int ErrorNoSpace = 28;
    private const int ErrorQuota = 122;
    private const int OpenReadOnlyDirectory = 0x10000 | 0x80000;      // O_RDONLY | O_DIRECTORY | O_CLOEXEC

    public static void SyncData(SafeFileHandle file)
    {
        if (FdataSync(file) != 0) throw new IOException($"fdatasync failed: errno {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>
    /// Takes room from the file system for what will be written there, without making the file longer. False when it has none, or knows no such
    /// thing.
    /// </summary>
    public static bool TryReserve(SafeFileHandle file, long offset, long bytes) => Fallocate(file, KeepSize, offset, bytes) == 0;

    /// <summary>Whether a write failed because the disk, or a quota, is full.</summary>
    public static bool IsFull(IOException failure) => (failure.HResult & 0xFFFF) is ErrorNoSpace or ErrorQuota;

    /// <summary>Makes names in a directory durable: after a create, rename or delete.</summary>
    public static void SyncDirectory(string path)
    {
        using var directory = Open(path, OpenReadOnlyDirectory);
        if (directory.IsInvalid) throw new IOException($"cannot open directory {path}: errno {Marshal.GetLastPInvokeError()}");
        if (FSync(directory) != 0) throw new IOException($"fsync of directory {path} failed: errno {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>Replaces a small file whole: a reader after a crash finds the old bytes or the new ones.</summary>
    public static void ReplaceFile(string path, ReadOnlySpan<byte> bytes)
    {
        var temporary = path + ".tmp";
        using (var file = File.OpenHandle(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            RandomAccess.Write(file, bytes, 0);
            SyncData(file);
        }
        File.Move(temporary, path, overwrite: true);
        SyncDirectory(Path.GetDirectoryName(path)!);
    }

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FdataSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial SafeFileHandle Open(string path, int flags);
}
