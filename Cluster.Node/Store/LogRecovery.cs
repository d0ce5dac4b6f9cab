using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>A segment as an open finds it. A bad header leaves the number that its first entry names, if any.</summary>
internal sealed record FoundSegment(Segment Segment, bool HasHeader, ulong Number, LogPosition Previous);

/// <summary>
/// Reads the log again from the checkpoint's position on and applies it. The log is one order over all volumes: it ends at the first
/// place that does not hold the next entry. Was that place flushed (some entry behind it, the checkpoint, or a clean stop says so), it
/// is corruption: the volumes that may have lost something are marked as damaged and the replay goes on behind it. Otherwise it is the
/// torn tail, and the log is cut there.
/// </summary>
internal sealed class LogRecovery(IReadOnlyList<FoundSegment> found, Dictionary<VolumeId, VolumeStore> volumes,
    Func<VolumeId, VolumeStore> create, BlockStore store, int segmentBytes)
{
    /// <summary>All flush watermarks behind this place have been read.</summary>
    private LogPosition? _searched;

    /// <summary>The end of what was applied.</summary>
    public LogPosition End { get; private set; }

    public long ReplayedBytes { get; private set; }

    public bool WasCut { get; private set; }

    /// <summary>Not null: the disk could not be read, so nothing is known.</summary>
    public string? Failure { get; private set; }

    /// <summary>Segments of the log from the start position on, as they were read.</summary>
    public List<Segment> Replayed { get; } = [];

    private readonly List<(FoundSegment Found, LogPosition End)> _ends = [];
    private LogPosition _watermark;

    /// <summary>What was replayed and is not known to have been flushed. With its first entries a segment's header is new too.</summary>
    public IEnumerable<(Segment Segment, uint From, uint End)> Unflushed()
    {
        foreach (var (found, end) in _ends)
        {
            if (end <= _watermark) continue;
            yield return (found.Segment, found.Number == _watermark.Number ? _watermark.OffsetBytes : 0, end.OffsetBytes);
        }
    }

    /// <param name="start">Everything below is in the volumes already.</param>
    /// <param name="watermark">Everything below is known to have been flushed.</param>
    /// <param name="cleanEnd">Where the log ended at the last stop; null: that was not in order.</param>
    public void Run(LogPosition start, LogPosition watermark, LogPosition? cleanEnd)
    {
        End = start;
        var next = start.Number == 0 ? SuccessorOf(start, ref watermark) : Find(start.Number);
        if (start.Number != 0 && next is null)
        {
            next = SuccessorOf(start, ref watermark);
            // It may be on a disk that is missing: what the log may have had behind is damage by itself then (BlockStore.Disks.cs), unless it is known to have ended there.
            var endedThere = store.LacksDisks && (start >= cleanEnd || next?.Previous == start);
            if (!store.LacksLog && !endedThere) DamageAll($"segment {start.Number} of the log is missing");
        }
        while (next is not null && Failure is null && !WasCut)
        {
            var current = next;
            next = Successor(current.Number);
            Replay(current, current.Number == start.Number ? start.OffsetBytes : SegmentHeader.SizeBytes, next, ref watermark);
            _ends.Add((current, End));
            if (Failure is null && !WasCut) next = SuccessorOf(End, ref watermark);
        }
        _watermark = watermark;
    }

    private void Replay(FoundSegment current, uint from, FoundSegment? next, ref LogPosition watermark)
    {
        var limit = next?.Previous.OffsetBytes ?? (uint)segmentBytes;
        Replayed.Add(current.Segment);
        using var scanner = new LogScanner(current.Segment.File, current.Segment.Seed, current.Number, from,
            Math.Min(limit, (uint)segmentBytes));
        while (true)
        {
            var step = scanner.Next();
            if (step == ScanStep.Entry && IsTornPayload(scanner, ref watermark))
            {
                Cut(new LogPosition(current.Number, scanner.EntryOffsetBytes));
                return;
            }
            if (step == ScanStep.Entry)
            {
                Apply(scanner, current.Segment);
                store.Maps.Yield();
                if (scanner.Prefix.Durable > watermark) watermark = scanner.Prefix.Durable;
                continue;
            }
            End = scanner.Position;
            if (step == ScanStep.Failed) Failure = scanner.FailureDetail;
            if (step != ScanStep.Bad) return;
            if (!IsFlushed(End, ref watermark))
            {
                // The normal end of the newest segment; anywhere else the log is cut here.
                if (next is not null) Cut(End);
                return;
            }
            DamageAt(scanner, current);
            if (!scanner.TrySkipToNextEntry()) return;
        }
    }

    /// <summary>Blocks that do not match their checksums: kept if they were flushed (corruption of just those blocks), else the torn
    /// tail.</summary>
    private bool IsTornPayload(LogScanner scanner, ref LogPosition watermark) => scanner.Prefix.Kind == EntryKind.Record
        && scanner.PayloadStatus != IoStatus.Ok && !IsFlushed(new LogPosition(scanner.Position.Number, scanner.EntryOffsetBytes),
            ref watermark);

    private void Cut(LogPosition at)
    {
        End = at;
        WasCut = true;
    }

    private void Apply(LogScanner scanner, Segment segment)
    {
        End = scanner.Position;
        ReplayedBytes += scanner.Prefix.TotalBytes;
        if (scanner.Prefix.Kind != EntryKind.Record) return;
        ref readonly var header = ref scanner.Header;
        var place = new EntryPlace(segment.Index, scanner.EntryOffsetBytes);
        // Also where one of its blocks is bad: the others must be found where they are now, and that one's reads fail.
        if (StoreRecord.MovesBlocks(header.Kind)) store.MoveDetached(in header, scanner.Record, place);
        if (header.Kind == StoreRecordKind.Clone)
        {
            ApplyClone(scanner);
            return;
        }
        if (!volumes.TryGetValue(header.Volume, out var volume))
        {
            // Without a header a replica is lost, not empty (R5); that happens only behind a damaged place.
            if (header.Kind != StoreRecordKind.ReplicaHeader) return;
            volume = create(header.Volume);
            if (header.Sequence != 1) volume.MarkDamaged("its first records lay in a damaged part of the log");
        }
        if (header.Kind == StoreRecordKind.Delete)
        {
            volumes.Remove(header.Volume);
            volume.OnDeleted();
            return;
        }
        volume.Replay(in header, scanner.Record, place, scanner.PayloadStatus);
    }

    private void ApplyClone(LogScanner scanner)
    {
        ref readonly var header = ref scanner.Header;
        if (volumes.TryGetValue(header.Volume, out var before))
        {
            before.MarkDamaged("a clone was made in its place; its deletion lay in a damaged part of the log");
            return;
        }
        var payload = scanner.Record.Slice(header.PayloadOffset, (int)header.PayloadLength);
        create(header.Volume).ReplayClone(payload, scanner.PayloadStatus, id => volumes.GetValueOrDefault(id));
    }

    private void DamageAt(LogScanner scanner, FoundSegment current)
    {
        var reason = $"bytes at {scanner.Position} in {current.Segment.Name}, which were flushed, are bad";
        if (scanner.BadVolume is not { } known) DamageAll(reason);
        else if (volumes.TryGetValue(known, out var volume)) volume.MarkDamaged(reason);
    }

    private void DamageAll(string reason)
    {
        foreach (var volume in volumes.Values) volume.MarkDamaged(reason);
    }

    /// <summary>Where the log goes on after its end in one segment. A flushed part that no chain leads to is damage.</summary>
    private FoundSegment? SuccessorOf(LogPosition end, ref LogPosition watermark)
    {
        if (Successor(end.Number) is { } chained) return chained;
        if (!IsFlushed(end, ref watermark)) return null;
        DamageAll($"the segment of the log that followed {end} was flushed and is missing or has a bad header");
        return found.Where(each => each.HasHeader && each.Number > end.Number).MinBy(each => each.Number);
    }

    /// <summary>Of several the one with the highest number: the others were cut off by an earlier open.</summary>
    private FoundSegment? Successor(ulong number) =>
        found.Where(each => each.HasHeader && each.Previous.Number == number).MaxBy(each => each.Number);

    private FoundSegment? Find(ulong number) => found.FirstOrDefault(each => each.Number == number);

    /// <summary>
    /// Whether bytes at this place were once covered by fdatasync. What is known already may not say so; then every entry behind the
    /// place is asked.
    /// </summary>
    private bool IsFlushed(LogPosition place, ref LogPosition watermark)
    {
        if (watermark > place) return true;
        if (_searched is { } searched && searched <= place) return false;
        _searched = place;
        foreach (var each in found.Where(each => each.Number >= place.Number && each.Number > 0))
        {
            var from = each.Number == place.Number ? place.OffsetBytes : SegmentHeader.SizeBytes;
            using var scanner = new LogScanner(each.Segment.File, each.Segment.Seed, each.Number, from, (uint)segmentBytes);
            while (true)
            {
                var step = scanner.Next();
                if (step == ScanStep.Entry && scanner.Prefix.Durable > watermark) watermark = scanner.Prefix.Durable;
                if (step == ScanStep.Entry) continue;
                if (step == ScanStep.Failed) Failure = scanner.FailureDetail;
                if (step != ScanStep.Bad || !scanner.TrySkipToNextEntry()) break;
            }
        }
        return watermark > place;
    }
}
