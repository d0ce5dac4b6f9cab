using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>What goes on beside the appends: the flush watermark of an idle log, space, and the stop.</summary>
public sealed partial class BlockStore
{
    private ILoopTimer? _watermarkTimer;

    public StoreUsage Usage
    {
        get
        {
            var capacity = (long)Segments.SegmentsMax * Segments.SegmentBytes;
            var usable = Math.Max(0, Segments.AvailableCount - SegmentTable.Reserve(SpaceClass.Data));
            var used = (long)(Segments.All.Count - Segments.FreeCount) * Segments.SegmentBytes;
            return new StoreUsage(capacity, used, (long)usable * Segments.SegmentBytes, Segments.LiveBytes, Segments.All.Count);
        }
    }

    /// <summary>Stops in order: what was staged is written and flushed, and the superblock says so. Any thread but the loop's; the loop must still run.</summary>
    public ValueTask DisposeAsync()
    {
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            Stop();
            stopped.SetResult();
        });
        return new ValueTask(stopped.Task);
    }

    /// <summary>The same on the loop; blocks it.</summary>
    internal void Stop()
    {
        if (_stopped) return;
        WriteAndNotify();
        _stopped = true;
        _watermarkTimer?.Cancel();
        if (!HasFailed) StopClean();
        _writer.Dispose();
        CloseFiles();
        _disk.Dispose();
    }

    private void StopClean()
    {
        foreach (var segment in Segments.All.Where(segment => segment.Number > 0))
        {
            if (!segment.File.Sync().IsOk) return;
        }
        _superblock.Write(_superblock.Current with { CleanStop = true, CleanEnd = _writer.End });
    }

    private void UpdateCapacity()
    {
        long bytes = _options.CapacityBytes;
        if (bytes == 0)
        {
            var own = (long)Segments.All.Count * Segments.SegmentBytes;
            bytes = (own + _disk.FreeBytes) / 100 * (100 - _options.FileSystemReservePercent);
        }
        Segments.SegmentsMax = (int)Math.Min(bytes / Segments.SegmentBytes, int.MaxValue);
    }

    private static bool RunBackground() => false;

    private void OnDurableAdvanced()
    {
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
