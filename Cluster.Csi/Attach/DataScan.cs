using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Attach;

/// <summary>Looks through devices and files that may be huge and mostly empty.</summary>
internal static class DataScan
{
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
