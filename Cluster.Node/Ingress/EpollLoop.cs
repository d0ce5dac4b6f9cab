using System.Net;
using System.Net.Sockets;
using System.Numerics;
using System.Runtime.CompilerServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Ingress;

/// <summary>
/// The I/O loop on one thread of its own over epoll, level-triggered (ADR 0004). A turn: wait; socket events, due
/// timers, posted work, closes; the phases; one gathered send per socket with queued bytes. In a steady state nothing
/// is allocated.
/// <para>
/// An exception out of a handler means that a machine contradicts itself: the loop logs it, calls <c>fatal</c> and
/// ends. The host stops the process.
/// </para>
/// </summary>
public sealed partial class EpollLoop : ILoop, IAsyncDisposable
{
    private const int DescriptorsInitial = 64;
    private readonly ILogger _log;
    private readonly Action<Exception> _fatal;
    private readonly Thread _thread;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int _epoll = LibC.CreateEpoll();
    private readonly int _wake = LibC.CreateEvent();
    private readonly TimerHeap _timers = new();
    private readonly List<(int Order, ITurnPhase Phase)> _phases = [];
    private readonly List<LoopSocket> _toSend = [];
    private readonly List<LoopSocket> _toDrain = [];
    private readonly List<LoopEntry> _toClose = [];
    private LoopEntry?[] _entries = new LoopEntry?[DescriptorsInitial];
    private long _nowMs = LibC.BootTimeMs();
    private bool _started;
    private bool _phasesUnfinished;
    private int _flowsInTurn;
    private ulong _sharedUntil;

    // Under _postLock.
    private readonly Lock _postLock = new();
    private List<Action> _posted = [];
    private List<Action> _postedSpare = [];
    private bool _stopping;
    private bool _ending;
    private bool _released;

    /// <param name="name">Of the thread.</param>
    /// <param name="log">Of the loop's own events.</param>
    /// <param name="fatal">Called once, on the loop's thread, when a handler threw; the loop has ended then.</param>
    public EpollLoop(string name, ILogger log, Action<Exception> fatal)
    {
        (_log, _fatal) = (log, fatal);
        _thread = new Thread(Run) { Name = name, IsBackground = true };
        LibC.Control(_epoll, LibC.EpollControlAdd, _wake, LibC.EpollIn);
    }

    public LoopStages Stages { get; } = new();

    public long NowMs => Volatile.Read(ref _nowMs);

    public bool IsCurrent => Thread.CurrentThread == _thread;

    /// <summary>Number of the current turn. Loop thread only.</summary>
    internal ulong Turn { get; private set; }

    /// <summary>Sockets and listeners that are registered. Loop thread only.</summary>
    internal int EntryCount { get; private set; }

    /// <summary>Several flows read in this turn, or in one not long ago. Loop thread only.</summary>
    internal bool SharesTurns => Turn <= _sharedUntil;

    internal ILogger Log => _log;

    /// <summary>Starts the thread. Phases may be added before.</summary>
    public void Start()
    {
        _started = true;
        _thread.Start();
    }

    public long FreshNowMs() => LibC.BootTimeMs();

    public void Post(Action work)
    {
        lock (_postLock)
        {
            if (_ending) return;
            Invariant.That(_posted.Count < LoopLimits.PostedMax, "more work was posted to a loop than it can ever run");
            _posted.Add(work);
            if (_posted.Count == 1) LibC.Signal(_wake);
        }
    }

    public ILoopTimer Schedule(int delayMs, Action work)
    {
        RequireCurrent();
        return _timers.Add(LibC.BootTimeMs() + Math.Max(0, delayMs), work);
    }

    public void AddPhase(int order, ITurnPhase phase)
    {
        RequireCurrent();
        var index = _phases.FindIndex(known => known.Order > order);
        _phases.Insert(index < 0 ? _phases.Count : index, (order, phase));
    }

