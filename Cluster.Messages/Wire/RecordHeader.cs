using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

public enum RecordKind : byte
{
    Invalid = 0,
    /// <summary>One descriptor per block, then the encoded blocks in order, without gaps.</summary>
    Write = 1,
    /// <summary>The range reads as zero and holds no space. No descriptors, no payload.</summary>
    Trim = 2,
    /// <summary>The same for the map; kept apart since NO_HOLE asks for the space to stay promised.</summary>
    Zeroes = 3,
    /// <summary>Snapshots are made, go, or are gone back to, at this place in the order (R19). Payload: <see cref="SnapshotMarker"/>. Made by the owner.</summary>
    Marker = 4,
    /// <summary>Records above 128 are the store's own (headers, truncation, flush watermarks): never on the wire.</summary>
    StoreFirst = 128,
}

[Flags]
public enum RecordFlags : byte
{
    None = 0,
    /// <summary>The client waits for media (P3).</summary>
    ForceUnitAccess = 1,
    /// <summary>Apply only if the first block's newest sequence is <see cref="RecordHeader.ExpectedSequence"/> (R15). Range of one block.</summary>
    Conditional = 2,
    /// <summary>A copy for a returning replica: applied per block only where its sequence is higher (R8).</summary>
    Resync = 4,
    /// <summary>Zeroes with NBD NO_HOLE.</summary>
    NoHole = 8,
}

/// <summary>How one block is stored. Frozen: add, never renumber.</summary>
public enum BlockEncoding : byte
{
    Invalid = 0,
    /// <summary>All bytes are zero; nothing is stored.</summary>
    Zero = 1,
    Raw = 2,
    Lz4 = 3,
    /// <summary>AES-256-GCM over Raw (<see cref="EncryptedBlock"/>).</summary>
    AesGcm = 4,
    /// <summary>AES-256-GCM over Lz4.</summary>
    Lz4AesGcm = 5,
}

/// <summary>
/// The header of one record, the same bytes on the wire and on disk. 128 bytes, little-endian:
/// <code>
///   0 magic u32 "MYRR"     4 version u8   5 kind u8   6 flags u8   7 checksum type u8 (1 = XxHash3-64)
///   8 descriptor count u32   12 payload length u32
///  16 volume u64   24 slice u32   28 layer u32
///  32 epoch u64   40 sequence u64
///  48 session generation u64   56 session incarnation u64   64 request id u64   72 answered below u64
///  80 first block u48, log2 block bytes u8, key slot u8   88 block count u32   92 tenant u32
///  96 commit watermark u64   104 expected sequence u64 (conditional), snapshot u64 (resync) or hybrid logical clock u64
/// 112 trace id u64
/// 120 hash u64 of bytes 0-119 and of the descriptors
/// </code>
/// After it: descriptor × count (<see cref="BlockDescriptor"/>), then the payload. The owner writes epoch, sequence and watermark into the
/// client's record and hashes the header anew; the payload and its checksums stay as the consumer made them (P6).
/// </summary>
public struct RecordHeader
{
    public const int SizeBytes = 128;
    /// <summary>Where <see cref="Sequence"/> stands.</summary>
    public const int SequenceOffset = 40;
    private const int HashedBytes = 120;

    /// <summary>"MYRR".</summary>
    public const uint Magic = 0x5252594D;
    public const byte VersionCurrent = 1;
    public const byte ChecksumXxHash3 = 1;

    public RecordKind Kind;
    public RecordFlags Flags;
    public uint DescriptorCount;
    public uint PayloadLength;
    public VolumeId Volume;
    public uint Slice;
    public uint Layer;
    public ulong Epoch;
    public ulong Sequence;
    public SessionId Session;
    public ulong RequestId;
    public ulong AnsweredBelow;
    public BlockRange Range;
    public byte KeySlot;
    public uint Tenant;
    public ulong CommitWatermark;
    /// <summary>
    /// With <see cref="RecordFlags.Conditional"/>: the sequence the block must have. With <see cref="RecordFlags.Resync"/>: the newest snapshot that sees what the record carries, 0: the
    /// volume itself does (R19). Otherwise a hybrid logical clock, or 0.
    /// </summary>
    public ulong ExpectedSequence;
    public ulong TraceId;

    public readonly int TotalBytes => SizeBytes + (int)(DescriptorCount * BlockDescriptor.SizeBytes) + (int)PayloadLength;

    public readonly int PayloadOffset => SizeBytes + (int)(DescriptorCount * BlockDescriptor.SizeBytes);

