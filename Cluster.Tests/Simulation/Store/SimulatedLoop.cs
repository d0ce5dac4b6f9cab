using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A loop without a thread or a socket: the test turns it. Time moves only when the test says so.</summary>
public sealed class SimulatedLoop : ILoop
{
    private readonly Queue<Action> _posted = new();
    private readonly SortedDictionary<int, List<ITurnPhase>> _phases = [];
    private readonly List<Timer> _timers = [];

    public long NowMs { get; private set; }

    public bool IsCurrent => true;

    public long FreshNowMs() => NowMs;

    public void Post(Action work) => _posted.Enqueue(work);

    public ILoopTimer Schedule(int delayMs, Action work)
    {
        var timer = new Timer(NowMs + delayMs, work);
        _timers.Add(timer);
        return timer;
    }

    public void AddPhase(int order, ITurnPhase phase)
    {
        if (!_phases.TryGetValue(order, out var list)) _phases.Add(order, list = []);
        list.Add(phase);
    }

    public ILoopSocket Adopt(Socket socket, ISocketEvents events) => throw new NotSupportedException();

    public ILoopSocket Connect(EndPoint endPoint, ISocketEvents events) => throw new NotSupportedException();

    public ILoopListener Listen(EndPoint endPoint, Action<Socket> accept) => throw new NotSupportedException();

    /// <summary>Everything that was scheduled and all phases are dropped, as when the process dies.</summary>
    public void Clear()
    {
        _posted.Clear();
        _phases.Clear();
        _timers.Clear();
    }

    public Action? TurnBegins { get; set; }

    public Action? TurnEnds { get; set; }

    /// <summary>One turn: what was posted before it, due timers, and the phases until none does anything.</summary>
    public void Turn()
    {
        TurnBegins?.Invoke();
        for (var left = _posted.Count; left > 0; left--) _posted.Dequeue()();
        foreach (var timer in _timers.Where(timer => timer.DueMs <= NowMs).ToArray())
        {
            _timers.Remove(timer);
            if (!timer.IsCancelled) timer.Work();
        }
        while (_phases.Values.SelectMany(list => list).ToArray().Aggregate(false, (worked, phase) => phase.Run() | worked))
        {
        }
        TurnEnds?.Invoke();
    }

    /// <summary>Turns until nothing is posted any more; a bound stands against a loop that feeds itself.</summary>
    public void Settle()
    {
        Turn();
        for (var turns = 0; _posted.Count > 0; turns++)
        {
            Assert.True(turns < 100_000, "the loop does not come to rest");
            Turn();
        }
    }

    /// <summary>What is due then is done in the next turn.</summary>
    public void Pass(int ms) => NowMs += ms;

    public void Advance(int ms)
    {
        NowMs += ms;
        Settle();
    }

    private sealed class Timer(long dueMs, Action work) : ILoopTimer
    {
        public long DueMs { get; } = dueMs;

        public Action Work { get; } = work;

        public bool IsCancelled { get; private set; }

        public void Cancel() => IsCancelled = true;
    }
}
