using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Moves the live blocks of a segment away, one window of it at a time: the disk thread reads it, the loop copies what the maps still have there. They go to a segment beside the log, apart from what
/// clients write, or to the end of the log when there is no room for that, or a disk is emptied (<see cref="ColdSegment"/>). The source itself is free only after its copies are on media in the log. Which
/// source, and how fast: <see cref="CleanerPolicy"/>. Pages of the maps that are not in memory are read by a disk thread, too, record by record. Loop only.
/// </summary>
internal sealed partial class Cleaner(BlockStore store) : IPagesLoaded
{
    /// <summary>Pages that one step takes from the page cache; then a disk thread reads on, and the loop does other things first.</summary>
    private const int CachedLoadsOfAStepMax = 32;

    private readonly PackBuilder _pack = new();
    private readonly List<ColdSegment> _closing = [];

    /// <summary>Pages that the record wants at which the scanner is.</summary>
    private readonly List<MapPage> _absent = [];

    /// <summary>The scanner is at a record whose pages were waited for, and that was not copied yet.</summary>
    private bool _isAtRecord;
    private LogScanner? _scanner;
    private Segment? _source;
    private ulong _sourceNumber;
    private ColdSegment? _cold;

    /// <summary>The one that has the newest block of this source.</summary>
    private ColdSegment? _last;
    private bool _waits;

    /// <summary>What is live in this source goes to the end of the log.</summary>
    private bool _goesToLog;
    private long _clientBytesBefore;
    private long _readBytes;

    /// <summary>Of what it was allowed to read of earlier sources, what is left.</summary>
    private long _carriedBytes;

    /// <summary>A source is under way, or the end of what was moved.</summary>
    public bool IsBusy => _source is not null || IsStepping;

    /// <summary>The segment that is read; null: there is none.</summary>
    public Segment? Source => _source;

    public int SegmentsCleaned { get; private set; }

    /// <summary>Encoded bytes of blocks that were copied.</summary>
    public long MovedBytes { get; private set; }

    /// <summary>What was taken up by live blocks in the last source.</summary>
    public long OccupiedBytes { get; private set; }

    /// <summary>How often it has waited for what clients write.</summary>
    public long Waits { get; private set; }

    /// <summary>Takes the segment that is best by <see cref="CleanerPolicy"/> of those that hold no uncommitted record (R4), on disks that answer, or under pressure the emptiest; what it moves must fit. False: there is none.</summary>
    public bool TryBegin(ulong endNumber)
    {
        if (Choose(endNumber) is not { } best) return false;
        _carriedBytes = Math.Clamp(AllowanceBytes - _readBytes, 0, store.Segments.SegmentBytes);
        OccupiedBytes = CleanerPolicy.Occupied(best.LiveBytes, best.LiveBlocks);
        Begin(best);
        return true;
    }

    private void Begin(Segment best)
    {
        (_source, _sourceNumber, _last, _skipsBad, _leavesBad) = (best, best.Number, null, false, _drains || best.IsAvoided);
        _goesToLog = _drains || CleanerPolicy.IsDense(best.LiveBytes, best.LiveBlocks);
        (_clientBytesBefore, _readBytes) = (ClientBytes, 0);
        if (TakeLate(best) is { } late)
        {
            (_scanner, _last, _read) = (late.Scanner, late.Last, late.Window);
            OnStepped();
            return;
        }
        _scanner = new LogScanner(best.File, best.Seed, best.Number, SegmentHeader.SizeBytes, (uint)store.Segments.SegmentBytes) { PassesUnreadable = _leavesBad };
        Step();
    }

    /// <summary>Clients have written, or there is less room: what waited for that goes on.</summary>
    public void GoOn()
    {
        if (!_waits || IsStepping || MustWait) return;
        _waits = false;
        Step();
    }

    /// <summary>What was moved is needed: the segment that it is in takes no more.</summary>
    public void CloseCold()
    {
        if (IsBusy || _cold is null or { IsGone: true }) return;
        CloseCurrent();
        Step();
    }

    /// <summary>To be moved until so many segments more are free: the rest of this source, and others like it.</summary>
    public long BacklogBytes(int missingSegments)
    {
        var segmentBytes = (long)store.Segments.SegmentBytes;
        var rest = _source is null ? 0 : Math.Max(0, segmentBytes - _readBytes) * OccupiedBytes / segmentBytes;
        return rest + CleanerPolicy.Backlog(missingSegments - (_source is null ? 0 : 1), OccupiedBytes, segmentBytes);
    }

    public void Stop()
    {
        EndDrain();
        if (_window is { } window) LeaveWindow(window, _source!, _scanner!);
        else _scanner?.Dispose();
        if (store.IsStopping) ForgetLate(late => late.Window.IsOver);
        (_scanner, _source, _window, _read, _isAtRecord, _skipsBad, _waits) = (null, null, null, null, false, false, false);
        if (_closing.Count > 0 && !store.IsStopping) Step();
        store.OnCleanerStepped();
    }

