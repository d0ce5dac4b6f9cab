using System.Buffers.Binary;

namespace Cluster.Csi.Attach;

/// <summary>
/// How large an ext4 is, from its first superblock. Little-endian; at byte 1024: blocks (low half) at 4, log2 of the block size less 10 at 24, magic at 56,
/// feature bits at 96 (0x80: 64 bit), blocks (high half, if 64 bit) at 336.
/// </summary>
internal static class Ext4Superblock
{
    /// <summary>What a file system may be smaller than its device: less than a group of blocks may not be worth one.</summary>
    public const ulong SlackBytes = 16UL << 20;

    private const int Offset = 1024;
    private const int Bytes = 1024;
    private const ushort Magic = 0xEF53;
    private const uint Has64Bit = 0x80;
    private const int LogBlockMax = 6;

    /// <summary>Null when it can't be read, or is none.</summary>
    public static ulong? SizeBytes(string device)
    {
        var block = new byte[Bytes];
        try
        {
            using var file = File.OpenHandle(device);
            if (RandomAccess.Read(file, block, Offset) != Bytes) return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
        return SizeBytes(block);
    }

    internal static ulong? SizeBytes(ReadOnlySpan<byte> block)
    {
        if (BinaryPrimitives.ReadUInt16LittleEndian(block[56..]) != Magic) return null;
        var log = BinaryPrimitives.ReadUInt32LittleEndian(block[24..]);
        if (log > LogBlockMax) return null;
        ulong blocks = BinaryPrimitives.ReadUInt32LittleEndian(block[4..]);
        if ((BinaryPrimitives.ReadUInt32LittleEndian(block[96..]) & Has64Bit) != 0)
            blocks |= (ulong)BinaryPrimitives.ReadUInt32LittleEndian(block[336..]) << 32;
        return blocks > ulong.MaxValue >> (int)(log + 10) ? null : blocks << (int)(log + 10);
    }
}
