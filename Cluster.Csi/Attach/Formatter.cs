using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Attach;

/// <summary>
/// Puts a file system on a blank device so that a crash at any instruction leaves either nothing, a marker, or the whole file system:
/// the file system is made in a sparse file and copied. Order, with a flush between each two: the marker to the first block; all but the first block; the first
/// block, which has the primary superblock. A device that is too large for the scratch directory's file system is formatted in place with XFS, and refused with ext4.
/// </summary>
internal sealed class Formatter(string scratch, Func<string, long, bool>? makesSparse = null)
{
    private readonly Func<string, long, bool> _makesSparse = makesSparse ?? TryMakeSparse;

    /// <summary>Zeroes are not written to a device that is blank, in pieces of this.</summary>
    private const int PieceBytes = 64 << 10;

    /// <summary>Zeroed by one call.</summary>
    private const ulong ZeroBytes = 1UL << 30;

    /// <param name="claimed">The device, opened so that nobody else has it; it may be closed afterwards.</param>
    /// <param name="unfinished">The device has a marker, and may have more from the format that put it there.</param>
    public async Task<AttachResult<Done>> FormatAsync(
        AttachedDevice device, SafeFileHandle claimed, FileSystemKind kind, IReadOnlyList<string> options, bool unfinished, CancellationToken cancellation)
    {
        var program = $"mkfs.{FileSystems.NameOf(kind)}";
        if (HostProgram.Missing(program) is { } missing) return AttachResult<Done>.Error(AttachStatus.NotSupported, missing);
        Directory.CreateDirectory(scratch);
        // A name of its own: a program that outlived an earlier format may still write to that one's.
        foreach (var left in Directory.EnumerateFiles(scratch, $"format-{device.Identity}-*.img")) File.Delete(left);
        var image = Path.Combine(scratch, $"format-{device.Identity}-{Guid.NewGuid():N}.img");
        try
        {
            if (!_makesSparse(image, (long)device.SizeBytes))
            {
                image = "";
                // Minutes, and gigabytes: cut short, it would leave what only an operator may wipe.
                if (kind == FileSystemKind.Ext4) return AttachResult<Done>.Error(AttachStatus.NotSupported, TooLargeText(device));
                // The program claims the device for itself.
                claimed.Dispose();
            }
            var made = await HostProgram.RunAsync(program, Arguments(kind, options, image.Length > 0 ? image : device.Path), AttachLimits.CheckMs, cancellation)
                .ConfigureAwait(false);
            if (!made.IsOk) return AttachResult<Done>.Error(AttachStatus.Failed, device.SizeBytes >= FileSystems.BytesMin(kind) ? made.Reason
                : $"volume {device.FullName} has {device.SizeBytes} bytes, too few for {FileSystems.NameOf(kind)}, which wants {FileSystems.BytesMin(kind) >> 20} MiB: make it larger (exit {made.Exit} of {program})");
            if (image.Length == 0) return Done.Ok;
            RandomAccess.Write(claimed, FormatMarker.Encode(kind), 0);
            Flush(claimed);
            if (unfinished)
            {
                // By this process, which has the device claimed until the last of it is done: a program that outlived it could zero what was made later.
                var error = await Task.Run(() => Zero(claimed, device.SizeBytes, cancellation), cancellation).ConfigureAwait(false);
                if (error != 0) return AttachResult<Done>.Error(AttachStatus.Failed, $"{device.Path} can't be zeroed: error {error}");
            }
            await Task.Run(() => Copy(image, claimed, cancellation), cancellation).ConfigureAwait(false);
            return Done.Ok;
        }
        catch (IOException e)
        {
            return AttachResult<Done>.Error(AttachStatus.Failed, $"{device.Path} can't be formatted: {e.Message}");
        }
        finally
        {
            if (image.Length > 0) File.Delete(image);
        }
    }

    private static string TooLargeText(AttachedDevice device) =>
        $"ext4 is not made on {device.SizeBytes >> 40} TiB at once: it would take long, and leave half a file system if it were cut short (the file system of the node's data directory has no files that large to make it in). "
        + "Use xfs, or make the volume smaller (16 TiB where that is ext4), format it, and grow it.";

    /// <summary>Blocks and sectors of 4 KiB whatever the size, since the volume's are: smaller ones would cost a read before each write.</summary>
    internal static string[] Arguments(FileSystemKind kind, IReadOnlyList<string> options, string target) => kind switch
    {
        FileSystemKind.Ext4 => ["-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard", .. options, target],
        _ => ["-q", "-f", "-K", "-s", "size=4096", .. options, target],
    };

    private static bool TryMakeSparse(string path, long sizeBytes)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Create, FileAccess.Write);
            file.SetLength(sizeBytes);
            return true;
        }
        // The second is what .NET makes of EFBIG: ext4 ends at 16 TiB.
        catch (Exception e) when (e is IOException or ArgumentOutOfRangeException)
        {
            File.Delete(path);
            return false;
        }
    }

    private static void Copy(string image, SafeFileHandle to, CancellationToken cancellation)
    {
        using var from = Native.Open(image, Native.ReadOnly, out var error);
        if (error != 0) throw new IOException($"error {error}");
        var first = new byte[FormatMarker.SizeBytes];
        ReadFully(from, first, 0);
        var buffer = new byte[AttachLimits.ChunkBytes];
        foreach (var (offset, end) in DataScan.Extents(from))
        {
            for (var at = Math.Max(offset, first.Length); at < end; at += buffer.Length)
            {
                cancellation.ThrowIfCancellationRequested();
                var chunk = buffer.AsSpan(0, (int)Math.Min(buffer.Length, end - at));
                ReadFully(from, chunk, at);
                WriteNonZero(to, chunk, at);
            }
        }
        Flush(to);
        RandomAccess.Write(to, first, 0);
        Flush(to);
    }

    private static int Zero(SafeFileHandle device, ulong sizeBytes, CancellationToken cancellation)
    {
        for (ulong at = FormatMarker.SizeBytes; at < sizeBytes; at += ZeroBytes)
        {
            cancellation.ThrowIfCancellationRequested();
            if (Native.Zero(device, at, Math.Min(ZeroBytes, sizeBytes - at)) is not 0 and var error) return error;
        }
        return 0;
    }

    private static void WriteNonZero(SafeFileHandle to, ReadOnlySpan<byte> chunk, long offset)
    {
        for (var at = 0; at < chunk.Length; at += PieceBytes)
        {
            var piece = chunk.Slice(at, Math.Min(PieceBytes, chunk.Length - at));
            if (piece.ContainsAnyExcept((byte)0)) RandomAccess.Write(to, piece, offset + at);
        }
    }

    private static void ReadFully(SafeFileHandle from, Span<byte> into, long offset)
    {
        for (var filled = 0; filled < into.Length;)
        {
            var count = RandomAccess.Read(from, into[filled..], offset + filled);
            if (count == 0) throw new IOException("the file system's image ends too early");
            filled += count;
        }
    }

    private static void Flush(SafeFileHandle device)
    {
        var error = Native.Sync(device);
        if (error != 0) throw new IOException($"it can't be flushed, error {error}");
    }
}
