using System.Diagnostics;
using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;

namespace Cluster.Node.Hosting.Scheduling;

/// <summary>
/// Akka's timers on a <see cref="TimerGrid"/> and one thread that sleeps until the next one is due. Akka's own scheduler wakes .NET's timer thread and two of the pool's at each tick, with or
/// without a timer, which at 50 ms was a large part of what an idle node did. Named in hocon/akka.conf; akka.scheduler.tick-duration is the grid's tick. Thread-safe.
/// </summary>
public sealed class GridScheduler : SchedulerBase, IDateTimeOffsetNowTimeProvider, IDisposable
{
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _sooner = new(false);
    private readonly TimerGrid _grid;
    private readonly Thread _thread;
    private readonly TimeSpan _endMax;
    private readonly long _startedAt = Stopwatch.GetTimestamp();

    // Under _gate.
    private long _wakesAtMs = long.MaxValue;
    private bool _stopping;

    public GridScheduler(Config scheduler, ILoggingAdapter log)
        : base(scheduler, log)
    {
        var tick = SchedulerConfig.GetTimeSpan("akka.scheduler.tick-duration", TimeSpan.Zero);
        if (tick < TimeSpan.FromMilliseconds(1)) throw new ConfigurationException($"akka.scheduler.tick-duration is {tick.TotalMilliseconds} ms; it must be 1 ms or more");
        _grid = new TimerGrid((long)tick.TotalMilliseconds);
        _endMax = SchedulerConfig.GetTimeSpan("akka.scheduler.shutdown-timeout", TimeSpan.Zero);
        _thread = new Thread(Run) { IsBackground = true, Name = "akka-timers" };
        _thread.Start();
    }

    public override TimeSpan MonotonicClock => HighResMonotonicClock;

    public override TimeSpan HighResMonotonicClock => Stopwatch.GetElapsedTime(_startedAt);

    protected override DateTimeOffset TimeNow => DateTimeOffset.UtcNow;

    private long NowMs => (long)Stopwatch.GetElapsedTime(_startedAt).TotalMilliseconds;

    /// <summary>Runs what is left once, as Akka's own does: whoever waits for it would wait for ever.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stopping) return;
            _stopping = true;
        }
        _sooner.Set();
        if (Thread.CurrentThread != _thread && !_thread.Join(_endMax))
        {
            Log.Warning("the thread of Akka's timers did not end within {0}", _endMax);
            return;
        }
        var left = new List<GridTimer>();
        lock (_gate) _grid.TakeAll(left);
        foreach (var timer in left) RunOne(timer);
    }

    protected override void InternalScheduleTellOnce(TimeSpan delay, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Add(delay, TimeSpan.Zero, new ScheduledTell(receiver, message, sender), cancelable);

    protected override void InternalScheduleTellRepeatedly(TimeSpan initialDelay, TimeSpan interval, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Add(initialDelay, interval, new ScheduledTell(receiver, message, sender), cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, Action action, ICancelable cancelable) => Add(delay, TimeSpan.Zero, new ActionRunnable(action), cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, IRunnable action, ICancelable cancelable) => Add(delay, TimeSpan.Zero, action, cancelable);

    protected override void InternalScheduleRepeatedly(TimeSpan initialDelay, TimeSpan interval, Action action, ICancelable cancelable) =>
        Add(initialDelay, interval, new ActionRunnable(action), cancelable);

    protected override void InternalScheduleRepeatedly(TimeSpan initialDelay, TimeSpan interval, IRunnable action, ICancelable cancelable) =>
        Add(initialDelay, interval, action, cancelable);

    private void Add(TimeSpan delay, TimeSpan interval, IRunnable work, ICancelable? cancelable)
    {
        lock (_gate)
        {
            if (_stopping) throw new SchedulerException("a timer was set after the actor system had ended");
            // Of a millisecond that has begun, its end: no timer is early.
            var dueMs = _grid.Add(NowMs + 1, (long)Math.Ceiling(delay.TotalMilliseconds), (long)Math.Ceiling(interval.TotalMilliseconds), work, cancelable);
            if (dueMs >= _wakesAtMs) return;
            _wakesAtMs = dueMs;
        }
        _sooner.Set();
    }

    private void Run()
    {
        var due = new List<GridTimer>();
        while (true)
        {
            long waitMs;
            lock (_gate)
            {
                if (_stopping) return;
                var nowMs = NowMs;
                _grid.TakeDue(nowMs, due);
                _wakesAtMs = _grid.NextDueMs() ?? long.MaxValue;
                waitMs = due.Count > 0 ? 0 : _wakesAtMs - nowMs;
            }
            foreach (var timer in due) RunOne(timer);
            due.Clear();
            // One that was set meanwhile and is due sooner has signalled.
            if (waitMs > 0) _sooner.WaitOne((int)Math.Min(waitMs, int.MaxValue));
        }
    }

    private void RunOne(GridTimer timer)
    {
        if (timer.IsCancelled) return;
        try
        {
            timer.Work.Run();
        }
        catch (Exception e)
        {
            // The others must not wait for one that fails: what it should have done is its caller's to miss.
            Log.Error(e, "a timer of Akka's failed");
        }
    }

    private sealed class ScheduledTell(ICanTell receiver, object message, IActorRef sender) : IRunnable
    {
        public void Run() => receiver.Tell(message, sender);

        public void Execute() => Run();
    }
}
