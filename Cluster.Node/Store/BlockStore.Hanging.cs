using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Calls on one disk that may not return: what waits for them, and what does not. Loop only.</summary>
public sealed partial class BlockStore
{
    /// <summary>Each further disk has a thread of its own for this; the home has that of the checkpoints, which are there too.</summary>
    internal void SubmitApart(StoreDisk? disk, DiskJob job)
    {
        if (disk is { IsHome: false }) SubmitOn(disk, job);
        else Submit(DiskLane.Background, job);
    }

    internal void LogCleanerLeft(Segment segment, StoreDisk disk) => StoreLog.CleanerLeft(_logger, _disk.Description, segment.Name, disk.Id, disk.Path);

    /// <summary>While a stop waits for jobs that it may leave.</summary>
    private const int StopLookMs = 1000;

    /// <summary>Of the jobs under way, those that a stop does not wait for when a disk hangs.</summary>
    private int _leavableUnderWay;
    private ILoopTimer? _stopTimer;

    /// <summary>The stop has ended. The locks of disks on which something was left are kept until that has ended, too: what it does late must not meet a store that another process has opened.</summary>
    private bool _hasEnded;

    /// <summary>The segment that is made ahead, for which the next one waits; and those for which nothing waits any more.</summary>
    private SpareJob? _spare;
    private readonly List<SpareJob> _leftSpares = [];

    private bool IsMakingOn(StoreDisk disk) => _spare?.Disk == disk || _leftSpares.Exists(spare => spare.Disk == disk);

    /// <summary>Called once a second: another one is made, on another disk.</summary>
    private void LeaveHungSpare()
    {
        if (_spare is not { Disk: { IsHome: false, IsHung: true } disk } spare) return;
        StoreLog.SpareLeft(_logger, _disk.Description, disk.Id, disk.Path);
        disk.Leave();
        _leftSpares.Add(spare);
        (_spare, _backgroundDue) = (null, true);
    }

    /// <summary>The next segment is made off the loop, before the log needs it.</summary>
    private void PrepareSpare()
    {
        // One for the log, and one for the cleaner.
        if (_spare is not null || Segments.FreeCount > Segments.Reserve(SpaceClass.Data) + 1 || !Segments.CanCreate || (_writer.Active is null && Segments.AvoidedCount == 0))
            return;
        if (_disk.Choose() is not { } disk)
        {
            Segments.Refuse();
            _backgroundDue = true;
            return;
        }
        disk.IsMaking = true;
        _spare = new SpareJob(this, _disk, disk, _options.NewId(), Segments.SegmentBytes);
        SubmitApart(disk, _spare);
    }

    internal void OnSpareMade(SpareJob job)
    {
        job.Disk.IsMaking = false;
        if (_leftSpares.Remove(job)) job.Disk.EndLeft();
        else _spare = null;
        if (job.File is { } file)
        {
            if (_stopped) file.Dispose();
            else Segments.Free(Segments.Add(job.Id, file));
            _backgroundDue = true;
        }
        else if (job.Status == IoStatus.NoSpace)
        {
            Segments.Refuse();
            _backgroundDue = true;
        }
        OnJobDone(job);
    }

    private void CountJob(DiskJob job)
    {
        _jobsUnderWay++;
        if (!job.MayBeLeft) return;
        _leavableUnderWay++;
        if (job is { OnlyReads: false, OnlyDisk: { } disk }) disk.JobsUnderWay++;
    }

    /// <summary>The same as <see cref="OnJobDone()"/> of a job that may be left.</summary>
    internal void OnJobDone(DiskJob job)
    {
        if (job.MayBeLeft) _leavableUnderWay--;
        if (job is { MayBeLeft: true, OnlyReads: false, OnlyDisk: { } disk })
        {
            disk.JobsUnderWay--;
            if (_hasEnded && !disk.IsInCall) disk.Files.Dispose();
        }
        OnJobDone();
    }

    /// <summary>
    /// The stop goes on when all jobs have ended, or those that have not only read, delete, or make or write what is not in the log, on a disk that hangs: it is mostly to be taken away for that reason. On
    /// the other disks they end soon, but for reads of bad sectors, for which nobody waits.
    /// </summary>
    private void TryEndStop()
    {
        if (_stopDone is null) return;
        var isLeaving = _jobsUnderWay == _leavableUnderWay && _disk.Disks.Any(disk => disk is { IsHome: false, IsHung: true }) && !_disk.Disks.Any(disk => disk is { JobsUnderWay: > 0, IsHung: false });
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
        foreach (var probe in _probes) probe?.Leave();
        EndStop();
    }

    private void SubmitOn(StoreDisk disk, DiskJob job)
    {
        CountJob(job);
        _scheduler.Submit(DiskLane.Drain, disk.Index, job);
    }
}
