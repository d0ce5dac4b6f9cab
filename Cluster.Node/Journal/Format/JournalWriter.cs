using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Cluster.Node.Journal.Format;

/// <summary>
/// Writes the journal's binary fields: little-endian integers, lengths before text and bytes, ids as 16 raw bytes. Not
/// thread-safe.
/// </summary>
public sealed class JournalWriter
{
    private readonly ArrayBufferWriter<byte> _buffer = new(256);

    public int Length => _buffer.WrittenCount;
    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;
    public ReadOnlyMemory<byte> WrittenMemory => _buffer.WrittenMemory;

    public byte[] ToArray() => _buffer.WrittenSpan.ToArray();

    public JournalWriter U8(byte value)
    {
        _buffer.GetSpan(1)[0] = value;
        _buffer.Advance(1);
        return this;
    }

    public JournalWriter Flag(bool value) => U8(value ? (byte)1 : (byte)0);

    public JournalWriter U16(ushort value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(_buffer.GetSpan(2), value);
        _buffer.Advance(2);
        return this;
    }

    public JournalWriter I32(int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_buffer.GetSpan(4), value);
        _buffer.Advance(4);
        return this;
    }

    public JournalWriter I64(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_buffer.GetSpan(8), value);
        _buffer.Advance(8);
        return this;
    }

    public JournalWriter Id(Guid value)
    {
        var written = value.TryWriteBytes(_buffer.GetSpan(16));
        if (!written) throw new InvalidOperationException("an id needs 16 bytes");
        _buffer.Advance(16);
        return this;
    }

    public JournalWriter Text(string value)
    {
        var bytes = Encoding.UTF8.GetByteCount(value);
        if (bytes > JournalLimits.TextBytesMax)
            throw new ArgumentException(
                $"a text of {bytes} bytes is over the journal's limit of {JournalLimits.TextBytesMax}", nameof(value));
        I32(bytes);
        Encoding.UTF8.GetBytes(value, _buffer.GetSpan(bytes == 0 ? 1 : bytes));
        _buffer.Advance(bytes);
        return this;
    }

    public JournalWriter Bytes(ReadOnlySpan<byte> value)
    {
        I32(value.Length);
        _buffer.Write(value);
        return this;
    }

    public JournalWriter Raw(ReadOnlySpan<byte> value)
    {
        _buffer.Write(value);
        return this;
    }
}
