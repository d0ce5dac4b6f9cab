using System.Collections.Concurrent;
using System.Net.Sockets;
using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Net;

/// <summary>
/// Requests and answers over one connection, many at once. When it breaks, everything unanswered fails with an IOException.
/// </summary>
internal sealed class RequestConnection : IAsyncDisposable
{
    private readonly JournalConnection _connection;
    private readonly ConcurrentDictionary<long, TaskCompletionSource<byte[]>> _waiting = new();
    private readonly SemaphoreSlim _room = new(JournalLimits.RequestsPerConnectionMax);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _reading;
    private long _nextId;
    private volatile bool _broken;

    public RequestConnection(JournalConnection connection)
    {
        _connection = connection;
        _reading = Task.Run(ReadAsync);
    }

    public bool IsBroken => _broken;

    /// <summary>The answer's body. Throws IOException when the connection breaks or <paramref name="timeoutMs"/> passes.</summary>
    public async Task<byte[]> AskAsync(JournalFrameKind kind, byte[] body, int timeoutMs, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(timeoutMs);
        var waiter = new TaskCompletionSource<byte[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        var id = Interlocked.Increment(ref _nextId);
        try
        {
            await _room.WaitAsync(limit.Token).ConfigureAwait(false);
            _waiting[id] = waiter;
            try
            {
                await _connection.SendAsync(kind, id, body, limit.Token).ConfigureAwait(false);
                if (_broken) throw new IOException($"the connection to {_connection.Remote} broke");
                return await waiter.Task.WaitAsync(limit.Token).ConfigureAwait(false);
            }
            finally
            {
                _waiting.TryRemove(id, out _);
                _room.Release();
            }
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new IOException($"{_connection.Remote} did not answer within {timeoutMs} ms");
        }
    }

    public async ValueTask DisposeAsync()
    {
        _broken = true;
        await _stop.CancelAsync().ConfigureAwait(false);
        await _connection.DisposeAsync().ConfigureAwait(false);
        await _reading.ConfigureAwait(false);
    }

    private async Task ReadAsync()
    {
        var why = $"{_connection.Remote} closed the connection";
        try
        {
            while (await _connection.ReadAsync(JournalLimits.FrameBytesMax, _stop.Token).ConfigureAwait(false) is { } frame)
                if (_waiting.TryRemove(frame.RequestId, out var waiter)) waiter.TrySetResult(frame.Body);
        }
        catch (Exception e)
            when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException or JournalFormatException)
        {
            why = e.Message;
        }
        _broken = true;
        foreach (var waiter in _waiting.Values) waiter.TrySetException(new IOException(why));
    }
}
