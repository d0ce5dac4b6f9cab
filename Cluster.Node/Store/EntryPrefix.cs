using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

public enum EntryKind : byte
{
    Invalid = 0,
    /// <summary>A record as on the wire, or one of the store's own (<see cref="StoreRecord"/>), follows.</summary>
    Record = 1,
    /// <summary>Nothing follows; the entry only carries the flush watermark.</summary>
    Watermark = 2,
}

/// <summary>
/// What the store puts before each record in a segment. 64 bytes, little-endian, at a multiple of 8:
/// <code>
///   0 magic u32 "MYLE"   4 version u8   5 kind u8   6 zero u16   8 length u32 of what follows   12 offset u32 of this prefix in the segment
///  16 log number u64    24 volume u64 (0: none)    32 flush watermark: log number u64, 40 offset u32, 44 zero u32
///  48 hash u64 of the record's header (its last 8 bytes)
///  56 hash u64 of bytes 0-55, seeded with the segment's id
/// </code>
/// Log number, offset and segment tie the entry to its place, so that what an earlier use of the segment left behind is never taken for
/// an entry of this one; the record's hash ties record and prefix together, should the same offsets line up.
/// </summary>
public readonly record struct EntryPrefix(EntryKind Kind, uint LengthBytes, LogPosition Position, ulong Volume, LogPosition Durable,
    ulong RecordHash)
{
    public const int SizeBytes = 64;

    /// <summary>"MYLE".</summary>
    public const uint Magic = 0x454C594D;
    public const byte VersionCurrent = 1;
    public const int AlignmentBytes = 8;
    private const int HashedBytes = 56;

    /// <summary>Bytes from this prefix to the next.</summary>
    public uint TotalBytes => Align(SizeBytes + LengthBytes);

    public LogPosition End => Position with { OffsetBytes = Position.OffsetBytes + TotalBytes };

    public static uint Align(uint bytes) => (bytes + AlignmentBytes - 1) & ~(uint)(AlignmentBytes - 1);

    public void Encode(Span<byte> to, ulong seed)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to, Magic);
        to[4] = VersionCurrent;
        to[5] = (byte)Kind;
        BinaryPrimitives.WriteUInt16LittleEndian(to[6..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], LengthBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], Position.OffsetBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Position.Number);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], Volume);
        BinaryPrimitives.WriteUInt64LittleEndian(to[32..], Durable.Number);
        BinaryPrimitives.WriteUInt32LittleEndian(to[40..], Durable.OffsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[44..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], RecordHash);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], HashOf(to, seed));
    }

    /// <summary>False for anything that <see cref="Encode"/> did not write at exactly this place of this segment.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> from, ulong seed, LogPosition expected, out EntryPrefix prefix)
    {
        prefix = default;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic) return false;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != HashOf(from, seed)) return false;
        prefix = new EntryPrefix((EntryKind)from[5], BinaryPrimitives.ReadUInt32LittleEndian(from[8..]),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(from[16..]), BinaryPrimitives.ReadUInt32LittleEndian(from[12..])),
            BinaryPrimitives.ReadUInt64LittleEndian(from[24..]),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(from[32..]), BinaryPrimitives.ReadUInt32LittleEndian(from[40..])),
            BinaryPrimitives.ReadUInt64LittleEndian(from[48..]));
        return from[4] == VersionCurrent && prefix.Position == expected && prefix.HasPlausibleLength;
    }

    /// <summary>The log number in the first prefix of a segment whose header is bad; 0 if that is none either.</summary>
    public static ulong PeekNumber(ReadOnlySpan<byte> from, ulong seed)
    {
        var number = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]);
        return TryDecode(from, seed, new LogPosition(number, SegmentHeader.SizeBytes), out _) ? number : 0;
    }

    private bool HasPlausibleLength => Kind switch
    {
        EntryKind.Record => LengthBytes is >= RecordHeader.SizeBytes and <= Messages.Model.Limits.RecordBytesMax,
        EntryKind.Watermark => LengthBytes == 0,
        _ => false,
    };

    private static ulong HashOf(ReadOnlySpan<byte> prefix, ulong seed) =>
        XxHash3.HashToUInt64(prefix[..HashedBytes], unchecked((long)seed));
}
