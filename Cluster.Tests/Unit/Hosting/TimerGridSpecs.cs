using Akka.Actor;
using Akka.Dispatch;
using Cluster.Node.Hosting.Scheduling;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>Akka's timers, by a clock of the test's own.</summary>
public sealed class TimerGridSpecs
{
    private const long TickMs = 50;
    private readonly TimerGrid _grid = new(TickMs);
    private readonly List<(long AtMs, string What)> _ran = [];
    private long _nowMs;

    [Theory(DisplayName = "A timer is due at the first tick that is not before what was asked for")]
    [InlineData(0, 0, 0)]
    [InlineData(0, 1, 50)]
    [InlineData(0, 50, 50)]
    [InlineData(13, 37, 50)]
    [InlineData(13, 38, 100)]
    [InlineData(99, 5000, 5100)]
    public void Once(long nowMs, long delayMs, long dueMs)
    {
        Assert.Equal(dueMs, Add("one", nowMs, delayMs));
        RunUntil(dueMs - 1);
        Assert.Empty(_ran);
        RunUntil(dueMs + 10_000);
        Assert.Equal([(dueMs, "one")], _ran);
        Assert.Null(_grid.NextDueMs());
    }

    [Theory(DisplayName = "Whenever it was set, a timer that repeats is due in time at first, never later than an interval after the time before, and in the end at all multiples of its interval")]
    [InlineData(200)]
    [InlineData(500)]
    [InlineData(1000)]
    [InlineData(10_000)]
    public void Repeated(long intervalMs)
    {
        for (long nowMs = 0; nowMs < 1000; nowMs += 37)
        {
            _ran.Clear();
            var grid = new TimerGrid(TickMs);
            grid.Add(nowMs, intervalMs, intervalMs, new Work(() => { }), null);
            var times = TimesOf(grid, 6);
            Assert.InRange(times[0], nowMs + intervalMs, nowMs + intervalMs + TickMs - 1);
            foreach (var (before, after) in times.Zip(times.Skip(1))) Assert.InRange(after - before, TickMs, intervalMs);
            Assert.All(times.Skip(1), atMs => Assert.Equal(0, atMs % intervalMs));
        }
    }

    [Theory(DisplayName = "A timer whose interval is long, or no multiple of a tick, keeps the pace that it began with")]
    [InlineData(20_000)]
    [InlineData(330)]
    public void Unaligned(long intervalMs)
    {
        _grid.Add(13, 400, intervalMs, new Work(() => { }), null);
        var times = TimesOf(_grid, 5);
        for (var index = 0; index < times.Count; index++) Assert.InRange(times[index], 413 + index * intervalMs, 413 + index * intervalMs + TickMs - 1);
    }

    [Fact(DisplayName = "Timers of 200 ms, 500 ms and a second, set at any time, share their ticks: six a second")]
    public void Meet()
    {
        var nowMs = 3L;
        foreach (var intervalMs in new[] { 200, 200, 200, 200, 500, 500, 1000, 1000, 1000 }) Add("any", nowMs += 61, intervalMs, intervalMs);
        RunUntil(10_000);
        Assert.Equal([5000, 5200, 5400, 5500, 5600, 5800], _ran.Select(ran => ran.AtMs).Where(atMs => atMs is >= 5000 and < 6000).Distinct());
        Assert.Equal(4 * 5 + 2 * 2 + 3, _ran.Count(ran => ran.AtMs is >= 5000 and < 6000));
    }

    [Fact(DisplayName = "A timer that is cancelled is not run, and nobody wakes up for it; a repeated one not again")]
    public void Cancelled()
    {
        var (once, repeated) = (new Switch(), new Switch());
        Add("once", 0, 100, cancelable: once);
        Add("repeated", 0, 50, 50, repeated);
        Add("last", 0, 1000);
        RunUntil(50);
        once.Cancel();
        repeated.Cancel();
        Assert.Equal(1000, _grid.NextDueMs());
        RunUntil(2000);
        Assert.Equal([(50, "repeated"), (1000, "last")], _ran);
    }

    [Fact(DisplayName = "Long timers that are set and cancelled again and again fill no memory, and take no others with them")]
    public void Swept()
    {
        for (var number = 0; number < 700; number++) Add("kept", number, 3_600_000);
        for (var number = 0; number < 100_000; number++)
        {
            var cancelable = new Switch();
            Add("cancelled", number, 3_600_000 - number, cancelable: cancelable);
            cancelable.Cancel();
            Assert.InRange(_grid.Count, 1, 1 + 2 * 1024);
        }
        RunUntil(3_700_000);
        Assert.Equal(700, _ran.Count(ran => ran.What == "kept"));
        Assert.Equal(700, _ran.Count);
    }

    [Fact(DisplayName = "A process that stood still runs each of its repeated timers once, and goes on at their multiples")]
    public void Stood_still()
    {
        Add("beat", 0, 500, 500);
        Add("look", 0, 200, 200);
        var due = new List<GridTimer>();
        _grid.TakeDue(9_333, due);
        Assert.Equal(2, due.Count);
        Assert.Equal(9_400, _grid.NextDueMs());
        RunUntil(10_000);
        Assert.Equal([(9_400, "look"), (9_500, "beat"), (9_600, "look"), (9_800, "look"), (10_000, "beat"), (10_000, "look")], _ran);
    }

    [Fact(DisplayName = "Of one tick, what was set first is run first; at the end what is left is run once, but not what was cancelled")]
    public void Order()
    {
        var cancelled = new Switch();
        Add("a", 10, 40);
        Add("b", 20, 25);
        Add("c", 0, 50);
        Add("later", 0, 5_000, 5_000);
        Add("never", 0, 5_000, cancelable: cancelled);
        RunUntil(50);
        Assert.Equal(["a", "b", "c"], _ran.Select(ran => ran.What));
        cancelled.Cancel();
        var left = new List<GridTimer>();
        _grid.TakeAll(left);
        Assert.Single(left);
        Assert.Null(_grid.NextDueMs());
    }

    private long Add(string what, long nowMs, long delayMs, long intervalMs = 0, ICancelable? cancelable = null) =>
        _grid.Add(nowMs, delayMs, intervalMs, new Work(() => _ran.Add((_nowMs, what))), cancelable);

    private void RunUntil(long endMs)
    {
        while (_grid.NextDueMs() is { } dueMs && dueMs <= endMs)
        {
            _nowMs = dueMs;
            var due = new List<GridTimer>();
            _grid.TakeDue(dueMs, due);
            foreach (var timer in due) timer.Work.Run();
        }
    }

    private static List<long> TimesOf(TimerGrid grid, int count)
    {
        var times = new List<long>();
        while (times.Count < count)
        {
            var dueMs = grid.NextDueMs()!.Value;
            grid.TakeDue(dueMs, []);
            times.Add(dueMs);
        }
        return times;
    }

    private sealed class Switch : ICancelable
    {
        public bool IsCancellationRequested { get; private set; }

        public CancellationToken Token => throw new NotSupportedException();

        public void Cancel() => IsCancellationRequested = true;

        public void Cancel(bool throwOnFirstException) => Cancel();

        public void CancelAfter(TimeSpan delay) => throw new NotSupportedException();

        public void CancelAfter(int millisecondsDelay) => throw new NotSupportedException();
    }

    private sealed class Work(Action action) : IRunnable
    {
        public void Run() => action();

        public void Execute() => Run();
    }
}
