using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>Writes one checkpoint on the disk's background thread.</summary>
internal sealed class CheckpointJob(BlockStore store, IDisk disk, CheckpointSnapshot snapshot) : DiskJob
{
    private long _bytes;
    private PageImage? _lost;

    /// <summary>A page of a map that could not be read back: there is no checkpoint.</summary>
    public PageImage? Lost => _lost;

    public CheckpointSnapshot Snapshot => snapshot;

    public long LengthBytes => _bytes;

    public DiskResult Result { get; private set; }

    public override void Execute() => Result = CheckpointWriter.Write(disk, snapshot, store.Maps.File, out _bytes, out _lost);

    public override void Complete() => store.OnCheckpointWritten(this);
}

/// <summary>Makes a segment ready before the log needs it, on that disk.</summary>
internal sealed class SpareJob(BlockStore store, DiskPool disks, StoreDisk on, Guid id, int segmentBytes) : DiskJob
{
    public Guid Id => id;

    public StoreDisk Disk => on;

    public override StoreDisk OnlyDisk => on;

    /// <summary>Nothing names it before it is in the table: an open finds it free.</summary>
    public override bool MayBeLeft => !on.IsHome;

    public IDiskFile? File { get; private set; }

    public IoStatus Status { get; private set; }

    public override void Execute()
    {
        disks.Want(SegmentTable.NameOf(id), on);
        var began = on.Waits.Begin();
        // Should it fail, the log makes one itself when it needs it, and learns why.
        var result = SegmentTable.Create(disks, id, segmentBytes, out var file);
        on.Waits.End(began, counts: false);
        (Status, File) = (result.Status, file);
    }

    public override void Complete() => store.OnSpareMade(this);
}
