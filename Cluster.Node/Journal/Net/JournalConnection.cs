using System.Net.Sockets;
using System.Threading.Channels;

namespace Cluster.Node.Journal.Net;

/// <summary>
/// One TCP connection of the journal port. One reader at a time; any thread may send. Frames are queued within a bound and leave
/// many per
/// system call. Closing is final.
/// </summary>
internal sealed class JournalConnection : IAsyncDisposable
{
    private const int ReadBufferBytes = 64 << 10;

    private readonly Socket _socket;
    private readonly BufferedStream _reader;

    // Who sends while nobody else does writes to the socket by itself; what comes meanwhile goes with it. Nobody waits for a peer: a write that the socket does not take now goes on on the pool.
    private readonly Channel<byte[]> _outgoing = Channel.CreateBounded<byte[]>(
        new BoundedChannelOptions(JournalLimits.ConnectionQueueMax) { SingleReader = true, AllowSynchronousContinuations = true });
    private readonly CancellationTokenSource _closed = new();
    private readonly Task _writing;
    private int _disposed;

    public JournalConnection(Socket socket)
    {
        socket.NoDelay = true;
        _socket = socket;
        _reader = new BufferedStream(new NetworkStream(socket, ownsSocket: false), ReadBufferBytes);
        _writing = Task.Run(WriteAsync);
        Remote = socket.RemoteEndPoint?.ToString() ?? "unknown";
    }

    public string Remote { get; }

    /// <summary>Cancelled once the connection can send no more.</summary>
    public CancellationToken Closed => _closed.Token;

    public static async Task<JournalConnection> ConnectAsync(JournalAddress address, CancellationToken ct)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(address.Host, address.Port, ct).ConfigureAwait(false);
            return new JournalConnection(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The next frame, or null when the other side closed. Throws on malformed bytes: the caller closes.</summary>
    public async Task<JournalFrame?> ReadAsync(int bodyBytesMax, CancellationToken ct)
    {
        var header = new byte[JournalFrameHeader.Bytes];
        var read = await _reader.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false, ct).ConfigureAwait(false);
        if (read < header.Length) return null;
        var decoded = JournalFrameHeader.Decode(header, bodyBytesMax);
        var body = new byte[decoded.Length];
        read = await _reader.ReadAtLeastAsync(body, body.Length, throwOnEndOfStream: false, ct).ConfigureAwait(false);
        if (read < body.Length) return null;
        decoded.CheckBody(body);
        return new JournalFrame(decoded.Kind, decoded.RequestId, body);
    }

    /// <summary>Queues a frame, or drops it when the queue is full or the connection closed.</summary>
    public bool TrySend(JournalFrameKind kind, long requestId, ReadOnlySpan<byte> body) =>
        _outgoing.Writer.TryWrite(JournalFrameHeader.Encode(kind, requestId, body));

    /// <summary>Queues a frame, waiting for room. Throws an IOException when the connection closed.</summary>
    public ValueTask SendAsync(JournalFrameKind kind, long requestId, ReadOnlySpan<byte> body, CancellationToken ct) =>
        EnqueueAsync(JournalFrameHeader.Encode(kind, requestId, body), ct);

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        _outgoing.Writer.TryComplete();
        await _closed.CancelAsync().ConfigureAwait(false);
        _socket.Dispose();
        await _writing.ConfigureAwait(false);
        await _reader.DisposeAsync().ConfigureAwait(false);
    }

    private async ValueTask EnqueueAsync(byte[] frame, CancellationToken ct)
    {
        try
        {
            await _outgoing.Writer.WriteAsync(frame, ct).ConfigureAwait(false);
        }
        catch (ChannelClosedException e)
        {
            throw new IOException($"the connection to {Remote} is closed", e);
        }
    }

    private async Task WriteAsync()
    {
        var batch = new List<ArraySegment<byte>>();
        try
        {
            while (await _outgoing.Reader.WaitToReadAsync(_closed.Token).ConfigureAwait(false))
            {
                while (batch.Count < JournalLimits.ConnectionQueueMax && _outgoing.Reader.TryRead(out var frame)) batch.Add(frame);
                await SendAllAsync(batch).ConfigureAwait(false);
                batch.Clear();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            _outgoing.Writer.TryComplete(new IOException($"the connection to {Remote} is closed", e));   // the reader sees it too, and ends
        }
        if (_disposed == 0) await _closed.CancelAsync().ConfigureAwait(false);
    }

    private async Task SendAllAsync(List<ArraySegment<byte>> batch)
    {
        while (batch.Count > 0)
        {
            var sent = await _socket.SendAsync(batch, SocketFlags.None).ConfigureAwait(false);
            while (batch.Count > 0 && sent >= batch[0].Count)
            {
                sent -= batch[0].Count;
                batch.RemoveAt(0);
            }
            if (sent > 0) batch[0] = batch[0][sent..];
        }
    }
}
