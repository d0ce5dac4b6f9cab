using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The first sector of a segment that is or was in use. 512 bytes, little-endian; it is written anew each time that the segment is taken
/// into use:
/// <code>
///   0 magic u64 "MYRSEGMT"   8 version u16   10 zero u16   12 length of this header u32
///  16 segment id (16)   32 disk id (16)   48 store id (16)
///  64 log number u64   72 log number before it u64   80 offset at which the log left that segment u32   84 bytes of a segment u32
///  88 open count of the store u64   96 zero   504 hash u64 of bytes 0-503
/// </code>
/// The previous position makes the log a chain: what lies behind it in the earlier segment was cut off and is never read again.
/// </summary>
public readonly record struct SegmentHeader(Guid Segment, Guid Disk, Guid Store, ulong Number, LogPosition Previous, uint SegmentBytes,
    ulong OpenCount)
{
    public const int SizeBytes = 512;

    /// <summary>"MYRSEGMT".</summary>
    public const ulong Magic = 0x544D474553_52594D;
    public const ushort VersionCurrent = 1;
    private const int HashedBytes = 504;

    /// <summary>Seed of the hashes of the entries within.</summary>
    public ulong Seed => SeedOf(Segment);

    public static ulong SeedOf(Guid segment)
    {
        Span<byte> id = stackalloc byte[16];
        segment.TryWriteBytes(id);
        return XxHash3.HashToUInt64(id);
    }

    public void Encode(Span<byte> to)
    {
        to[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(to[8..], VersionCurrent);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], SizeBytes);
        Segment.TryWriteBytes(to[16..]);
        Disk.TryWriteBytes(to[32..]);
        Store.TryWriteBytes(to[48..]);
        BinaryPrimitives.WriteUInt64LittleEndian(to[64..], Number);
        BinaryPrimitives.WriteUInt64LittleEndian(to[72..], Previous.Number);
        BinaryPrimitives.WriteUInt32LittleEndian(to[80..], Previous.OffsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[84..], SegmentBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(to[88..], OpenCount);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    /// <summary>Malformed: never in use, or not a segment; BadChecksum; Unsupported: a version that this program does not know.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out SegmentHeader header)
    {
        header = default;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != XxHash3.HashToUInt64(from[..HashedBytes]))
            return IoStatus.BadChecksum;
        if (BinaryPrimitives.ReadUInt16LittleEndian(from[8..]) != VersionCurrent) return IoStatus.Unsupported;
        header = new SegmentHeader(new Guid(from[16..32]), new Guid(from[32..48]), new Guid(from[48..64]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[64..]),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(from[72..]), BinaryPrimitives.ReadUInt32LittleEndian(from[80..])),
            BinaryPrimitives.ReadUInt32LittleEndian(from[84..]), BinaryPrimitives.ReadUInt64LittleEndian(from[88..]));
        return header.Number > 0 && header.Previous.Number < header.Number ? IoStatus.Ok : IoStatus.Malformed;
    }
}
