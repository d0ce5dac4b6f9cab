using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Moves the live blocks of the emptiest segment to the end of the log, one window of the segment at a time: the disk thread reads it,
/// the loop copies what the maps still have there. The segment itself is free only after a checkpoint without it is on media, which is
/// after its copies are. Pages of the maps that are not in memory are read by a disk thread, too, record by record. Loop only.
/// </summary>
internal sealed partial class Cleaner(BlockStore store) : IPagesLoaded
{
    /// <summary>A segment with more live bytes than this, in percent, is not worth its copy.</summary>
    private const int LiveMaxPercent = 90;

    /// <summary>Pages that one step takes from the page cache; then a disk thread reads on, and the loop does other things first.</summary>
    private const int CachedLoadsOfAStepMax = 32;

    private readonly PackBuilder _pack = new();

    /// <summary>Pages that the record wants at which the scanner is.</summary>
    private readonly List<MapPage> _absent = [];

    /// <summary>The scanner is at a record whose pages were waited for, and that was not copied yet.</summary>
    private bool _isAtRecord;
    private LogScanner? _scanner;
    private Segment? _source;
    private ulong _sourceNumber;

    /// <summary>Under way on a disk thread.</summary>
    private ReadWindow? _window;

    public bool IsBusy => _source is not null;

    /// <summary>The segment that is read; null: there is none.</summary>
    public Segment? Source => _source;

    public int SegmentsCleaned { get; private set; }

    /// <summary>Encoded bytes of blocks that were copied.</summary>
    public long MovedBytes { get; private set; }

    /// <summary>Takes the emptiest segment that holds no uncommitted record (R4), of a disk that answers. False: there is none.</summary>
    public bool TryBegin(ulong endNumber)
    {
        var limit = (long)store.Segments.SegmentBytes / 100 * LiveMaxPercent;
        Segment? best = null;
        foreach (var segment in store.Segments.All)
        {
            var isCandidate = segment.Number > 0 && segment.Number < endNumber && !segment.IsDead && segment.TailRecords == 0
                && segment is { IsStuck: false, AwaitsReleases: false }
                && segment.LiveBytes < limit;
            if (isCandidate && (best is null || segment.LiveBytes < best.LiveBytes) && !segment.IsHung) best = segment;
        }
        if (best is null) return false;
        Begin(best);
        return true;
    }

    private void Begin(Segment best)
    {
        (_source, _sourceNumber, _skipsBad, _leavesBad) = (best, best.Number, false, _drains || best.IsAvoided);
        _scanner = new LogScanner(best.File, best.Seed, best.Number, SegmentHeader.SizeBytes, (uint)store.Segments.SegmentBytes) { PassesUnreadable = _leavesBad };
        ReadNext();
    }

    private void ReadNext()
    {
        _window = new ReadWindow(this, _scanner!, _source!.PoolDisk, TakeSkip());
        store.SubmitWindow(_source, _window);
    }

    public void Stop()
    {
        EndDrain();
        if (_window is { } window) window.Leave();
        else _scanner?.Dispose();
        (_scanner, _source, _window, _isAtRecord) = (null, null, null, false);
        store.OnCleanerStepped();
    }

    private void OnWindowEnded(ReadWindow window, bool wasRead, bool hasEnded)
    {
        if (_window == window)
        {
            _window = null;
            OnWindowRead(wasRead, hasEnded);
        }
        store.OnJobDone(window);
    }

    public void OnPagesLoaded() => OnWindowRead(wasRead: true, hasEnded: false);

    private void OnWindowRead(bool wasRead, bool hasEnded)
    {
        if (_source is not { } source || _scanner is not { } scanner) return;
        if (store.IsStopping || source.Number != _sourceNumber)
        {
            // Overwritten meanwhile, and in use anew.
            Stop();
            return;
        }
        if (!wasRead)
        {
            Skip(source, scanner.FailureDetail ?? "it could not be read");
            return;
        }
        var (status, atEnd) = hasEnded ? (IoStatus.Ok, true) : CopyWindow(source, scanner);
        var staged = StagePack();
        if (status == IoStatus.Ok) status = staged;
        if (status == IoStatus.BadChecksum) Skip(source, "some of its live blocks are bad");
        else if (status != IoStatus.Ok) Stop();
        else if (_isAtRecord) LoadAbsent();
        else if (atEnd || source.IsDead) Finish(source);
        else if (_drains) PauseDrain();
        else ReadNext();
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
            MapPage? last = null;
            for (var index = 0; index < (int)header.DescriptorCount; index++)
            {
                if (map.AbsentPage(blocks.BlockAt(index)) is not { } page || page == last) continue;
                last = page;
                if (loads < CachedLoadsOfAStepMax && store.Maps.TryLoadCached(page)) loads++;
                else _absent.Add(page);
            }
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

    /// <summary>All entries were seen: what is live now lies where no entry is, behind bad bytes.</summary>
    private void Finish(Segment source)
    {
        if (!source.IsDead && store.Maps.IsReleasing)
        {
            // They may be nobody's any more: once that is known it is tried again.
            source.AwaitsReleases = true;
            Stop();
        }
        else if (!source.IsDead) Skip(source, _leavesBad ? $"{source.LiveBlocks} of its blocks are bad or lie in a record that is" : "some of its live blocks lie behind bad bytes");
        else
        {
            SegmentsCleaned++;
            Stop();
        }
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
        if (_pack.Count == 0) _pack.Begin(volume, store.LogRoomBytes);
        _pack.Add(block, sequence, in descriptor, encoded);
        return IoStatus.Ok;
    }

    /// <summary>What was gathered goes into the log, in the turn in which it was found: the maps have it where it was read.</summary>
    private IoStatus StagePack()
    {
        if (_pack.Count == 0) return IoStatus.Ok;
        var status = store.Relocate(_pack);
        if (status == IoStatus.Ok)
        {
            MovedBytes += _pack.LengthBytes;
            if (_drains) DrainedBytes += _pack.LengthBytes;
        }
        _pack.Begin(default, 0);
        return status;
    }

    private sealed class ReadWindow(Cleaner cleaner, LogScanner scanner, StoreDisk? disk, bool skipsBad) : DiskJob
    {
        private bool _hasEnded;
        private bool _wasRead;
        private bool _isLeft;

        public override bool MayBeLeft => true;

        /// <summary>The cleaner does not wait for it any more. The scanner stays until the read ends, which may still put bytes there.</summary>
        public void Leave()
        {
            _isLeft = true;
            if (disk is not null) disk.HasLeftRead = true;
        }

        public override void Execute()
        {
            // Behind bad bytes, from where the next entry begins; if there is none, the scan ends where it stands.
            _hasEnded = skipsBad && !scanner.TrySkipToNextEntry();
            _wasRead = _hasEnded ? scanner.FailureDetail is null : scanner.Prefetch();
        }

        public override void Complete()
        {
            if (_isLeft)
            {
                scanner.Dispose();
                if (disk is not null) disk.HasLeftRead = false;
            }
            cleaner.OnWindowEnded(this, _wasRead, _hasEnded);
        }
    }
}
