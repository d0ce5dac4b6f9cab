using System.Buffers.Binary;
using Cluster.Csi.Attach;

namespace Cluster.Tests.Unit.Csi;

public class Ext4SuperblockSpecs
{
    [Theory(DisplayName = "The size of an ext4 is its blocks of its block size; anything that is none, or makes no sense, has no size")]
    [InlineData(262144u, 0u, 2u, 0x80u, 0xEF53, 1UL << 30)]
    [InlineData(1u, 1u, 2u, 0x80u, 0xEF53, ((1UL << 32) + 1) << 12)]
    [InlineData(1u, 1u, 2u, 0u, 0xEF53, 1UL << 12)]
    [InlineData(1024u, 0u, 0u, 0u, 0xEF53, 1UL << 20)]
    [InlineData(1024u, 0u, 7u, 0u, 0xEF53, null)]
    [InlineData(1u, uint.MaxValue, 6u, 0x80u, 0xEF53, null)]
    [InlineData(1024u, 0u, 0u, 0u, 0x58, null)]
    public void Sizes(uint low, uint high, uint log, uint features, int magic, ulong? expected)
    {
        var block = new byte[1024];
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(4), low);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(24), log);
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(56), (ushort)magic);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(96), features);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(336), high);
        Assert.Equal(expected, Ext4Superblock.SizeBytes(block));
    }
}
