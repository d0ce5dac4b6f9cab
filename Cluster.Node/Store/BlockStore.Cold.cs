using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>Segments that the cleaner fills beside the log, and how they get into it (docs/adr/0014-cold-segments.md).</summary>
public sealed partial class BlockStore
{
    /// <summary>Written, or being written, and not in the log yet, or there with copies that the maps do not name yet: of each segment that clients fill, the cleaner fills two or three at 85 % full.</summary>
    private const int ColdSegmentsMax = 4;

    /// <summary>A segment that is not empty after so many passes is left alone.</summary>
    private const int PassesMax = 3;

    /// <summary>By number, which is the order in which they go into the log.</summary>
    private readonly Queue<ColdSegment> _cold = new();

    /// <summary>What the maps take over in one turn: of a full segment of 64 MiB, one part in 32.</summary>
    private const int MovesOfATurn = 512;

    /// <summary>In the log, and the maps do not name all of their copies yet; in the log's order. No checkpoint begins meanwhile: a replay from it would not find the records of what moves later.</summary>
    private readonly Queue<ColdSegment> _moving = new();
    private ColdMover? _mover;

    /// <summary>What those that somebody waited for have emptied: nothing more is put into the log for that reason before it is free.</summary>
    private readonly List<(Segment Segment, ulong Number)> _pushed = [];

    /// <summary>A turn of the loop, or a disk thread that reads pages for one, is under way.</summary>
    private bool _isMoverUnderWay;

    /// <summary>Segments that nothing lives in once those that are ready are in the log. Those that have died by themselves meanwhile are not counted.</summary>
    internal int EmptiedSources
    {
        get
        {
            var count = 0;
            foreach (var cold in _moving) count += cold.LiveSources;
            foreach (var cold in _cold) count += cold.IsReady ? cold.LiveSources : 0;
            return count;
        }
    }

    /// <summary>Those that went into the log since the open.</summary>
    internal long ColdSegments { get; private set; }

    /// <summary>Copies that the maps were shown, turn by turn, since the open.</summary>
    internal long ColdMoves { get; private set; }

    /// <summary>Whole, and not in the log yet.</summary>
    internal int ColdWaiting => _cold.Count(cold => cold.IsReady);

    /// <summary>Those segments.</summary>
    internal IEnumerable<Segment> ColdWhole => _cold.Where(cold => cold.IsReady).Select(cold => cold.Segment);

    /// <summary>Those that are not in the log, whole or not.</summary>
    internal IEnumerable<Segment> ColdBeside => _cold.Select(cold => cold.Segment);

    /// <summary>In the log, with copies that the maps do not name yet.</summary>
    internal int ColdMoving => _moving.Count;

    /// <summary>Being filled.</summary>
    internal int ColdFilling => _cold.Count(cold => !cold.IsReady);

    /// <summary>Of all that was written to the log, what the cleaner wrote.</summary>
    internal long CleanedBytes { get; private set; }

    /// <summary>One more for the cleaner to fill; null: there is no room for that, or enough of them wait. Then what it moves goes to the end of the log.</summary>
    internal ColdSegment? OpenCold()
    {
        // Nobody's promise may have counted on it, and it must not be needed before it is full.
        if (_cold.Count + _moving.Count >= ColdSegmentsMax || LacksRoom || UnpromisedBytes < _writer.SegmentDataBytes || Segments.UsableCount <= Segments.Reserve(SpaceClass.Data) + 1) return null;
        // Nor the one that is made for the log: it would make another itself, on the loop.
        if (Segments.CanCreate && Segments.FreeCount <= Segments.Reserve(SpaceClass.Data) + 1) return null;
        if (!Segments.TryTakeReady(out var segment)) return null;
        if (segment.IsHung)
        {
            // All that are free lie on disks that do not answer.
            Segments.Free(segment);
            return null;
        }
        var cold = new ColdSegment(segment, _writer.ReserveNumber(), (uint)Segments.SegmentBytes);
        _cold.Enqueue(cold);
        return cold;
    }

    /// <summary>As <see cref="Relocate(PackBuilder)"/>, for a segment that is not in the log yet.</summary>
    internal void AddTo(ColdSegment cold, PackBuilder pack) => cold.Add(pack, _volumes.GetValueOrDefault(pack.Volume), _writer.Durable);

