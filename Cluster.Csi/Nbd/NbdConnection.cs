using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Nbd;

/// <summary>
/// One client, from greeting to disconnect. Loop thread only.
/// <code>
/// ClientFlags -> OptionHeader &lt;-> OptionData -> Command &lt;-> Payload -> Draining (DISC) -> Closed
///                     (Discard swallows what is too long, in both phases)
/// </code>
/// Reading stops while an option is being answered and while the bounds on commands in flight are reached, also within a payload, between two pieces.
/// </summary>
internal sealed partial class NbdConnection : ISocketEvents
{
    private enum State : byte { ClientFlags, OptionHeader, OptionData, Command, Payload, Discard, Draining, Closed }

    private readonly NbdServer _server;
    private readonly ILoop _loop;
    private ILoopSocket _socket = null!;
    private string _client = "";
    private State _state = State.ClientFlags;

    private IoBuffer? _in;
    private int _from;
    private int _end;
    private bool _waiting;
    private bool _parsing;

    /// <summary>Bytes still to swallow, what is said after them, and what comes next.</summary>
    private long _discardBytes;
    private Action? _discarded;
    private State _afterDiscard;

    public NbdConnection(NbdServer server, ILoop loop) => (_server, _loop) = (server, loop);

    LoopStage ISocketEvents.Stage => LoopStage.FrontEnd;

    /// <summary>It uses that export with simple replies, as the kernel's client does.</summary>
    public bool IsDeviceOf(string export) => _exportName == export && _device is not null && !_structured;

    public string? ExportName => _exportName;

    /// <summary>It uses that export, in whatever way.</summary>
    public bool IsOf(string export) => _exportName == export;

    public void Start(ILoopSocket socket)
    {
        _socket = socket;
        _client = socket.RemoteEndPoint?.ToString() is { Length: > 0 } text ? text : "on a Unix socket";
        SendGreeting();
        RestartIdleTimer();
    }

    /// <summary>Ends the connection without a word; what is in flight gets no answer (R14).</summary>
    public void Close(CloseReason reason, string detail)
    {
        if (_state == State.Closed) return;
        _state = State.Closed;
        _socket.Close(reason, detail);
    }

    void ISocketEvents.OnConnected(ILoopSocket socket)
    {
    }

    void ISocketEvents.OnDrained(ILoopSocket socket) => Resume();

    void ISocketEvents.OnClosed(ILoopSocket socket, CloseReason reason, string detail)
    {
        _state = State.Closed;
        _idleTimer?.Cancel();
        var why = detail.Length > 0 ? detail : reason.ToString();
        if (_exportName is not null) NbdLog.Gone(_server.Logger, _client, _exportName, why, _commands);
        ReleaseInput();
        Abandon();
        if (_volume is not null) _server.Volumes.Leave(_volume);
        _server.OnClosed(this);
    }

    void ISocketEvents.OnReadable(ILoopSocket socket)
    {
        for (var count = 0; count < NbdLimits.ReceivesPerTurn && _state != State.Closed && !_waiting; count++)
        {
            if (!ReceiveOnce()) return;
        }
    }

    /// <summary>
    /// False when there is nothing more to receive now. A long payload goes where it belongs, everything else by way of the buffer.
    /// </summary>
    private bool ReceiveOnce()
    {
        if (_state == State.Payload && _from == _end)
        {
            var target = PayloadRoom();
            var direct = _socket.Receive(target);
            if (direct <= 0) return false;
            OnPayload(direct);
            var full = direct == target.Length;
            if (_state == State.Command) Parse();
            return full;
        }
        if (_in is null)
        {
            _in = BufferPool.Shared.Rent(_server.Options.ReceiveBytes);
            _from = _end = 0;
        }
        var room = MakeRoom(_in);
        var received = _socket.Receive(room);
        if (received > 0)
        {
            _end += received;
            Parse();
        }
        if (_from == _end) ReleaseInput();
        return received == room.Length;
    }

    private Span<byte> MakeRoom(IoBuffer buffer)
    {
        var span = buffer.Span;
        if (_from > 0)
        {
            span[_from.._end].CopyTo(span);
            (_from, _end) = (0, _end - _from);
        }
        Invariant.That(_end < span.Length, "the receive buffer is full of bytes that could be parsed");
        return span[_end..];
    }

    private void ReleaseInput()
    {
        _in?.Release();
        _in = null;
        _from = _end = 0;
    }

    /// <summary>Takes what is complete out of the buffer. Stops when it needs more bytes, or must wait.</summary>
    private void Parse()
    {
        if (_parsing) return;
        _parsing = true;
        while (!_waiting && _from < _end && Step())
        {
        }
        _parsing = false;
        if (_state is State.Draining) _from = _end;
    }

    private ReadOnlySpan<byte> Available => _in!.Span[_from.._end];

    private bool Step() => _state switch
    {
        State.ClientFlags => TakeClientFlags(),
        State.OptionHeader => TakeOptionHeader(),
        State.OptionData => TakeOptionData(),
        State.Command => TakeCommand(),
        State.Payload => TakePayload(),
        State.Discard => TakeDiscarded(),
        _ => false,
    };

    private bool Take(int count, out ReadOnlySpan<byte> bytes)
    {
        var available = Available;
        if (available.Length < count)
        {
            bytes = default;
            return false;
        }
        bytes = available[..count];
        _from += count;
        return true;
    }

    private bool TakeDiscarded()
    {
        var count = (int)Math.Min(_discardBytes, _end - _from);
        _from += count;
        _discardBytes -= count;
        if (_discardBytes == 0) EndDiscard();
        return true;
    }

    private void Discard(long bytes, State then, Action discarded)
    {
        (_discardBytes, _discarded, _afterDiscard, _state) = (bytes, discarded, then, State.Discard);
        if (bytes == 0) EndDiscard();
    }

    private void EndDiscard()
    {
        var discarded = _discarded;
        (_state, _discarded) = (_afterDiscard, null);
        discarded!();
    }

    /// <summary>Stops reading until <see cref="Resume"/>.</summary>
    private void Wait()
    {
        if (_waiting) return;
        _waiting = true;
        _socket.PauseReading();
    }

    public void Resume()
    {
        if (!_waiting || _state == State.Closed || _answering || !MayTakeCommand()) return;
        _waiting = false;
        if (_reading is not null) GoOnReading();
        else if (_state == State.Payload && _filling is null) BeginChunk();
        // Submitting may have brought the next bound.
        if (_waiting || _state == State.Closed) return;
        _socket.ResumeReading();
        if (_in is null) return;
        Parse();
        if (_from == _end) ReleaseInput();
    }

    private void Break(string reason)
    {
        NbdLog.Broken(_server.Logger, _client, reason);
        Close(CloseReason.Protocol, reason);
    }

    private static uint U32(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt32BigEndian(from[at..]);

    private static ulong U64(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt64BigEndian(from[at..]);

    private static ushort U16(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt16BigEndian(from[at..]);
}
