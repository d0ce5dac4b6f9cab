using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Repair;

/// <summary>What a scrub does next.</summary>
public enum ScrubStep : byte
{
    /// <summary>The question put to the copies has not been answered by all.</summary>
    Wait = 0,
    Ask,
    /// <summary>The copies differ in the range, or some of it is bad: read it from all, compare, mend.</summary>
    Compare,
    End,
}

/// <summary>
/// One pass over a volume's written blocks: range by range every copy is asked for a digest of its map and for what is bad, all of them as of the same commit
/// watermark; then for the same of each snapshot that keeps something in the range, from the newest to the oldest: what is overwritten meanwhile moves into a newer one than
/// those that were asked for, or was looked at as the volume's. Where nothing is written, a probe of a long range leads to the next block that some copy holds. Pure: it says what to ask, and is told the answers.
/// </summary>
public sealed class ScrubRun(ScrubMark mark)
{
    /// <summary>Blocks of a probe: 16 TiB.</summary>
    private const uint ProbeBlocks = uint.MaxValue;

    private readonly HashSet<NodeId> _awaited = [];
    private bool _probes = true;
    private bool _isFirst;
    private bool _isClean;
    private ulong _digest;
    private ulong _nextData;
    private ulong _bytes;

    /// <summary>Of the range so far, what snapshots keep included.</summary>
    private ulong _rangeBytes;
    private ulong _nextSnapshot;

    public ScrubMark Mark { get; private set; } = mark;

    /// <summary>Names the question under way; 0: none.</summary>
    public ulong Question { get; private set; }

    public BlockRange Range { get; private set; }

    /// <summary>The snapshot whose kept versions come next, or are asked for; 0: the volume's own blocks.</summary>
    public ulong Snapshot { get; private set; }

    /// <summary>The range is being compared: nothing is asked before <see cref="OnCompared"/>.</summary>
    public bool IsComparing { get; private set; }

    public bool IsWaiting => Question != 0 || IsComparing;

    /// <summary>The next range, for a volume of this size, and as <see cref="Snapshot"/> says; null: all is done.</summary>
    public BlockRange? Next(ulong sizeBlocks)
    {
        if (Snapshot != 0) return Range;
        if (Mark.Cursor >= sizeBlocks) return null;
        var left = sizeBlocks - Mark.Cursor;
        return new BlockRange(Mark.Cursor, (uint)Math.Min(left, _probes ? ProbeBlocks : Limits.RecordBlocksMax));
    }

    /// <summary>These copies were asked, all at one watermark.</summary>
    public void OnAsked(ulong question, BlockRange range, IEnumerable<NodeId> copies)
    {
        Invariant.That(!IsWaiting, "a scrub asked a second question");
        _probes &= range.Count > Limits.RecordBlocksMax;
        (Question, Range, _isFirst, _isClean, _bytes, _nextData, _nextSnapshot) = (question, range, true, true, 0, range.End, 0);
        _awaited.Clear();
        foreach (var copy in copies) _awaited.Add(copy);
    }

    /// <summary>A copy went or came: the answers are not of one moment any more, and the same range is asked again.</summary>
    public void Retry() => Question = 0;

    public ScrubStep OnReport(NodeId copy, ulong bad, in ScrubReportBody report)
    {
        if (Question == 0 || !_awaited.Remove(copy)) return ScrubStep.Wait;
        if (_isFirst) _digest = report.Digest;
        _isClean &= bad == 0 && report.Digest == _digest;
        _isFirst = false;
        _nextData = Math.Min(_nextData, Math.Max(report.NextData, Range.First));
        _bytes = Math.Max(_bytes, report.BytesRead);
        // A snapshot is older than the one asked for, whatever a copy says: so the pass ends.
        if (Snapshot == 0 || report.NextSnapshot < Snapshot) _nextSnapshot = Math.Max(_nextSnapshot, report.NextSnapshot);
        return _awaited.Count > 0 ? ScrubStep.Wait : Conclude();
    }

    /// <summary>Bytes that were read for the last question, on the copy that had the most.</summary>
    public ulong RangeBytes => _bytes;

    /// <summary>The range was compared, and mended where that was needed.</summary>
    public void OnCompared(int differing, int lost)
    {
        Invariant.That(IsComparing, "a range was compared that no scrub had asked for");
        IsComparing = false;
        var now = Mark.Now;
        Mark = Mark with
        {
            Now = now with { DifferingBlocks = now.DifferingBlocks + (ulong)differing, LostBlocks = now.LostBlocks + (ulong)lost },
        };
        Advance();
    }

    /// <summary>The copies were not read as of one moment: the range is asked for again.</summary>
    public void OnCompareFailed() => IsComparing = false;

    public void OnMended(int blocks) => Mark = Mark with { Now = Mark.Now with { MendedBlocks = Mark.Now.MendedBlocks + (ulong)blocks } };

    /// <summary>The mark of a volume whose scrub has ended now.</summary>
    public ScrubMark Ended(ulong nowUnixMs) => new(default, 0, Mark.Now, nowUnixMs);

    private ScrubStep Conclude()
    {
        Question = 0;
        if (_probes)
        {
            // What lies between holds nothing on any copy.
            (_probes, Mark) = (_nextData >= Range.End, Mark with { Cursor = _nextData });
            return ScrubStep.Ask;
        }
        if (!_isClean)
        {
            IsComparing = true;
            return ScrubStep.Compare;
        }
        Advance();
        return ScrubStep.Ask;
    }

    private void Advance()
    {
        _rangeBytes += _bytes;
        Mark = Mark with { Now = Mark.Now with { CheckedBytes = Mark.Now.CheckedBytes + _bytes } };
        Snapshot = _nextSnapshot;
        if (Snapshot != 0) return;
        // Behind a range with nothing in it there may be a long hole.
        (_probes, _rangeBytes, Mark) = (_rangeBytes == 0, 0, Mark with { Cursor = Range.End });
    }
}
