using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Cluster.Node.Cli;

/// <summary>Commands by their number in the protocol.</summary>
internal enum NbdRequest : ushort
{
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    WriteZeroes = 6,
}

/// <summary>The server answered a request with an error; the connection goes on.</summary>
internal sealed class NbdErrorException(NbdRequest command, ulong offsetBytes, uint error) : IOException(
    string.Create(CultureInfo.InvariantCulture, $"The NBD server answered {command} at {offsetBytes} with error {error}."))
{
    public uint Error => error;
}

/// <summary>
/// A small NBD client: fixed newstyle, any number of requests at one time, simple replies (NBD protocol document, "The NBD protocol").
/// It checks what the server says, so that the demo and the tests measure and compare without trusting the code under test.
/// Thread-safe. Every request fails with an IOException or a SocketException once the connection is gone.
/// </summary>
internal sealed class NbdClient : IDisposable
{
    private const ulong Magic = 0x4e42444d41474943;
    private const ulong OptionMagic = 0x49484156454f5054;
    private const ulong OptionReplyMagic = 0x0003e889045565a9;
    private const uint RequestMagic = 0x25609513;
    private const uint ReplyMagic = 0x67446698;
    private const uint FixedNewstyleNoZeroes = 3;
    private const ushort FlagForceUnitAccess = 1;
    private const uint OptionGo = 7;
    private const uint ReplyAck = 1;
    private const uint ReplyInfo = 3;
    private const uint ReplyErrorBit = 1u << 31;
    private const int OptionReplyBytesMax = 4096;
    private const int OptionHeaderBytes = 16;
    private const int OptionReplyHeaderBytes = 20;
    private const int RequestHeaderBytes = 28;
    private const int ReplyHeaderBytes = 16;

    private readonly Socket _socket;
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly ConcurrentDictionary<ulong, Pending> _pending = [];
    private readonly CancellationTokenSource _closed = new();
    private volatile Exception? _broken;
    private long _cookie;

    private sealed class Pending(NbdRequest command, ulong offsetBytes, Memory<byte> into)
        : TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public NbdRequest Command => command;

        public ulong OffsetBytes => offsetBytes;