    /// <summary>Writes the header and its hash; the descriptors must already stand behind it in <paramref name="record"/>.</summary>
    public readonly void Encode(Span<byte> record)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(record, Magic);
        record[4] = VersionCurrent;
        record[5] = (byte)Kind;
        record[6] = (byte)Flags;
        record[7] = ChecksumXxHash3;
        BinaryPrimitives.WriteUInt32LittleEndian(record[8..], DescriptorCount);
        BinaryPrimitives.WriteUInt32LittleEndian(record[12..], PayloadLength);
        BinaryPrimitives.WriteUInt64LittleEndian(record[16..], Volume.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(record[24..], Slice);
        BinaryPrimitives.WriteUInt32LittleEndian(record[28..], Layer);
        BinaryPrimitives.WriteUInt64LittleEndian(record[32..], Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(record[SequenceOffset..], Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(record[48..], Session.Generation);
        BinaryPrimitives.WriteUInt64LittleEndian(record[56..], Session.Incarnation);
        BinaryPrimitives.WriteUInt64LittleEndian(record[64..], RequestId);
        BinaryPrimitives.WriteUInt64LittleEndian(record[72..], AnsweredBelow);
        BinaryPrimitives.WriteUInt64LittleEndian(record[80..], Range.First | ((ulong)Limits.BlockBytesLog2 << 48) | ((ulong)KeySlot << 56));
        BinaryPrimitives.WriteUInt32LittleEndian(record[88..], Range.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(record[92..], Tenant);
        BinaryPrimitives.WriteUInt64LittleEndian(record[96..], CommitWatermark);
        BinaryPrimitives.WriteUInt64LittleEndian(record[104..], ExpectedSequence);
        BinaryPrimitives.WriteUInt64LittleEndian(record[112..], TraceId);
        BinaryPrimitives.WriteUInt64LittleEndian(record[HashedBytes..], HashOf(record, PayloadOffset));
    }

    /// <summary>
    /// Reads and checks header and descriptors (not the payload: <see cref="BlockDescriptor.Matches"/> per block). <paramref name="record"/>
    /// holds at least the header and the descriptors. Nothing is believed before the hash matched, except the count that bounds it.
    /// </summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> record, out RecordHeader header)
    {
        header = default;
        if (record.Length < SizeBytes || BinaryPrimitives.ReadUInt32LittleEndian(record) != Magic) return IoStatus.Malformed;
        var count = BinaryPrimitives.ReadUInt32LittleEndian(record[8..]);
        var payload = BinaryPrimitives.ReadUInt32LittleEndian(record[12..]);
        if (count > Limits.RecordBlocksMax || payload > count * Limits.EncodedBlockBytesMax) return IoStatus.OutOfRange;
        var hashed = SizeBytes + ((int)count * BlockDescriptor.SizeBytes);
        if (record.Length < hashed) return IoStatus.Malformed;
        if (HashOf(record, hashed) != BinaryPrimitives.ReadUInt64LittleEndian(record[HashedBytes..])) return IoStatus.BadChecksum;
        if (record[4] != VersionCurrent || record[7] != ChecksumXxHash3) return IoStatus.Unsupported;
        header.Kind = (RecordKind)record[5];
        header.Flags = (RecordFlags)record[6];
        header.DescriptorCount = count;
        header.PayloadLength = payload;
        header.Volume = new VolumeId(BinaryPrimitives.ReadUInt64LittleEndian(record[16..]));
        header.Slice = BinaryPrimitives.ReadUInt32LittleEndian(record[24..]);
        header.Layer = BinaryPrimitives.ReadUInt32LittleEndian(record[28..]);
        header.Epoch = BinaryPrimitives.ReadUInt64LittleEndian(record[32..]);
        header.Sequence = BinaryPrimitives.ReadUInt64LittleEndian(record[SequenceOffset..]);
        header.Session = new SessionId(BinaryPrimitives.ReadUInt64LittleEndian(record[48..]), BinaryPrimitives.ReadUInt64LittleEndian(record[56..]));
        header.RequestId = BinaryPrimitives.ReadUInt64LittleEndian(record[64..]);
        header.AnsweredBelow = BinaryPrimitives.ReadUInt64LittleEndian(record[72..]);
        var place = BinaryPrimitives.ReadUInt64LittleEndian(record[80..]);
        header.Range = new BlockRange(place & Limits.BlockIndexMax, BinaryPrimitives.ReadUInt32LittleEndian(record[88..]));
        header.KeySlot = (byte)(place >> 56);
        header.Tenant = BinaryPrimitives.ReadUInt32LittleEndian(record[92..]);
        header.CommitWatermark = BinaryPrimitives.ReadUInt64LittleEndian(record[96..]);
        header.ExpectedSequence = BinaryPrimitives.ReadUInt64LittleEndian(record[104..]);
        header.TraceId = BinaryPrimitives.ReadUInt64LittleEndian(record[112..]);
        return (byte)(place >> 48) == Limits.BlockBytesLog2 ? CheckMeaning(in header, record) : IoStatus.Unsupported;
    }

    private static IoStatus CheckMeaning(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        if (!header.Volume.IsValid) return IoStatus.Malformed;
        if (header.Kind >= RecordKind.StoreFirst) return IoStatus.Ok;
        if (header.Kind == RecordKind.Marker)
        {
            var isMarker = header.Range is { First: 0, Count: 0 } && header.DescriptorCount > 0 && (header.Flags & (RecordFlags.Resync | RecordFlags.Conditional)) == 0;
            return isMarker ? CheckDescriptors(in header, record) : IoStatus.Malformed;
        }
        if (header.Range.Count == 0 || header.Range.End > Limits.BlockIndexMax) return IoStatus.OutOfRange;
        if (header.Kind is RecordKind.Trim or RecordKind.Zeroes)
            return header.DescriptorCount == 0 && header.PayloadLength == 0 ? IoStatus.Ok : IoStatus.Malformed;
        return header.Kind == RecordKind.Write && header.DescriptorCount == header.Range.Count ? CheckDescriptors(in header, record) : IoStatus.Malformed;
    }

    private static IoStatus CheckDescriptors(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        uint sum = 0;
        for (var index = 0; index < (int)header.DescriptorCount; index++)
        {
            var descriptor = BlockDescriptor.Read(record[(SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
            if (!descriptor.IsPlausible) return IoStatus.Malformed;
            sum += descriptor.Length;
        }
        return sum == header.PayloadLength ? IoStatus.Ok : IoStatus.Malformed;
    }

    private static ulong HashOf(ReadOnlySpan<byte> record, int descriptorsEnd)
    {
        var hash = XxHash3.HashToUInt64(record[..HashedBytes]);
        return descriptorsEnd == SizeBytes ? hash : XxHash3.HashToUInt64(record[SizeBytes..descriptorsEnd], unchecked((long)hash));
    }
}
