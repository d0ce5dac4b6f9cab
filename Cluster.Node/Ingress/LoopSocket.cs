using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>A stream socket of an <see cref="EpollLoop"/>. Loop thread only.</summary>
internal sealed unsafe class LoopSocket : LoopEntry, ILoopSocket
{
    private readonly EpollLoop _loop;
    private readonly Socket _socket;
    private readonly ISocketEvents _events;
    private readonly LoopStage _stage;
    private readonly OutQueue _out = new();
    private uint _interest;
    private bool _registered;
    private bool _connecting;
    private bool _kernelFull;
    private bool _sendWaits;
    private bool _wasHigh;
    private bool _paused;
    private ulong _readTurn;
    private int _readBytes;
    private CloseReason _closeReason;
    private string _closeDetail = "";

    public LoopSocket(EpollLoop loop, Socket socket, ISocketEvents events, EndPoint? remote)
    {
        (_loop, _socket, _events, RemoteEndPoint) = (loop, socket, events, remote);
        _stage = events.Stage;
        Descriptor = (int)socket.SafeHandle.DangerousGetHandle();
        LibC.SetNonBlocking(Descriptor);
        if (socket.ProtocolType == ProtocolType.Tcp) socket.NoDelay = true;
    }

    public override int Descriptor { get; }

    public EndPoint? RemoteEndPoint { get; }

    public bool IsOpen { get; private set; } = true;

    public long QueuedBytes => _out.Bytes;

    public LoopFlow? Flow { get; set; }

    public void StartConnected()
    {
        _loop.Register(this, _interest = LibC.EpollIn);
        _registered = true;
    }

    /// <summary>
    /// A connect that is answered at once (Unix sockets) is told in the next turn, like one that is not.
    /// </summary>
    public void StartConnecting(EndPoint endPoint)
    {
        _connecting = true;
        var address = endPoint.Serialize();
        var error = LibC.Connect(Descriptor, address.Buffer.Span[..address.Size]);
        if (error is 0 or LibC.InProgress)
        {
            _loop.Register(this, _interest = LibC.EpollOut);
            _registered = true;
        }
        else CloseWith(error);
    }

    public override void OnEvents(uint events)
    {
        if (!IsOpen) return;
        var before = _loop.Stages.Enter(_stage);
        if (_connecting) FinishConnect();
        else
        {
            if ((events & LibC.EpollOut) != 0) KernelHasRoom();
            if ((events & (LibC.EpollIn | LibC.EpollHangUp | LibC.EpollError)) != 0) BecomeReadable(events);
        }
        _loop.Stages.Leave(before);
    }

    public int Receive(Span<byte> to)
    {
        if (!IsOpen || _connecting || to.IsEmpty) return -1;
        if (_readTurn != _loop.Turn) (_readTurn, _readBytes) = (_loop.Turn, 0);
        var room = Math.Min(to.Length, LoopLimits.ReadBytesPerTurnMax - _readBytes);
        if (Flow is { } flow)
        {
            if (flow.Begin(_loop.Turn)) _loop.NoteFlow();
            if (_loop.SharesTurns) room = Math.Min(room, flow.Room);
        }
        // What is left is told again in the next turn.
        if (room == 0) return -1;
        long count;
        fixed (byte* start = to) count = LibC.Receive(Descriptor, start, room);
        if (count > 0)
        {
            _readBytes += (int)count;
            Flow?.Charge(count);
            return (int)count;
        }
        if (count == -LibC.TryAgain) return -1;
        if (count == 0) CloseNow(CloseReason.EndOfStream, "the peer ended the connection");
        else CloseWith((int)-count);
        return 0;
    }

    public void Send(ReadOnlySpan<byte> bytes)
    {
        if (!IsOpen) return;
        _out.Copy(bytes);
        Queued();
    }

    public void Send(IoBuffer buffer, int offset, int length)
    {
        if (!IsOpen) return;
        _out.Reference(buffer, offset, length);
        Queued();
    }

    public void PauseReading() => _paused = true;

    public void ResumeReading()
    {
        if (!_paused) return;
        _paused = false;
        if (IsOpen && !_connecting) SetInterest(_interest | LibC.EpollIn);
    }