    internal void OnColdWritten(ColdSegment cold)
    {
        var result = cold.OnWritten();
        // The stop did not wait for it.
        if (_stopped && _stopDone is null) return;
        // It was given up since, nothing names it, and its disk is known to have failed: the segment is not used any more. A failed sync is another matter (R10).
        if (!result.IsOk && cold.IsGone && !cold.HasFailedSync) return;
        if (!result.IsOk)
        {
            // As of a write to the log: the disk is not asked again (R10).
            Fail(result.Status, result.Detail ?? "a write of the cleaner failed");
            if (cold.HasFailedSync) NoteFailedSync();
            return;
        }
        if (cold.IsGone) Segments.Free(cold.Segment);
    }

    /// <summary>A source that was read to its end is counted with the segment that has its last block.</summary>
    internal void AddSource(ColdSegment cold, Segment source)
    {
        source.IsMoving = true;
        cold.Sources.Add((source, source.Number));
    }

    /// <summary>The log is about to leave its segment, with nothing staged. A checkpoint that is due waits until no map goes over, so nothing new comes before it, unless somebody waits for room.</summary>
    private void LinkOnLeave()
    {
        if (!_isCheckpointDue || LacksRoom) LinkCold();
        AbandonPassed();
    }

    /// <summary>Those that are whole go into the log, in the order of their numbers.</summary>
    private void LinkCold()
    {
        while (_cold.TryPeek(out var cold) && cold.IsReady)
        {
            _cold.Dequeue();
            // A disk that does not answer would hold up the loop.
            if (!cold.IsCurrent(_volumes) || cold.Segment.IsHung)
            {
                Segments.Free(cold.Segment);
                Release(cold);
                continue;
            }
            if (!_writer.Link(cold)) return;
            cold.OnLinked();
            ColdSegments++;
            CleanedBytes += cold.EndBytes;
            _moving.Enqueue(cold);
            MoveLater();
        }
    }

    /// <summary>The log has gone on so far meanwhile that their numbers are behind it.</summary>
    private void AbandonPassed()
    {
        if (_cold.TryPeek(out var first) && first.Number <= _writer.NextNumber) AbandonCold();
    }

    private void MoveLater()
    {
        if (_isMoverUnderWay || _moving.Count == 0) return;
        _isMoverUnderWay = true;
        _loop.Post((_mover ??= new ColdMover(this)).MoveSome);
    }

    /// <summary>One turn's part. Pages of the maps that are not in memory are read by a disk thread before.</summary>
    private void MoveSome()
    {
        if (IsStopping || !_moving.TryPeek(out var cold))
        {
            _isMoverUnderWay = false;
            return;
        }
        var absent = AbsentPages;
        cold.Prepare(this, MovesOfATurn, absent);
        if (absent.Count == 0)
        {
            MovePrepared();
            return;
        }
        var job = Maps.TakeLoadJob();
        foreach (var page in absent) job.Add(page);
        job.Then = _mover;
        Submit(DiskLane.Map, job);
    }

    /// <summary>If pages had to be read, a stop may have come first.</summary>
    private void MovePrepared()
    {
        _isMoverUnderWay = false;
        if (IsStopping || !_moving.TryPeek(out var cold)) return;
        var before = cold.Applied;
        var isLast = cold.Apply(this);
        ColdMoves += cold.Applied - before;
        if (isLast) Release(_moving.Dequeue());
        MoveLater();
    }

    /// <summary>
    /// Before a volume goes or its order begins anew: what its records say now they do not say later. Its maps stay where they are, and what is live in the sources is copied again. A replay from before
    /// reads the same records and goes over to the copies: they are as good, for sources and copies are both there until a checkpoint is behind them. No page is read: the loop has other things to do.
    /// </summary>
    internal void DropMoves(VolumeId volume)
    {
        foreach (var cold in _moving) cold.Drop(volume);
    }

    /// <summary>The same of all volumes, at a stop: its checkpoint has the sources.</summary>
    private void DropMoves()
    {
        while (_moving.TryDequeue(out var cold)) Release(cold);
    }

