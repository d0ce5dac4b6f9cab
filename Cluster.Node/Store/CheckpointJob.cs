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

/// <summary>Makes a segment ready before the log needs it.</summary>
internal sealed class SpareJob(BlockStore store, IDisk disk, Guid id, int segmentBytes) : DiskJob
{
    public Guid Id => id;

    public IDiskFile? File { get; private set; }

    public Cluster.Messages.Model.IoStatus Status { get; private set; }

    public override void Execute()
    {
        // Should it fail, the log makes one itself when it needs it, and learns why.
        var result = SegmentTable.Create(disk, id, segmentBytes, out var file);
        (Status, File) = (result.Status, file);
    }

    public override void Complete() => store.OnSpareMade(this);
}
