using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>Whole writes and reads over the seam.</summary>
public static class DiskFileExtensions
{
    /// <summary>Vectors of one system call at most (IOV_MAX of Linux).</summary>
    public const int VectorsMax = 1024;

    /// <summary>Writes all of the vectors, however short the single writes are. Changes <paramref name="vectors"/>.</summary>
    public static unsafe DiskResult WriteAll(this IDiskFile file, long offsetBytes, Span<IoVector> vectors)
    {
        var total = 0;
        while (vectors.Length > 0)
        {
            var result = file.Write(offsetBytes + total, vectors[..Math.Min(vectors.Length, VectorsMax)]);
            if (!result.IsOk) return result;
            if (result.Count <= 0) return DiskResult.Failed(IoStatus.DeviceError, "write: no progress");
            total += result.Count;
            var left = (nuint)result.Count;
            while (vectors.Length > 0 && left >= vectors[0].LengthBytes)
            {
                left -= vectors[0].LengthBytes;
                vectors = vectors[1..];
            }
            if (left == 0) continue;
            vectors[0].Start += left;
            vectors[0].LengthBytes -= left;
        }
        return DiskResult.Done(total);
    }

    public static unsafe DiskResult WriteAll(this IDiskFile file, long offsetBytes, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            Span<IoVector> vectors = [new IoVector(start, bytes.Length)];
            return file.WriteAll(offsetBytes, vectors);
        }
    }

    /// <summary>Fills <paramref name="to"/>; a file that ends before is a DeviceError.</summary>
    public static DiskResult ReadExactly(this IDiskFile file, long offsetBytes, Span<byte> to)
    {
        var result = file.Read(offsetBytes, to);
        if (!result.IsOk || result.Count == to.Length) return result;
        return DiskResult.Failed(IoStatus.DeviceError, $"read: the file ends {to.Length - result.Count} B too early");
    }
}
