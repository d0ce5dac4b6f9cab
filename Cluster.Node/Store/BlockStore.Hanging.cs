namespace Cluster.Node.Store;

/// <summary>Calls on one disk that may not return: what waits for them, and what does not. Loop only.</summary>
public sealed partial class BlockStore
{
    /// <summary>Each further disk has a thread of its own for this.</summary>
    /// <param name="drains">Its disk is to be emptied.</param>
    internal void SubmitWindow(Segment source, DiskJob window, bool drains)
    {
        if (drains) SubmitOn(source.PoolDisk!, window);
        else Submit(DiskLane.Background, window);
    }

    internal void LogCleanerLeft(Segment segment, StoreDisk disk) => StoreLog.CleanerLeft(_logger, _disk.Description, segment.Name, disk.Id, disk.Path);

    private void SubmitOn(StoreDisk disk, DiskJob job)
    {
        _jobsUnderWay++;
        _scheduler.Submit(DiskLane.Drain, disk.Index, job);
    }
}