        public Memory<byte> Into => into;
    }

    private NbdClient(Socket socket) => _socket = socket;

    /// <summary>Bytes of the export.</summary>
    public ulong SizeBytes { get; private set; }

    /// <summary>Connects to nbd://HOST:PORT/EXPORT. Throws IOException or SocketException when that fails.</summary>
    public static async Task<NbdClient> ConnectAsync(Uri export, CancellationToken cancellation)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var client = new NbdClient(socket);
        try
        {
            await socket.ConnectAsync(export.Host, export.Port, cancellation);
            await client.NegotiateAsync(Uri.UnescapeDataString(export.AbsolutePath.TrimStart('/')), cancellation);
            _ = client.ReceiveRepliesAsync();
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>Returns once the server has acknowledged the write; with `onMedia` (FUA) it is on media then.</summary>
    public Task WriteAsync(ulong offsetBytes, ReadOnlyMemory<byte> data, CancellationToken cancellation, bool onMedia = false) =>
        RequestAsync(NbdRequest.Write, onMedia, offsetBytes, (uint)data.Length, data, Memory<byte>.Empty, cancellation);

    public Task ReadAsync(ulong offsetBytes, Memory<byte> into, CancellationToken cancellation) => RequestAsync(
        NbdRequest.Read, onMedia: false, offsetBytes, (uint)into.Length, ReadOnlyMemory<byte>.Empty, into, cancellation);

    public Task FlushAsync(CancellationToken cancellation) => RequestAsync(
        NbdRequest.Flush, onMedia: false, 0, 0, ReadOnlyMemory<byte>.Empty, Memory<byte>.Empty, cancellation);

    public Task TrimAsync(ulong offsetBytes, uint lengthBytes, CancellationToken cancellation) => RequestAsync(
        NbdRequest.Trim, onMedia: false, offsetBytes, lengthBytes, ReadOnlyMemory<byte>.Empty, Memory<byte>.Empty, cancellation);

    public Task WriteZeroesAsync(ulong offsetBytes, uint lengthBytes, CancellationToken cancellation) => RequestAsync(
        NbdRequest.WriteZeroes, onMedia: false, offsetBytes, lengthBytes, ReadOnlyMemory<byte>.Empty, Memory<byte>.Empty, cancellation);

    /// <summary>Says goodbye, as a client should before it closes. Nothing answers it.</summary>
    public Task DisconnectAsync(CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        return SendRequestAsync(Header(NbdRequest.Disconnect, flags: 0, cookie: 0, 0, 0), ReadOnlyMemory<byte>.Empty);
    }

    /// <summary>Cuts the connection; what is unanswered fails.</summary>
    public void Dispose()
    {
        _closed.Cancel();
        _socket.Dispose();
        Break(new IOException("The NBD connection was closed by its client."));
    }

    private async Task NegotiateAsync(string export, CancellationToken cancellation)
    {
        var greeting = new byte[18];
        await ReceiveAsync(greeting, cancellation);
        Check(U64(greeting, 0) == Magic && U64(greeting, 8) == OptionMagic, "its greeting is not NBD's");
        var name = Encoding.UTF8.GetBytes(export);
        var option = new byte[4 + OptionHeaderBytes + 4 + name.Length + 2];
        BinaryPrimitives.WriteUInt32BigEndian(option, FixedNewstyleNoZeroes);
        BinaryPrimitives.WriteUInt64BigEndian(option.AsSpan(4), OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(12), OptionGo);
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(16), (uint)(6 + name.Length));
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(20), (uint)name.Length);
        name.CopyTo(option, 24);
        await SendAsync(option, cancellation);
        var reply = new byte[OptionReplyHeaderBytes];
        for (var done = false; !done;)
        {
            await ReceiveAsync(reply, cancellation);
            var (kind, length) = (U32(reply, 12), U32(reply, 16));
            Check(U64(reply, 0) == OptionReplyMagic && U32(reply, 8) == OptionGo && length <= OptionReplyBytesMax,
                "its answer to NBD_OPT_GO is malformed");
            var body = new byte[length];
            await ReceiveAsync(body, cancellation);
            Check((kind & ReplyErrorBit) == 0, $"it refuses the export \"{export}\": {Encoding.UTF8.GetString(body)}");
            if (kind == ReplyInfo && length >= 12 && U16(body, 0) == 0) SizeBytes = U64(body, 2);
            done = kind == ReplyAck;
        }
    }

    private async Task RequestAsync(NbdRequest command, bool onMedia, ulong offsetBytes, uint lengthBytes, ReadOnlyMemory<byte> data,
        Memory<byte> into, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var cookie = (ulong)Interlocked.Increment(ref _cookie);
        var header = Header(command, onMedia ? FlagForceUnitAccess : (ushort)0, cookie, offsetBytes, lengthBytes);
        var pending = new Pending(command, offsetBytes, into);
        _pending[cookie] = pending;
        if (_broken is { } broken) Fail(broken);
        else await SendRequestAsync(header, data);
        // Giving up one answer gives up the connection: what comes later would be written to memory that the caller has taken back.
        await using var giveUp = cancellation.UnsafeRegister(_ => Dispose(), null);
        await pending.Task;
        cancellation.ThrowIfCancellationRequested();
    }

    private static byte[] Header(NbdRequest command, ushort flags, ulong cookie, ulong offsetBytes, uint lengthBytes)
    {
        var header = new byte[RequestHeaderBytes];
        BinaryPrimitives.WriteUInt32BigEndian(header, RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(6), (ushort)command);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(8), cookie);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(16), offsetBytes);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(24), lengthBytes);
        return header;
    }

    /// <summary>Not cancelled half-way: half a request would spoil those after it.</summary>
    private async Task SendRequestAsync(byte[] header, ReadOnlyMemory<byte> data)
    {
        await _sending.WaitAsync(CancellationToken.None);
        try
        {
            await SendAsync(header, _closed.Token);
            if (data.Length > 0) await SendAsync(data, _closed.Token);
        }
        catch (Exception failure) when (failure is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            Break(new IOException($"The NBD connection is gone: {failure.Message}", failure));
        }
        finally
        {
            _sending.Release();
        }
    }

    private async Task ReceiveRepliesAsync()
    {
        var reply = new byte[ReplyHeaderBytes];
        try
        {
            while (true)
            {
                await ReceiveAsync(reply, _closed.Token);
                Check(U32(reply, 0) == ReplyMagic, "its reply is malformed");
                if (!_pending.TryRemove(U64(reply, 8), out var pending))
                    throw new IOException("The NBD server can't be used: it answered what was not asked.");
                var error = U32(reply, 4);
                if (error == 0 && pending.Into.Length > 0) await ReceiveIntoAsync(pending);
                if (error == 0) pending.TrySetResult();
                else pending.TrySetException(new NbdErrorException(pending.Command, pending.OffsetBytes, error));
            }
        }
        catch (Exception failure) when (failure is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            Break(failure as IOException ?? new IOException($"The NBD connection is gone: {failure.Message}", failure));
        }
    }

    private async Task ReceiveIntoAsync(Pending pending)
    {
        try
        {
            await ReceiveAsync(pending.Into, _closed.Token);
        }
        catch (Exception failure)
        {
            pending.TrySetException(new IOException($"The NBD connection is gone: {failure.Message}", failure));
            throw;
        }
    }

    private void Break(Exception failure)
    {
        _broken ??= failure;
        Fail(failure);
    }

    private void Fail(Exception failure)
    {
        foreach (var cookie in _pending.Keys)
        {
            if (_pending.TryRemove(cookie, out var pending)) pending.TrySetException(failure);
        }
    }

    private async Task SendAsync(ReadOnlyMemory<byte> data, CancellationToken cancellation)
    {
        while (data.Length > 0) data = data[await _socket.SendAsync(data, cancellation)..];
    }

    private async Task ReceiveAsync(Memory<byte> into, CancellationToken cancellation)
    {
        while (into.Length > 0)
        {
            var count = await _socket.ReceiveAsync(into, cancellation);
            if (count == 0) throw new IOException("The NBD server closed the connection.");
            into = into[count..];
        }
    }

    private static void Check(bool good, string what)
    {
        if (!good) throw new IOException($"The NBD server can't be used: {what}.");
    }

    private static ulong U64(byte[] from, int at) => BinaryPrimitives.ReadUInt64BigEndian(from.AsSpan(at));

    private static uint U32(byte[] from, int at) => BinaryPrimitives.ReadUInt32BigEndian(from.AsSpan(at));

    private static ushort U16(byte[] from, int at) => BinaryPrimitives.ReadUInt16BigEndian(from.AsSpan(at));
}
