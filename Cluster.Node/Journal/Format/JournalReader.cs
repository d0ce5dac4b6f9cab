using System.Buffers.Binary;
using System.Text;

namespace Cluster.Node.Journal.Format;

/// <summary>
/// The bytes are not what the format allows. From the wire: close the connection. From the disk or the log: stop the node.
/// </summary>
public sealed class JournalFormatException(string message) : Exception(message);

/// <summary>Reads what <see cref="JournalWriter"/> wrote; each length is checked before it is believed.</summary>
public ref struct JournalReader(ReadOnlySpan<byte> from)
{
    private ReadOnlySpan<byte> _rest = from;

    public readonly int Remaining => _rest.Length;

    public byte U8() => Take(1)[0];

    public bool Flag() => U8() switch
    {
        0 => false,
        1 => true,
        var other => throw new JournalFormatException($"a flag is {other}, neither 0 nor 1"),
    };

    public ushort U16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public int I32() => BinaryPrimitives.ReadInt32LittleEndian(Take(4));

    public long I64() => BinaryPrimitives.ReadInt64LittleEndian(Take(8));

    public Guid Id() => new(Take(16));

    /// <summary>
    /// A count of things that take at least <paramref name="bytesEach"/> bytes, so that it can't promise more than there is.
    /// </summary>
    public int Count(int bytesEach, int max)
    {
        var count = I32();
        if (count < 0 || count > max || (long)count * bytesEach > _rest.Length)
            throw new JournalFormatException($"a count of {count} does not fit");
        return count;
    }

    public string Text()
    {
        var length = I32();
        if (length is < 0 or > JournalLimits.TextBytesMax) throw new JournalFormatException($"a text of {length} bytes");
        return Encoding.UTF8.GetString(Take(length));
    }

    public byte[] Bytes() => Take(I32()).ToArray();

    /// <summary>Throws unless everything was read: trailing bytes mean that writer and reader disagree.</summary>
    public readonly void End()
    {
        if (_rest.Length != 0) throw new JournalFormatException($"{_rest.Length} bytes too many");
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count < 0 || count > _rest.Length) throw new JournalFormatException($"{count} bytes are wanted, {_rest.Length} are left");
        var taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }
}
