using System.Buffers;
using System.Net.Sockets;
using Cluster.Csi.Fuse;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Attach;

/// <summary>Looks through devices and files that may be huge and mostly empty.</summary>
internal static class DataScan
{
    /// <summary>Reads the device, but only where the volume has something stored.</summary>
    public static AttachResult<bool> OfDevice(NbdAddress server, AttachedDevice device, CancellationToken cancellation)
    {
        using var block = Native.Open(device.Path, device.ReadOnly ? Native.ReadOnly : Native.ReadWrite, out var error);
        // What the device's own cache still holds must be in the volume before that is asked.
        if (error == 0 && !device.ReadOnly) error = Native.Sync(block);
        if (error != 0) return AttachResult<bool>.Error(AttachStatus.Failed, $"{device.Path} can't be flushed: error {error}");
        try
        {
            var export = new AttachTarget(device.Identity, device.FullName, device.SizeBytes, 0).ExportName;
            foreach (var (offset, length) in AllocationQuery.Stored(server, export))
            {
                if (HasNonZero(block, (long)offset, (long)Math.Min(length, device.SizeBytes - Math.Min(offset, device.SizeBytes)), cancellation)) return true;
            }
            return false;
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return AttachResult<bool>.Error(AttachStatus.Failed, $"{device.Path} can't be looked through: {e.Message}");
        }
    }

    /// <summary>Whether any byte of the range is not zero. Throws IOException.</summary>
    public static bool HasNonZero(SafeFileHandle file, long offset, long length, CancellationToken cancellation)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(AttachLimits.ChunkBytes);
        try
        {
            for (long at = offset, end = offset + length; at < end;)
            {
                cancellation.ThrowIfCancellationRequested();
                var count = RandomAccess.Read(file, buffer.AsSpan(0, (int)Math.Min(AttachLimits.ChunkBytes, end - at)), at);
                if (count == 0) return false;
                if (buffer.AsSpan(0, count).ContainsAnyExcept((byte)0)) return true;
                at += count;
            }
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Where the file has data, in ascending order. Throws IOException.</summary>
    public static IEnumerable<(long Offset, long End)> Extents(SafeFileHandle file)
    {
        for (long at = 0; ;)
        {
            var data = Native.Seek(file, at, Native.SeekData, out var error);
            if (error == Native.NoSuchDevice) yield break;
            if (error != 0) throw new IOException($"lseek failed with error {error}");
            var hole = Native.Seek(file, data, Native.SeekHole, out error);
            if (error != 0) throw new IOException($"lseek failed with error {error}");
            yield return (data, hole);
            at = hole;
        }
    }
}
