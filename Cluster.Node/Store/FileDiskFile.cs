using Cluster.Messages.Model;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Node.Store;

internal sealed class FileDiskFile(string name, SafeFileHandle handle) : IDiskFile
{
    /// <summary>Set once the file system refuses RWF_NOWAIT: cached reads then go to the disk thread like the others.</summary>
    private volatile bool _noCachedReads;

    public long LengthBytes => RandomAccess.GetLength(handle);

    /// <summary>
    /// In a file that is only reserved (fallocate) each fdatasync of bytes that lie where nothing was written yet makes the file system note that in a transaction of its own: two flushes of the device and three
    /// writes in place of one and two (ext4). In one that is used anew the kernel reads the block into which a write ends, unless it is cached. And pages of the cache that were made in large pieces (folios) cost
    /// less to write and to read: a record of 4.3 KB 1.4 us in place of 2.9, of which the zeroes are a part. Less than this gains less; with more the zeroes that a sync has to take along are felt, and from 512 KiB on
    /// the kernel takes longer for each write into such a piece (docs/performance.md).
    /// </summary>
    public const int ZeroesAheadBytes = 128 << 10;

    public int AheadBytes => ZeroesAheadBytes;

    public unsafe DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
    {
        fixed (IoVector* start = vectors)
        {
            while (true)
            {
                var count = LibC.WriteVectors(handle, start, vectors.Length, offsetBytes);
                if (count >= 0) return DiskResult.Done((int)count);
                if (!LibC.WasInterrupted) return LibC.Failure($"pwritev to {name}");
            }
        }
    }

    public unsafe DiskResult Read(long offsetBytes, Span<byte> to)
    {
        var total = 0;
        fixed (byte* start = to)
        {
            while (total < to.Length)
            {
                var count = LibC.Read(handle, start + total, (nuint)(to.Length - total), offsetBytes + total);
                if (count == 0) break;
                if (count > 0) total += (int)count;
                else if (!LibC.WasInterrupted) return LibC.Failure($"pread of {name}");
            }
        }
        return DiskResult.Done(total);
    }

    public unsafe DiskResult TryReadCached(long offsetBytes, Span<byte> to)
    {
        if (_noCachedReads) return new DiskResult(IoStatus.Busy, 0, null);
        fixed (byte* start = to)
        {
            var vector = new IoVector(start, to.Length);
            var count = LibC.ReadVectors(handle, &vector, 1, offsetBytes, LibC.NoWait);
            if (count == to.Length) return DiskResult.Done(to.Length);
            if (count < 0 && !LibC.WouldBlock && !LibC.WasInterrupted) _noCachedReads = true;
            return new DiskResult(IoStatus.Busy, 0, null);
        }
    }

    public DiskResult Sync()
    {
        while (LibC.Fdatasync(handle) != 0)
        {
            if (!LibC.WasInterrupted) return LibC.Failure($"fdatasync of {name}");
        }
        return DiskResult.Done();
    }

    public DiskResult Preallocate(long lengthBytes)
    {
        while (LibC.Fallocate(handle, 0, 0, lengthBytes) != 0)
        {
            if (LibC.WasInterrupted) continue;
            if (!LibC.IsUnsupported) return LibC.Failure($"fallocate of {name}");
            if (RandomAccess.GetLength(handle) < lengthBytes) RandomAccess.SetLength(handle, lengthBytes);
            break;
        }
        return DiskResult.Done();
    }

    public DiskResult Keep(long lengthBytes)
    {
        while (LibC.Fallocate(handle, LibC.KeepSize, 0, lengthBytes) != 0)
        {
            if (LibC.WasInterrupted) continue;
            return LibC.IsUnsupported ? DiskResult.Failed(IoStatus.Unsupported, $"fallocate of {name}: the file system reserves no space") : LibC.Failure($"fallocate of {name}");
        }
        return DiskResult.Done();
    }

    /// <summary>A hint: that it is refused costs a wait later, and no more.</summary>
    public void WillNeed(long offsetBytes, long lengthBytes) => _ = LibC.Advise(handle, offsetBytes, lengthBytes, LibC.AdviseWillNeed);

    public void Dispose() => handle.Dispose();
}
