using Akka.Actor;
using Akka.Dispatch;

namespace Cluster.Node.Hosting.Scheduling;

/// <summary>
/// Timers on a grid of ticks, so that those of about the same time are due at the same one and cost one wake-up. Pure: times are milliseconds of the caller's clock. Not thread-safe.
/// <para>
/// A timer is due at the first tick that is not before what was asked for, so less than a tick late. One that repeats is due that way the first time, then at all multiples of its interval: the
/// second time comes sooner than an interval after the first, none ever later, and all those of 200 ms, of 500 ms and of seconds meet. What was missed while the process stood still is due once.
/// </para>
/// </summary>
internal sealed class TimerGrid(long tickMs)
{
    /// <summary>Longer intervals, and those that are no multiple of a tick, keep the phase that they began with.</summary>
    public const long AlignedMsMax = 10_000;

    private const int SweepAtMin = 1024;

    private PriorityQueue<GridTimer, (long DueMs, ulong Number)> _queue = new();
    private ulong _number;
    private int _sweepAt = SweepAtMin;

    /// <summary>Timers that are kept, with cancelled ones that have not been dropped yet: fewer than as many again, or than 1,024.</summary>
    public int Count => _queue.Count;

    /// <param name="intervalMs">0: once.</param>
    /// <returns>When it is due.</returns>
    public long Add(long nowMs, long delayMs, long intervalMs, IRunnable work, ICancelable? cancelable)
    {
        var timer = new GridTimer(work, cancelable, intervalMs) { AskedMs = nowMs + delayMs };
        var dueMs = Ceiling(timer.AskedMs);
        if (_queue.Count >= _sweepAt) Sweep();
        _queue.Enqueue(timer, (dueMs, ++_number));
        return dueMs;
    }

    /// <summary>Who sets a long timer again with every message, as a receive timeout does, would fill the memory with cancelled ones.</summary>
    private void Sweep()
    {
        _queue = new(_queue.UnorderedItems.Where(item => !item.Element.IsCancelled));
        _sweepAt = Math.Max(SweepAtMin, 2 * _queue.Count);
    }

    /// <summary>When the next one is due that nobody cancelled; null with none.</summary>
    public long? NextDueMs()
    {
        while (_queue.TryPeek(out var timer, out var key))
        {
            if (!timer.IsCancelled) return key.DueMs;
            _queue.Dequeue();
        }
        return null;
    }

    /// <summary>Takes what is due, the earliest first, and those of one tick in the order in which they were added or last due.</summary>
    public void TakeDue(long nowMs, List<GridTimer> due)
    {
        while (_queue.TryPeek(out var timer, out var key) && key.DueMs <= nowMs)
        {
            _queue.Dequeue();
            if (timer.IsCancelled) continue;
            due.Add(timer);
            if (timer.IntervalMs == 0) continue;
            timer.AskedMs = Following(timer, key.DueMs, nowMs);
            _queue.Enqueue(timer, (Ceiling(timer.AskedMs), ++_number));
        }
    }

    /// <summary>Takes all that is left, once each.</summary>
    public void TakeAll(List<GridTimer> left)
    {
        while (_queue.TryDequeue(out var timer, out _))
        {
            if (!timer.IsCancelled) left.Add(timer);
        }
    }

    private long Following(GridTimer timer, long dueMs, long nowMs)
    {
        var isAligned = timer.IntervalMs <= AlignedMsMax && timer.IntervalMs % tickMs == 0;
        var phaseMs = isAligned ? 0 : timer.AskedMs % timer.IntervalMs;
        // The last one that is not behind now, and one more.
        var fromMs = Math.Max(isAligned ? dueMs : timer.AskedMs, nowMs) - phaseMs;
        return (fromMs / timer.IntervalMs + 1) * timer.IntervalMs + phaseMs;
    }

    private long Ceiling(long ms) => (ms + tickMs - 1) / tickMs * tickMs;
}

internal sealed record GridTimer(IRunnable Work, ICancelable? Cancelable, long IntervalMs)
{
    /// <summary>When it should run; the tick at which it does is not before.</summary>
    public long AskedMs { get; set; }

    public bool IsCancelled => Cancelable is { IsCancellationRequested: true };
}
