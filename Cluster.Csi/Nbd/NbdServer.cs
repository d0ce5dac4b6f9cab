using System.Net;
using System.Net.Sockets;
using Cluster.Csi.Attach;
using Cluster.Csi.Client;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Nbd;

/// <summary>
/// The NBD front end of a node: every volume is an export, on TCP and on a Unix socket. <see cref="Start"/>, <see cref="Stop"/>: any
/// thread; all else on the loop.
/// </summary>
public sealed class NbdServer : IDeviceLinks
{
    private readonly ILoop _loop;
    private readonly List<ILoopListener> _listeners = [];
    private readonly HashSet<NbdConnection> _connections = [];
    private readonly Dictionary<string, LoopFlow> _flows = new(StringComparer.Ordinal);
    private readonly Stack<NbdCommand> _freeCommands = [];
    private readonly Stack<NbdChunk> _freeChunks = [];
    private readonly CancellationTokenSource _stopping = new();
    private readonly HashSet<NbdConnection> _starved = [];
    private readonly Action _lookForMemory;
    private NbdConnection? _gathering;
    private long _gatheringSinceMs;
    private readonly Action _resumeStarved;
    private long _memoryWaits;
    private bool _looks;
    private bool _resumes;
    private long _countedBytes;
    private readonly List<string> _unixPaths = [];

    public NbdServer(NbdOptions options, IOwnerGateway gateway, VolumeSessions sessions, ILoggerFactory loggers)
        : this(options, gateway.LoopOf(default), new VolumeExports(gateway, sessions), loggers)
    {
    }

    /// <summary>A server of other exports than volumes; they must live on <paramref name="loop"/>.</summary>
    public NbdServer(NbdOptions options, ILoop loop, INbdExports exports, ILoggerFactory loggers)
    {
        (Options, _loop, Exports) = (options, loop, exports);
        Logger = loggers.CreateLogger("Myrmidon.Nbd");
        (_lookForMemory, _resumeStarved) = (LookForMemory, ResumeStarved);
    }

    internal NbdOptions Options { get; }

    internal INbdExports Exports { get; }

    internal ILogger Logger { get; }

    internal CancellationToken Stopping => _stopping.Token;

    /// <summary>Where TCP clients connect, once started.</summary>
    public EndPoint? EndPoint { get; private set; }

    /// <summary>Any thread.</summary>
    public NbdStatistics Statistics { get; } = new();

    /// <summary>The same by volume.</summary>
    public NbdVolumes Volumes { get; } = new();

    /// <summary>Clients connected now. Any thread, roughly.</summary>
    public int Connections => _connections.Count;

    /// <summary>
    /// Listens on <paramref name="tcp"/> (port 0: any) and on <paramref name="unixPath"/>, each unless null. The loop replaces a
    /// socket file that a dead process left. May be called again for further addresses. Throws SocketException if one can't be had.
    /// </summary>
    public void Start(EndPoint? tcp, string? unixPath = null)
    {
        if (tcp is not null)
        {
            var listener = _loop.Listen(tcp, Accept);
            _listeners.Add(listener);
            EndPoint = listener.EndPoint;
            NbdLog.Listening(Logger, listener.EndPoint.ToString() ?? "");
        }
        if (unixPath is null) return;
        _listeners.Add(_loop.Listen(new UnixDomainSocketEndPoint(unixPath), Accept));
        _unixPaths.Add(unixPath);
        NbdLog.Listening(Logger, unixPath);
    }

