using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using Cluster.Csi.Attach;
using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <summary>The server says that there is no such export, or that it is not to be had now.</summary>
/// <param name="isFinal">There is none, and there will be none: the attachment has moved on, or the volume is gone.</param>
internal sealed class NbdRefusedException(string message, bool isFinal) : IOException(message)
{
    public bool IsFinal => isFinal;
}

/// <summary>One connection to this node's NBD server, for a client that blocks: handshake, then requests and simple replies.</summary>
internal sealed class NbdLink : IDisposable
{
    public const int RequestBytes = 28;
    public const int ReplyBytes = 16;
    private const int HandshakeMs = 40_000;
    private const uint ReplyErrorBit = 0x80000000;

    /// <summary>Replies are small and come close upon each other: they are received together.</summary>
    private const int BufferBytes = 64 << 10;

    private readonly Socket _socket;
    private readonly byte[] _received = new byte[BufferBytes];
    private int _from;
    private int _end;

    private NbdLink(Socket socket) => _socket = socket;

    /// <summary>The socket, for whoever takes the connection over after the handshake; nothing but replies to its own requests comes on it.</summary>
    public int Descriptor
    {
        get
        {
            if (_from != _end) throw new IOException("the NBD server sends what nobody asked for");
            return (int)_socket.Handle;
        }
    }

    public ulong SizeBytes { get; private set; }

    public NbdTransmissionFlags Flags { get; private set; }

    /// <summary>With the option STRUCTURED_REPLY and the context base:allocation, if asked for: then replies are chunks.</summary>
    public bool HasAllocation { get; private set; }

    /// <summary>Throws SocketException when nobody listens, <see cref="NbdRefusedException"/>, or IOException.</summary>
    public static NbdLink Connect(NbdAddress server, string export, bool allocation = false)
    {
        var socket = server.UnixPath is null
            ? new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
            : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var link = new NbdLink(socket);
        try
        {
            socket.ReceiveTimeout = HandshakeMs;
            if (server.UnixPath is { } path) socket.Connect(new UnixDomainSocketEndPoint(path));
            else socket.Connect(server.Host, server.Port);
            link.Negotiate(export, allocation);
            socket.ReceiveTimeout = 0;
            return link;
        }
        catch
        {
            link.Dispose();
            throw;
        }
    }

    public static void Encode(Span<byte> to, NbdCommandType command, ulong cookie, ulong offsetBytes, uint lengthBytes)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, NbdProtocol.RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], (ushort)command);
        BinaryPrimitives.WriteUInt64BigEndian(to[8..], cookie);
        BinaryPrimitives.WriteUInt64BigEndian(to[16..], offsetBytes);
        BinaryPrimitives.WriteUInt32BigEndian(to[24..], lengthBytes);
    }

    public void Send(ReadOnlySpan<byte> data)
    {
        while (data.Length > 0) data = data[_socket.Send(data)..];
    }

    /// <summary>One thread. Throws IOException at the end of the stream.</summary>
    public void Receive(Span<byte> into)
    {
        while (into.Length > 0)
        {
            if (_from == _end)
            {
                if (into.Length >= BufferBytes)
                {
                    into = into[ReceiveSome(into)..];
                    continue;
                }
                (_from, _end) = (0, ReceiveSome(_received));
            }
            var count = Math.Min(into.Length, _end - _from);
            _received.AsSpan(_from, count).CopyTo(into);
            _from += count;
            into = into[count..];
        }
    }

    public void Dispose() => _socket.Dispose();

    private int ReceiveSome(Span<byte> into)
    {
        var count = _socket.Receive(into);
        return count > 0 ? count : throw new IOException("the NBD server closed the connection");
    }

    private void Negotiate(string export, bool allocation)
    {
        Span<byte> greeting = stackalloc byte[18];
        Receive(greeting);
        if (BinaryPrimitives.ReadUInt64BigEndian(greeting) != NbdProtocol.Magic || BinaryPrimitives.ReadUInt64BigEndian(greeting[8..]) != NbdProtocol.OptionMagic)
            throw new IOException("what answers is no NBD server");
        Span<byte> flags = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(flags, NbdProtocol.FlagFixedNewstyle | NbdProtocol.FlagNoZeroes);
        Send(flags);
        var name = Encoding.UTF8.GetBytes(export);
        if (allocation)
        {
            SendOption(NbdOption.StructuredReply, []);
            ReadReplies(NbdOption.StructuredReply, _ => { });
            SendOption(NbdOption.SetMetaContext, [.. U32(name.Length), .. name, .. U32(1), .. U32(NbdProtocol.BaseAllocation.Length), .. Encoding.ASCII.GetBytes(NbdProtocol.BaseAllocation)]);
            ReadReplies(NbdOption.SetMetaContext, reply => HasAllocation |= reply.Type == NbdProtocol.RepMetaContext);
        }
        SendOption(NbdOption.Go, [.. U32(name.Length), .. name, 0, 0]);
        ReadReplies(NbdOption.Go, OnInfo);
        if (SizeBytes == 0) throw new IOException("the NBD server did not tell the size of the export");
    }

    private static byte[] U32(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }

    private void OnInfo((uint Type, byte[] Data) reply)
    {
        if (reply.Type != NbdProtocol.RepInfo || reply.Data.Length < 12 || BinaryPrimitives.ReadUInt16BigEndian(reply.Data) != NbdProtocol.InfoExport) return;
        SizeBytes = BinaryPrimitives.ReadUInt64BigEndian(reply.Data.AsSpan(2));
        Flags = (NbdTransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(reply.Data.AsSpan(10));
    }

    private void SendOption(NbdOption option, ReadOnlySpan<byte> data)
    {
        var bytes = new byte[NbdProtocol.OptionHeaderBytes + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8), (uint)option);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(12), (uint)data.Length);
        data.CopyTo(bytes.AsSpan(NbdProtocol.OptionHeaderBytes));
        Send(bytes);
    }

    private void ReadReplies(NbdOption option, Action<(uint Type, byte[] Data)> on)
    {
        Span<byte> header = stackalloc byte[NbdProtocol.OptionReplyHeaderBytes];
        for (var count = 0; count < NbdLimits.OptionsMax; count++)
        {
            Receive(header);
            var (type, length) = (BinaryPrimitives.ReadUInt32BigEndian(header[12..]), BinaryPrimitives.ReadUInt32BigEndian(header[16..]));
            if (BinaryPrimitives.ReadUInt64BigEndian(header) != NbdProtocol.OptionReplyMagic || BinaryPrimitives.ReadUInt32BigEndian(header[8..]) != (uint)option
                || length > NbdLimits.OptionBytesMax) throw new IOException("the NBD server's answer to an option is malformed");
            var data = new byte[length];
            Receive(data);
            if ((type & ReplyErrorBit) != 0) throw new NbdRefusedException(Encoding.UTF8.GetString(data), type == NbdProtocol.RepErrUnknown);
            if (type == NbdProtocol.RepAck) return;
            on((type, data));
        }
        throw new IOException("the NBD server does not come to an end with its answers");
    }
}
