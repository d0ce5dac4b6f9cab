using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// Moves the live blocks of the emptiest segment to the end of the log, one window of the segment at a time: the disk thread reads it,
/// the loop copies what the maps still have there. The segment itself is free only after a checkpoint without it is on media, which is
/// after its copies are. Loop only.
/// </summary>
internal sealed class Cleaner(BlockStore store)
{
    /// <summary>A segment with more live bytes than this, in percent, is not worth its copy.</summary>
    private const int LiveMaxPercent = 90;
    private LogScanner? _scanner;
    private Segment? _source;
    private ulong _sourceNumber;

    public bool IsBusy => _source is not null;

    public int SegmentsCleaned { get; private set; }

    /// <summary>Encoded bytes of blocks that were copied.</summary>
    public long MovedBytes { get; private set; }

    /// <summary>Takes the emptiest segment that holds no uncommitted record (R4). False: there is none.</summary>
    public bool TryBegin(ulong endNumber)
    {
        var limit = (long)store.Segments.SegmentBytes / 100 * LiveMaxPercent;
        Segment? best = null;
        foreach (var segment in store.Segments.All)
        {
            var isCandidate = segment.Number > 0 && segment.Number < endNumber && !segment.IsDead && segment.TailRecords == 0
                && !segment.IsStuck
                && segment.LiveBytes < limit;
            if (isCandidate && (best is null || segment.LiveBytes < best.LiveBytes)) best = segment;
        }
        if (best is null) return false;
        (_source, _sourceNumber) = (best, best.Number);
        _scanner = new LogScanner(best.File, best.Seed, best.Number, SegmentHeader.SizeBytes, (uint)store.Segments.SegmentBytes);
        store.Submit(DiskLane.Background, new ReadWindow(this));
        return true;
    }

    public void Stop()
    {
        _scanner?.Dispose();
        (_scanner, _source) = (null, null);
        store.OnCleanerStepped();
    }

    private void EndJob() => store.OnJobDone();

    private void OnWindowRead(bool wasRead)
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
        while (scanner.HasNextLoaded())
        {
            var step = scanner.Next();
            if (step == ScanStep.Entry)
            {
                var status = scanner.Prefix.Kind == EntryKind.Record ? Copy(source, scanner) : IoStatus.Ok;
                if (status == IoStatus.Ok) continue;
                if (status == IoStatus.BadChecksum) Skip(source, "some of its live blocks are bad");
                else Stop();
                return;
            }
            Finish(source);
            return;
        }
        if (source.IsDead) Finish(source);
        else store.Submit(DiskLane.Background, new ReadWindow(this));
    }

    /// <summary>All entries were seen: what is live now lies where no entry is, behind bad bytes.</summary>
    private void Finish(Segment source)
    {
        if (!source.IsDead) Skip(source, "some of its live blocks lie behind bad bytes");
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
        if (!StoreRecord.HasBlocks(header.Kind)) return IoStatus.Ok;
        foreach (var map in store.MapsOf(header.Volume))
        {
            var status = Copy(map, source, scanner);
            if (status != IoStatus.Ok) return status;
        }
        return IoStatus.Ok;
    }

    private IoStatus Copy(BlockMap map, Segment source, LogScanner scanner)
    {
        ref readonly var header = ref scanner.Header;
        var record = scanner.Record;
        var offset = scanner.EntryOffsetBytes + EntryPrefix.SizeBytes + (uint)header.PayloadOffset;
        for (var index = 0; index < (int)header.DescriptorCount;)
        {
            var (count, lengthBytes, sequence) = LiveRun(map, source, in header, record, index, offset);
            if (count == 0)
            {
                offset += StoreRecord.DescriptorAt(record, index).Length;
                index++;
                continue;
            }
            // Bad bytes are left where they are: their reads say so, and a repair writes them anew.
            if (scanner.PayloadStatus != IoStatus.Ok) return scanner.PayloadStatus;
            var payload = record.Slice((int)(offset - scanner.EntryOffsetBytes) - EntryPrefix.SizeBytes, lengthBytes);
            var status = store.Relocate(in header, sequence, record, index, count, payload);
            if (status != IoStatus.Ok) return status;
            MovedBytes += lengthBytes;
            offset += (uint)lengthBytes;
            index += count;
        }
        return IoStatus.Ok;
    }

    /// <summary>How many blocks from the index on the map still has here, for the volume or a snapshot, as versions of one sequence, and the bytes of them.</summary>
    private static (int Count, int LengthBytes, ulong Sequence) LiveRun(BlockMap map, Segment source, in RecordHeader header,
        ReadOnlySpan<byte> record, int index, uint offset)
    {
        var (count, lengthBytes, sequence) = (0, 0, 0UL);
        for (; index + count < (int)header.DescriptorCount; count++)
        {
            var length = StoreRecord.DescriptorAt(record, index + count).Length;
            if (length == 0 || !map.TryFindAt(header.Range.First + (ulong)(index + count), source.Index, offset + (uint)lengthBytes, out var entry)) break;
            if (count > 0 && entry.Sequence != sequence) break;
            sequence = entry.Sequence;
            lengthBytes += length;
        }
        return (count, lengthBytes, sequence);
    }

    private sealed class ReadWindow(Cleaner cleaner) : DiskJob
    {
        private readonly LogScanner _scanner = cleaner._scanner!;
        private bool _wasRead;

        public override void Execute() => _wasRead = _scanner.Prefetch();

        public override void Complete()
        {
            cleaner.OnWindowRead(_wasRead);
            cleaner.EndJob();
        }
    }
}
