using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>What became of an operator's order about a disk.</summary>
/// <param name="Status">Ok; Missing: the store has no such disk; Conflict: it can't be drained; DeviceError.</param>
/// <param name="Reason">One sentence without its full stop, or "".</param>
/// <param name="Facts">How the disk is; null: it is not carried out. Asks its file system: not on the loop.</param>
public sealed record DrainAnswer(IoStatus Status, string Reason, Func<StoreDiskFacts>? Facts)
{
    public StoreDiskFacts? Disk => Facts?.Invoke();
}

/// <summary>
/// Disks that are to be emptied: the log leaves them, the cleaner moves what is live there, and their free segments are deleted. None of it is needed for anything: a crash leaves a store with fewer or
/// more segments there, and the next open goes on (docs/adr/0012-a-store-over-several-disks.md). Loop only, unless said otherwise.
/// </summary>
public sealed partial class BlockStore
{
    private readonly List<(int Index, bool Drains, Action<DrainAnswer> Done)> _orders = [];
    private bool _hasAvoided;
    private bool _isDrainDue;

    /// <summary>Deletions under way, one job for a disk.</summary>
    private readonly Dictionary<StoreDisk, RetireJob> _retiring = [];

    /// <summary>Of segments that are not in the table any more: files that could not be deleted, and disks whose deletions are not on media. Tried again once a second.</summary>
    private readonly List<Segment> _undeleted = [];
    private readonly HashSet<StoreDisk> _undurable = [];
    private readonly Dictionary<StoreDisk, string> _retireFailures = [];
    private long _drainedBytes;

    /// <summary>Encoded bytes that were moved from disks that are to be emptied, since the open. Any thread.</summary>
    public long DrainedBytes => Volatile.Read(ref _drainedBytes);

    internal int DrainBytesPerSecond => _options.DrainBytesPerSecond;

    /// <summary>The other disks have more room than the cleaner keeps free: what is avoided is not needed.</summary>
    internal bool MayDrain => Segments.LastingCount - Segments.Hung.Free > CleanBelow;

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
        TakeBack(index, drains);
        _orders.Add((index, drains, done));
        MarkOne();
        if (!_isMarking) AnswerOrders(-1, "");
    }

    /// <summary>Orders that want the opposite, and are not carried out yet.</summary>
    private void TakeBack(int index, bool drains)
    {
        for (var at = _orders.Count - 1; at >= 0; at--)
        {
            var order = _orders[at];
            if (order.Index != index || order.Drains == drains) continue;
            _orders.RemoveAt(at);
            order.Done(new DrainAnswer(IoStatus.Conflict, $"the order was taken back by a later one before it was noted ({(drains ? "drain" : "undrain")} of disk {_disk.Disks[index].Id})", null));
        }
    }

    private DrainAnswer? RefusalToDrain(int index, Guid id)
    {
        if (IsStopping) return new DrainAnswer(IoStatus.DeviceError, FailureReason is { } failure ? $"the store has failed ({failure})" : "the node stops", null);
        if (index == 0)
            return new DrainAnswer(IoStatus.Conflict, $"disk {id:N} at {_disk.Disks[0].Path} is the store's home, with its superblock and checkpoint, and can't be drained: to give it up, have the node's copies made on another node", null);
        if (index > 0) return null;
        return _disk.Absent.FirstOrDefault(disk => disk.Id == id) is { } absent
            ? new DrainAnswer(IoStatus.Conflict, $"disk {id:N} is not in use ({absent.Problem}), and nothing can be moved from it", null)
            : new DrainAnswer(IoStatus.Missing, $"the store has no disk {id:N}", null);
    }

    /// <param name="failed">The disk with which that did not work; negative: there is none.</param>
    /// <param name="failure">Why.</param>
    private void AnswerOrders(int failed, string failure)
    {
        for (var at = _orders.Count - 1; at >= 0; at--)
        {
            var (index, drains, done) = _orders[at];
            var hasFailed = index == failed || IsStopping;
            if (!hasFailed && !(_isMarkKnown[index] && _marked[index].Drained == drains)) continue;
            _orders.RemoveAt(at);
            // Avoided it stays until it is known what is on media.
            if (hasFailed) _disk.Disks[index].IsDrained = _marked[index].Drained;
            Describe();
            done(hasFailed ? new DrainAnswer(IoStatus.DeviceError, failure.Length > 0 ? failure : "the store stops", null) : new DrainAnswer(IoStatus.Ok, "", () => DiskAt(index)));
        }
    }

    /// <summary>From here on nothing new goes there.</summary>
    private void Avoid(StoreDisk disk)
    {
        disk.IsAvoided = true;
        // From here on bad bytes keep nothing else from being moved.
        foreach (var segment in Segments.All.Where(segment => segment.IsOn(disk))) segment.IsStuck = false;
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
        LeaveAvoided();
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
        if (MayDrain) BeginRetire(NextToRetire);
        if (MayDrain && !_cleaner.IsBusy) _cleaner.TryBeginDrain(_writer.End.Number);
        Volatile.Write(ref _drainedBytes, _cleaner.DrainedBytes);
    }

    /// <summary>All that is left to move is moved, and what is dead on disks that are to be emptied waits for nothing but a checkpoint.</summary>
    private bool DrainNeedsCheckpoint()
    {
        if (_cleaner.IsBusy || _reclaiming.Count > 0 || (MayDrain && _cleaner.DrainCandidate(_writer.End.Number) is not null)) return false;
        if (!_isReclaimRefused && Segments.All.Any(segment => segment.IsAvoided && IsReclaimable(segment))) return false;
        // One by one, as they die, they are not worth it: the last of them are.
        var (behind, isLast) = (0L, true);
        foreach (var segment in Segments.All)
        {
            if (!segment.IsAvoided || segment.IsHung || segment.Number == 0 || segment.Number >= _writer.End.Number) continue;
            if (segment is { IsDead: true, Readers: 0 }) behind += Segments.SegmentBytes;
            else isLast = false;
        }
        return isLast || behind >= FreesTimesItself * _checkpointBytes;
    }

    private void BeginRetire(Func<Segment?> next)
    {
        List<Segment>? retired = null;
        while (next() is { } segment) (retired ??= []).Add(segment);
        if (retired is null) return;
        foreach (var same in retired.GroupBy(segment => segment.PoolDisk!)) Retire(same.Key, [.. same]);
    }

    /// <summary>Only as long as what was promised has its room without it (R21).</summary>
    private Segment? NextToRetire() => _writer.LastingRoomBytes >= _grantedBytes ? Segments.RetireAvoided(MayRetire) : null;

    private bool MayRetire(Segment segment) => segment is { IsHung: false, PoolDisk: { } disk } && segment != _cleaner.Source && !_retiring.ContainsKey(disk);

    private void RetireAgain()
    {
        foreach (var disk in _disk.Disks)
        {
            if (_retiring.ContainsKey(disk) || disk.IsHung) continue;
            var again = _undeleted.FindAll(segment => segment.IsOn(disk));
            if (again.Count == 0 && !_undurable.Contains(disk)) continue;
            _undeleted.RemoveAll(again.Contains);
            Retire(disk, again);
        }
    }

    private void Retire(StoreDisk disk, List<Segment> segments)
    {
        var job = new RetireJob(this, _disk, disk, segments, _undurable.Contains(disk));
        _retiring.Add(disk, job);
        SubmitOn(disk, job);
    }

    internal void OnRetired(RetireJob job)
    {
        _retiring.Remove(job.Disk);
        (_isDrainDue, _backgroundDue) = (true, true);
        _undeleted.AddRange(job.Undeleted);
        if (job.WasSynced) _undurable.Remove(job.Disk);
        else if (job.Syncs) _undurable.Add(job.Disk);
        var failure = job.Result.IsOk ? "" : job.Result.Detail ?? "a call failed";
        if (failure.Length > 0 && failure != _retireFailures.GetValueOrDefault(job.Disk)) StoreLog.RetireFailed(_logger, _disk.Description, failure);
        _retireFailures[job.Disk] = failure;
        UpdateCapacity();
        MarkOne();
        OnJobDone(job);
    }
}