    /// <summary>
    /// Somebody waits for room, so the log does not leave its segment by itself, whatever room that has: it may all be promised, and too little for the next record. What the cleaner has moved is
    /// needed now. What frees nothing is given up for the segment that it takes.
    /// </summary>
    private void PushCold()
    {
        if (_cold.Count == 0 || !(LacksRoom || HoldsUpDrain)) return;
        if (_cold.Any(cold => cold is { IsReady: true, LiveSources: > 0 }))
        {
            if (!MayPush || WriteStaged() != IoStatus.Ok) return;
            LinkCold();
            foreach (var cold in _moving) _pushed.AddRange(cold.Sources);
            _backgroundDue = true;
        }
        else if (_cold.Any(cold => cold is { IsReady: false, LiveSources: > 0 })) _cleaner.CloseCold();
        else if (LacksRoom && !_cleaner.IsBusy) AbandonCold();
    }

    /// <summary>
    /// The log leaves its segment for this, whose room was promised with the rest: that once is what the reserve for trims covers, and not twice (R21). So what comes next waits until all that was emptied is
    /// free, but for a source that something lives in again, which frees nothing. While a drain may go on, there is more than the promises need.
    /// </summary>
    private bool MayPush
    {
        get
        {
            if (_moving.Count > 0) return false;
            _pushed.RemoveAll(source => source.Segment.Number != source.Number || !source.Segment.IsDead);
            return _pushed.Count == 0 || HoldsUpDrain;
        }
    }

    /// <summary>A disk that is emptied waits for nothing else: perhaps nobody writes, and the log does not leave its segment.</summary>
    private bool HoldsUpDrain => _hasAvoided && MayDrain && !_cleaner.IsBusy && _cold.Any(cold => cold.Sources.Exists(source => source.Segment.IsAvoided && source.Segment.Number == source.Number));

    /// <summary>What is written beside the log lies on a disk that gets nothing new, and may hang.</summary>
    private void LeaveAvoided()
    {
        if (_cold.Any(cold => cold.Segment.IsAvoided)) AbandonCold();
    }

    /// <summary>A write beside the log does not return: nothing waits for it. If the disk answers again, the segment is free then.</summary>
    internal void LeaveHungCold()
    {
        foreach (var disk in _cold.Where(cold => cold.Segment.IsHung).Select(cold => cold.Segment.PoolDisk!).Distinct()) StoreLog.ColdLeft(_logger, _disk.Description, disk.Id, disk.Path);
        AbandonCold();
    }

    /// <summary>They are given up, and what is live in their sources is copied again.</summary>
    private void AbandonCold()
    {
        while (_cold.TryDequeue(out var cold))
        {
            if (!cold.IsWriting) Segments.Free(cold.Segment);
            Release(cold);
        }
    }

    private void Release(ColdSegment cold)
    {
        cold.OnGone();
        if (!cold.IsLinked) _writer.Skip(cold.Number);
        foreach (var (source, number) in cold.Sources)
        {
            if (source.Number != number) continue;
            source.IsMoving = false;
            if (cold is { IsLinked: true, HasDropped: false } && !_stopped) NotePass(source);
        }
        _backgroundDue = true;
    }

    /// <summary>All that was found in it is copied. A version may have got another sequence meanwhile (a restore): once more, then. But what lies behind bad bytes no pass finds.</summary>
    internal void NotePass(Segment source)
    {
        if (source.IsDead) return;
        if (Maps.IsReleasing)
        {
            // They may be nobody's any more: once that is known it is tried again.
            source.AwaitsReleases = true;
            return;
        }
        if (++source.Passes < PassesMax) return;
        source.IsStuck = true;
        LogCleanerSkip(source, "some of its live blocks lie behind bad bytes");
    }

    /// <summary>The turns in which the maps go over to a segment of the cleaner.</summary>
    private sealed class ColdMover : IPagesLoaded
    {
        private readonly BlockStore _store;

        public ColdMover(BlockStore store) => (_store, MoveSome) = (store, store.MoveSome);

        /// <summary>Made once.</summary>
        public Action MoveSome { get; }

        public void OnPagesLoaded() => _store.MovePrepared();
    }
}
