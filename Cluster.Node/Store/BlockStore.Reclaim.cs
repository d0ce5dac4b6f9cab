using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// Segments in which nothing lives any more are used anew, without a checkpoint for each. The checkpoint on media may name them: what it has there was superseded by records
/// behind it in the log, which are on media with their commit watermark before the segment is free. An open finds the segment used anew, replays those records, and nothing
/// of it is left (docs/disk-format.md, "Order that a crash may rely on", 5).
/// </summary>
public sealed partial class BlockStore
{
    /// <summary>The log grows by at least so many times the size of a checkpoint before the next one: a sixteenth of what is written, at most, goes into them.</summary>
    private const int CheckpointSizesBetween = 16;

    /// <summary>A checkpoint that is made for nothing but to free segments frees so many times its own size, unless there is hardly any room.</summary>
    private const int FreesTimesItself = 4;

    private readonly List<SegmentUse> _reclaiming = [];
    private readonly HashSet<Segment> _tailSegments = [];
    private LogPosition _reclaimAt;

    /// <summary>The log had no room for what a reclaim has to say in it; a checkpoint needs none.</summary>
    private bool _isReclaimRefused;
    private LogPosition _checkpointPosition;

    /// <summary>From here on the log is replayed if the store is opened now.</summary>
    private void NoteCheckpoint(CheckpointSnapshot snapshot)
    {
        _checkpointPosition = snapshot.Position;
        _tailSegments.Clear();
        foreach (var use in snapshot.Segments.Where(use => use.HasTail)) _tailSegments.Add(use.Segment);
    }

    private void NoteCheckpoint(CheckpointReader loaded)
    {
        _checkpointPosition = loaded.Position;
        _tailSegments.UnionWith(loaded.TailSegments);
    }

    /// <summary>Below the checkpoint in the log, so that no replay reads it, and without records of a tail that an open reads from there.</summary>
    private bool IsReclaimable(Segment segment) =>
        segment is { IsDead: true, Readers: 0, Number: > 0 } && segment.Number < _checkpointPosition.Number && !_tailSegments.Contains(segment)
        && (_checkpoint is null || !_checkpoint.Snapshot.Segments.Any(use => use.HasTail && use.Segment == segment));

    private void BeginReclaim()
    {
        if (_reclaiming.Count > 0) return;
        foreach (var segment in Segments.All)
        {
            if (IsReclaimable(segment)) _reclaiming.Add(new SegmentUse(segment, segment.Number, IsDead: true, HasTail: false));
        }
        if (_reclaiming.Count == 0) return;
        foreach (var volume in _volumes.Values)
        {
            if (volume.LogWatermark() == IoStatus.Ok) continue;
            _reclaiming.Clear();
            _isReclaimRefused = true;
            return;
        }
        _isReclaimRefused = false;
        _reclaimAt = _writer.End;
        _syncWanted = true;
    }

    /// <summary>What superseded the blocks of these segments is on media.</summary>
    private void EndReclaim()
    {
        if (_reclaiming.Count == 0 || _writer.Durable < _reclaimAt) return;
        foreach (var use in _reclaiming)
        {
            var isSame = use.Segment.Number == use.Number;
            Invariant.That(!isSame || use.Segment.IsDead, "a dead segment came to life again");
            if (!isSame || !IsReclaimable(use.Segment)) continue;
            Segments.Free(use.Segment);
            SegmentsFreed++;
        }
        _reclaiming.Clear();
        (_backgroundDue, _isDrainDue) = (true, true);
    }

    /// <summary>What died since the last checkpoint began is free only after the next one.</summary>
    private bool NeedsCheckpoint()
    {
        var (below, behind) = (0, 0L);
        foreach (var segment in Segments.All)
        {
            if (segment is not { IsDead: true, Readers: 0, Number: > 0 } || segment.Number >= _writer.End.Number) continue;
            if (!_isReclaimRefused && IsReclaimable(segment)) below++;
            else behind += Segments.SegmentBytes;
        }
        return below == 0 && behind > 0 && (behind >= FreesTimesItself * _checkpointBytes || IsPressed);
    }
}