    public void Close(CloseReason reason, string detail)
    {
        if (!IsOpen) return;
        if (!_connecting && !_kernelFull) SendQueued();
        if (IsOpen) CloseNow(reason, detail);
    }

    public override void Close(string detail) => Close(CloseReason.Local, detail);

    /// <summary>The turn's one send.</summary>
    [SkipLocalsInit]
    public void SendQueued()
    {
        _sendWaits = false;
        if (!IsOpen || _connecting || _kernelFull) return;
        var vectors = stackalloc LibC.IoVector[LoopLimits.VectorsPerSendMax];
        while (_out.Bytes > 0 && !_kernelFull)
        {
            var pieces = _out.Gather(vectors, LoopLimits.VectorsPerSendMax, out var bytes);
            var before = _loop.Stages.Enter(_stage);
            var sent = LibC.Send(Descriptor, vectors, pieces);
            _loop.Stages.Leave(before);
            if (sent < 0 && sent != -LibC.TryAgain)
            {
                CloseWith((int)-sent);
                return;
            }
            if (sent > 0) _out.Advance(sent);
            if (sent < bytes) KernelIsFull();
        }
        if (!_wasHigh || _out.Bytes > LoopLimits.OutQueueBytesHigh / 2) return;
        _wasHigh = false;
        _loop.DrainLater(this);
    }

    public void TellDrained()
    {
        if (IsOpen) _events.OnDrained(this);
    }

    public override void FinishClose()
    {
        _out.Clear();
        if (_registered) _loop.Unregister(this);
        _socket.Dispose();
        _events.OnClosed(this, _closeReason, _closeDetail);
    }

    private void Queued()
    {
        if (_out.Bytes > LoopLimits.OutQueueBytesMax)
        {
            CloseNow(CloseReason.TimedOut, $"the peer does not read: {_out.Bytes} B wait for it");
            return;
        }
        _wasHigh |= _out.Bytes > LoopLimits.OutQueueBytesHigh;
        if (_sendWaits || _kernelFull || _connecting) return;
        _sendWaits = true;
        _loop.SendLater(this);
    }

    private void KernelIsFull()
    {
        _kernelFull = true;
        SetInterest(_interest | LibC.EpollOut);
    }

    private void KernelHasRoom()
    {
        _kernelFull = false;
        SetInterest(_interest & ~LibC.EpollOut);
        Queued();
    }

    private void FinishConnect()
    {
        var error = LibC.PendingError(Descriptor);
        if (error != 0)
        {
            CloseWith(error);
            return;
        }
        _connecting = false;
        SetInterest(LibC.EpollIn);
        if (_out.Bytes > 0) Queued();
        _events.OnConnected(this);
    }

    /// <summary>
    /// While paused, input stays with the kernel. Interest is taken back only when something came; a hang-up is
    /// reported always, so that the descriptor then leaves epoll until reading goes on. An error ends the socket at
    /// once.
    /// </summary>
    private void BecomeReadable(uint events)
    {
        if (!_paused) _events.OnReadable(this);
        else if ((events & LibC.EpollError) != 0) CloseWith(LibC.PendingError(Descriptor));
        else if ((events & LibC.EpollHangUp) != 0) SetInterest(0);
        else SetInterest(_interest & ~LibC.EpollIn);
    }

    private void SetInterest(uint interest)
    {
        _loop.ChangeInterest(this, _interest, interest);
        _interest = interest;
    }

    private void CloseWith(int error) => CloseNow(ReasonOf(error), LibC.TextOf(error));

    private void CloseNow(CloseReason reason, string detail)
    {
        IsOpen = false;
        (_closeReason, _closeDetail) = (reason, detail);
        if (_registered) SetInterest(0);
        _loop.CloseLater(this);
    }

    /// <summary>A Unix path that does not exist is a process that is not there, like a refused port.</summary>
    private CloseReason ReasonOf(int error) => error switch
    {
        LibC.ConnectionRefused => CloseReason.Refused,
        LibC.NoSuchFile when _connecting => CloseReason.Refused,
        LibC.HostUnreachable or LibC.NetworkUnreachable or LibC.HostDown => CloseReason.Unreachable,
        LibC.TimedOut => CloseReason.TimedOut,
        _ => _connecting ? CloseReason.Unreachable : CloseReason.Reset,
    };
}
