using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>A loop whose clock and turns the test drives: deterministic, on the test's thread. Sockets are the test's own.</summary>
internal sealed class FakeLoop : ILoop
{
    private readonly Queue<Action> _posted = new();
    private readonly List<Timer> _timers = [];
    private readonly Lock _lock = new();
    private long _order;

    public long NowMs { get; private set; } = 1000;

    public bool IsCurrent => true;

    public int Timers => _timers.Count;

    public long FreshNowMs() => NowMs;

    public void Post(Action work)
    {
        lock (_lock) _posted.Enqueue(work);
    }

    public ILoopTimer Schedule(int delayMs, Action work)
    {
        var timer = new Timer(this, NowMs + delayMs, ++_order, work);
        _timers.Add(timer);
        return timer;
    }

    public void AddPhase(int order, ITurnPhase phase) => throw new NotSupportedException();

    public ILoopSocket Adopt(Socket socket, ISocketEvents events) => throw new NotSupportedException();

    public ILoopSocket Connect(EndPoint endPoint, ISocketEvents events) => throw new NotSupportedException();

    public ILoopListener Listen(EndPoint endPoint, Action<Socket> accept) => throw new NotSupportedException();

    /// <summary>Runs what was posted and what is due, until nothing is.</summary>
    public void Run()
    {
        while (TakePosted() is { } work || TakeDue(out work)) work();
    }

    public void Advance(int ms)
    {
        NowMs += ms;
        Run();
    }

    /// <summary>Runs turns until the condition holds; work that other threads post is waited for.</summary>
    public void RunUntil(Func<bool> condition)
    {
        var reached = SpinWait.SpinUntil(
            () =>
            {
                Run();
                return condition();
            },
            TimeSpan.FromSeconds(20));
        Assert.True(reached, "the condition was not reached");
    }

    private Action? TakePosted()
    {
        lock (_lock) return _posted.TryDequeue(out var work) ? work : null;
    }

    private bool TakeDue(out Action work)
    {
        var due = _timers.Where(timer => timer.AtMs <= NowMs).MinBy(timer => (timer.AtMs, timer.Order));
        work = due?.Work ?? (() => { });
        return due is not null && _timers.Remove(due);
    }

    private sealed class Timer(FakeLoop loop, long atMs, long order, Action work) : ILoopTimer
    {
        public long AtMs => atMs;

        public long Order => order;

        public Action Work => work;

        public void Cancel() => loop._timers.Remove(this);
    }
}
