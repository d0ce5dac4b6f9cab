using System.Buffers.Binary;
using System.Text;

namespace Cluster.Csi.Kernel;

/// <summary>What the kernel answers to one request: messages of the family (some commands have one), then an acknowledgement or an error, which ends it.</summary>
internal sealed class NetlinkAnswer(ushort family, uint sequence)
{
    private const ushort TypeError = 2;

    /// <summary>Only the header of the request is quoted in an error, not all of it.</summary>
    private const ushort FlagCapped = 0x100;

    /// <summary>Attributes that explain the error follow what is quoted.</summary>
    private const ushort FlagExplained = 0x200;

    private const ushort AttributeMessage = 1;
    private const ushort AttributeTypeMask = 0x3FFF;

    private readonly Dictionary<ushort, byte[]> _attributes = [];

    /// <summary>The acknowledgement or the error has come.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>An errno; 0: done.</summary>
    public int Error { get; private set; }

    /// <summary>The kernel's own words, if it has any.</summary>
    public string Explanation { get; private set; } = "";

    public ushort? U16(ushort type) => _attributes.TryGetValue(type, out var data) && data.Length == sizeof(ushort) ? BinaryPrimitives.ReadUInt16LittleEndian(data) : null;

    public uint? U32(ushort type) => _attributes.TryGetValue(type, out var data) && data.Length == sizeof(uint) ? BinaryPrimitives.ReadUInt32LittleEndian(data) : null;

    /// <summary>The data of an attribute of the answer's own message, or null.</summary>
    public ReadOnlySpan<byte> Data(ushort type) => _attributes.GetValueOrDefault(type);

    /// <summary>One datagram, of one or several messages. False: it is malformed. Messages of other requests are skipped: they answer one that timed out.</summary>
    public bool Take(ReadOnlySpan<byte> datagram)
    {
        while (datagram.Length >= NetlinkMessage.HeaderBytes)
        {
            var length = BinaryPrimitives.ReadUInt32LittleEndian(datagram);
            if (length < NetlinkMessage.HeaderBytes || length > datagram.Length) return false;
            var message = datagram[..(int)length];
            if (BinaryPrimitives.ReadUInt32LittleEndian(message[8..]) == sequence && !TakeMessage(message)) return false;
            datagram = datagram[Math.Min(NetlinkMessage.Padded((int)length), datagram.Length)..];
        }
        return datagram.IsEmpty;
    }

    /// <summary>Attributes one after the other; null: they are malformed. A type that comes twice counts as it came last.</summary>
    internal static Dictionary<ushort, byte[]>? Attributes(ReadOnlySpan<byte> data)
    {
        var found = new Dictionary<ushort, byte[]>();
        while (data.Length >= NetlinkMessage.AttributeHeaderBytes)
        {
            var length = BinaryPrimitives.ReadUInt16LittleEndian(data);
            if (length < NetlinkMessage.AttributeHeaderBytes || length > data.Length) return null;
            found[(ushort)(BinaryPrimitives.ReadUInt16LittleEndian(data[2..]) & AttributeTypeMask)] = data[NetlinkMessage.AttributeHeaderBytes..length].ToArray();
            data = data[Math.Min(NetlinkMessage.Padded(length), data.Length)..];
        }
        return data.IsEmpty ? found : null;
    }

    private bool TakeMessage(ReadOnlySpan<byte> message)
    {
        var (type, flags) = (BinaryPrimitives.ReadUInt16LittleEndian(message[4..]), BinaryPrimitives.ReadUInt16LittleEndian(message[6..]));
        if (type == TypeError) return TakeError(message[NetlinkMessage.HeaderBytes..], flags);
        if (type != family || message.Length < NetlinkMessage.GenericHeaderBytes) return false;
        if (Attributes(message[NetlinkMessage.GenericHeaderBytes..]) is not { } attributes) return false;
        foreach (var (attribute, data) in attributes) _attributes[attribute] = data;
        return true;
    }

    /// <summary>i32 minus the errno, the header of the request, its rest unless capped, attributes.</summary>
    private bool TakeError(ReadOnlySpan<byte> data, ushort flags)
    {
        if (data.Length < sizeof(int) + NetlinkMessage.HeaderBytes) return false;
        var error = BinaryPrimitives.ReadInt32LittleEndian(data);
        if (error is > 0 or < -4095) return false;
        (IsComplete, Error) = (true, -error);
        if ((flags & FlagExplained) == 0) return true;
        var quoted = (flags & FlagCapped) != 0 ? NetlinkMessage.HeaderBytes : BinaryPrimitives.ReadUInt32LittleEndian(data[sizeof(int)..]);
        if (quoted > data.Length - sizeof(int)) return false;
        if (Attributes(data[(sizeof(int) + NetlinkMessage.Padded((int)quoted))..]) is not { } attributes) return false;
        if (attributes.TryGetValue(AttributeMessage, out var text)) Explanation = Encoding.UTF8.GetString(text).TrimEnd('\0');
        return true;
    }
}
