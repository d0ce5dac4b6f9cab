using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// One block of a record. 16 bytes, little-endian: encoding u8 | zero u8 | length u16 | zero u32 | checksum u64. The checksum is XxHash3-64 of the
/// encoded bytes, seeded with the block's identity (volume, layer, block), so that a misplaced block fails it too (P6).
/// </summary>
public readonly record struct BlockDescriptor(BlockEncoding Encoding, ushort Length, ulong Checksum)
{
    public const int SizeBytes = 16;

    /// <summary>The encoding is known and the length is one that it can have.</summary>
    public bool IsPlausible => Encoding switch
    {
        BlockEncoding.Zero => Length == 0,
        BlockEncoding.Raw => Length == Limits.BlockBytes,
        BlockEncoding.Lz4 => Length is > 0 and < Limits.BlockBytes,
        BlockEncoding.AesGcm => Length == Limits.BlockBytes + EncryptedBlock.OverheadBytes,
        BlockEncoding.Lz4AesGcm => Length is > EncryptedBlock.OverheadBytes and < Limits.BlockBytes + EncryptedBlock.OverheadBytes,
        _ => false,
    };

    public static BlockDescriptor Of(BlockEncoding encoding, VolumeId volume, uint layer, ulong block, ReadOnlySpan<byte> encoded) =>
        new(encoding, (ushort)encoded.Length, ChecksumOf(volume, layer, block, encoded));

    public bool Matches(VolumeId volume, uint layer, ulong block, ReadOnlySpan<byte> encoded) =>
        encoded.Length == Length && ChecksumOf(volume, layer, block, encoded) == Checksum;

    public static ulong ChecksumOf(VolumeId volume, uint layer, ulong block, ReadOnlySpan<byte> encoded) =>
        XxHash3.HashToUInt64(encoded, unchecked((long)SeedOf(volume, layer, block)));

    public void Write(Span<byte> to)
    {
        to[0] = (byte)Encoding;
        to[1] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], Length);
        BinaryPrimitives.WriteUInt32LittleEndian(to[4..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], Checksum);
    }

    public static BlockDescriptor Read(ReadOnlySpan<byte> from) => new((BlockEncoding)from[0],
        BinaryPrimitives.ReadUInt16LittleEndian(from[2..]), BinaryPrimitives.ReadUInt64LittleEndian(from[8..]));

    /// <summary>Odd multipliers spread the three parts over the seed (golden ratio and two of SplitMix64's constants).</summary>
    private static ulong SeedOf(VolumeId volume, uint layer, ulong block) => unchecked(
        (volume.Value * 0x9E3779B97F4A7C15UL) ^ (((ulong)layer + 1) * 0xBF58476D1CE4E5B9UL) ^ ((block + 1) * 0x94D049BB133111EBUL));
}

/// <summary>
/// One block of a read's answer. 24 bytes: the block's descriptor, then the sequence that wrote it (u64; 0 = never written). A block of
/// encoding Zero has no bytes.
/// </summary>
/// <param name="IsSame">In ClientReadCachedReply only: the front end has it, of that sequence. The descriptor is zero but for its second byte, which is 1, and there are no bytes.</param>
public readonly record struct ReadDescriptor(BlockDescriptor Block, ulong Sequence, bool IsSame = false)
{
    public const int SizeBytes = 24;

    public static ReadDescriptor Same(ulong sequence) => new(default, sequence, IsSame: true);

    public void Write(Span<byte> to)
    {
        Block.Write(to);
        if (IsSame) to[1] = 1;
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Sequence);
    }

    public static ReadDescriptor Read(ReadOnlySpan<byte> from) =>
        new(BlockDescriptor.Read(from), BinaryPrimitives.ReadUInt64LittleEndian(from[16..]), from[1] == 1);
}
