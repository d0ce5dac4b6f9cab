using System.Buffers.Binary;
using System.Text;

namespace Cluster.Csi.Kernel;

/// <summary>
/// One message to a generic netlink family: nlmsghdr (u32 length, u16 type, u16 flags, u32 sequence, u32 port), genlmsghdr (u8 command, u8 version, u16 0), then
/// attributes (u16 length without padding, u16 type, data, padded to 4 B). All in the byte order of the host, which is little endian wherever .NET runs Linux
/// in 64 bits but s390x. Sources: linux/netlink.h, linux/genetlink.h.
/// </summary>
internal sealed class NetlinkMessage
{
    public const int HeaderBytes = 16;
    public const int GenericHeaderBytes = HeaderBytes + 4;
    public const int AttributeHeaderBytes = 4;
    public const ushort FlagRequest = 1;

    /// <summary>An answer comes in any case, also if all is well.</summary>
    public const ushort FlagAck = 4;

    private const int BytesMax = 4096;

    private readonly byte[] _bytes = new byte[BytesMax];
    private int _length = GenericHeaderBytes;

    public NetlinkMessage(ushort family, byte command, byte version, uint sequence)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(4), family);
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(6), FlagRequest | FlagAck);
        BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(8), sequence);
        (_bytes[HeaderBytes], _bytes[HeaderBytes + 1]) = (command, version);
    }

    /// <summary>Complete, with its length.</summary>
    public ReadOnlySpan<byte> Bytes
    {
        get
        {
            BinaryPrimitives.WriteUInt32LittleEndian(_bytes, (uint)_length);
            return _bytes.AsSpan(0, _length);
        }
    }

    public NetlinkMessage U32(ushort type, uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(Add(type, sizeof(uint)), value);
        return this;
    }

    public NetlinkMessage U64(ushort type, ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(Add(type, sizeof(ulong)), value);
        return this;
    }

    /// <summary>With the zero at its end.</summary>
    public NetlinkMessage Text(ushort type, string value)
    {
        Encoding.UTF8.GetBytes(value, Add(type, Encoding.UTF8.GetByteCount(value) + 1));
        return this;
    }

    /// <summary>An attribute that holds those that <paramref name="inner"/> adds.</summary>
    public NetlinkMessage Nested(ushort type, Action<NetlinkMessage> inner)
    {
        var from = _length;
        Add(type, 0);
        inner(this);
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(from), (ushort)(_length - from));
        return this;
    }

    /// <summary>Room for the data, cleared. Throws ArgumentException when the message is full.</summary>
    private Span<byte> Add(ushort type, int dataBytes)
    {
        var from = _length;
        var padded = Padded(AttributeHeaderBytes + dataBytes);
        if (from + padded > BytesMax) throw new ArgumentException($"a netlink message has at most {BytesMax} B");
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(from), (ushort)(AttributeHeaderBytes + dataBytes));
        BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(from + 2), type);
        _length += padded;
        return _bytes.AsSpan(from + AttributeHeaderBytes, dataBytes);
    }

    internal static int Padded(int length) => (length + 3) & ~3;
}
