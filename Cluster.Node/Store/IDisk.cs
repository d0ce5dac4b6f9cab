using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>One piece of a gather write; the layout of the system's <c>struct iovec</c>. The memory is native or pinned.</summary>
public unsafe struct IoVector(byte* start, int lengthBytes)
{
    public byte* Start = start;
    public nuint LengthBytes = (nuint)lengthBytes;
}

/// <summary>
/// How a call on a disk ended. Count is in bytes. Detail names the call and the system's reason when the status is not Ok. NoSpace: the
/// device is full; Busy: not in the page cache; Missing: no such file; DeviceError: anything else.
/// </summary>
public readonly record struct DiskResult(IoStatus Status, int Count, string? Detail)
{
    public bool IsOk => Status == IoStatus.Ok;

    /// <summary>Of a failure: too many open files, no memory, or no right to it. The disk is none the worse for it.</summary>
    public bool IsOfProcess { get; init; }

    /// <summary>Of a failure: the disk's path leads elsewhere, its file system having been unmounted. The disk itself, and its open files, may be as good as ever.</summary>
    public bool IsElsewhere { get; init; }

    public static DiskResult Done(int count = 0) => new(IoStatus.Ok, count, null);

    public static DiskResult Failed(IoStatus status, string detail) => new(status, 0, detail);
}

/// <summary>
/// One disk of a store: a flat set of files with names. The seam that tests make fail, tear and lose un-synced bytes. Errors are values;
/// every member may be called from any thread. A name is durable only after <see cref="SyncDirectory"/>, bytes only after <see
/// cref="IDiskFile.Sync"/>.
/// </summary>
public interface IDisk : IDisposable
{
    /// <summary>Where it is, for messages.</summary>
    string Description { get; }

    /// <summary>Bytes of the file system that are free for this process; 0 if it does not say.</summary>
    long FreeBytes { get; }

    /// <summary>Tells file systems apart: two directories of one have the same bytes free.</summary>
    ulong FileSystem { get; }

    /// <summary>Takes the disk for this process until it is disposed. Busy: another process has it.</summary>
    DiskResult TryLock();

    /// <summary>Opens for reading and writing. Missing: it is not there and <paramref name="create"/> is false.</summary>
    DiskResult Open(string name, bool create, out IDiskFile? file);

    /// <summary>Names of the files; those of directories end in "/".</summary>
    DiskResult List(List<string> names);

    DiskResult Delete(string name);

    /// <summary>Replaces <paramref name="to"/> if it is there, in one step.</summary>
    DiskResult Rename(string from, string to);

    DiskResult SyncDirectory();

    /// <summary>Makes this name durable: syncs the directory in which it lies.</summary>
    DiskResult SyncDirectoryOf(string name) => SyncDirectory();
}

/// <summary>An open file. Any thread; calls on disjoint ranges may run at the same time.</summary>
public interface IDiskFile : IDisposable
{
    long LengthBytes { get; }

    /// <summary>
    /// Who writes the file from its start to its end, and needs nothing of what is behind the last byte written, does well to write zeroes there first, up to the next multiple of this. 0: there is no use in it.
    /// </summary>
    int AheadBytes => 0;

    /// <summary>One gather write. May write less than was given (Count): the caller goes on from there.</summary>
    DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors);

    /// <summary>Reads up to the length of <paramref name="to"/>; Count is less only at the end of the file.</summary>
    DiskResult Read(long offsetBytes, Span<byte> to);

    /// <summary>The same, only from the page cache; Busy when not all of it is there. Never blocks on the device.</summary>
    DiskResult TryReadCached(long offsetBytes, Span<byte> to);

    /// <summary>fdatasync. After a failure nothing may be retried (R10): the kernel may have dropped the pages.</summary>
    DiskResult Sync();

    /// <summary>Reserves space so that the file has at least this length.</summary>
    DiskResult Preallocate(long lengthBytes);

    /// <summary>Reserves space for so many bytes from its start on, without a change of its length: writes up to there find room. Unsupported: the file system can't do it.</summary>
    DiskResult Keep(long lengthBytes);

    /// <summary>A hint that the bytes will be read soon: they may be brought into the page cache. Does not wait for the device.</summary>
    void WillNeed(long offsetBytes, long lengthBytes)
    {
    }
}