    private Segment? Choose(ulong endNumber)
    {
        var (segmentBytes, room, pressed) = ((long)store.Segments.SegmentBytes, store.CleanerRoomBytes, store.IsPressed);
        var (best, most) = ((Segment?)null, 0.0);
        foreach (var segment in store.Segments.All)
        {
            var isCandidate = segment.Number > 0 && segment.Number < endNumber && !segment.IsDead && segment.TailRecords == 0
                && segment is { IsStuck: false, IsMoving: false, IsTakingIn: false, AwaitsReleases: false };
            if (!isCandidate) continue;
            var occupied = CleanerPolicy.Occupied(segment.LiveBytes, segment.LiveBlocks);
            if (!CleanerPolicy.IsWorth(occupied, segmentBytes)) continue;
            if (pressed && segment.LiveBytes + ((long)segment.LiveBlocks * CleanerPolicy.BlockOverheadBytesMax) > room) continue;
            if (segment.IsHung) continue;
            var score = pressed ? segmentBytes - occupied : CleanerPolicy.Score(occupied, segmentBytes, store.LogBytes - segment.SealedAtBytes);
            if (best is null || score > most) (best, most) = (segment, score);
        }
        return best;
    }

    private long ClientBytes => store.LogBytes - store.CleanedBytes;

    private long AllowanceBytes => _carriedBytes + CleanerPolicy.Allowance(ClientBytes - _clientBytesBefore, OccupiedBytes, store.Segments.SegmentBytes);

    private bool MustWait => _source is not null && _readBytes > AllowanceBytes && !store.IsUrgent;

    public void OnPagesLoaded()
    {
        if (_source is not { } source || _scanner is not { } scanner) return;
        if (store.IsStopping || source.Number != _sourceNumber) Stop();
        else GoOnCopying(source, scanner, hasEnded: false);
    }

    private void GoOnCopying(Segment source, LogScanner scanner, bool hasEnded)
    {
        var before = scanner.Position.OffsetBytes;
        var (status, atEnd) = hasEnded ? (IoStatus.Ok, true) : CopyWindow(source, scanner);
        var staged = StagePack();
        _readBytes += scanner.Position.OffsetBytes - before;
        if (status == IoStatus.Ok) status = staged;
        if (status == IoStatus.BadChecksum) Skip(source, "some of its live blocks are bad");
        else if (status != IoStatus.Ok) Stop();
        else if (_isAtRecord) LoadAbsent();
        else if (atEnd || source.IsDead) Finish(source);
        else if (_drains) PauseDrain();
        else if (MustWait)
        {
            (_waits, Waits) = (true, Waits + 1);
            // What is whole does not wait.
            if (_closing.Count > 0) Step(reads: false);
            else store.OnCleanerStepped();
        }
        else Step();
    }

    private (IoStatus Status, bool AtEnd) CopyWindow(Segment source, LogScanner scanner)
    {
        var loads = 0;
        while (_isAtRecord || scanner.HasNextLoaded())
        {
            if (!_isAtRecord)
            {
                var step = scanner.Next();
                if (step == ScanStep.Bad && _leavesBad)
                {
                    _skipsBad = true;
                    return (IoStatus.Ok, false);
                }
                if (step != ScanStep.Entry) return (IoStatus.Ok, true);
                if (scanner.Prefix.Kind != EntryKind.Record || !StoreRecord.HasBlocks(scanner.Header.Kind)) continue;
                store.Maps.Yield();
                _isAtRecord = LacksPages(scanner, ref loads);
                if (_isAtRecord) return (IoStatus.Ok, false);
            }
            // Once is enough: with hardly any memory, what came back may be gone again.
            _isAtRecord = false;
            var status = Copy(source, scanner);
            if (status != IoStatus.Ok) return (status, false);
        }
        return (IoStatus.Ok, false);
    }

    /// <summary>Whether a disk thread has to read pages before the record's blocks are looked up.</summary>
    private bool LacksPages(LogScanner scanner, ref int loads)
    {
        _absent.Clear();
        if (!store.Maps.HasEvicted) return false;
        ref readonly var header = ref scanner.Header;
        var blocks = new RecordBlocks(in header, scanner.Record);
        foreach (var map in store.MapsOf(header.Volume))
        {
            // More than one job reads are read in place.
            for (var index = 0; index < (int)header.DescriptorCount && _absent.Count < MapCache.LoadJob.PagesMax; index++) map.FindAbsentOf(blocks.BlockAt(index), _absent);
        }
        for (var at = _absent.Count - 1; at >= 0 && loads < CachedLoadsOfAStepMax; at--)
        {
            if (!store.Maps.TryLoadCached(_absent[at])) continue;
            loads++;
            _absent.RemoveAt(at);
        }
        return _absent.Count > 0;
    }

