using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using K4os.Compression.LZ4;

namespace Cluster.Csi.Client;

/// <summary>
/// Encodes 4 KiB blocks for the wire and the store, and decodes them with their checksum verified (P6). Nothing between the two looks
/// inside. Stateless; any thread, but for a cipher's.
/// </summary>
public static class BlockCodec
{
    /// <summary>Bytes looked at by the test for compressibility, at an odd stride so that fields of records do not hide it.</summary>
    private const int Samples = 128;
    private const int SampleStride = 31;

    /// <summary>
    /// 128 uniformly random bytes show 101 ± 4 distinct values, text and most binary records fewer than 64. At 88 and above LZ4 is not
    /// tried.
    /// </summary>
    private const int DistinctMax = 88;

    /// <summary>
    /// Encodes one whole block into <paramref name="to"/>, which has room for <see cref="RoomFor"/>: Zero if it is all zero, LZ4 if that saves a quarter
    /// (<see cref="ClientLimits.CompressedBytesMax"/>), else Raw; the last two are encrypted then, if there is a cipher.
    /// </summary>
    public static BlockDescriptor Encode(
        VolumeId volume, uint layer, ulong block, ReadOnlySpan<byte> data, Span<byte> to, bool compress, BlockCipher? cipher = null)
    {
        Invariant.That(data.Length == Limits.BlockBytes, "the codec encodes whole blocks");
        if (data.IndexOfAnyExcept((byte)0) < 0) return BlockDescriptor.Of(BlockEncoding.Zero, volume, layer, block, default);
        var length = compress && LooksCompressible(data) ? LZ4Codec.Encode(data, to[..ClientLimits.CompressedBytesMax], LZ4Level.L00_FAST) : 0;
        var encoding = length > 0 ? BlockEncoding.Lz4 : BlockEncoding.Raw;
        if (encoding == BlockEncoding.Raw)
        {
            data.CopyTo(to);
            length = Limits.BlockBytes;
        }
        if (cipher is not null)
        {
            encoding = encoding == BlockEncoding.Raw ? BlockEncoding.AesGcm : BlockEncoding.Lz4AesGcm;
            length = cipher.Encrypt(encoding, block, to, length);
        }
        return BlockDescriptor.Of(encoding, volume, layer, block, to[..length]);
    }

    /// <summary>Bytes that one encoded block may take.</summary>
    public static int RoomFor(BlockCipher? cipher) => cipher is null ? Limits.BlockBytes : Limits.BlockBytes + EncryptedBlock.OverheadBytes;

    /// <summary>
    /// Decodes one block into the 4 KiB of <paramref name="to"/>. BadChecksum: the bytes are not those that were written there. Malformed: they are, but don't decode. Unsupported: an encoding
    /// that this version does not know, or a block that is encrypted under a key that is not here.
    /// </summary>
    public static IoStatus Decode(
        BlockDescriptor descriptor, VolumeId volume, uint layer, ulong block, ReadOnlySpan<byte> encoded, Span<byte> to, BlockCipher? cipher = null)
    {
        if (!descriptor.IsPlausible || encoded.Length != descriptor.Length) return IoStatus.Malformed;
        if (!descriptor.Matches(volume, layer, block, encoded)) return IoStatus.BadChecksum;
        switch (descriptor.Encoding)
        {
            case BlockEncoding.Zero:
                to[..Limits.BlockBytes].Clear();
                return IoStatus.Ok;
            case BlockEncoding.Raw:
                encoded.CopyTo(to);
                return IoStatus.Ok;
            case BlockEncoding.Lz4:
                return Decompress(encoded, to);
            case BlockEncoding.AesGcm or BlockEncoding.Lz4AesGcm when cipher is not null:
                var status = cipher.Decrypt(descriptor.Encoding, block, encoded, out var plain);
                if (status != IoStatus.Ok) return status;
                if (descriptor.Encoding == BlockEncoding.Lz4AesGcm) return Decompress(plain, to);
                plain.CopyTo(to);
                return IoStatus.Ok;
            default:
                return IoStatus.Unsupported;
        }
    }

    private static IoStatus Decompress(ReadOnlySpan<byte> encoded, Span<byte> to) =>
        LZ4Codec.Decode(encoded, to[..Limits.BlockBytes]) == Limits.BlockBytes ? IoStatus.Ok : IoStatus.Malformed;

    private static bool LooksCompressible(ReadOnlySpan<byte> data)
    {
        Span<ulong> seen = [0, 0, 0, 0];
        for (var index = 0; index < Samples; index++)
        {
            var value = data[index * SampleStride];
            seen[value >> 6] |= 1UL << (value & 63);
        }
        var distinct = 0;
        foreach (var word in seen) distinct += System.Numerics.BitOperations.PopCount(word);
        return distinct < DistinctMax;
    }
}
