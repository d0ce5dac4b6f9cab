using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Client;

/// <summary>
/// A volume as this process uses it: one session at its owner (R11), shared by all connections of the process, so that a FLUSH on one
/// covers what
/// was acknowledged on the others. I/O is split into records, encoded, numbered, and held until it is answered; a lost owner is looked
/// for and everything
/// unanswered is sent again under the same ids (R12, P5).
/// <code>
///  Connecting --OnLinked--> Opening --SessionOpened--> Ready
///      ^  ^--OnNotLinked, pause--'|                       |
///      '---- link lost; Offline, NotOwner, StaleEpoch, Busy; no answer -'
///  any --StaleSession (unless it is not bound and the attachment now allows this node), Deleted--> Ended
///  any --last user gone and nothing pending--> Closed
/// </code>
/// Loop thread only, except where said otherwise.
/// </summary>
public sealed partial class VolumeSession : IBlockDevice, IOwnerEvents
{
    private enum State : byte { Connecting, Opening, Ready, Ended, Closed }

    private readonly IOwnerGateway _gateway;
    private readonly ILogger _logger;
    private readonly Action<VolumeSession> _onClosed;
    private readonly Action<long, long>? _onFound;
    private readonly Action _holdCheck;
    private readonly Stack<SessionOperation> _freeOperations = [];
    private State _state = State.Connecting;
    private SessionId _session;
    private int _users;
    private SessionOperation? _first;
    private SessionOperation? _last;
    private SessionOperation? _emit;

    /// <summary>Trims and zeroes of which not all is emitted.</summary>
    private int _trimsWaiting;

    /// <summary>Reads and looks at what is allocated of which not all is emitted.</summary>
    private int _readsWaiting;
    private int _pending;
    private bool _pumping;

    /// <summary>
    /// Writes were given up that the owner may hold for want of room, and would do later, over a trim or zeroing of the same blocks that has passed them since. Nothing more goes over this link: with the next
    /// one the session is opened anew, and the owner drops what it held of it.
    /// </summary>
    private bool _hasLeftWrites;
    private long _progressMs;
    private int _holdMs;
    private ILoopTimer? _holdTimer;

    /// <summary>Of an encrypted volume; its maker disposes of it.</summary>
    private readonly BlockCipher? _cipher;

    /// <summary>Off, and empty, unless the owner says otherwise.</summary>
    private readonly CachedVolume _cached;

    internal VolumeSession(
        VolumeInfo info, IOwnerGateway gateway, ILogger logger, Action<VolumeSession> onClosed, KeptBudget budget, Action<long, long>? onFound = null,
        BlockCipher? cipher = null, ReadCache? cache = null)
    {
        (Info, _gateway, _logger, _onClosed, _onFound, _cipher) = (info, gateway, logger, onClosed, onFound, cipher);
        Loop = gateway.LoopOf(info.Id);
        _cached = new CachedVolume(cache ?? new ReadCache(0), Loop);
        SizeBytes = info.SizeBytes;
        _holdMs = info.HoldMs > 0 ? info.HoldMs : Limits.HoldMsDefault;
        _compress = info.Compression;
        _session = new SessionId(info.Attachment.Generation, gateway.NewIncarnation());
        _random = _session.Incarnation | 1;
        _holdCheck = OnHoldCheck;
        (_kept, _keptBudget, _keptCheck) = (new KeptWrites(budget), budget, OnKeptCheck);
        _connect = Connect;
        _sendBusy = SendBusy;
    }

    public ILoop Loop { get; }

    public VolumeInfo Info { get; }

    /// <summary>As the owner said last; any thread.</summary>
    public ulong SizeBytes { get; private set; }

    public bool ReadOnly { get; private set; }

    public SessionId Session => _session;

    internal CachedVolume Cached => _cached;

    /// <summary>Any thread.</summary>
    public SessionStatistics Statistics { get; } = new();

    /// <summary>I/Os submitted and not completed. Any thread.</summary>
    public int Pending => Volatile.Read(ref _pending);

    /// <summary>The owner has the session open and I/O flows.</summary>
    public bool IsReady => _state == State.Ready;

    /// <summary>The session is over; a new open makes another one.</summary>
    public bool IsOver => _state is State.Ended or State.Closed;

    /// <summary>Why it is over, else Ok.</summary>
    public IoStatus EndStatus { get; private set; } = IoStatus.Ok;

    /// <summary>How far the volume was committed as of the newest acknowledgement, in <see cref="_seenEpoch"/>, and how far it was on media (R13).</summary>
    public ulong AcknowledgedSequence { get; private set; }

    public ulong DurableSequence { get; private set; }

    /// <summary>The longest pause so far, the one under way included. Any thread.</summary>
    public long LongestGapMs =>
        Pending == 0 ? Statistics.LongestGapMs : Math.Max(Statistics.LongestGapMs, Loop.FreshNowMs() - Volatile.Read(ref _progressMs));