    private void LoadAbsent()
    {
        var job = store.Maps.TakeLoadJob();
        foreach (var page in _absent) job.Add(page);
        job.Then = this;
        _absent.Clear();
        store.Submit(DiskLane.Map, job);
    }

    /// <summary>All entries were seen: what is live now is in a segment that is not in the log yet, or lies where no entry is, behind bad bytes.</summary>
    private void Finish(Segment source)
    {
        if (!source.IsDead && _last is null && store.Maps.IsReleasing)
        {
            // They may be nobody's any more: once that is known it is tried again.
            source.AwaitsReleases = true;
            Stop();
            return;
        }
        if (!source.IsDead && _last is null)
        {
            Skip(source, _leavesBad ? $"{source.LiveBlocks} of its blocks are bad or lie in a record that is" : "some of its live blocks lie behind bad bytes");
            return;
        }
        SegmentsCleaned++;
        if (!source.IsDead && _last is { IsGone: false }) store.AddSource(_last, source);
        // What was copied to a segment that was given up was not moved.
        else if (_last is not { IsGone: true, IsLinked: false }) store.NotePass(source);
        Stop();
    }

    private void Skip(Segment source, string reason)
    {
        source.IsStuck = true;
        store.LogCleanerSkip(source, reason);
        Stop();
    }

    /// <summary>NoSpace is for now: the segments that are dead already will be free after the next checkpoint.</summary>
    private IoStatus Copy(Segment source, LogScanner scanner)
    {
        ref readonly var header = ref scanner.Header;
        foreach (var map in store.MapsOf(header.Volume))
        {
            var status = Copy(map, source, scanner);
            if (status != IoStatus.Ok) return status;
        }
        return IoStatus.Ok;
    }

    /// <summary>The blocks that the map still has here, for the volume or a snapshot.</summary>
    private IoStatus Copy(BlockMap map, Segment source, LogScanner scanner)
    {
        ref readonly var header = ref scanner.Header;
        var record = scanner.Record;
        var blocks = new RecordBlocks(in header, record);
        var offset = blocks.OffsetBytes;
        var start = scanner.EntryOffsetBytes + EntryPrefix.SizeBytes;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = StoreRecord.DescriptorAt(record, index);
            var block = blocks.BlockAt(index);
            if (descriptor.Length > 0 && map.TryFindAt(block, source.Index, start + (uint)offset, out var entry))
            {
                // Bad bytes are left where they are: their reads say so, and a repair writes them anew.
                if (scanner.PayloadStatus != IoStatus.Ok && !_leavesBad) return scanner.PayloadStatus;
                if (scanner.PayloadStatus != IoStatus.Ok && !entry.Descriptor.Matches(header.Volume, 0, block, record.Slice(offset, descriptor.Length)))
                {
                    offset += descriptor.Length;
                    continue;
                }
                var status = Gather(header.Volume, block, entry.Sequence, in descriptor, record.Slice(offset, descriptor.Length));
                if (status != IoStatus.Ok) return status;
            }
            offset += descriptor.Length;
        }
        return IoStatus.Ok;
    }

    private IoStatus Gather(VolumeId volume, ulong block, ulong sequence, in BlockDescriptor descriptor, ReadOnlySpan<byte> encoded)
    {
        if (_pack.Count > 0 && !_pack.CanTake(volume, encoded.Length) && StagePack() is not IoStatus.Ok and var status) return status;
        if (_pack.Count == 0) _pack.Begin(volume, !_goesToLog && Settle(encoded.Length) ? _cold!.RoomBytes : store.LogRoomBytes);
        _pack.Add(block, sequence, in descriptor, encoded);
        return IoStatus.Ok;
    }

    /// <summary>Whether what comes now goes beside the log.</summary>
    private bool Settle(int lengthBytes)
    {
        if (_cold is { IsGone: true }) _cold = null;
        if (_cold is not null && (_cold.IsNoted || !PackBuilder.Fits(lengthBytes, _cold.RoomBytes))) CloseCurrent();
        _cold ??= store.OpenCold();
        return _cold is not null;
    }

    private void CloseCurrent()
    {
        _cold!.Close();
        _closing.Add(_cold);
        _cold = null;
    }

    /// <summary>What was gathered goes into a segment beside the log, or into the log in the turn in which it was found: the maps have it where it was read.</summary>
    private IoStatus StagePack()
    {
        if (_pack.Count == 0) return IoStatus.Ok;
        var status = IoStatus.Ok;
        if (!_goesToLog && _cold is not null)
        {
            store.AddTo(_cold, _pack);
            _last = _cold;
        }
        else status = store.Relocate(_pack);
        if (status == IoStatus.Ok)
        {
            MovedBytes += _pack.LengthBytes;
            if (_drains) DrainedBytes += _pack.LengthBytes;
        }
        _pack.Begin(default, 0);
        return status;
    }
}
