using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace Cluster.Node.Cli.Demo;

/// <summary>
/// A small NBD client: fixed newstyle, one request at a time, simple replies (NBD protocol document, "The NBD protocol"). It checks what
/// the server says, so that the demo and the tests measure and compare without trusting the code under test. Not thread-safe.
/// </summary>
internal sealed class NbdClient : IDisposable
{
    private const ulong Magic = 0x4e42444d41474943;
    private const ulong OptionMagic = 0x49484156454f5054;
    private const ulong OptionReplyMagic = 0x0003e889045565a9;
    private const uint RequestMagic = 0x25609513;
    private const uint ReplyMagic = 0x67446698;
    private const uint OptionGo = 7;
    private const uint ReplyAck = 1;
    private const uint ReplyInfo = 3;
    private const uint ReplyErrorBit = 1u << 31;
    private const int ReplyBytesMax = 4096;
    private const int RequestHeaderBytes = 28;
    private const int ReplyHeaderBytes = 16;

    private readonly Socket _socket;
    private readonly byte[] _header = new byte[RequestHeaderBytes];
    private ulong _cookie;

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
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>Returns once the server has acknowledged the write.</summary>
    public Task WriteAsync(ulong offsetBytes, ReadOnlyMemory<byte> data, CancellationToken cancellation) =>
        RequestAsync(command: 1, offsetBytes, (uint)data.Length, data, Memory<byte>.Empty, cancellation);

    public Task ReadAsync(ulong offsetBytes, Memory<byte> into, CancellationToken cancellation) =>
        RequestAsync(command: 0, offsetBytes, (uint)into.Length, ReadOnlyMemory<byte>.Empty, into, cancellation);

    public Task FlushAsync(CancellationToken cancellation) =>
        RequestAsync(command: 3, 0, 0, ReadOnlyMemory<byte>.Empty, Memory<byte>.Empty, cancellation);

    /// <summary>Says goodbye, as a client should before it closes.</summary>
    public async Task DisconnectAsync(CancellationToken cancellation)
    {
        Prepare(command: 2, 0, 0);
        await SendAsync(_header, cancellation);
    }

    public void Dispose() => _socket.Dispose();

    private async Task NegotiateAsync(string export, CancellationToken cancellation)
    {
        var greeting = new byte[18];
        await ReceiveAsync(greeting, cancellation);
        Check(U64(greeting, 0) == Magic && U64(greeting, 8) == OptionMagic, "its greeting is not NBD's");
        var name = Encoding.UTF8.GetBytes(export);
        var option = new byte[4 + 16 + 4 + name.Length + 2];
        BinaryPrimitives.WriteUInt32BigEndian(option, 3); // fixed newstyle, no zeroes
        BinaryPrimitives.WriteUInt64BigEndian(option.AsSpan(4), OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(12), OptionGo);
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(16), (uint)(6 + name.Length));
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(20), (uint)name.Length);
        name.CopyTo(option, 24);
        await SendAsync(option, cancellation);
        var reply = new byte[20];
        for (var done = false; !done;)
        {
            await ReceiveAsync(reply, cancellation);
            var (kind, length) = (U32(reply, 12), U32(reply, 16));
            Check(U64(reply, 0) == OptionReplyMagic && U32(reply, 8) == OptionGo
                && length <= ReplyBytesMax, "its answer to NBD_OPT_GO is malformed");
            var body = new byte[length];
            await ReceiveAsync(body, cancellation);
            Check((kind & ReplyErrorBit) == 0, $"it refuses the export \"{export}\": {Encoding.UTF8.GetString(body)}");
            if (kind == ReplyInfo && length >= 12 && body[0] == 0 && body[1] == 0) SizeBytes = U64(body, 2);
            done = kind == ReplyAck;
        }
    }

    private async Task RequestAsync(
        ushort command, ulong offsetBytes, uint length, ReadOnlyMemory<byte> data, Memory<byte> into, CancellationToken cancellation)
    {
        Prepare(command, offsetBytes, length);
        await SendAsync(_header, cancellation);
        if (data.Length > 0) await SendAsync(data, cancellation);
        await ReceiveAsync(_header.AsMemory(0, ReplyHeaderBytes), cancellation);
        Check(U32(_header, 0) == ReplyMagic && U64(_header, 8) == _cookie, "its reply is malformed");
        var error = U32(_header, 4);
        if (error != 0) throw new IOException($"The NBD server answered command {command} at {offsetBytes} with error {error}.");
        if (into.Length > 0) await ReceiveAsync(into, cancellation);
    }

    private void Prepare(ushort command, ulong offsetBytes, uint length)
    {
        BinaryPrimitives.WriteUInt32BigEndian(_header, RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(_header.AsSpan(4), 0);
        BinaryPrimitives.WriteUInt16BigEndian(_header.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(_header.AsSpan(8), ++_cookie);
        BinaryPrimitives.WriteUInt64BigEndian(_header.AsSpan(16), offsetBytes);
        BinaryPrimitives.WriteUInt32BigEndian(_header.AsSpan(24), length);
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
}
