using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>Segments that the cleaner fills beside the log, and how they get into it (docs/adr/0014-cold-segments.md).</summary>
public sealed partial class BlockStore
{
    /// <summary>Written, or being written, and not in the log yet: of each segment that clients fill, the cleaner fills two or three at 85 % full.</summary>
    private const int ColdSegmentsMax = 4;

    /// <summary>A segment that is not empty after so many passes is left alone.</summary>
    private const int PassesMax = 3;

    /// <summary>By number, which is the order in which they go into the log.</summary>
    private readonly Queue<ColdSegment> _cold = new();

    /// <summary>Segments that nothing lives in once those that are ready are in the log.</summary>
    private int _emptiedSources;

    /// <summary>Those that went into the log since the open.</summary>
    internal long ColdSegments { get; private set; }

    /// <summary>Whole, and not in the log yet.</summary>
    internal int ColdWaiting => _cold.Count(cold => cold.IsReady);

    /// <summary>Being filled.</summary>
    internal int ColdFilling => _cold.Count(cold => !cold.IsReady);

    /// <summary>Of all that was written to the log, what the cleaner wrote.</summary>
    internal long CleanedBytes { get; private set; }

    /// <summary>One more for the cleaner to fill; null: there is no room for that, or enough of them wait. Then what it moves goes to the end of the log.</summary>
    internal ColdSegment? OpenCold()
    {
        if (_cold.Count == ColdSegmentsMax || Segments.AvailableCount <= Segments.Reserve(SpaceClass.Data) + 1) return null;
        if (!Segments.TryTakeReady(out var segment)) return null;
        var cold = new ColdSegment(segment, _writer.ReserveNumber(), (uint)Segments.SegmentBytes);
        _cold.Enqueue(cold);
        return cold;
    }

    /// <summary>As <see cref="Relocate(PackBuilder)"/>, for a segment that is not in the log yet.</summary>
    internal void AddTo(ColdSegment cold, PackBuilder pack) => cold.Add(pack, _volumes.GetValueOrDefault(pack.Volume), _writer.Durable);

    internal void OnColdWritten(ColdSegment cold)
    {
        var result = cold.OnWritten();
        if (!result.IsOk)
        {
            // As of a write to the log: the disk is not asked again (R10).
            Fail(result.Status, result.Detail ?? "a write of the cleaner failed");
            NoteFailedSync();
            return;
        }
        if (cold.IsGone) Segments.Free(cold.Segment);
        else if (cold.IsReady) _emptiedSources += cold.Sources.Count;
    }

    /// <summary>A source that was read to its end is counted with the segment that has its last block.</summary>
    internal void AddSource(ColdSegment cold, Segment source)
    {
        source.IsMoving = true;
        cold.Sources.Add((source, source.Number));
        if (cold.IsReady) _emptiedSources++;
    }

    /// <summary>The log is about to leave its segment, with nothing staged: those that are whole go into it, in the order of their numbers.</summary>
    private void LinkCold()
    {
        while (_cold.TryPeek(out var cold) && cold.IsReady)
        {
            _cold.Dequeue();
            _emptiedSources -= cold.Sources.Count;
            if (!cold.IsCurrent(_volumes))
            {
                Segments.Free(cold.Segment);
                Release(cold, wasLinked: false);
                continue;
            }
            if (!_writer.Link(cold)) return;
            cold.Apply(this);
            ColdSegments++;
            CleanedBytes += cold.EndBytes;
            Release(cold, wasLinked: true);
        }
        if (_cold.TryPeek(out var first) && first.Number <= _writer.NextNumber) AbandonCold();
    }

    /// <summary>No data finds room, so the log does not leave its segment by itself: what the cleaner has moved is needed now.</summary>
    private void PushCold()
    {
        if (_cold.Count == 0 || _writer.DataRoomBytes > 0) return;
        if (_cold.Peek().IsReady)
        {
            if (WriteStaged() != IoStatus.Ok) return;
            LinkCold();
            _backgroundDue = true;
        }
        else _cleaner.CloseCold();
    }

    /// <summary>The log has gone on so far meanwhile that their numbers are behind it.</summary>
    private void AbandonCold()
    {
        while (_cold.TryDequeue(out var cold))
        {
            if (cold.IsReady) _emptiedSources -= cold.Sources.Count;
            if (!cold.IsWriting) Segments.Free(cold.Segment);
            Release(cold, wasLinked: false);
        }
    }

    private void Release(ColdSegment cold, bool wasLinked)
    {
        cold.IsGone = true;
        foreach (var (source, number) in cold.Sources)
        {
            if (source.Number != number) continue;
            source.IsMoving = false;
            if (wasLinked) NotePass(source);
        }
        _backgroundDue = true;
    }

    /// <summary>All that was found in it is copied. A version may have got another sequence meanwhile (a restore): once more, then. But what lies behind bad bytes no pass finds.</summary>
    internal void NotePass(Segment source)
    {
        if (source.IsDead || ++source.Passes < PassesMax) return;
        source.IsStuck = true;
        LogCleanerSkip(source, "some of its live blocks lie behind bad bytes");
    }
}
