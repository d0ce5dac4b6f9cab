using System.Net;
using System.Net.Sockets;
using Cluster.Node.Journal.Format;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Net;

/// <summary>What the journal port serves. Called from many connections at once.</summary>
internal interface IJournalService
{
    HelloAnswer Welcome(Hello hello);

    ValueTask OnRaftAsync(Hello from, byte[] body, CancellationToken ct);

    void OnMembers(Hello from, byte[] body);

    Task<byte[]> OnProposeAsync(byte[] body, CancellationToken ct);

    Task<byte[]> OnReadAsync(byte[] body, CancellationToken ct);

    Task<byte[]> OnFormationAsync(byte[] body, CancellationToken ct);
}

/// <summary>
/// Accepts on the journal port: handshake first, then frames. Malformed bytes close that connection with a logged reason, no more.
/// </summary>
internal sealed partial class JournalListener : IAsyncDisposable
{
    private const int Backlog = 128;
    private readonly Socket _listener;
    private readonly IJournalService _service;
    private readonly ILogger _logger;
    private readonly int _handshakeMs;
    private readonly CancellationTokenSource _stop = new();
    private readonly HashSet<Task> _connections = [];
    private readonly Lock _gate = new();
    private Task _accepting = Task.CompletedTask;

    public JournalListener(string host, int port, int handshakeMs, IJournalService service, ILogger logger)
    {
        (_service, _logger, _handshakeMs) = (service, logger, handshakeMs);
        var address = IPAddress.TryParse(host, out var parsed) ? parsed : Dns.GetHostAddresses(host)[0];
        _listener = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        _listener.Bind(new IPEndPoint(address, port));
        _listener.Listen(Backlog);
        Port = ((IPEndPoint)_listener.LocalEndPoint!).Port;
    }

    public int Port { get; }

    public void Start() => _accepting = Task.Run(AcceptAsync);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _listener.Dispose();
        await _accepting.ConfigureAwait(false);
        Task[] open;
        lock (_gate) open = [.. _connections];
        await Task.WhenAll(open).ConfigureAwait(false);
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await _listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
                Track(socket);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                LogAcceptFailed(_logger, e.Message);           // one connection died in the queue: the next may be fine
            }
        }
    }

    private void Track(Socket socket)
    {
        lock (_gate)
        {
            if (_connections.Count >= JournalLimits.ConnectionsMax)
            {
                LogTooMany(_logger, _connections.Count);
                socket.Dispose();
                return;
            }
            var task = Task.Run(() => ServeAsync(new JournalConnection(socket)));
            _connections.Add(task);
            task.ContinueWith(Forget, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }

    private void Forget(Task task)
    {
        lock (_gate) _connections.Remove(task);
    }

    private async Task ServeAsync(JournalConnection connection)
    {
        try
        {
            var hello = await HandshakeAsync(connection).ConfigureAwait(false);
            if (hello is not null) await ReadFramesAsync(connection, hello).ConfigureAwait(false);
        }
        catch (JournalFormatException e)
        {
            LogMalformed(_logger, connection.Remote, e.Message);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            LogClosed(_logger, connection.Remote, e.Message);
        }
        finally
        {
            await connection.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<Hello?> HandshakeAsync(JournalConnection connection)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        limit.CancelAfter(_handshakeMs);
        var frame = await connection.ReadAsync(JournalLimits.HandshakeBytesMax, limit.Token).ConfigureAwait(false);
        if (frame is not { } first) return null;
        if (first.Kind != JournalFrameKind.Hello) throw new JournalFormatException($"the first frame is a {first.Kind}, not a hello");
        var hello = Hello.Decode(first.Body);
        var answer = _service.Welcome(hello);
        await connection.SendAsync(JournalFrameKind.HelloAnswer, first.RequestId, answer.Encode(), limit.Token).ConfigureAwait(false);
        if (answer.Refusal.Length == 0) return hello;
        LogRefused(_logger, hello.Node.Name, connection.Remote, answer.Refusal);
        await connection.ReadAsync(0, limit.Token).ConfigureAwait(false);       // let the refusal arrive: the other side closes
        return null;
    }

    private async Task ReadFramesAsync(JournalConnection connection, Hello hello)
    {
        using var room = new SemaphoreSlim(JournalLimits.RequestsPerConnectionMax);
        var bodyBytesMax = hello.Purpose == HelloPurpose.Peer ? JournalLimits.FrameBytesMax : 2 * JournalLimits.CommandBytesMax;
        while (await connection.ReadAsync(bodyBytesMax, _stop.Token).ConfigureAwait(false) is { } frame)
        {
            if (hello.Purpose == HelloPurpose.Peer)
            {
                if (frame.Kind is not (JournalFrameKind.Members or JournalFrameKind.Raft))
                    throw new JournalFormatException($"a {frame.Kind} on a peer connection");
                if (frame.Kind == JournalFrameKind.Members) _service.OnMembers(hello, frame.Body);
                else await _service.OnRaftAsync(hello, frame.Body, _stop.Token).ConfigureAwait(false);
                continue;
            }
            await room.WaitAsync(_stop.Token).ConfigureAwait(false);
            _ = AnswerAsync(connection, hello, frame, room);
        }
    }

    private async Task AnswerAsync(JournalConnection connection, Hello hello, JournalFrame frame, SemaphoreSlim room)
    {
        try
        {
            var (kind, answer) = (hello.Purpose, frame.Kind) switch
            {
                (HelloPurpose.Client, JournalFrameKind.Propose) =>
                    (JournalFrameKind.ProposeAnswer, _service.OnProposeAsync(frame.Body, connection.Closed)),
                (HelloPurpose.Client, JournalFrameKind.Read) =>
                    (JournalFrameKind.ReadAnswer, _service.OnReadAsync(frame.Body, connection.Closed)),
                (HelloPurpose.Ask, JournalFrameKind.Formation) =>
                    (JournalFrameKind.FormationAnswer, _service.OnFormationAsync(frame.Body, connection.Closed)),
                _ => throw new JournalFormatException($"a {frame.Kind} on a {hello.Purpose} connection"),
            };
            await connection.SendAsync(kind, frame.RequestId, await answer.ConfigureAwait(false), connection.Closed).ConfigureAwait(false);
            room.Release();
        }
        catch (JournalFormatException e)
        {
            LogMalformed(_logger, connection.Remote, e.Message);
            await connection.DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception e)
            when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            LogClosed(_logger, connection.Remote, e.Message);     // the asker is gone, and asks again elsewhere
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Journal: accepting a connection failed: {Why}")]
    private static partial void LogAcceptFailed(ILogger logger, string why);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Journal: {Count} connections are open, a further one was closed")]
    private static partial void LogTooMany(ILogger logger, int count);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Journal: closed the connection from {Remote}: {Why}")]
    private static partial void LogMalformed(ILogger logger, string remote, string why);

    [LoggerMessage(Level = LogLevel.Debug, Message = "Journal: the connection from {Remote} ended: {Why}")]
    private static partial void LogClosed(ILogger logger, string remote, string why);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Journal: refused node {Name} at {Remote}: {Why}")]
    private static partial void LogRefused(ILogger logger, string name, string remote, string why);
}
