using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Cluster.Csi.Attach;

/// <summary>
/// The first block of a device while a file system is being put on it: whoever finds it after a crash knows that a format was begun and not
/// finished, so that what else is on the device is nobody's. 4,096 bytes, little-endian: "MYRMIDON FORMAT\n" | version u32 | file system u32 |
/// zeroes to 32 | SHA-256 of these 32 bytes | zeroes.
/// </summary>
internal static class FormatMarker
{
    public const int SizeBytes = 4096;
    private const int Version = 1;
    private const int HashedBytes = 32;

    private static ReadOnlySpan<byte> Magic => "MYRMIDON FORMAT\n"u8;

    public static byte[] Encode(FileSystemKind kind)
    {
        var block = new byte[SizeBytes];
        Magic.CopyTo(block);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(16), Version);
        BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(20), (int)kind);
        SHA256.HashData(block.AsSpan(0, HashedBytes), block.AsSpan(HashedBytes, SHA256.HashSizeInBytes));
        return block;
    }

    /// <summary>Whether the block is one, whole and of this version: anything else is somebody's data.</summary>
    public static bool Is(ReadOnlySpan<byte> block)
    {
        if (block.Length < SizeBytes || !block.StartsWith(Magic)) return false;
        if (BinaryPrimitives.ReadInt32LittleEndian(block[16..]) != Version) return false;
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(block[..HashedBytes], hash);
        return block.Slice(HashedBytes, hash.Length).SequenceEqual(hash) && !block[(HashedBytes + hash.Length)..SizeBytes].ContainsAnyExcept((byte)0);
    }
}
