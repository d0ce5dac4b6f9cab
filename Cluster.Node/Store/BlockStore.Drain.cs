using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>What became of an operator's order about a disk.</summary>
/// <param name="Status">Ok; Missing: the store has no such disk; Conflict: it can't be drained; DeviceError.</param>
/// <param name="Reason">One sentence without its full stop, or "".</param>
public sealed record DrainAnswer(IoStatus Status, string Reason, StoreDiskFacts? Disk);

/// <summary>
/// Disks that are to be emptied: the log leaves them, the cleaner moves what is live there, and their free segments are deleted. None of it is needed for anything: a crash leaves a store with fewer or
/// more segments there, and the next open goes on (docs/adr/0012-a-store-over-several-disks.md). Loop only, unless said otherwise.
/// </summary>
public sealed partial class BlockStore
{
    private readonly List<(int Index, bool Drains, Action<DrainAnswer> Done)> _orders = [];
    private bool _hasAvoided;
    private bool _isDrainDue;
    private bool _isRetiring;
    private long _drainedBytes;

    /// <summary>Encoded bytes that were moved from disks that are to be emptied, since the open. Any thread.</summary>
    public long DrainedBytes => Volatile.Read(ref _drainedBytes);

    internal int DrainBytesPerSecond => _options.DrainBytesPerSecond;

    /// <summary>The other disks have more room than the cleaner keeps free: what is avoided is not needed.</summary>
    internal bool MayDrain => Segments.AvailableCount - Segments.AvoidedCount > CleanBelow;

    internal ILoopTimer Schedule(int delayMs, Action work) => _loop.Schedule(delayMs, work);

    /// <summary>Has a disk emptied, or used again; answers once that is on media.</summary>
    /// <param name="done">On the loop.</param>
    public void Drain(Guid id, bool drains, Action<DrainAnswer> done)
    {
        var index = _disk.Disks.Count - 1;
        while (index >= 0 && _disk.Disks[index].Id != id) index--;
        if (RefusalToDrain(index, id) is { } refusal)
        {
            done(refusal);
            return;
        }
        var disk = _disk.Disks[index];
        if (disk.IsDrained != drains)
        {
            disk.IsDrained = drains;
            if (drains) StoreLog.DrainBegins(_logger, disk.Id, _disk.Description, disk.Path, disk.Segments);
            else StoreLog.DrainEnds(_logger, disk.Id, _disk.Description, disk.Path);
            if (drains) Avoid(disk);
        }
        _orders.Add((index, drains, done));
        MarkOne();
        if (!_isMarking) AnswerOrders(-1, "");
    }

    private DrainAnswer? RefusalToDrain(int index, Guid id)
    {
        if (IsStopping) return new DrainAnswer(IoStatus.DeviceError, FailureReason is { } failure ? $"the store has failed ({failure})" : "the node stops", null);
        if (index == 0)
            return new DrainAnswer(IoStatus.Conflict, $"disk {id} at {_disk.Disks[0].Path} is the store's home, with its superblock and checkpoint, and can't be drained: to give it up, have the node's copies made on another node", null);
        if (index > 0) return null;
        return _disk.Absent.FirstOrDefault(disk => disk.Id == id) is { } absent
            ? new DrainAnswer(IoStatus.Conflict, $"disk {id} is not in use ({absent.Problem}), and nothing can be moved from it", null)
            : new DrainAnswer(IoStatus.Missing, $"the store has no disk {id}", null);
    }

    /// <param name="failed">The disk of which that could not be noted; negative: there is none.</param>
    private void AnswerOrders(int failed, string failure)
    {
        for (var at = _orders.Count - 1; at >= 0; at--)
        {
            var (index, drains, done) = _orders[at];
            var hasFailed = index == failed || IsStopping;
            if (!hasFailed && _marked[index].Drained != drains) continue;
            _orders.RemoveAt(at);
            var disk = _disk.Disks[index];
            if (hasFailed)
            {
                disk.IsDrained = _marked[index].Drained;
                if (disk is { IsDrained: false, IsSuspect: false, IsAvoided: true }) UseAgain(disk);
            }
            else Describe();
            done(hasFailed ? new DrainAnswer(IoStatus.DeviceError, $"that could not be noted: {(failure.Length > 0 ? failure : "the store stops")}", null) : new DrainAnswer(IoStatus.Ok, "", DiskAt(index)));
        }
    }