/// <summary>Deletes the files of segments that are free and not in the table any more, and makes that durable: the disk may be taken away once it is empty, and not with names that a loss of power brings back.</summary>
/// <param name="syncs">Earlier deletions on the disk are not on media.</param>
internal sealed class RetireJob(BlockStore store, DiskPool disks, StoreDisk disk, IReadOnlyList<Segment> segments, bool syncs) : DiskJob
{
    public StoreDisk Disk => disk;

    public override StoreDisk OnlyDisk => disk;

    /// <summary>The first failure.</summary>
    public DiskResult Result { get; private set; } = DiskResult.Done();

    public List<Segment> Undeleted { get; } = [];

    /// <summary>Something was deleted, now or before, that is to be on media.</summary>
    public bool Syncs { get; private set; } = syncs;

    public bool WasSynced { get; private set; }

    private volatile bool _isLeft;

    public override bool MayBeLeft => true;

    /// <summary>Nobody waits for it: if the disk answers again, nothing more is deleted. Any thread.</summary>
    public void Leave() => _isLeft = true;

    public override void Execute()
    {
        foreach (var segment in segments)
        {
            if (_isLeft) return;
            // A file system may hang in the close too: unless that is seen, a stop waits for it for good.
            var began = disk.Waits.Begin();
            segment.File.Dispose();
            var result = disks.Retire(segment.Name);
            disk.Waits.End(began, counts: false);
            if (result.IsOk) Syncs = true;
            else Undeleted.Add(segment);
            if (Result.IsOk) Result = result;
        }
        if (Syncs) Sync();
    }

    private void Sync()
    {
        var began = disk.Waits.Begin();
        var result = disk.Files.SyncDirectory();
        disk.Waits.End(began, counts: false);
        WasSynced = result.IsOk;
        if (Result.IsOk) Result = result;
    }

    public override void Complete() => store.OnRetired(this);
}
