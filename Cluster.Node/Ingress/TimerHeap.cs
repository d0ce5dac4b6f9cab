using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>
/// Timers by due time; equal times in the order they were made. A cancelled timer stays until it is due or until
/// cancelled ones are the majority; then all of them go at once, so that a cancel costs O(1) on average and memory
/// follows the live timers. Loop thread only.
/// </summary>
internal sealed class TimerHeap
{
    private readonly PriorityQueue<LoopTimer, (long DueMs, ulong Number)> _queue = new();
    private ulong _number;
    private int _cancelled;

    public int Count => _queue.Count;

    public ILoopTimer Add(long dueMs, Action work)
    {
        var timer = new LoopTimer(this, work);
        _queue.Enqueue(timer, (dueMs, ++_number));
        return timer;
    }

    /// <summary>Milliseconds until the next timer is due, 0 if one is, -1 with none.</summary>
    public int MsUntilNext(long nowMs)
    {
        DropCancelledHead();
        return _queue.TryPeek(out _, out var key) ? (int)Math.Clamp(key.DueMs - nowMs, 0, int.MaxValue) : -1;
    }

    /// <summary>Runs what is due. Timers made meanwhile wait for the next turn, even if they are due at once.</summary>
    public void RunDue(long nowMs)
    {
        var last = _number;
        while (_queue.TryPeek(out var timer, out var key) && key.DueMs <= nowMs && (key.Number <= last || timer.Work is null))
        {
            _queue.Dequeue();
            var work = timer.Work;
            timer.Work = null;
            if (work is null) _cancelled--;
            else work();
        }
    }

    private void Cancelled()
    {
        _cancelled++;
        if (_cancelled < LoopLimits.CancelledTimersMin || _cancelled * 2 < _queue.Count) return;
        var live = _queue.UnorderedItems.Where(item => item.Element.Work is not null).ToArray();
        _queue.Clear();
        _queue.EnqueueRange(live);
        _cancelled = 0;
    }

    private void DropCancelledHead()
    {
        while (_queue.TryPeek(out var timer, out _) && timer.Work is null)
        {
            _queue.Dequeue();
            _cancelled--;
        }
        Invariant.That(_cancelled >= 0, "more cancelled timers left the heap than were in it");
    }

    private sealed class LoopTimer(TimerHeap heap, Action work) : ILoopTimer
    {
        public Action? Work = work;

        public void Cancel()
        {
            if (Work is null) return;
            Work = null;
            heap.Cancelled();
        }
    }
}