    /// <summary>From here on nothing new goes there.</summary>
    private void Avoid(StoreDisk disk)
    {
        disk.IsAvoided = true;
        OnAvoidedChanged();
    }

    /// <summary>The list on media has no reason any more why it is avoided, nor that it is empty: a segment may be made there.</summary>
    private void UseAgain(StoreDisk disk)
    {
        disk.IsAvoided = false;
        OnAvoidedChanged();
    }

    private void OnAvoidedChanged()
    {
        (_hasAvoided, _isDrainDue, _backgroundDue) = (_disk.Disks.Any(disk => disk.IsAvoided), true, true);
        Segments.SortFree();
        UpdateCapacity();
        Describe();
    }

    /// <summary>Whether this is a turn in which disks are emptied further: it looks at all segments.</summary>
    private bool TakeDrainDue()
    {
        var isDue = _hasAvoided && _isDrainDue;
        _isDrainDue = false;
        return isDue;
    }

    private void StepDrain()
    {
        // After an open the log ends where no segment is active.
        var isThere = _writer.Active?.IsAvoided ?? Segments.All.Any(segment => segment is { IsAvoided: true, Number: > 0 });
        if (isThere && Segments.FreeCount > 0 && MayDrain && _writer.Leave() == IoStatus.Ok && WriteStaged() == IoStatus.Ok) _syncWanted = true;
        if (MayDrain && !_isRetiring) BeginRetire(Segments.RetireAvoided);
        if (MayDrain && !_cleaner.IsBusy) _cleaner.TryBeginDrain(_writer.End.Number);
        Volatile.Write(ref _drainedBytes, _cleaner.DrainedBytes);
    }

    /// <summary>All that is left to move is moved, and what is dead on disks that are to be emptied waits for nothing but a checkpoint.</summary>
    private bool DrainNeedsCheckpoint()
    {
        if (_cleaner.IsBusy || _reclaiming.Count > 0 || (MayDrain && _cleaner.DrainCandidate(_writer.End.Number) is not null)) return false;
        return _isReclaimRefused || !Segments.All.Any(segment => segment.IsAvoided && IsReclaimable(segment));
    }

    private void BeginRetire(Func<Segment?> next)
    {
        List<Segment>? retired = null;
        while (next() is { } segment) (retired ??= []).Add(segment);
        if (retired is null) return;
        _isRetiring = true;
        Submit(DiskLane.Background, new RetireJob(this, _disk, retired));
    }

    internal void OnRetired(RetireJob job)
    {
        (_isRetiring, _isDrainDue, _backgroundDue) = (false, true, true);
        if (!job.Result.IsOk) StoreLog.RetireFailed(_logger, _disk.Description, job.Result.Detail ?? "");
        UpdateCapacity();
        MarkOne();
        OnJobDone();
    }
}

/// <summary>Deletes the files of segments that are free and not in the table any more.</summary>
internal sealed class RetireJob(BlockStore store, DiskPool disks, IReadOnlyList<Segment> segments) : DiskJob
{
    public DiskResult Result { get; private set; } = DiskResult.Done();

    public override void Execute()
    {
        foreach (var segment in segments)
        {
            var disk = (segment.File as PoolFile)?.Disk;
            segment.File.Dispose();
            var result = disks.Delete(segment.Name);
            // The disk may be taken away once it is empty: not with names that a loss of power brings back.
            if (result.IsOk && disk is not null) result = disk.Files.SyncDirectory();
            if (Result.IsOk) Result = result;
        }
    }

    public override void Complete() => store.OnRetired(this);
}
