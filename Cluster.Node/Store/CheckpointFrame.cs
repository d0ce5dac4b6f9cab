using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

public enum CheckpointFrameKind : byte
{
    Invalid = 0,
    /// <summary>First: checkpoint number u64 | store id 16 | log position u64, u32 | volumes u32.</summary>
    Store = 1,
    /// <summary>Segments in use: index u32 | log number u64 | segment id 16, each. Entries name a segment by its index.</summary>
    Segments = 2,
    /// <summary>commit watermark u64 | its epoch u64 | header number u64 | header bytes | windows bytes | damage text (bytes: u32 length
    /// first).</summary>
    Volume = 3,
    /// <summary>first u64 | end u64 | sequence u64, each; ascending.</summary>
    Tombstones = 4,
    /// <summary>Uncommitted records, oldest first: segment index u32 | offset of the entry u32 | bytes of the record u32, each.</summary>
    Tail = 5,
    /// <summary>page u64, then per block: index u16 | encoding u8 | zero u8 | length u16 | zero u16 | segment index u32 (all ones: none)
    /// | offset u32 | sequence u64 | checksum u64.</summary>
    Page = 6,
    /// <summary>Last: frames u32, this one included. Without it the checkpoint is not whole.</summary>
    End = 7,
    /// <summary>Sequences of the volume's snapshots u64, each, ascending; before the frames of what they hold. From here on: written only for volumes that have snapshots.</summary>
    Snapshots = 8,
    /// <summary>Snapshot u64, then as <see cref="Tombstones"/>.</summary>
    SnapshotTombstones = 9,
    /// <summary>Snapshot u64, then as <see cref="Page"/>.</summary>
    SnapshotPage = 10,
    /// <summary>
    /// A map that no volume has any more and clones stand on: damaged u32 (0 or 1), zero u32. Its pages and snapshots follow, under the id of the volume that it was, up to the next
    /// frame of kind Detached or Volume. These maps stand before all volumes and are counted from 1. From here on: written only for clones.
    /// </summary>
    Detached = 11,
    /// <summary>What the volume, or detached map, stands on: origin u64 | snapshot u64 | detached map u32 (0: the one that the origin has) | zero u32.</summary>
    Base = 12,
    /// <summary>Those of its snapshots that the volume does not know any more, in the form of <see cref="Snapshots"/>, behind that frame.</summary>
    HiddenSnapshots = 13,
}

/// <summary>
/// One frame of the checkpoint file. 40 bytes, little-endian, then the body:
/// <code>
///   0 magic u32 "MYCF"   4 version u8   5 kind u8   6 zero u16   8 body length u32   12 index of the frame u32
///  16 volume u64 (0: none)   24 hash u64 of the body   32 hash u64 of bytes 0-31
/// </code>
/// Header and body are hashed apart, so that bad bytes in a body are the loss of one volume and not of the file.
/// </summary>
public readonly record struct CheckpointFrame(CheckpointFrameKind Kind, uint LengthBytes, uint Index, ulong Volume, ulong BodyHash)
{
    public const int SizeBytes = 40;
    public const int BodyBytesMax = 256 * 1024;

    /// <summary>"MYCF".</summary>
    public const uint Magic = 0x4643594D;
    public const byte VersionCurrent = 1;
    private const int HashedBytes = 32;

    public void Encode(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to, Magic);
        to[4] = VersionCurrent;
        to[5] = (byte)Kind;
        BinaryPrimitives.WriteUInt16LittleEndian(to[6..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], LengthBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], Index);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Volume);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], BodyHash);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out CheckpointFrame frame)
    {
        frame = default;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != XxHash3.HashToUInt64(from[..HashedBytes]))
            return IoStatus.BadChecksum;
        if (from[4] != VersionCurrent) return IoStatus.Unsupported;
        frame = new CheckpointFrame((CheckpointFrameKind)from[5], BinaryPrimitives.ReadUInt32LittleEndian(from[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[12..]), BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
            BinaryPrimitives.ReadUInt64LittleEndian(from[24..]));
        return frame.LengthBytes <= BodyBytesMax && frame.Kind is > CheckpointFrameKind.Invalid and <= CheckpointFrameKind.HiddenSnapshots
            ? IoStatus.Ok
            : IoStatus.Malformed;
    }
}
