using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>What goes on beside the appends: the flush watermark of an idle log, checkpoints, space, and the stop.</summary>
public sealed partial class BlockStore
{
    /// <summary>After a checkpoint that could not be written.</summary>
    private const int CheckpointRetryMs = 1000;

    /// <summary>After the file system had no room for a segment.</summary>
    private const int CapacityRetryMs = 5000;

    /// <summary>Between two slices of what deleted snapshots kept.</summary>
    private const int HandDownPauseMs = 10;

    /// <summary>Between two attempts to note a failed fdatasync, and how many are made: an hour of them.</summary>
    private const int NoteRetryMs = 1000;
    private const int NoteAttemptsMax = 3600;
    private ILoopTimer? _noteTimer;
    private int _noteAttempts;
    private bool _isNoteOwed;
    private long _capacityNotBeforeMs;
    private ILoopTimer? _capacityTimer;
    private ILoopTimer? _watermarkTimer;
    private ILoopTimer? _handDownTimer;
    private CheckpointJob? _checkpoint;
    private bool _checkpointIsWriting;

    /// <summary>It waits for the maps to go over to what is in the log.</summary>
    private bool _isCheckpointDue;
    private ulong _checkpointNumber;
    private long _checkpointBytes;
    private long _checkpointAtBytes;
    private long _checkpointNotBeforeMs;
    private bool _backgroundDue;
    private int _jobsUnderWay;
    private Action? _stopDone;

    private long _usedBytes;
    private long _availableBytes;
    private long _liveBytes;
    private long _roomBytes;
    private long _capacityBytes;
    private int _segmentCount;

    /// <summary>Each number is one that was true lately; any thread.</summary>
    public StoreUsage Usage => new(Volatile.Read(ref _capacityBytes), Volatile.Read(ref _usedBytes), Volatile.Read(ref _availableBytes),
        Volatile.Read(ref _liveBytes), Volatile.Read(ref _segmentCount))
    { RoomBytes = Volatile.Read(ref _roomBytes) };

    private long _appendedBytes;
    private long _movedBytes;
    private long _checkpointedBytes;
    private long _cleanedSegments;
    private int _missingSegments;
    private long _freedSegments;
    private long _coldSegments;
    private long _cleanerWaits;
    private long _backlogBytes;
    private SpaceLevel _spaceLevel;

    /// <summary>Each number is one that was true lately; any thread.</summary>
    public StoreActivity Activity => new(Volatile.Read(ref _appendedBytes), Volatile.Read(ref _movedBytes), Volatile.Read(ref _checkpointedBytes),
        Volatile.Read(ref _cleanedSegments), Volatile.Read(ref _freedSegments), Volatile.Read(ref _coldSegments), Volatile.Read(ref _cleanerWaits), Volatile.Read(ref _backlogBytes));

    /// <summary>Since the open.</summary>
    internal int CheckpointsWritten { get; private set; }

    internal int SegmentsFreed { get; private set; }

    internal int SegmentsCleaned => _cleaner.SegmentsCleaned;

    /// <summary>A failed fdatasync is not noted on media yet.</summary>
    internal bool OwesNote => _isNoteOwed;

    internal bool IsStopping => _stopped || HasFailed;

    /// <summary>What the cleaner keeps free beyond the reserve, at least: one that the log goes on in, one that waits for its sync; and those beside it, if the store has segments enough.</summary>
    private const int SegmentsBeyondReserve = 2;
    private const int SegmentsBesideLog = 4;
    private const int SegmentsForBoth = 64;

    /// <summary>Segments that are free below which the cleaner works: a part of all, and always more than the reserve and what is promised.</summary>
    private int CleanBelow => Math.Max((int)((long)Segments.SegmentsMax * _options.CleanBelowFreePercent / 100),
        Segments.Reserve(SpaceClass.Data) + PromisedSegments + SegmentsBeyondReserve + (Segments.SegmentsMax >= SegmentsForBoth ? SegmentsBesideLog : 0));

