using System.Net.Sockets;
using System.Threading.Channels;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Net;

/// <summary>
/// Carries Raft messages to one other member over a connection of its own, which it keeps open. What does not fit or can't be sent is
/// dropped: Raft says it again. A broken or refused connection is told at once, so that a killed leader is missed in milliseconds.
/// </summary>
internal sealed partial class PeerSender : IAsyncDisposable
{
    private const int ReconnectPauseMinMs = 20;
    private const int ReconnectPauseMaxMs = 200;
    private readonly Func<JournalAddress> _address;
    private readonly string _name;
    private readonly JournalDialer _dialer;
    private readonly Action _lost;
    private readonly ILogger _logger;
    private readonly Channel<RaftMessage> _queue = Channel.CreateBounded<RaftMessage>(
        new BoundedChannelOptions(JournalLimits.ConnectionQueueMax) { SingleReader = true, FullMode = BoundedChannelFullMode.DropOldest });
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private bool _wasRefused;

    public PeerSender(string name, Func<JournalAddress> address, JournalDialer dialer, Action lost, ILogger logger)
    {
        (_name, _address, _dialer, _lost, _logger) = (name, address, dialer, lost, logger);
        _running = Task.Run(RunAsync);
    }

    public void Send(RaftMessage message) => _queue.Writer.TryWrite(message);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(false);
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await ConnectAndSendAsync().ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or SocketException or JournalFormatException or ObjectDisposedException)
            {
                LogBroken(_logger, _name, e.Message);
            }
            catch (JournalRefusedException e)
            {
                if (!_wasRefused) LogRefused(_logger, _name, e.Message);
                _wasRefused = true;
            }
            catch (OperationCanceledException)
            {
                return;
            }
            _lost();
            var pause = Random.Shared.Next(ReconnectPauseMinMs, ReconnectPauseMaxMs);
            await Task.Delay(pause, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ConnectAndSendAsync()
    {
        var (connection, _) = await _dialer.ConnectAsync(_address(), HelloPurpose.Peer, _stop.Token).ConfigureAwait(false);
        _wasRefused = false;
        await using (connection.ConfigureAwait(false))
        {
            while (_queue.Reader.TryRead(out _)) { }           // from before: outdated
            using var ended = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, connection.Closed);
            var watching = WatchAsync(connection, ended);
            try
            {
                await SendQueuedAsync(connection, ended.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
            {
                throw new IOException("the other side closed the connection");
            }
            finally
            {
                await ended.CancelAsync().ConfigureAwait(false);
                await watching.ConfigureAwait(false);
            }
        }
    }

    private async Task SendQueuedAsync(JournalConnection connection, CancellationToken ct)
    {
        while (await _queue.Reader.WaitToReadAsync(ct).ConfigureAwait(false))
        {
            while (_queue.Reader.TryRead(out var message))
            {
                var writer = new JournalWriter();
                RaftMessageCodec.Encode(message, writer);
                await connection.SendAsync(JournalFrameKind.Raft, 0, writer.Written, ct).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Nothing is ever answered on this connection: a read ends only when the other side, or its process, went away.</summary>
    private static async Task WatchAsync(JournalConnection connection, CancellationTokenSource ended)
    {
        try
        {
            await connection.ReadAsync(0, ended.Token).ConfigureAwait(false);
        }
        catch (Exception e)
            when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException or JournalFormatException)
        {
            // however it ended, the connection is of no more use
        }
        await ended.CancelAsync().ConfigureAwait(false);
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "Journal: no connection to member {Name}: {Why}")]
    private static partial void LogBroken(ILogger logger, string name, string why);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Journal: member {Name} does not accept this node: {Why}")]
    private static partial void LogRefused(ILogger logger, string name, string why);
}
