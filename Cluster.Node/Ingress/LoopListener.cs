using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Ingress;

/// <summary>
/// A listening socket of an <see cref="EpollLoop"/>. A Unix path that only a dead process left behind is taken over.
/// </summary>
internal sealed partial class LoopListener : LoopEntry, ILoopListener
{
    private readonly EpollLoop _loop;
    private readonly Socket _socket;
    private readonly Action<Socket> _accept;
    private uint _interest;
    private bool _registered;
    private bool _closed;

    private LoopListener(EpollLoop loop, Socket socket, Action<Socket> accept)
    {
        (_loop, _socket, _accept) = (loop, socket, accept);
        Descriptor = (int)socket.SafeHandle.DangerousGetHandle();
        EndPoint = socket.LocalEndPoint!;
    }

    public override int Descriptor { get; }

    public EndPoint EndPoint { get; }

    public static LoopListener Bind(EpollLoop loop, EndPoint endPoint, Action<Socket> accept)
    {
        var unix = endPoint is UnixDomainSocketEndPoint;
        if (unix) RemoveStalePath(endPoint);
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, unix ? ProtocolType.Unspecified : ProtocolType.Tcp);
        try
        {
            if (!unix) LibC.SetReuseAddress((int)socket.SafeHandle.DangerousGetHandle());
            socket.Bind(endPoint);
            socket.Listen(LoopLimits.ListenBacklog);
            LibC.SetNonBlocking((int)socket.SafeHandle.DangerousGetHandle());
            return new LoopListener(loop, socket, accept);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public void Start()
    {
        if (_closed) return;
        _loop.Register(this, _interest = LibC.EpollIn);
        _registered = true;
    }

    public override void OnEvents(uint events)
    {
        for (var count = 0; count < LoopLimits.AcceptsPerTurnMax && !_closed; count++)
        {
            var descriptor = LibC.Accept(Descriptor);
            if (descriptor >= 0) _accept(new Socket(new SafeSocketHandle(descriptor, ownsHandle: true)));
            else if (-descriptor == LibC.TryAgain) return;
            else if (!IsOfConnection(-descriptor))
            {
                Pause(-descriptor);
                return;
            }
        }
    }

    public void Dispose()
    {
        if (_loop.IsCurrent) Close("");
        else _loop.Post(() => Close(""));
    }

    public override void Close(string detail)
    {
        if (_closed) return;
        _closed = true;
        if (_registered) _loop.ChangeInterest(this, _interest, _interest = 0);
        _loop.CloseLater(this);
    }

    public override void FinishClose()
    {
        if (_registered) _loop.Unregister(this);
        _socket.Dispose();
    }

    /// <summary>The connection that was to be accepted is gone; the next one may be there.</summary>
    private static bool IsOfConnection(int error) => error is LibC.ConnectionAborted or LibC.Interrupted or LibC.ProtocolFailure
        or LibC.HostUnreachable or LibC.NetworkUnreachable or LibC.HostDown or LibC.TimedOut;

    /// <summary>No descriptors or no memory: the kernel would report the same connection over and over.</summary>
    private void Pause(int error)
    {
        LogPaused(_loop.Log, EndPoint, LibC.TextOf(error), LoopLimits.AcceptPauseMs);
        _loop.ChangeInterest(this, _interest, _interest = 0);
        _loop.Schedule(LoopLimits.AcceptPauseMs, () =>
        {
            if (!_closed) _loop.ChangeInterest(this, _interest, _interest = LibC.EpollIn);
        });
    }

    /// <summary>
    /// Nobody answers on the path: whoever made it was killed. Any other answer leaves it, and the bind says that it is
    /// in use. The probe does not wait: a full backlog is an answer too.
    /// </summary>
    private static void RemoveStalePath(EndPoint endPoint)
    {
        var path = endPoint.ToString()!;
        if (!File.Exists(path)) return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var descriptor = (int)probe.SafeHandle.DangerousGetHandle();
        LibC.SetNonBlocking(descriptor);
        var address = endPoint.Serialize();
        if (LibC.Connect(descriptor, address.Buffer.Span[..address.Size]) == LibC.ConnectionRefused) File.Delete(path);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{EndPoint}: can't accept ({Error}); trying on in {PauseMs} ms")]
    private static partial void LogPaused(ILogger log, EndPoint endPoint, string error, int pauseMs);
}
