using Akka.Actor;
using Akka.Configuration;
using Akka.Event;
using Cluster.Node.Hosting.Scheduling;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>The thread of Akka's timers, and what Akka asks of a scheduler; when timers are due is <see cref="TimerGridSpecs"/>'.</summary>
public sealed class GridSchedulerSpecs : IDisposable
{
    private const int Threads = 4;
    private const int TimersEach = 5000;
    private const string Settings = "akka.scheduler { tick-duration = 10ms, shutdown-timeout = 5s }";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(20);
    private readonly GridScheduler _scheduler = new(ConfigurationFactory.ParseString(Settings), NoLogger.Instance);

    private IScheduler Scheduler => _scheduler;

    private IActionScheduler Actions => Scheduler.Advanced;

    public void Dispose() => _scheduler.Dispose();

    [Fact(DisplayName = "Timers that several threads set at one time, and cancel, are all run once that nobody cancelled, whichever is due first")]
    public async Task Many()
    {
        var left = Threads * TimersEach;
        var (cancelledRan, done) = (0, NewEnd());
        await Task.WhenAll(Enumerable.Range(0, Threads).Select(_ => Task.Run(() =>
        {
            for (var number = 0; number < TimersEach; number++)
            {
                var cancelled = new Cancelable(Actions);
                Actions.ScheduleOnce(TimeSpan.FromHours(1), () => Interlocked.Increment(ref cancelledRan), cancelled);
                Actions.ScheduleOnce(TimeSpan.FromMilliseconds((TimersEach - number) % 40), () =>
                {
                    if (Interlocked.Decrement(ref left) == 0) done.SetResult();
                });
                cancelled.Cancel();
            }
        })));
        await done.Task.WaitAsync(Patience);
        _scheduler.Dispose();
        Assert.Equal(0, cancelledRan);
    }

    [Fact(DisplayName = "One that is due sooner than what the thread sleeps for wakes it, and one that fails keeps nobody from being run")]
    public async Task Sooner()
    {
        var (late, done, again) = (NewEnd(), NewEnd(), NewEnd());
        Actions.ScheduleOnce(TimeSpan.FromHours(1), late.SetResult);
        Actions.ScheduleOnce(Soon, () => throw new InvalidOperationException("planted"));
        Actions.ScheduleRepeatedly(Soon, Soon, () =>
        {
            if (again.Task.IsCompleted) return;
            if (done.Task.IsCompleted) again.SetResult();
            throw new InvalidOperationException("planted");
        });
        Actions.ScheduleOnce(Soon, done.SetResult);
        await done.Task.WaitAsync(Patience);
        await again.Task.WaitAsync(Patience);
        Assert.False(late.Task.IsCompleted);
    }

    [Fact(DisplayName = "A repeated timer that cancels itself is not run again")]
    public async Task Repeated()
    {
        var (runs, cancelable, done) = (0, new Cancelable(Actions), NewEnd());
        Actions.ScheduleRepeatedly(TimeSpan.Zero, TimeSpan.FromMilliseconds(10), () =>
        {
            if (++runs == 3) cancelable.Cancel();
        }, cancelable);
        Actions.ScheduleRepeatedly(TimeSpan.Zero, TimeSpan.FromMilliseconds(10), () =>
        {
            if (cancelable.IsCancellationRequested) done.TrySetResult();
        });
        await done.Task.WaitAsync(Patience);
        await OneTick();
        Assert.Equal(3, runs);
    }

    [Fact(DisplayName = "A timer that is cancelled by another one of the same tick is not run, though it is due")]
    public async Task Cancelled_in_its_tick()
    {
        for (var round = 0; round < 20; round++)
        {
            var (ran, cancelable, done) = (false, new Cancelable(Actions), NewEnd());
            Actions.ScheduleOnce(Soon, cancelable.Cancel);
            Actions.ScheduleOnce(Soon, () => ran = true, cancelable);
            Actions.ScheduleOnce(Soon, done.SetResult);
            await done.Task.WaitAsync(Patience);
            Assert.False(ran);
        }
    }