    public ILoopSocket Adopt(Socket socket, ISocketEvents events)
    {
        RequireCurrent();
        var adopted = new LoopSocket(this, socket, events, RemoteOf(socket));
        adopted.StartConnected();
        return adopted;
    }

    public ILoopSocket Connect(EndPoint endPoint, ISocketEvents events)
    {
        RequireCurrent();
        var unix = endPoint.AddressFamily == AddressFamily.Unix;
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, unix ? ProtocolType.Unspecified : ProtocolType.Tcp);
        var connecting = new LoopSocket(this, socket, events, endPoint);
        connecting.StartConnecting(endPoint);
        return connecting;
    }

    /// <summary>
    /// Binds at once: a port in use throws here (<see cref="SocketException"/>), on the caller's thread.
    /// </summary>
    public ILoopListener Listen(EndPoint endPoint, Action<Socket> accept)
    {
        var listener = LoopListener.Bind(this, endPoint, accept);
        if (IsCurrent) listener.Start();
        else Post(listener.Start);
        return listener;
    }

    /// <summary>Closes every socket and ends the thread. Any thread but the loop's.</summary>
    public async ValueTask DisposeAsync()
    {
        Invariant.That(!IsCurrent, "a loop was asked to wait for its own end");
        lock (_postLock)
        {
            _stopping = true;
            if (!_ending) LibC.Signal(_wake);
        }
        if (_started) await _ended.Task.ConfigureAwait(false);
        else Release();
    }

    internal void RequireCurrent() => Invariant.That(IsCurrent || !_started, "a member of the loop was used on another thread");

    internal void Register(LoopEntry entry, uint interest)
    {
        if (entry.Descriptor >= _entries.Length)
            Array.Resize(ref _entries, (int)BitOperations.RoundUpToPowerOf2((uint)entry.Descriptor + 1));
        Invariant.That(_entries[entry.Descriptor] is null, "a descriptor was registered twice");
        _entries[entry.Descriptor] = entry;
        EntryCount++;
        if (interest != 0) LibC.Control(_epoll, LibC.EpollControlAdd, entry.Descriptor, interest);
    }

    /// <summary>Interest 0 takes the descriptor out of epoll, which else would go on to report hang-ups.</summary>
    internal void ChangeInterest(LoopEntry entry, uint before, uint interest)
    {
        if (before == interest) return;
        var operation = before == 0 ? LibC.EpollControlAdd : interest == 0 ? LibC.EpollControlRemove : LibC.EpollControlModify;
        LibC.Control(_epoll, operation, entry.Descriptor, interest);
    }

    internal void Unregister(LoopEntry entry)
    {
        Invariant.That(ReferenceEquals(_entries[entry.Descriptor], entry), "a descriptor of another entry was given back");
        _entries[entry.Descriptor] = null;
        EntryCount--;
    }

    /// <summary>One more flow reads in this turn.</summary>
    internal void NoteFlow()
    {
        if (++_flowsInTurn > 1) _sharedUntil = Turn + LoopLimits.SharedTurns;
    }

    internal void SendLater(LoopSocket socket) => _toSend.Add(socket);

    internal void DrainLater(LoopSocket socket) => _toDrain.Add(socket);

    /// <summary>
    /// The entry is finished after this turn's events: until then its descriptor stays open, so that no event of the
    /// batch can meet another socket under the same number, and no handler is called within its own call.
    /// </summary>
    internal void CloseLater(LoopEntry entry) => _toClose.Add(entry);

    private void Run()
    {
        try
        {
            while (TakeTurn())
            {
            }
            CloseAll("the node's I/O loop stops");
        }
        catch (Exception exception)
        {
            // Not hidden: what a handler left half done can't be trusted, so that the loop ends and the host stops the process.
            LogFatal(_log, _thread.Name, exception);
            _fatal(exception);
        }
        finally
        {
            Release();
            _ended.TrySetResult();
        }
    }

    [SkipLocalsInit]
    private unsafe bool TakeTurn()
    {
        var events = stackalloc byte[LoopLimits.EventsPerTurnMax * 16];
        var count = LibC.Wait(_epoll, events, LoopLimits.EventsPerTurnMax, TimeoutMs());
        Stages.BeginTurn();
        Volatile.Write(ref _nowMs, LibC.BootTimeMs());
        Turn++;
        _flowsInTurn = 0;
        var signalled = false;
        // The kernel tells of what stays readable in the same order every time: of a flow's sockets another one is the first in each turn that is shared.
        var first = SharesTurns && count > 0 ? (int)(Turn % (uint)count) : 0;
        for (var place = 0; place < count; place++)
        {
            var index = place + first < count ? place + first : place + first - count;
            var descriptor = LibC.DescriptorAt(events, index);
            if (descriptor == _wake) signalled = true;
            else _entries[descriptor]?.OnEvents(LibC.EventsAt(events, index));
        }
        RunDrained();
        _timers.RunDue(_nowMs);
        if (signalled && !RunPosted()) return false;
        RunPhases();
        SendQueued();
        Stages.EndTurn();
        return true;
    }

    private int TimeoutMs()
    {
        if (_phasesUnfinished || _toClose.Count > 0 || _toDrain.Count > 0 || _toSend.Count > 0) return 0;
        return _timers.MsUntilNext(LibC.BootTimeMs());
    }

    /// <summary>Runs what was posted before this call. False when the loop is to stop.</summary>
    private bool RunPosted()
    {
        List<Action> work;
        lock (_postLock)
        {
            LibC.ClearSignal(_wake);
            (work, _posted, _postedSpare) = (_posted, _postedSpare, _posted);
        }
        foreach (var action in work) action();
        work.Clear();
        lock (_postLock) return !_stopping;
    }

    private void RunDrained()
    {
        for (var index = 0; index < _toDrain.Count; index++) _toDrain[index].TellDrained();
        _toDrain.Clear();
    }

    private bool RunCloses()
    {
        if (_toClose.Count == 0) return false;
        for (var index = 0; index < _toClose.Count; index++) _toClose[index].FinishClose();
        _toClose.Clear();
        return true;
    }

    private void RunPhases()
    {
        _phasesUnfinished = true;
        for (var pass = 0; pass < LoopLimits.PhasePassesMax && _phasesUnfinished; pass++)
        {
            _phasesUnfinished = RunCloses();
            for (var index = 0; index < _phases.Count; index++) _phasesUnfinished |= _phases[index].Phase.Run();
        }
    }

    private void SendQueued()
    {
        for (var index = 0; index < _toSend.Count; index++) _toSend[index].SendQueued();
        _toSend.Clear();
    }

    private void CloseAll(string detail)
    {
        lock (_postLock) _ending = true;
        for (var descriptor = 0; descriptor < _entries.Length; descriptor++) _entries[descriptor]?.Close(detail);
        for (var pass = 0; pass < LoopLimits.PhasePassesMax && RunCloses(); pass++)
        {
        }
    }

    private void Release()
    {
        lock (_postLock)
        {
            if (_released) return;
            (_ending, _released) = (true, true);
            LibC.Close(_wake);
            LibC.Close(_epoll);
        }
    }

    /// <summary>Null when the peer is gone already; the first read will say so.</summary>
    private static EndPoint? RemoteOf(Socket socket)
    {
        try
        {
            return socket.RemoteEndPoint;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Critical, Message = "I/O loop {Loop}: a handler failed; the node can't go on")]
    private static partial void LogFatal(ILogger log, string? loop, Exception exception);
}

/// <summary>Something with a descriptor that the loop watches.</summary>
internal abstract class LoopEntry
{
    public abstract int Descriptor { get; }

    public abstract void OnEvents(uint events);

    /// <summary>By the loop's end.</summary>
    public abstract void Close(string detail);

    /// <summary>Gives everything back; called once by the loop after <see cref="EpollLoop.CloseLater"/>.</summary>
    public abstract void FinishClose();
}
