namespace Cluster.Node.Store;

/// <summary>Notes on media that an fdatasync of the log failed, so that the next open counts as suspect (R9, R10).</summary>
internal sealed class NoteJob(BlockStore store, SuperblockFile file) : DiskJob
{
    private readonly Superblock _next = file.Current with { SyncFailed = true };
    private Superblock _put;

    public DiskResult Result { get; private set; }

    public override void Execute() => Result = file.TryPut(_next, out _put);

    public override void Complete()
    {
        if (Result.IsOk) file.OnPut(_put);
        store.OnNoted(Result);
    }
}
