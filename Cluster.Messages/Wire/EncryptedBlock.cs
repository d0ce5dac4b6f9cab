using System.Buffers.Binary;
using Cluster.Messages.Model;

namespace Cluster.Messages.Wire;

/// <summary>
/// What stands around an encrypted block (encodings <see cref="BlockEncoding.AesGcm"/> and <see cref="BlockEncoding.Lz4AesGcm"/>), little-endian:
/// <code>
///  0 format u8 (1)   1 key slot u8   2 zero u16   4 write counter u64   12 salt, 16 bytes
/// 28 ciphertext, as long as the block was before (4,096 bytes, or what LZ4 made of it)
///  n tag, 16 bytes
/// </code>
/// Bytes 0-11 are the nonce. The key is that of one session: HKDF-SHA256 of the volume's key in that slot with this salt. Nodes check the checksum in the descriptor, which covers all
/// of it, and look at nothing of this: they have no key.
/// </summary>
public readonly record struct EncryptedBlock(byte KeySlot, ulong Counter)
{
    public const byte FormatCurrent = 1;
    public const int NonceBytes = 12;
    public const int SaltBytes = 16;
    public const int TagBytes = 16;
    public const int HeadBytes = NonceBytes + SaltBytes;

    /// <summary>What encryption adds to a block.</summary>
    public const int OverheadBytes = HeadBytes + TagBytes;

    public void Write(Span<byte> to, ReadOnlySpan<byte> salt)
    {
        to[0] = FormatCurrent;
        to[1] = KeySlot;
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(to[4..], Counter);
        salt[..SaltBytes].CopyTo(to[NonceBytes..]);
    }

    /// <summary>Malformed: too short, or bytes that mean nothing are set. Unsupported: another format.</summary>
    public static IoStatus TryDecode(ReadOnlySpan<byte> from, out EncryptedBlock block)
    {
        block = default;
        if (from.Length <= OverheadBytes || from.Length > Limits.EncodedBlockBytesMax) return IoStatus.Malformed;
        if (from[0] != FormatCurrent) return IoStatus.Unsupported;
        if (BinaryPrimitives.ReadUInt16LittleEndian(from[2..]) != 0) return IoStatus.Malformed;
        block = new EncryptedBlock(from[1], BinaryPrimitives.ReadUInt64LittleEndian(from[4..]));
        return IoStatus.Ok;
    }

    public static ReadOnlySpan<byte> SaltOf(ReadOnlySpan<byte> from) => from.Slice(NonceBytes, SaltBytes);
}
