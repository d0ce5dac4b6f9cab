using System.Diagnostics;
using Cluster.Node.Chaos;

namespace Cluster.Node.Cli.Chaos;

/// <summary>The time from one fault to the next, and what clients saw in it. Thread-safe.</summary>
internal sealed class FaultWindow(string fault, IReadOnlyList<string> victims, int clients)
{
    private readonly Lock _lock = new();
    private readonly TimeSpan[] _gaps = new TimeSpan[clients];
    private readonly bool[] _hit = new bool[clients];
    private readonly long[] _wrong = new long[Enum.GetValues<ViolationKind>().Length];
    private long _writes;

    /// <summary>What struck at its beginning: a row of the report.</summary>
    public string Fault => fault;

    /// <summary>The window after this one; null while this is the present one.</summary>
    public FaultWindow? Next { get; set; }

    public long WritesAcknowledged => Interlocked.Read(ref _writes);

    public long Count(ViolationKind kind) => Interlocked.Read(ref _wrong[(int)kind]);

    /// <summary>Longest time between two answers to one client that is connected to a node that was not hit; null when there was none.</summary>
    public TimeSpan? Gap => Longest(hit: false);

    /// <summary>The same for clients of a node that was hit, and for those that had to connect anew.</summary>
    public TimeSpan? OwnNodeGap => Longest(hit: true);

    public void OnWrite() => Interlocked.Increment(ref _writes);

    public void OnWrongRead(ViolationKind kind) => Interlocked.Increment(ref _wrong[(int)kind]);

    /// <param name="node">The node that the client is connected to.</param>
    public void OnGap(int client, TimeSpan gap, string node, bool reconnected)
    {
        lock (_lock)
        {
            if (gap > _gaps[client]) _gaps[client] = gap;
            _hit[client] |= reconnected || victims.Contains(node);
        }
    }

    private TimeSpan? Longest(bool hit)
    {
        lock (_lock)
        {
            TimeSpan? longest = null;
            for (var client = 0; client < _gaps.Length; client++)
            {
                if (_hit[client] != hit || _gaps[client] <= (longest ?? TimeSpan.Zero)) continue;
                longest = _gaps[client];
            }
            return longest;
        }
    }
}

/// <summary>All windows of a run, oldest first. Thread-safe.</summary>
internal sealed class FaultLog(int clients)
{
    /// <summary>Before the first fault.</summary>
    public const string Calm = "(none)";

    /// <summary>After the last one, when everything is read back.</summary>
    public const string End = "(read back)";

    private readonly Lock _lock = new();
    private readonly List<FaultWindow> _windows = [new FaultWindow(Calm, [], clients)];

    public FaultWindow Present
    {
        get
        {
            lock (_lock) return _windows[^1];
        }
    }

    public IReadOnlyList<FaultWindow> Windows
    {
        get
        {
            lock (_lock) return [.. _windows];
        }
    }

    /// <param name="fault">Its row in the report.</param>
    /// <param name="victims">The nodes that it hits.</param>
    public FaultWindow Open(string fault, params IReadOnlyList<string> victims)
    {
        lock (_lock)
        {
            var window = new FaultWindow(fault, victims, clients);
            _windows[^1].Next = window;
            _windows.Add(window);
            return window;
        }
    }
}

/// <summary>
/// One client's answers, one after the other. A gap counts for the first fault that struck in it; without one, for the window that it
/// is in. Not thread-safe.
/// </summary>
internal sealed class GapMeter(FaultLog log, int client)
{
    private FaultWindow _window = log.Present;
    private long _last = Stopwatch.GetTimestamp();
    private bool _reconnected;

    /// <summary>Time since the last answer.</summary>
    public TimeSpan Waiting => Stopwatch.GetElapsedTime(Volatile.Read(ref _last));

    public FaultWindow Window => _window;

    /// <summary>The connection is gone: the gap that is open now is that of a client whose node was hit.</summary>
    public void OnDisconnected() => _reconnected = true;

    /// <param name="node">The node that answered.</param>
    public void OnAnswer(string node)
    {
        var now = Stopwatch.GetTimestamp();
        var struck = _window.Next ?? _window;
        struck.OnGap(client, Stopwatch.GetElapsedTime(_last, now), node, _reconnected);
        _window = log.Present;
        _reconnected = false;
        Volatile.Write(ref _last, now);
    }
}
