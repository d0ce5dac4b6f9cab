namespace Cluster.Node.Store;

/// <summary>What a checkpoint takes, at most about that, and room for it in the file that it is written to.</summary>
internal static class CheckpointRoom
{
    private const int TombstoneBytes = 24;
    private const int TailBytes = 12;
    private const int SegmentBytes = 28;

    /// <summary>Of a page, its frame and its number; of a snapshot's page, the snapshot's sequence too.</summary>
    private const int PageBytes = CheckpointFrame.SizeBytes + 16;

    /// <summary>Frames of a volume beside its pages, and of the whole file.</summary>
    private const int FramesBytes = 8 * (CheckpointFrame.SizeBytes + 16);

    public static long OfSegments(int segments) => FramesBytes + ((long)segments * SegmentBytes);

    /// <summary>Of a page, as much as its blocks that have anything, masks of a clone too: a snapshot's page has one at least.</summary>
    public static long Of(BlockMap map)
    {
        var bytes = FramesBytes + (map.Entries * CheckpointWriter.PageEntryBytes) + ((long)map.PageCount * PageBytes) + ((long)map.Tombstones.Count * TombstoneBytes);
        foreach (var layer in map.Layers)
            bytes += FramesBytes + (layer.Blocks * CheckpointWriter.PageEntryBytes) + (layer.Frames * PageBytes) + ((long)layer.Tombstones.Count * TombstoneBytes);
        return bytes;
    }

    public static long OfState(VolumeStore volume) => FramesBytes + volume.Header.Length + volume.Windows.EncodedBytes + (3L * (volume.Damage?.Length ?? 0)) + ((long)volume.Tail.Count * TailBytes);

    /// <summary>
    /// Reserves so many bytes in the file that the next checkpoint is written to. Its name need not be durable: what a crash takes is reserved anew. Unsupported: the file system can't. Blocks; the
    /// thread that writes checkpoints.
    /// </summary>
    public static DiskResult Keep(IDisk disk, long bytes)
    {
        var result = OpenNew(disk, out var file);
        if (!result.IsOk) return result;
        result = file!.Keep(bytes);
        file.Dispose();
        return result;
    }

    /// <summary>The file of the next checkpoint, empty, with what is reserved for it. One that a crash left half written goes.</summary>
    public static DiskResult OpenNew(IDisk disk, out IDiskFile? file)
    {
        var result = disk.Open(CheckpointWriter.NewName, create: true, out file);
        if (!result.IsOk || file!.LengthBytes == 0) return result;
        file.Dispose();
        result = disk.Delete(CheckpointWriter.NewName);
        return result.IsOk ? disk.Open(CheckpointWriter.NewName, create: true, out file) : result;
    }
}
