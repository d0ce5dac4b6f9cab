using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>Writes little-endian fields one after the other. The caller gives enough room; running out is a broken invariant.</summary>
public ref struct BodyWriter(Span<byte> to)
{
    private readonly Span<byte> _to = to;

    public int Length { get; private set; }

    public readonly ReadOnlySpan<byte> Written => _to[..Length];

    public void U8(byte value) => Take(1)[0] = value;

    public void Bool(bool value) => U8(value ? (byte)1 : (byte)0);

    public void U16(ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(Take(2), value);

    public void U32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Take(4), value);

    public void U64(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Take(8), value);

    public void Guid(Guid value) => value.TryWriteBytes(Take(16));

    public void Replica(ReplicaId id)
    {
        U16(id.Number);
        U8(id.Fragment);
        U8(0);
    }

    public void Session(SessionId id)
    {
        U64(id.Generation);
        U64(id.Incarnation);
    }

    /// <summary>The bytes alone: their length is known by the layout.</summary>
    public void Raw(scoped ReadOnlySpan<byte> value) => value.CopyTo(Take(value.Length));

    /// <summary>u32 length, then the bytes.</summary>
    public void Bytes(ReadOnlySpan<byte> value)
    {
        U32((uint)value.Length);
        value.CopyTo(Take(value.Length));
    }

    /// <summary>u32 length, then UTF-8.</summary>
    public void Text(string value)
    {
        var count = Encoding.UTF8.GetByteCount(value);
        U32((uint)count);
        Encoding.UTF8.GetBytes(value, Take(count));
    }

    private Span<byte> Take(int count)
    {
        Invariant.That(count <= _to.Length - Length, "a body is longer than the room its writer was given");
        var span = _to.Slice(Length, count);
        Length += count;
        return span;
    }
}

/// <summary>Reads what <see cref="BodyWriter"/> wrote. Input that is too short, or a length beyond its end, clears <see cref="Ok"/>; reads then give zeroes.</summary>
public ref struct BodyReader(ReadOnlySpan<byte> from)
{
    private readonly ReadOnlySpan<byte> _from = from;
    private int _at;

    public bool Ok { get; private set; } = true;

    /// <summary>Everything was read and nothing is left.</summary>
    public readonly bool AtEnd => Ok && _at == _from.Length;

    public readonly int Remaining => _from.Length - _at;

    public byte U8() => Take(1, out var span) ? span[0] : (byte)0;

    public bool Bool()
    {
        var value = U8();
        if (value > 1) Ok = false;
        return value == 1;
    }

    public ushort U16() => Take(2, out var span) ? BinaryPrimitives.ReadUInt16LittleEndian(span) : (ushort)0;

    public uint U32() => Take(4, out var span) ? BinaryPrimitives.ReadUInt32LittleEndian(span) : 0;

    public ulong U64() => Take(8, out var span) ? BinaryPrimitives.ReadUInt64LittleEndian(span) : 0;

    public Guid Guid() => Take(16, out var span) ? new Guid(span) : default;

    public ReplicaId Replica()
    {
        var number = U16();
        var fragment = U8();
        if (U8() != 0) Ok = false;
        return new ReplicaId(number, fragment);
    }

    public SessionId Session() => new(U64(), U64());

    /// <summary>That many bytes; none when so many are not left.</summary>
    public ReadOnlySpan<byte> Raw(int length) => Take(length, out var span) ? span : default;

    public ReadOnlySpan<byte> Bytes(int lengthMax)
    {
        var length = U32();
        if (!Ok || length > lengthMax)
        {
            Ok = false;
            return default;
        }
        return Take((int)length, out var span) ? span : default;
    }

    /// <summary>Bytes that are not UTF-8 clear <see cref="Ok"/>: two different names must never read as one.</summary>
    public string Text(int bytesMax)
    {
        var bytes = Bytes(bytesMax);
        if (!Utf8.IsValid(bytes)) Ok = false;
        return Ok ? Encoding.UTF8.GetString(bytes) : "";
    }

    private bool Take(int count, out ReadOnlySpan<byte> span)
    {
        if (!Ok || count > _from.Length - _at)
        {
            Ok = false;
            span = default;
            return false;
        }
        span = _from.Slice(_at, count);
        _at += count;
        return true;
    }
}
