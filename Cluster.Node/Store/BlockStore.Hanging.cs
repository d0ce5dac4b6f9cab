using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Calls on one disk that may not return: what waits for them, and what does not. Loop only.</summary>
public sealed partial class BlockStore
{
    /// <summary>Each further disk has a thread of its own for this; the home has that of the checkpoints, which are there too.</summary>
    internal void SubmitWindow(Segment source, DiskJob window)
    {
        if (source.PoolDisk is { IsHome: false } disk) SubmitOn(disk, window);
        else Submit(DiskLane.Background, window);
    }

    internal void LogCleanerLeft(Segment segment, StoreDisk disk) => StoreLog.CleanerLeft(_logger, _disk.Description, segment.Name, disk.Id, disk.Path);

    /// <summary>While a stop waits for jobs that it may leave.</summary>
    private const int StopLookMs = 1000;

    /// <summary>Of the jobs under way, those that a stop does not wait for when a disk hangs.</summary>
    private int _leavableUnderWay;
    private ILoopTimer? _stopTimer;

    private void CountJob(DiskJob job)
    {
        _jobsUnderWay++;
        if (job.MayBeLeft) _leavableUnderWay++;
    }

    /// <summary>The same as <see cref="OnJobDone()"/> of a job that may be left.</summary>
    internal void OnJobDone(DiskJob job)
    {
        if (job.MayBeLeft) _leavableUnderWay--;
        OnJobDone();
    }

    /// <summary>The stop goes on when all jobs have ended, or those that have not only read, delete, or write beside the log, and a disk hangs: it is mostly to be taken away for that reason.</summary>
    private void TryEndStop()
    {
        if (_stopDone is null) return;
        var isLeaving = _jobsUnderWay == _leavableUnderWay && _disk.Disks.Any(disk => disk is { IsHome: false, IsHung: true });
        if (_jobsUnderWay > 0 && !isLeaving)
        {
            _stopTimer ??= _loop.Schedule(StopLookMs, () =>
            {
                _stopTimer = null;
                TryEndStop();
            });
            return;
        }
        _stopTimer?.Cancel();
        if (_jobsUnderWay > 0) StoreLog.StopLeaves(_logger, _disk.Description, string.Join(", ", _disk.Disks.Where(disk => disk.IsHung).Select(disk => disk.Path)), _jobsUnderWay);
        foreach (var job in _retiring.Values) job.Leave();
        EndStop();
    }

    private void SubmitOn(StoreDisk disk, DiskJob job)
    {
        CountJob(job);
        _scheduler.Submit(DiskLane.Drain, disk.Index, job);
    }
}
