using System.Buffers.Binary;
using System.Collections.Immutable;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// What a store knows of itself (R5, R9). 512 bytes, little-endian, in one of two slots of the file "superblock" (at 0 and 4096),
/// written in turn; the valid one with the higher write count holds:
/// <code>
///   0 magic u64 "MYRSUPER"   8 version u16   10 clean stop u8   11 an fdatasync failed u8   12 bytes of a segment u32
///  16 compatible features u64   24 read-only compatible u64   32 incompatible u64
///  40 write count u64   48 open count u64   56 open count at which the store was last found suspect u64 (0: never)
///  64 cluster id (16, zero: none yet)   80 store id (16)   96 disk id (16)   112 boot id (16)
/// 128 end of the log at a clean stop: log number u64, 136 offset u32   140 marks u32
/// 144 from version 2 on: the mark of each of the newest opens, newest first, u64 x 32 (0: not known)
/// 400 node id (16, zero: none yet; versions before it was noted write zeroes)   416 the node id before that one (16, zero: none)   432 zero   504 hash u64 of bytes 0-503
/// </code>
/// An unknown incompatible feature refuses the open; so does an unknown read-only one, as a store is never opened read-only.
/// </summary>
public readonly record struct Superblock
{
    public const int SizeBytes = 512;
    public const int SlotBytes = 4096;

    /// <summary>"MYRSUPER".</summary>
    public const ulong Magic = 0x5245505553_52594D;
    public const ushort VersionCurrent = 2;
    private const ushort VersionOldest = 1;
    private const int MarksAt = 144;
    private const int NodeAt = 400;
    private const int FormerNodeAt = 416;

    /// <summary>Incompatible feature: the store has disks beside its home, which <see cref="DiskRoster"/> names. A program that does not know it would take their segments for lost.</summary>
    public const ulong SeveralDisks = 1;

    /// <summary>Features of these kinds that this program knows.</summary>
    public const ulong KnownReadOnlyCompatible = 0;
    public const ulong KnownIncompatible = SeveralDisks;
    private const int HashedBytes = 504;

    public bool CleanStop { get; init; }

    /// <summary>An fdatasync of the log failed since the open: what was not flushed may be gone, whatever a read says (R9, R10).</summary>
    public bool SyncFailed { get; init; }

    public uint SegmentBytes { get; init; }

    public ulong Compatible { get; init; }

    public ulong ReadOnlyCompatible { get; init; }

    public ulong Incompatible { get; init; }

    public ulong WriteCount { get; init; }

    public StoreOpens Opens { get => field ?? StoreOpens.None; init; }

    public ulong SuspectSince { get; init; }

    public Guid ClusterId { get; init; }

    public Guid StoreId { get; init; }

    /// <summary>The node whose store it is: its copies are told from those of other nodes by who has them.</summary>
    public Guid NodeId { get; init; }

    /// <summary>Whose it was before: the journal of that node may come back.</summary>
    public Guid FormerNodeId { get; init; }

    public Guid DiskId { get; init; }

    public Guid BootId { get; init; }

    public LogPosition CleanEnd { get; init; }

    public void Encode(Span<byte> to)
    {
        to[..SizeBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(to[8..], VersionCurrent);
        to[10] = CleanStop ? (byte)1 : (byte)0;
        to[11] = SyncFailed ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], SegmentBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Compatible);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], ReadOnlyCompatible);
        BinaryPrimitives.WriteUInt64LittleEndian(to[32..], Incompatible);
        BinaryPrimitives.WriteUInt64LittleEndian(to[40..], WriteCount);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], Opens.Count);
        BinaryPrimitives.WriteUInt64LittleEndian(to[56..], SuspectSince);
        ClusterId.TryWriteBytes(to[64..]);
        StoreId.TryWriteBytes(to[80..]);
        DiskId.TryWriteBytes(to[96..]);
        BootId.TryWriteBytes(to[112..]);
        BinaryPrimitives.WriteUInt64LittleEndian(to[128..], CleanEnd.Number);
        BinaryPrimitives.WriteUInt32LittleEndian(to[136..], CleanEnd.OffsetBytes);
        var marks = Opens.Marks;
        BinaryPrimitives.WriteUInt32LittleEndian(to[140..], (uint)marks.Length);
        for (var index = 0; index < marks.Length; index++) BinaryPrimitives.WriteUInt64LittleEndian(to[(MarksAt + (8 * index))..], marks[index]);
        NodeId.TryWriteBytes(to[NodeAt..]);
        FormerNodeId.TryWriteBytes(to[FormerNodeAt..]);
        BinaryPrimitives.WriteUInt64LittleEndian(to[HashedBytes..], XxHash3.HashToUInt64(to[..HashedBytes]));
    }

    /// <summary>Malformed: nothing was ever written there; BadChecksum; Unsupported: a version or a feature that this program does not
    /// know.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out Superblock superblock)
    {
        superblock = default;
        if (from.Length < SizeBytes || BinaryPrimitives.ReadUInt64LittleEndian(from) != Magic) return IoStatus.Malformed;
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[HashedBytes..]) != XxHash3.HashToUInt64(from[..HashedBytes]))
            return IoStatus.BadChecksum;
        var version = BinaryPrimitives.ReadUInt16LittleEndian(from[8..]);
        if (version is < VersionOldest or > VersionCurrent) return IoStatus.Unsupported;
        if (ReadOpens(from, version) is not { } opens) return IoStatus.Malformed;
        superblock = new Superblock
        {
            CleanStop = from[10] == 1,
            SyncFailed = from[11] != 0,
            SegmentBytes = BinaryPrimitives.ReadUInt32LittleEndian(from[12..]),
            Compatible = BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
            ReadOnlyCompatible = BinaryPrimitives.ReadUInt64LittleEndian(from[24..]),
            Incompatible = BinaryPrimitives.ReadUInt64LittleEndian(from[32..]),
            WriteCount = BinaryPrimitives.ReadUInt64LittleEndian(from[40..]),
            Opens = opens,
            SuspectSince = BinaryPrimitives.ReadUInt64LittleEndian(from[56..]),
            ClusterId = new Guid(from[64..80]),
            StoreId = new Guid(from[80..96]),
            DiskId = new Guid(from[96..112]),
            BootId = new Guid(from[112..128]),
            NodeId = new Guid(from[NodeAt..(NodeAt + 16)]),
            FormerNodeId = new Guid(from[FormerNodeAt..(FormerNodeAt + 16)]),
            CleanEnd = new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(from[128..]),
                BinaryPrimitives.ReadUInt32LittleEndian(from[136..])),
        };
        var unknown = (superblock.ReadOnlyCompatible & ~KnownReadOnlyCompatible) | (superblock.Incompatible & ~KnownIncompatible);
        if (unknown != 0) return IoStatus.Unsupported;
        return superblock.StoreId != Guid.Empty && superblock.SegmentBytes >= StoreOptions.SegmentBytesMin ? IoStatus.Ok
            : IoStatus.Malformed;
    }

    private static StoreOpens? ReadOpens(ReadOnlySpan<byte> from, ushort version)
    {
        var count = BinaryPrimitives.ReadUInt64LittleEndian(from[48..]);
        if (version == 1) return new StoreOpens(count, []);
        var length = BinaryPrimitives.ReadUInt32LittleEndian(from[140..]);
        if (length > StoreOpens.MarksMax) return null;
        var marks = ImmutableArray.CreateBuilder<ulong>((int)length);
        for (var index = 0; index < length; index++) marks.Add(BinaryPrimitives.ReadUInt64LittleEndian(from[(MarksAt + (8 * index))..]));
        return new StoreOpens(count, marks.MoveToImmutable());
    }
}