    public void Submit(BlockRequest request)
    {
        if (_state is State.Ended or State.Closed)
        {
            request.Complete(EndStatus == IoStatus.Ok ? IoStatus.Offline : EndStatus);
            return;
        }
        var refusal = Check(request);
        if (refusal != IoStatus.Ok)
        {
            request.Complete(refusal);
            return;
        }
        if (_pending == 0) Volatile.Write(ref _progressMs, Loop.NowMs);
        var operation = _freeOperations.Count > 0 ? _freeOperations.Pop() : new SessionOperation();
        operation.Begin(request, Loop.NowMs);
        Append(operation);
        _holdTimer ??= Loop.Schedule(ClientLimits.HoldCheckMs, _holdCheck);
        Pump();
    }

    /// <summary>One user less. After the last one, the session ends as soon as nothing is pending.</summary>
    public void Close()
    {
        Invariant.That(_users > 0, "a volume session was closed more often than opened");
        _users--;
        // Of the one who goes: what others of this process do next must not be undone by what its writes come to.
        GiveUpAbandoned();
        CloseIfUnused();
        Pump();
    }

    internal void AddUser() => _users++;

    /// <summary>A device of this host uses it, which belongs to this generation of the attachment alone: the session never goes over to another.</summary>
    internal bool IsBound { get; private set; }

    internal void Bind() => IsBound = true;

    /// <summary>A session of another generation takes its place in this process: it would only be fenced, or fence that one.</summary>
    internal void Supersede() => End(IoStatus.StaleSession, "a session of another attachment takes its place");

    private IoStatus Check(BlockRequest request)
    {
        if (request.Operation == BlockOperation.Flush) return IoStatus.Ok;
        if (request.LengthBytes == 0 || request.OffsetBytes > SizeBytes || request.LengthBytes > SizeBytes - request.OffsetBytes)
            return IoStatus.OutOfRange;
        var writes = request.Operation is BlockOperation.Write or BlockOperation.Trim or BlockOperation.WriteZeroes;
        return writes && ReadOnly ? IoStatus.ReadOnly : IoStatus.Ok;
    }

    private void Append(SessionOperation operation)
    {
        operation.Previous = _last;
        operation.Next = null;
        if (_last is null) _first = operation;
        else _last.Next = operation;
        _last = operation;
        _emit ??= operation;
        CountWaiting(operation, 1);
        Volatile.Write(ref _pending, _pending + 1);
    }

    private void Unlink(SessionOperation operation)
    {
        if (ReferenceEquals(_emit, operation)) _emit = NextToEmit(operation);
        if (!operation.AllEmitted) CountWaiting(operation, -1);
        if (operation.Previous is null) _first = operation.Next;
        else operation.Previous.Next = operation.Next;
        if (operation.Next is null) _last = operation.Previous;
        else operation.Next.Previous = operation.Previous;
        operation.Previous = operation.Next = null;
        Volatile.Write(ref _pending, _pending - 1);
    }

    /// <summary>
    /// Sends as much as the window allows: steps of partial writes first, since they hold others up, then operations in order of
    /// submission.
    /// </summary>
    private void Pump()
    {
        if (_pumping) return;
        _pumping = true;
        while (MaySend && CanIssue && _readyEdits.Count > 0) StepEdit(_readyEdits.Dequeue());
        while (MaySend && CanIssue && _emit is { } operation)
        {
            if (operation.Request.Abandoned) GiveUp(operation, IoStatus.Offline);
            else EmitPart(operation);
            while (MaySend && CanIssue && _readyEdits.Count > 0) StepEdit(_readyEdits.Dequeue());
        }
        if (_trimsWaiting > 0) PassTrims();
        if (_readsWaiting > 0) PassReads();
        _pumping = false;
        if (_hasLeftWrites && _state == State.Ready) Lose("writes were given up that the owner may hold");
    }

    private bool MaySend => _state == State.Ready && !_hasLeftWrites;

    /// <summary>
    /// R21: writes that are held for want of room fill what a session may have outstanding; a trim behind them may be what makes it. Requests that are under way at one time have no order, and the
    /// owner lets trims past what it holds too.
    /// </summary>
    private void PassTrims()
    {
        while (MaySend && CanIssueTrim && _trimsWaiting > 0 && FirstWaiting(isTrim: true) is { } operation)
        {
            if (operation.Request.Abandoned) GiveUp(operation, IoStatus.Offline);
            else EmitPart(operation);
        }
    }

    /// <summary>
    /// R21: reads go on while writes are held. A write that is answered was done before any read that is submitted after its answer is sent; of a write that is not, a read may see either content, so that it
    /// need not wait for its turn behind one. What all reads have outstanding bounds it: where reads fill the window, not writes, none passes.
    /// </summary>
    private void PassReads()
    {
        while (MaySend && CanPassRead && _readsWaiting > 0 && FirstWaiting(isTrim: false) is { } operation)
        {
            if (operation.Request.Abandoned) GiveUp(operation, IoStatus.Offline);
            else EmitPart(operation, isPassing: true);
        }
    }