    [Fact(DisplayName = "CancelAfter cancels, and Cancel before it keeps what it would have done from being run twice")]
    public async Task Cancel_after()
    {
        var (cancelable, cancelled) = (new Cancelable(Actions), NewEnd());
        cancelable.Token.Register(cancelled.SetResult);
        cancelable.CancelAfter(Soon);
        await cancelled.Task.WaitAsync(Patience);
        Assert.True(cancelable.IsCancellationRequested);
        var twice = new Cancelable(Actions);
        var times = 0;
        twice.Token.Register(() => times++);
        twice.CancelAfter(Soon);
        twice.Cancel();
        await OneTick();
        Assert.Equal(1, times);
    }

    [Fact(DisplayName = "While one is run that blocks, others can be set and cancelled; all that are due meanwhile are run afterwards, repeated ones once")]
    public async Task Blocked()
    {
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        var (runs, cancelledRan, done, cancelled) = (0, false, NewEnd(), new Cancelable(Actions));
        Actions.ScheduleOnce(TimeSpan.Zero, () =>
        {
            entered.Set();
            Assert.True(leave.Wait(Patience));
        });
        Assert.True(entered.Wait(Patience));
        Actions.ScheduleRepeatedly(TimeSpan.Zero, TimeSpan.FromHours(1), () => runs++);
        Actions.ScheduleOnce(TimeSpan.Zero, () => cancelledRan = true, cancelled);
        Actions.ScheduleOnce(TimeSpan.FromMilliseconds(30), done.SetResult);
        cancelled.Cancel();
        Assert.False(done.Task.IsCompleted);
        leave.Set();
        await done.Task.WaitAsync(Patience);
        Assert.Equal((1, false), (runs, cancelledRan));
    }

    [Fact(DisplayName = "One that blocks for good does not hang the end: it is given up after the bound")]
    public void End_is_bounded()
    {
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        using var scheduler = new GridScheduler(ConfigurationFactory.ParseString("akka.scheduler { tick-duration = 10ms, shutdown-timeout = 20ms }"), NoLogger.Instance);
        ((IActionScheduler)scheduler).ScheduleOnce(TimeSpan.Zero, () =>
        {
            entered.Set();
            leave.Wait(Patience);
        });
        Assert.True(entered.Wait(Patience));
        scheduler.Dispose();
        leave.Set();
    }

    [Fact(DisplayName = "A timer may end the scheduler itself, whose thread does not wait for itself; what is left is run")]
    public async Task Ends_itself()
    {
        var (left, done) = (0, NewEnd());
        Actions.ScheduleOnce(TimeSpan.FromHours(1), () => left++);
        Actions.ScheduleOnce(Soon, () =>
        {
            _scheduler.Dispose();
            done.SetResult();
        });
        await done.Task.WaitAsync(Patience);
        Assert.Equal(1, left);
    }

    [Fact(DisplayName = "At the end what is left is run once, since somebody may wait for it, and nothing can be set any more")]
    public void End()
    {
        var (runs, cancelled) = (0, new Cancelable(Actions));
        Actions.ScheduleOnce(TimeSpan.FromHours(1), () => throw new InvalidOperationException("planted"));
        Actions.ScheduleOnce(TimeSpan.FromHours(1), () => runs++);
        Actions.ScheduleRepeatedly(TimeSpan.FromHours(1), TimeSpan.FromHours(1), () => runs++);
        Actions.ScheduleOnce(TimeSpan.FromHours(1), () => runs++, cancelled);
        cancelled.Cancel();
        _scheduler.Dispose();
        _scheduler.Dispose();
        Assert.Equal(2, runs);
        Assert.Throws<SchedulerException>(() => Actions.ScheduleOnce(TimeSpan.Zero, () => runs++));
    }

