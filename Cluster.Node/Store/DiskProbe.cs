namespace Cluster.Node.Store;

/// <summary>
/// Asks a disk that has nothing to do, and was slow or erred, how it is now: 4 KiB and an fdatasync in a file of its own. Timed like the store's own calls; a failure is an error of the disk, and spoils
/// nothing. On a lane of its own: neither a checkpoint nor a flush waits for a disk that hangs, nor does a stop.
/// </summary>
internal sealed class DiskProbe(BlockStore store) : DiskJob
{
    public const string FileName = "probe";
    private const int ProbeBytes = 4096;
    private static readonly byte[] Zeroes = new byte[ProbeBytes];

    public StoreDisk? Disk { get; set; }

    /// <summary>Not Ok: it is not there any more, and was not asked.</summary>
    public DiskResult Label { get; private set; }

    private volatile bool _isLeft;

    /// <summary>The store has stopped: if the disk answers again, nothing is written there. Any thread.</summary>
    public void Leave() => _isLeft = true;

    public override void Execute()
    {
        var disk = Disk!;
        // Through the path, which may lead elsewhere by now: what is quick there says nothing of the disk, and nothing of the store's is to be put there.
        Label = disk.CheckLabel();
        if (!Label.IsOk || _isLeft) return;
        var result = disk.Files.Open(FileName, create: true, out var file);
        if (result.IsOk)
        {
            var began = disk.Writes.Begin();
            result = file!.WriteAll(0, Zeroes);
            disk.Writes.End(began, result.IsOk);
        }
        if (result.IsOk)
        {
            var began = disk.Syncs.Begin();
            result = file!.Sync();
            disk.Syncs.End(began, result.IsOk);
        }
        file?.Dispose();
        disk.NoteProbe(in result);
    }

    public override void Complete() => store.OnProbed(this);
}
