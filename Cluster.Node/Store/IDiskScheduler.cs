namespace Cluster.Node.Store;

/// <summary>Which of a disk's threads runs a job, so that neither a read nor a flush waits behind a checkpoint.</summary>
public enum DiskLane
{
    Sync = 0,
    Read = 1,
    Background = 2,

    /// <summary>Pages of the maps, which memory and clients' reads wait for: not behind a checkpoint that has all of them, nor behind reads of a disk that is slow or hangs.</summary>
    Map = 3,

    /// <summary>Probes of disks that were slow, a thread for each: nothing else waits for one that hangs.</summary>
    Probe = 4,

    /// <summary>The cleaner's reads of further disks and its writes beside the log, segments that are made ahead there, and deletions: a thread for each disk, so that neither a checkpoint nor another disk waits for one that hangs.</summary>
    Drain = 5,

    /// <summary>Reads of a scrub or a copy, on any disk: no checkpoint waits for a disk that hangs.</summary>
    Scrub = 6,
}

/// <summary>Work that may block on the device. Reused by its owner after it has completed.</summary>
public abstract class DiskJob
{
    private Action? _completion;

    /// <summary>It only reads, deletes what is nobody's any more, or makes or writes what is no part of the log: a stop does not wait for it on a disk that hangs.</summary>
    public virtual bool MayBeLeft => false;

    /// <summary>Of one that may be left, the only disk that it calls; null: a read that may wait behind reads of any disk.</summary>
    public virtual StoreDisk? OnlyDisk => null;

    /// <summary>It changes nothing on its disk.</summary>
    public virtual bool OnlyReads => false;

    /// <summary>The completion as a delegate, made once.</summary>
    public Action Completion => _completion ??= Complete;

    /// <summary>On the lane's thread: calls the disk, touches no state of the loop.</summary>
    public abstract void Execute();

    /// <summary>On the loop, after <see cref="Execute"/>.</summary>
    public abstract void Complete();
}

/// <summary>
/// Runs the blocking calls of a store off its loop, in order within each lane. A simulation runs them on its one thread (<see
/// cref="LoopDiskScheduler"/>).
/// </summary>
public interface IDiskScheduler
{
    void Submit(DiskLane lane, DiskJob job);

    /// <summary>For <see cref="DiskLane.Probe"/> and <see cref="DiskLane.Drain"/>: in order with what there is for the same disk only.</summary>
    /// <param name="disk">Which of the store's disks, from 0.</param>
    void Submit(DiskLane lane, int disk, DiskJob job) => Submit(lane, job);
}