    /// <summary>
    /// Drops every connection without an answer (R14): clients connect again, here or elsewhere, and send again. The task ends when all
    /// are closed.
    /// </summary>
    public Task Stop()
    {
        _stopping.Cancel();
        foreach (var listener in _listeners) listener.Dispose();
        foreach (var path in _unixPaths) File.Delete(path);
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            foreach (var connection in _connections.ToArray()) connection.Close(CloseReason.Local, "the server stops");
            done.SetResult();
        });
        return done.Task;
    }

    public Task<bool> IsServedAsync(string export)
    {
        var answer = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() => answer.SetResult(_connections.Any(connection => connection.IsDeviceOf(export))));
        return answer.Task;
    }

    public Task DropAsync(string export)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            foreach (var connection in _connections.Where(connection => connection.IsOf(export)).ToArray()) connection.Close(CloseReason.Local, "its device goes, or gets another connection");
            done.SetResult();
        });
        return done.Task;
    }

    internal void Accept(Socket socket)
    {
        if (_connections.Count >= Options.ConnectionsMax || _stopping.IsCancellationRequested)
        {
            NbdLog.Full(Logger, Options.ConnectionsMax);
            socket.Dispose();
            return;
        }
        if (socket.AddressFamily != AddressFamily.Unix) KeepAlive(socket);
        var connection = new NbdConnection(this, _loop);
        _connections.Add(connection);
        connection.Start(_loop.Adopt(socket, connection));
    }

    /// <summary>For tests: a connection over a socket of their own.</summary>
    internal NbdConnection Attach(Func<ISocketEvents, ILoopSocket> socketOf)
    {
        var connection = new NbdConnection(this, _loop);
        _connections.Add(connection);
        connection.Start(socketOf(connection));
        return connection;
    }

    /// <summary>The turns of the loop are shared by volumes, not by connections. Loop thread only.</summary>
    internal LoopFlow JoinFlow(string export)
    {
        if (!_flows.TryGetValue(export, out var flow)) _flows[export] = flow = new LoopFlow();
        return flow;
    }

    internal void OnClosed(NbdConnection connection)
    {
        _connections.Remove(connection);
        if (connection.ExportName is { } export && !_connections.Any(other => other.IsOf(export))) _flows.Remove(export);
        _starved.Remove(connection);
        EndGathering(connection);
    }

    /// <summary>Within the bounds of the server and of the process.</summary>
    internal bool HasMemory => _countedBytes < Options.BytesMax && !Options.IsMemoryTight();

    /// <summary>
    /// There is memory for one piece more, or the connection has none of it now and may have a small one: one that waits for a volume without an owner must not keep out the others.
    /// </summary>
    internal bool MayTake(NbdConnection connection)
    {
        if (HasMemory || connection.IsSpare) return true;
        if (_starved.Add(connection)) _memoryWaits++;
        // Without a limit what gets free is counted here, and wakes who waits (Uncount).
        if (_looks || !Options.HasLimit) return false;
        _looks = true;
        _loop.Schedule(NbdLimits.StarvedLookMs, _lookForMemory);
        return false;
    }

    /// <summary>
    /// A read whose reply goes out as one takes memory for all of it, piece by piece: without memory for them all, one at a time does. Asked before each piece. Who gets no further, for its volume has
    /// no owner or its client does not read, keeps what it has and loses the turn.
    /// </summary>
    internal bool MayGather(NbdConnection connection)
    {
        var now = _loop.NowMs;
        if (_gathering is { } other && other != connection && now - _gatheringSinceMs <= NbdLimits.GatherTurnMs && !other.IsUnread) return false;
        (_gathering, _gatheringSinceMs) = (connection, now);
        return true;
    }

    internal void EndGathering(NbdConnection connection)
    {
        if (_gathering == connection) _gathering = null;
    }

    /// <summary>Memory of the process gets free without a word.</summary>
    private void LookForMemory()
    {
        _looks = false;
        ResumeStarved();
    }

    private void ResumeStarved()
    {
        _resumes = false;
        if (_starved.Count == 0) return;
        var starved = _starved.ToArray();
        _starved.Clear();
        foreach (var connection in starved) connection.Resume();
    }

    /// <summary>Payload bytes in flight over all connections. Any thread, roughly.</summary>
    public long CountedBytes => Volatile.Read(ref _countedBytes);

    /// <summary>Times that a connection was not read further for want of memory. Any thread.</summary>
    public long MemoryWaits => Volatile.Read(ref _memoryWaits);

    internal void Count(long bytes) => _countedBytes += bytes;

    internal void Uncount(long bytes)
    {
        _countedBytes -= bytes;
        if (_starved.Count == 0 || _resumes || !HasMemory) return;
        // Not from within what a connection is doing now.
        _resumes = true;
        _loop.Post(_resumeStarved);
    }

    internal NbdCommand Rent() => _freeCommands.Count > 0 ? _freeCommands.Pop() : new NbdCommand();

    internal void Return(NbdCommand command) => _freeCommands.Push(command);

    internal NbdChunk RentChunk() => _freeChunks.Count > 0 ? _freeChunks.Pop() : new NbdChunk();

    internal void Return(NbdChunk chunk) => _freeChunks.Push(chunk);

    private static void KeepAlive(Socket socket)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, NbdLimits.KeepAliveIdleSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, NbdLimits.KeepAliveIntervalSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, NbdLimits.KeepAliveCount);
    }
}
