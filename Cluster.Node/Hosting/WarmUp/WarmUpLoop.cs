using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Wire;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>A loop on its caller's thread, with a clock of its own that jumps to the next timer: nothing waits. It has no sockets. One thread.</summary>
internal sealed class WarmUpLoop : ILoop
{
    private readonly Queue<Action> _posted = new();
    private readonly SortedList<int, ITurnPhase> _phases = [];
    private readonly PriorityQueue<Timer, (long, long)> _timers = new();
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private long _order;

    public long NowMs { get; private set; } = 1;

    public bool IsCurrent => Environment.CurrentManagedThreadId == _thread;

    public long FreshNowMs() => NowMs;

    public void Post(Action work) => _posted.Enqueue(work);

    public ILoopTimer Schedule(int delayMs, Action work)
    {
        var timer = new Timer(NowMs + delayMs, work);
        _timers.Enqueue(timer, (timer.DueMs, _order++));
        return timer;
    }

    public void AddPhase(int order, ITurnPhase phase) => _phases.Add(order, phase);

    public ILoopSocket Adopt(Socket socket, ISocketEvents events) => throw new NotSupportedException();

    public ILoopSocket Connect(EndPoint endPoint, ISocketEvents events) => throw new NotSupportedException();

    public ILoopListener Listen(EndPoint endPoint, Action<Socket> accept) => throw new NotSupportedException();

    /// <summary>False: it did not come to that within so many turns.</summary>
    public bool RunUntil(Func<bool> reached, int turnsMax, CancellationToken cancellation)
    {
        for (var turn = 0; turn < turnsMax && !reached(); turn++)
        {
            cancellation.ThrowIfCancellationRequested();
            Turn();
        }
        return reached();
    }

    private void Turn()
    {
        var worked = false;
        while (_posted.TryDequeue(out var work))
        {
            work();
            worked = true;
        }
        foreach (var phase in _phases.Values) worked |= phase.Run();
        if (!worked && _timers.TryDequeue(out var timer, out _)) Fire(timer);
    }

    private void Fire(Timer timer)
    {
        if (timer.Work is not { } work) return;
        NowMs = Math.Max(NowMs, timer.DueMs);
        work();
    }

    private sealed class Timer(long dueMs, Action work) : ILoopTimer
    {
        public long DueMs => dueMs;

        public Action? Work { get; private set; } = work;

        public void Cancel() => Work = null;
    }
}
