namespace Cluster.Node.Store;

/// <summary>A file of a <see cref="DiskPool"/>: knows its disk, times what it does, and notes what fails.</summary>
public sealed class PoolFile(StoreDisk disk, IDiskFile file, string name, Func<bool> readsCount) : IDiskFile
{
    public StoreDisk Disk => disk;

    public long LengthBytes => file.LengthBytes;

    public int AheadBytes => file.AheadBytes;

    public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
    {
        var began = disk.Writes.Begin();
        var result = file.Write(offsetBytes, vectors);
        disk.Writes.End(began, result.IsOk);
        disk.Note(in result);
        return result;
    }

    public DiskResult Read(long offsetBytes, Span<byte> to)
    {
        var began = disk.Reads.Begin();
        var result = file.Read(offsetBytes, to);
        disk.Reads.End(began, result.IsOk);
        if (result.IsOk) return result;
        // While a store is opened, what can't be read is the log or a header, without which there is no store.
        if (readsCount()) disk.Note(in result);
        else disk.NoteRead(in result, name, offsetBytes);
        return result;
    }

    public DiskResult TryReadCached(long offsetBytes, Span<byte> to) => file.TryReadCached(offsetBytes, to);

    public DiskResult Sync()
    {
        var began = disk.Syncs.Begin();
        var result = file.Sync();
        disk.Syncs.End(began, result.IsOk);
        disk.Note(in result);
        return result;
    }

    public DiskResult Preallocate(long lengthBytes)
    {
        var result = file.Preallocate(lengthBytes);
        disk.Note(in result);
        return result;
    }

    public DiskResult Keep(long lengthBytes)
    {
        var result = file.Keep(lengthBytes);
        disk.Note(in result);
        return result;
    }

    public void WillNeed(long offsetBytes, long lengthBytes) => file.WillNeed(offsetBytes, lengthBytes);

    public void Dispose() => file.Dispose();
}
