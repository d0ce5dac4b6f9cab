using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// A directory of a local file system: that very one which was locked. Nothing is made, found or deleted by name in another one that has its path later, because the file system was unmounted under the
/// process (<c>umount -l</c>) or another was mounted over it: what was acknowledged would lie where no later start looks for it.
/// </summary>
/// <param name="mustExist">It is not made: where it is not, its file system is not mounted.</param>
/// <param name="readOnly">For a look: files are opened for reading only, and the file system may be read-only. No write reaches it.</param>
/// <param name="segments">Bounds how many segment files are open, over all directories that share it.</param>
public sealed class FileDisk(string directory, bool mustExist = false, bool readOnly = false, OpenSegments? segments = null) : IDisk
{
    private const string LockName = "lock";

    /// <summary>A directory that mkfs leaves in an empty file system.</summary>
    private const string LostAndFound = "lost+found";
    private readonly OpenSegments _segments = segments ?? new OpenSegments(OpenSegments.MaxDefault);
    private FileStream? _lock;

    /// <summary>Of the directory that was locked; 0: not yet, or it can't be told.</summary>
    private UInt128 _identity;

    public string Description => directory;

    /// <summary>Of the file system that was locked, also when another one has its path by now. Before the lock, of what the path leads to.</summary>
    public long FreeBytes
    {
        get
        {
            try
            {
                return _lock is { } open ? LibC.FreeBytesOf(open.SafeFileHandle) : new DriveInfo(directory).AvailableFreeSpace;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or ObjectDisposedException)
            {
                // Of one that is let go of meanwhile nothing is free any more.
                return 0;
            }
        }
    }

    public ulong FileSystem
    {
        get
        {
            try
            {
                return _lock is { } open ? LibC.FileSystemOf(open.SafeFileHandle) : LibC.FileSystemOf(directory);
            }
            catch (ObjectDisposedException)
            {
                return 0;
            }
        }
    }

    public static bool IsDevice(string path) => LinuxDevice.IsAt(path);

    /// <summary>A further disk of a store: a directory, or the block device that the path is.</summary>
    public static IDisk Further(string path, bool readOnly = false, OpenSegments? segments = null) =>
        IsDevice(path) ? new DeviceDisk(new LinuxDevice(path, readOnly), Guid.NewGuid) : new FileDisk(path, mustExist: true, readOnly, segments);

    /// <summary>Makes the directory if it is not there and may be made. The lock is flock(2) on a file in it: it ends with the process, however that
    /// ends.</summary>
    public DiskResult TryLock()
    {
        try
        {
            if (!mustExist && !readOnly) Directory.CreateDirectory(directory);
            var path = Path.Combine(directory, LockName);
            // flock(2) of a handle for reading keeps a node out as well; a file that is not there has to be made for it.
            _lock = readOnly && File.Exists(path) ? new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.None, 1)
                : new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
            _identity = LibC.IdentityOf(directory);
            return DiskResult.Done();
        }
        catch (UnauthorizedAccessException error)
        {
            return DiskResult.Failed(IoStatus.DeviceError, error.Message);
        }
        catch (IOException error)
        {
            // No node ever ran where even its lock can't be made, and none can.
            if (readOnly && Errno(error) == LibC.ErrorReadOnly) return DiskResult.Done();
            return DiskResult.Failed(Errno(error) == LibC.ErrorWouldBlock ? IoStatus.Busy : IoStatus.DeviceError, error.Message);
        }
    }

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        var (result, opened) = OpenFile(name, create);
        file = opened is null || SegmentTable.IdOf(name) is null ? opened : SegmentFile.Of(_segments, opened, () => OpenFile(name, create: false));
        return result;
    }

    private (DiskResult Result, FileDiskFile? File) OpenFile(string name, bool create)
    {
        if (WhyOther() is { } why) return (Elsewhere(why), null);
        try
        {
            var handle = File.OpenHandle(Path.Combine(directory, name), create && !readOnly ? FileMode.OpenOrCreate : FileMode.Open,
                readOnly ? FileAccess.Read : FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            return (DiskResult.Done(), new FileDiskFile(name, handle));
        }
        catch (FileNotFoundException error)
        {
            return (DiskResult.Failed(IoStatus.Missing, error.Message), null);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return (DiskResult.Failed(IsFull(error) ? IoStatus.NoSpace : IoStatus.DeviceError, error.Message) with { IsOfProcess = IsOfProcess(error) }, null);
        }
    }

    public DiskResult List(List<string> names) => Try(() =>
    {
        foreach (var path in Directory.EnumerateFiles(directory))
        {
            var name = Path.GetFileName(path);
            if (name != LockName) names.Add(name);
        }
        foreach (var path in Directory.EnumerateDirectories(directory))
        {
            var name = Path.GetFileName(path);
            if (name != LostAndFound) names.Add(name + "/");
        }
    });

    public DiskResult Delete(string name) => Try(() => File.Delete(Path.Combine(directory, name)));

    public DiskResult Rename(string from, string to) =>
        Try(() => File.Move(Path.Combine(directory, from), Path.Combine(directory, to), overwrite: true));

    public DiskResult SyncDirectory()
    {
        if (WhyOther() is { } why) return Elsewhere(why);
        var descriptor = LibC.Open(directory, LibC.ReadOnlyDirectory);
        if (descriptor < 0) return LibC.Failure("open of the directory");
        var result = LibC.Fsync(descriptor) == 0 ? DiskResult.Done() : LibC.Failure("fsync of the directory");
        _ = LibC.Close(descriptor);
        return result;
    }

    public void Dispose() => _lock?.Dispose();

    /// <summary>Null while the path still leads to the directory that was locked.</summary>
    private string? WhyOther() => _identity == 0 || LibC.IdentityOf(directory) == _identity ? null
        : $"{directory} is not the directory any more that it was when it was opened: its file system was unmounted, or another one was mounted over it";

    private static DiskResult Elsewhere(string why) => DiskResult.Failed(IoStatus.DeviceError, why) with { IsElsewhere = true };

    private DiskResult Try(Action work)
    {
        if (WhyOther() is { } why) return Elsewhere(why);
        try
        {
            work();
            return DiskResult.Done();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return DiskResult.Failed(IsFull(error) ? IoStatus.NoSpace : IoStatus.DeviceError, error.Message);
        }
    }

    /// <summary>Too many open files, no memory, or no right to it: the disk is none the worse, and is not to be given up for it.</summary>
    private static bool IsOfProcess(Exception error) => error is UnauthorizedAccessException || Errno(error) is LibC.ErrorManyFiles or LibC.ErrorManyFilesOfSystem or LibC.ErrorNoMemory;

    /// <summary>.NET keeps it in the low bits of HResult on Unix.</summary>
    private static int Errno(Exception error) => error.HResult & 0xFFFF;

    private static bool IsFull(Exception error) => Errno(error) is LibC.ErrorNoSpace or LibC.ErrorQuota;
}