    /// <summary>
    /// Stops in order: what was staged is written, flushed and checkpointed, and the superblock says so. Any thread but the loop's,
    /// which must still run; the scheduler too.
    /// </summary>
    public ValueTask DisposeAsync()
    {
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() => Stop(stopped.SetResult));
        return new ValueTask(stopped.Task);
    }

    /// <summary>The same on the loop; blocks it for the last flush. <paramref name="done"/> is called once the jobs under way have ended
    /// and the files are closed.</summary>
    internal void Stop(Action done)
    {
        if (_stopped)
        {
            done();
            return;
        }
        if (!HasFailed) WriteAndNotify();
        if (!HasFailed) _ = WriteStaged();
        FailWithLog();
        _stopped = true;
        _stopDone = done;
        _watermarkTimer?.Cancel();
        _capacityTimer?.Cancel();
        _handDownTimer?.Cancel();
        _noteTimer?.Cancel();
        _watchTimer?.Cancel();
        AnswerOrders(-1, "the store stops");
        TryEndStop();
    }

    internal void OnJobDone()
    {
        _jobsUnderWay--;
        if (_stopped && _jobsUnderWay == _leavableUnderWay) TryEndStop();
    }

    internal void OnCheckpointWritten(CheckpointJob job)
    {
        (_checkpoint, _checkpointIsWriting) = (null, false);
        Segments.ReleaseSnapshot();
        Maps.OnSnapshotReleased(job.Lost?.Slot ?? -1);
        if (job.Lost is { } lost) Maps.OnUnreadable(in lost, job.Result.Detail ?? "it can't be read");
        _backgroundDue = true;
        if (!job.Result.IsOk)
        {
            _checkpointNotBeforeMs = _loop.NowMs + CheckpointRetryMs;
            StoreLog.CheckpointFailed(_logger, _disk.Description, job.Result.Detail ?? "");
        }
        else
        {
            NoteCheckpointBytes(job.LengthBytes);
            _checkpointedBytes += job.LengthBytes;
            CheckpointsWritten++;
            NoteCheckpoint(job.Snapshot);
            FreeDeadSegments(job.Snapshot);
        }
        _isDrainDue = true;
        OnKeptUsed();
        OnJobDone();
    }

    internal void OnNoted(DiskResult result)
    {
        _isNoteOwed = !result.IsOk;
        if (_isNoteOwed)
        {
            StoreLog.NoteFailed(_logger, _disk.Description, result.Detail ?? "");
            if (!_stopped && ++_noteAttempts < NoteAttemptsMax) _noteTimer = _loop.Schedule(NoteRetryMs, SubmitNote);
        }
        OnJobDone();
    }

    /// <summary>Beside the log, which is not touched any more (R10): the next open must not take for durable what it reads.</summary>
    private void NoteFailedSync()
    {
        _isNoteOwed = true;
        if (!_stopped) SubmitNote();
    }

    private void SubmitNote() => Submit(DiskLane.Sync, new NoteJob(this, _superblock));

    /// <summary>Bytes of the longest record that still goes into the segment where the log is.</summary>
    internal int LogRoomBytes => _writer.SegmentRoomBytes;

    /// <summary>What the cleaner may write at the end of the log.</summary>
    internal long CleanerRoomBytes => _writer.RoomBytes(SpaceClass.Cleaner);

    /// <summary>All that was written to the log.</summary>
    internal long LogBytes => _writer.AppendedBytes;

    /// <summary>Of what nobody was promised, clients can take one more segment at most.</summary>
    internal bool IsPressed => LacksRoom || Segments.UsableCount <= Segments.Reserve(SpaceClass.Data) + PromisedSegments + 1;

    /// <summary>And none is on its way, or somebody waits for it already: the cleaner must not wait for anybody.</summary>
    internal bool IsUrgent => LacksRoom || (IsPressed && EmptiedSources == 0);

    /// <summary>Of a record of one block, the block's part: a store that is written in such records holds no more data than that part of its space.</summary>
    private const double DataShare = (double)Limits.BlockBytes / (Limits.BlockBytes + EntryPrefix.SizeBytes + RecordHeader.SizeBytes + BlockDescriptor.SizeBytes);

    internal void OnCleanerStepped() => (_backgroundDue, _isDrainDue) = (true, true);

    internal void LogCleanerSkip(Segment segment, string reason) =>
        StoreLog.CleanerSkipped(_logger, _disk.Description, segment.Name, reason);

    private void RunBackground()
    {
        _backgroundDue = false;
        if (HasFailed || _stopped) return;
        var isLow = LacksRoom || Segments.UsableCount < CleanBelow;
        var drains = TakeDrainDue();
        var dead = isLow || drains ? Segments.CountDead(_writer.End.Number, onlyAvoided: !isLow) : 0;
        if (dead > 0) BeginReclaim();
        var sinceCheckpoint = _writer.AppendedBytes - _checkpointAtBytes;
        var isDue = (dead > 0 && (isLow ? NeedsCheckpoint() : DrainNeedsCheckpoint())) || sinceCheckpoint >= Math.Max(_options.CheckpointIntervalBytes, CheckpointSizesBetween * _checkpointBytes);
        // What moved to segments that are in the log below it must be in it.
        _isCheckpointDue = isDue && _checkpoint is null;
        if (_isCheckpointDue && _moving.Count == 0 && _loop.NowMs >= _checkpointNotBeforeMs) BeginCheckpoint();
        var onTheirWay = dead + EmptiedSources;
        _missingSegments = Math.Max(CleanBelow - Segments.UsableCount - onTheirWay, LacksRoom && onTheirWay == 0 ? 1 : 0);
        var hasRoom = Segments.AvailableCount > 0 || dead == 0;
        if (_cleaner.IsBusy) _cleaner.GoOn();
        else if (isLow && hasRoom && _missingSegments > 0) _cleaner.TryBegin(_writer.End.Number);
        PushCold();
        if (drains) StepDrain();
        Maps.Shrink();
        LookForCapacity();
        PrepareSpare();
        UpdateUsage();
        TellOfRoom();
    }

    /// <summary>Freezes the state of now; it is written once the log below it is on media, so that no entry names bytes that a power cut
    /// takes.</summary>
    private void BeginCheckpoint()
    {
        if (WriteStaged() != IoStatus.Ok) return;
        _isCheckpointDue = false;
        _checkpointAtBytes = _writer.AppendedBytes;
        Segments.HoldSnapshot();
        _checkpoint = new CheckpointJob(this, _disk, TakeSnapshot());
        if (_writer.Durable >= _checkpoint.Snapshot.Position) WriteCheckpointOnceDurable();
        else _syncWanted = true;
    }

    private CheckpointSnapshot TakeSnapshot() =>
        CheckpointSnapshot.Of(++_checkpointNumber, StoreId, _writer.End, Segments, _volumes.Values, Detached);

    private void WriteCheckpointOnceDurable()
    {
        if (_checkpoint is null || _checkpointIsWriting || _writer.Durable < _checkpoint.Snapshot.Position) return;
        _checkpointIsWriting = true;
        Submit(DiskLane.Background, _checkpoint);
    }

    /// <summary>The checkpoint on media and the log behind it name none of these any more.</summary>
    private void FreeDeadSegments(CheckpointSnapshot snapshot)
    {
        foreach (var use in snapshot.Segments)
        {
            var segment = use.Segment;
            if (!use.IsDead || segment.Number != use.Number || use.Number >= snapshot.Position.Number) continue;
            Invariant.That(segment.IsDead, "a dead segment came to life again");
            if (segment.Readers > 0) continue;
            Segments.Free(segment);
            SegmentsFreed++;
        }
    }

    private void EndStop()
    {
        if (_stopDone is not { } done) return;
        _stopDone = null;
        _cleaner.Stop();
        FailWithLog();
        if (!HasFailed) StopClean();
        else if (_isNoteOwed) _superblock.Write(_superblock.Current with { SyncFailed = true });
        if (HasFailed) _disk.NoteFailed();
        _writer.Dispose();
        // What was left still has its file.
        if (_jobsUnderWay == 0) CloseFiles();
        _hasEnded = true;
        _disk.Dispose();
        done();
    }

    /// <summary>Only when all of it worked does the superblock call the stop clean.</summary>
    private void StopClean()
    {
        DropMoves();
        // The others are on media: a disk that hangs is not asked for what it has.
        foreach (var segment in Segments.All.Where(segment => segment is { Number: > 0, IsDirty: true }))
        {
            if (segment.File.Sync().IsOk) continue;
            _superblock.Write(_superblock.Current with { SyncFailed = true });
            return;
        }
        if (_writer.AppendedBytes > _checkpointAtBytes) CheckpointWriter.Write(_disk, TakeSnapshot(), Maps.File, out _);
        _superblock.Write(_superblock.Current with { CleanStop = true, CleanEnd = _writer.End });
    }

    /// <summary>What deleted snapshots kept is handed down in slices with pauses between them: clients' I/O waits for one of them at most.</summary>
    private void HandDownLater()
    {
        if (!Maps.IsHandingDown || _handDownTimer is not null) return;
        _handDownTimer = _loop.Schedule(HandDownPauseMs, () =>
        {
            _handDownTimer = null;
            if (_stopped || HasFailed) return;
            Maps.HandDown();
            _backgroundDue = true;
        });
    }

    /// <summary>A store that is full by what it knew of the file system looks again, also if nobody writes.</summary>
    private void LookForCapacity()
    {
        var isUsedUp = _options.CapacityBytes == 0 && Segments.AvailableCount <= Segments.Reserve(SpaceClass.Data);
        if (!isUsedUp && !Segments.IsRefused) return;
        if (_loop.NowMs >= _capacityNotBeforeMs) UpdateCapacity();
        _capacityTimer ??= _loop.Schedule(CapacityRetryMs, () =>
        {
            _capacityTimer = null;
            _backgroundDue = true;
        });
    }

    private void UpdateCapacity()
    {
        var bytes = _options.CapacityBytes;
        if (bytes == 0)
        {
            var own = (long)Segments.Count * Segments.SegmentBytes;
            bytes = (own + _disk.FreeBytes) / 100 * (100 - _options.FileSystemReservePercent);
        }
        Segments.Allow((int)Math.Min(bytes / Segments.SegmentBytes, int.MaxValue));
        _capacityNotBeforeMs = _loop.NowMs + CapacityRetryMs;
        UpdateUsage();
    }

    private void UpdateUsage()
    {
        Volatile.Write(ref _usedBytes, (long)(Segments.Count - Segments.FreeCount - Segments.AvoidedCount) * Segments.SegmentBytes);
        var usable = Math.Max(0, Segments.UsableCount - Segments.Reserve(SpaceClass.Data));
        Volatile.Write(ref _availableBytes, (long)usable * Segments.SegmentBytes);
        Volatile.Write(ref _liveBytes, Segments.LiveBytes);
        Volatile.Write(ref _missingBytes, Segments.MissingBytes);
        Volatile.Write(ref _capacityBytes, (long)(Math.Max(0, Segments.SegmentsMax - Segments.Reserve(SpaceClass.Data)) * (double)Segments.SegmentBytes * DataShare));
        Volatile.Write(ref _roomBytes, Math.Max(0, _capacityBytes - Segments.LiveBytes - ((long)(Segments.Hung.Free + Segments.Hung.Avoided) * Segments.SegmentBytes)));
        Volatile.Write(ref _segmentCount, Segments.Count);
        Volatile.Write(ref _appendedBytes, _writer.AppendedBytes);
        Volatile.Write(ref _movedBytes, _cleaner.MovedBytes);
        Volatile.Write(ref _cleanedSegments, _cleaner.SegmentsCleaned);
        Volatile.Write(ref _freedSegments, SegmentsFreed);
        Volatile.Write(ref _coldSegments, ColdSegments);
        Volatile.Write(ref _cleanerWaits, _cleaner.Waits);
        Volatile.Write(ref _backlogBytes, _cleaner.BacklogBytes(_missingSegments));
        TellSpaceLevel();
    }

    private void TellSpaceLevel()
    {
        var level = SpaceLevels.Of(Segments.LiveBytes, _capacityBytes, _spaceLevel);
        if (level == _spaceLevel) return;
        if (level == SpaceLevel.Ample) StoreLog.SpaceAgain(_logger, _disk.Description, Segments.LiveBytes >> 20, _capacityBytes >> 20);
        else StoreLog.SpaceLow(_logger, _disk.Description, Segments.LiveBytes >> 20, _capacityBytes >> 20,
            level == SpaceLevel.Critical ? "when it is full, writes of volumes with a copy here are held" : "cleaning costs more the fuller it is");
        _spaceLevel = level;
    }

    /// <summary>An idle log notes its flush watermark a little later, so that the last flush too is known after a crash.</summary>
    private void NoteDurableLater()
    {
        if (_watermarkTimer is not null || _writer.NotedDurable == _writer.Durable) return;
        _watermarkTimer = _loop.Schedule(_options.WatermarkDelayMs, () =>
        {
            _watermarkTimer = null;
            if (!_stopped && !HasFailed && _writer.NotedDurable < _writer.Durable) _writer.StageWatermark();
        });
    }
}
