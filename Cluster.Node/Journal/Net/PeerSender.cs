using System.Net.Sockets;
using System.Threading.Channels;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Net;

/// <summary>Whom a <see cref="PeerSender"/> carries messages to, and where it is now.</summary>
internal sealed record PeerTarget(string Name, Guid NodeId, Func<JournalAddress> Address);

/// <summary>
/// What a <see cref="PeerSender"/> tells of its connection: that it broke, or that the other side takes this node for no member.
/// </summary>
internal sealed record PeerEvents(Action Lost, Action Refused);

/// <summary>
/// Carries Raft messages to one other member over a connection of its own, which it keeps open. What does not fit or can't be sent is
/// dropped: Raft says it again. A broken or refused connection is told at once, so that a killed leader is missed in milliseconds. What
/// answers under another identity is not that member, whatever its name and address: nothing is sent to it.
/// </summary>
internal sealed partial class PeerSender : IAsyncDisposable
{
    private const int ReconnectPauseMinMs = 20;
    private const int ReconnectPauseMaxMs = 200;
    private const int LongBytes = 64 << 10;
    private readonly PeerTarget _target;
    private readonly JournalDialer _dialer;
    private readonly Func<RaftMembers> _members;
    private readonly PeerEvents _events;
    private readonly ILogger _logger;

    // Continued on the Raft thread, which so encodes and sends by itself: two wake-ups of the pool for each heartbeat less. A socket that takes nothing now goes on on the pool, and so does what is long.
    private readonly Channel<RaftMessage> _queue = Channel.CreateBounded<RaftMessage>(
        new BoundedChannelOptions(JournalLimits.ConnectionQueueMax) { SingleReader = true, FullMode = BoundedChannelFullMode.DropOldest, AllowSynchronousContinuations = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private bool _wasRefused;

    /// <summary>In a way that was not expected, and that has been logged; until the next connection.</summary>
    private bool _hasFailed;

    public PeerSender(PeerTarget target, JournalDialer dialer, Func<RaftMembers> members, PeerEvents events, ILogger logger)
    {
        (_target, _dialer, _members, _events, _logger) = (target, dialer, members, events, logger);
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
                LogBroken(_logger, _target.Name, e.Message);
            }
            catch (JournalRefusedException e)
            {
                if (!_wasRefused) LogRefused(_logger, _target.Name, e.Message);
                _wasRefused = true;
                _events.Refused();
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // A mistake of ours. Without this the member would be sent nothing until this node's next start, and nobody would know.
                if (!_hasFailed) LogFailed(_logger, e, _target.Name);
                _hasFailed = true;
            }
            _events.Lost();
            var pause = Random.Shared.Next(ReconnectPauseMinMs, ReconnectPauseMaxMs);
            await Task.Delay(pause, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ConnectAndSendAsync()
    {
        var (connection, answer) = await _dialer.ConnectAsync(_target.Address(), HelloPurpose.Peer, _stop.Token).ConfigureAwait(false);
        await using (connection.ConfigureAwait(false))
        {
            if (answer.Node.NodeId != _target.NodeId)
                throw new JournalRefusedException($"{connection.Remote} is another node now: {answer.Node.Name}, {answer.Node.NodeId}");
            (_wasRefused, _hasFailed) = (false, false);
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
        RaftMembers? told = null;
        while (await _queue.Reader.WaitToReadAsync(ct).ConfigureAwait(false))
        {
            while (_queue.Reader.TryRead(out var message))
            {
                // Beats to the others must not wait for it.
                if (IsLong(message)) await Task.Yield();
                var members = _members();
                if (told != members)
                    await connection.SendAsync(JournalFrameKind.Members, 0, members.Encode(), ct).ConfigureAwait(false);
                told = members;
                var writer = new JournalWriter();
                RaftMessageCodec.Encode(message, writer);
                await connection.SendAsync(JournalFrameKind.Raft, 0, writer.Written, ct).ConfigureAwait(false);
            }
        }
    }

    /// <summary>To encode it takes more than a wake-up of the pool.</summary>
    private static bool IsLong(RaftMessage message) => message is RaftMessage.InstallSnapshot || (message is RaftMessage.Append append && append.Entries.Sum(entry => (long)entry.Data.Length) > LongBytes);

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

    [LoggerMessage(Level = LogLevel.Error, Message = "Journal: the connection to member {Name} failed in a way that was not expected, and is made anew")]
    private static partial void LogFailed(ILogger logger, Exception e, string name);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Journal: member {Name} does not accept this node: {Why}")]
    private static partial void LogRefused(ILogger logger, string name, string why);
}