    private SessionOperation? FirstWaiting(bool isTrim)
    {
        var operation = _emit;
        while (operation is not null && (operation.AllEmitted || !(isTrim ? IsTrim(operation) : IsRead(operation)))) operation = operation.Next;
        return operation;
    }

    private void CountWaiting(SessionOperation operation, int more)
    {
        if (IsRead(operation)) _readsWaiting += more;
        else if (IsTrim(operation)) _trimsWaiting += more;
    }

    private static bool IsRead(SessionOperation operation) => operation.Request.Operation is BlockOperation.Read or BlockOperation.Status;

    private static bool IsTrim(SessionOperation operation) => operation.Request.Operation is BlockOperation.Trim or BlockOperation.WriteZeroes;

    /// <summary>Trims and reads may have gone before their turn.</summary>
    private static SessionOperation? NextToEmit(SessionOperation operation)
    {
        var next = operation.Next;
        while (next is { AllEmitted: true }) next = next.Next;
        return next;
    }

    private void FinishPart(SessionOperation operation, IoStatus status)
    {
        operation.PartsOpen--;
        if (status != IoStatus.Ok) operation.Fail(status);
        CompleteIfDone(operation);
    }

    private void CompleteIfDone(SessionOperation operation)
    {
        if (operation.IsDone) Complete(operation, operation.Status);
    }

    private void Complete(SessionOperation operation, IoStatus status)
    {
        Unlink(operation);
        var request = operation.Request;
        operation.Request = null!;
        _freeOperations.Push(operation);
        Count(request, status);
        request.Complete(status);
    }

    private void Count(BlockRequest request, IoStatus status)
    {
        if (status == IoStatus.Ok)
        {
            var now = Loop.NowMs;
            Statistics.Gap(now - _progressMs);
            Volatile.Write(ref _progressMs, now);
            Statistics.Answered(request.Operation, request.LengthBytes);
            return;
        }
        Statistics.AddFailed();
        if (!request.Abandoned)
            SessionLog.Failed(_logger, Info.FullName, _gateway.NodeName, request.Operation.ToString(), request.OffsetBytes,
                    request.LengthBytes, status.ToString());
    }

    /// <summary>Completes an operation whose parts may be outstanding: they are forgotten and never sent again.</summary>
    private void GiveUp(SessionOperation operation, IoStatus status)
    {
        foreach (var request in Unanswered())
        {
            if (!ReferenceEquals(request.Operation, operation)) continue;
            _hasLeftWrites |= _state == State.Ready && request is { Kind: FrameKind.ClientWrite, Sent: true };
            Forget(request);
        }
        DropFromEdits(operation);
        Complete(operation, status);
    }

    /// <summary>I/O that waited for longer than the volume's hold time fails, whatever it waits for (P5).</summary>
    private void OnHoldCheck()
    {
        _holdTimer = null;
        var oldest = Loop.NowMs - _holdMs;
        while (_first is { } operation && operation.SubmittedMs <= oldest) GiveUp(operation, IoStatus.HoldExpired);
        if (_first is not null && _holdTimer is null) _holdTimer = Loop.Schedule(ClientLimits.HoldCheckMs, _holdCheck);
        Pump();
        CloseIfUnused();
    }

    /// <summary>What is left when no operation is: steps of partial writes that nobody waits for.</summary>
    private void ForgetAll()
    {
        foreach (var request in Unanswered()) Forget(request);
        ForgetEdits();
    }

    private void GiveUpAbandoned()
    {
        for (var operation = _first; operation is not null;)
        {
            var next = operation.Next;
            if (operation.Request.Abandoned) GiveUp(operation, IoStatus.Offline);
            operation = next;
        }
    }

    /// <summary>Final: everything pending fails with <paramref name="status"/>.</summary>
    private void End(IoStatus status, string reason)
    {
        if (_state is State.Ended or State.Closed) return;
        SessionLog.Ended(_logger, Info.FullName, _gateway.NodeName, _session.ToString(), status.ToString(), reason, _pending);
        DropLink();
        (_state, EndStatus) = (State.Ended, status);
        while (_first is { } operation) GiveUp(operation, status);
        ForgetAll();
        DropKept();
        _cached.Clear();
        AnswerWaiters(status, reason);
        CancelTimers();
        CloseIfUnused();
    }

    private void CloseIfUnused()
    {
        if (_users > 0 || _pending > 0 || _state == State.Closed) return;
        // Also while it is being opened: the owner may have it, and would take its node for one that uses the volume.
        if (_state is State.Ready or State.Opening) SendOpen(FrameKind.SessionClose);
        DropLink();
        _state = State.Closed;
        CancelTimers();
        ForgetAll();
        DropKept();
        _cached.Clear();
        AnswerWaiters(IoStatus.Offline, $"the volume {Info.FullName} was closed while it was being opened");
        _onClosed(this);
    }

    private void CancelTimers()
    {
        _holdTimer?.Cancel();
        _retryTimer?.Cancel();
        _openTimer?.Cancel();
        _busyTimer?.Cancel();
        _holdTimer = _retryTimer = _openTimer = _busyTimer = null;
    }
}