    [Fact(DisplayName = "The longest delays and intervals there are hold nobody up, and negative ones are refused")]
    public async Task Extremes()
    {
        var (early, done) = (0, NewEnd());
        Actions.ScheduleOnce(TimeSpan.MaxValue, () => early++);
        Actions.ScheduleRepeatedly(TimeSpan.MaxValue, TimeSpan.MaxValue, () => early++);
        Actions.ScheduleRepeatedly(TimeSpan.Zero, TimeSpan.MaxValue, () => done.TrySetResult());
        await done.Task.WaitAsync(Patience);
        await OneTick();
        Assert.Equal(0, early);
        Assert.Throws<ArgumentOutOfRangeException>(() => Actions.ScheduleOnce(TimeSpan.FromMilliseconds(-1), () => early++));
        Assert.Throws<ArgumentOutOfRangeException>(() => Actions.ScheduleRepeatedly(TimeSpan.Zero, TimeSpan.Zero, () => early++));
        // An interval of less than a millisecond is not none.
        var cancelable = new Cancelable(Actions);
        var third = NewEnd();
        var runs = 0;
        Actions.ScheduleRepeatedly(TimeSpan.Zero, TimeSpan.FromTicks(1), () =>
        {
            if (++runs != 3) return;
            cancelable.Cancel();
            third.SetResult();
        }, cancelable);
        await third.Task.WaitAsync(Patience);
    }

    [Fact(DisplayName = "A tick of less than a millisecond is refused, with the setting's name")]
    public void No_tick()
    {
        var refused = Assert.Throws<ConfigurationException>(() => new GridScheduler(ConfigurationFactory.ParseString("akka.scheduler.tick-duration = 0s"), NoLogger.Instance));
        Assert.Contains("akka.scheduler.tick-duration", refused.Message, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Its clocks go forward, and its time is the world's")]
    public void Clocks()
    {
        ITimeProvider time = _scheduler;
        var (before, between) = (time.HighResMonotonicClock, time.MonotonicClock);
        Assert.InRange(between, before, time.HighResMonotonicClock);
        var now = DateTimeOffset.UtcNow;
        Assert.InRange(time.Now, now, DateTimeOffset.UtcNow);
    }

    [Fact(DisplayName = "An actor system uses it: single, repeated and cancelled timers, receive timeouts, and its end")]
    public async Task Actors()
    {
        var system = ActorSystem.Create("grid", ConfigurationFactory.ParseString("akka { loglevel = OFF, stdout-loglevel = OFF, scheduler { tick-duration = 10ms\n"
            + $"implementation = \"{typeof(GridScheduler).FullName}, {typeof(GridScheduler).Assembly.GetName().Name}\" }} }}"));
        Assert.IsType<GridScheduler>(system.Scheduler);
        var done = NewEnd();
        system.ActorOf(Props.Create(() => new Waiter(done)));
        await done.Task.WaitAsync(Patience);
        var scheduler = system.Scheduler;
        await system.Terminate().WaitAsync(Patience);
        Assert.Throws<SchedulerException>(() => scheduler.Advanced.ScheduleOnce(TimeSpan.Zero, () => { }));
    }

    private static TaskCompletionSource NewEnd() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Whatever was due when this was called has been run.</summary>
    private async Task OneTick()
    {
        var passed = NewEnd();
        Actions.ScheduleOnce(Soon * 2, passed.SetResult);
        await passed.Task.WaitAsync(Patience);
    }

    private sealed class Waiter : ReceiveActor, IWithTimers
    {
        private int _repeats;

        public Waiter(TaskCompletionSource done)
        {
            Receive<string>(message => message == "single", _ => Timers.StartPeriodicTimer("repeated", "repeated", TimeSpan.FromMilliseconds(10)));
            Receive<string>(message => message == "repeated", _ =>
            {
                if (++_repeats < 3) return;
                Timers.Cancel("repeated");
                SetReceiveTimeout(TimeSpan.FromMilliseconds(10));
            });
            Receive<ReceiveTimeout>(_ => done.TrySetResult());
        }

        public ITimerScheduler Timers { get; set; } = null!;

        protected override void PreStart() => Timers.StartSingleTimer("single", "single", TimeSpan.FromMilliseconds(10));
    }
}
