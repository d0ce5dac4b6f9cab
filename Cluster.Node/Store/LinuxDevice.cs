using Cluster.Messages.Model;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Node.Store;

/// <summary>A block device of the host, through its page cache: reads, writes and fdatasync are those of a file.</summary>
/// <param name="readOnly">For a look: the device may be read-only, and no write reaches it.</param>
internal sealed class LinuxDevice(string path, bool readOnly = false) : IRawDevice
{
    /// <summary>Set above the number of a device: its bytes are not those of a file system that has the same number.</summary>
    private const ulong IsDevice = 1UL << 63;

    private SafeFileHandle? _claim;

    public string Description => path;

    public ulong Number => LibC.DeviceOf(path) | IsDevice;

    public static bool IsAt(string path) => LibC.IsBlockDevice(path);

    public DiskResult Open(out IDiskFile? bytes)
    {
        bytes = null;
        var result = OpenHandle(0, out var handle);
        if (!result.IsOk) return result;
        var length = LibC.Seek(handle!, 0, LibC.SeekEnd);
        if (length < 0)
        {
            result = LibC.Failure($"the size of {path}");
            handle!.Dispose();
            return result;
        }
        bytes = new Bytes(path, handle!, length);
        return DiskResult.Done();
    }

    /// <summary>O_EXCL of a block device: the kernel refuses a second one, and a mount; it ends with the process, however that ends.</summary>
    public DiskResult Claim()
    {
        if (_claim is not null) return DiskResult.Done();
        var result = OpenHandle(LibC.Exclusive, out var handle);
        if (result.IsOk) _claim = handle;
        return result;
    }

    public void Dispose() => _claim?.Dispose();

    private DiskResult OpenHandle(int flags, out SafeFileHandle? handle)
    {
        handle = null;
        var descriptor = LibC.Open(path, (readOnly ? LibC.ReadOnly : LibC.ReadWrite) | flags | LibC.CloseOnExec);
        if (descriptor < 0) return LibC.OpenFailure($"open of {path}");
        handle = new SafeFileHandle(descriptor, ownsHandle: true);
        return DiskResult.Done();
    }

    /// <param name="lengthBytes">As it was when it was opened: fstat knows none of a device.</param>
    private sealed class Bytes(string name, SafeFileHandle handle, long lengthBytes) : IDiskFile
    {
        private readonly FileDiskFile _file = new(name, handle);

        public long LengthBytes => lengthBytes;

        public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors) => Judge(_file.Write(offsetBytes, vectors));

        public DiskResult Read(long offsetBytes, Span<byte> to)
        {
            var result = _file.Read(offsetBytes, to);
            return result.IsOk && result.Count < Math.Min(to.Length, lengthBytes - offsetBytes) ? Gone : result;
        }

        public DiskResult TryReadCached(long offsetBytes, Span<byte> to) => _file.TryReadCached(offsetBytes, to);

        public DiskResult Sync() => Judge(_file.Sync());

        public DiskResult Preallocate(long lengthBytes) => lengthBytes <= LengthBytes ? DiskResult.Done() : DiskResult.Failed(IoStatus.NoSpace, $"{name} has {LengthBytes} bytes");

        public DiskResult Keep(long lengthBytes) => Preallocate(lengthBytes);

        public void WillNeed(long offsetBytes, long lengthBytes) => _file.WillNeed(offsetBytes, lengthBytes);

        public void Dispose() => _file.Dispose();

        /// <summary>A device that was taken away has no bytes: the kernel says that it is full, and that it ends.</summary>
        private DiskResult Judge(DiskResult result) => result.Status == IoStatus.NoSpace ? Gone : result;

        private DiskResult Gone => DiskResult.Failed(IoStatus.DeviceError, $"{name} has fewer than its {LengthBytes} bytes: the device was taken away, or made smaller");
    }
}
