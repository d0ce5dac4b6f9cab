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

    /// <summary>
    /// At an open, before the log goes on. All that the last checkpoint names stays until the next one is there, even if the log behind it has newer blocks: another cut before then is replayed from that
    /// checkpoint again, without the watermarks that a reclaim writes first. So what was free before a crash may not be now, the reserve included, and the first header would find no room. Then a checkpoint
    /// is written at once, which needs no log; the one before it counts until this one is on media. A store that has its reserve waits for nothing.
    /// </summary>
    private RecoveryFailure? FreeBeforeLog()
    {
        UpdateCapacity();
        var ready = Segments.FreeCount + Segments.AvoidedCount;
        // The file system may have less than the capacity allows.
        var usable = ready + Math.Min(Segments.AvailableCount - ready, _disk.FreeBytes / Segments.SegmentBytes);
        // More than the reserve: the log goes on in a new segment.
        if (usable > Segments.Reserve(SpaceClass.Data) || Segments.CountDead(_writer.End.Number) == 0) return null;
        var snapshot = TakeSnapshot();
        var result = CheckpointWriter.Write(_disk, snapshot, Maps.File, out var bytes, out var lost);
        if (lost is not null) return new RecoveryFailure(result.Status, $"a checkpoint could not be written: {result.Detail}");
        if (!result.IsOk)
        {
            // It can be read, and a checkpoint is tried again.
            StoreLog.CheckpointFailed(_logger, _disk.Description, result.Detail ?? "");
            _backgroundDue = true;
            return null;
        }
        _checkpointAtBytes = _writer.AppendedBytes;
        NoteCheckpointBytes(bytes);
        _checkpointedBytes += bytes;
        CheckpointsWritten++;
        NoteCheckpoint(snapshot);
        var before = SegmentsFreed;
        FreeDeadSegments(snapshot);
        StoreLog.FreedAtOpen(_logger, _disk.Description, SegmentsFreed - before, usable);
        return null;
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
