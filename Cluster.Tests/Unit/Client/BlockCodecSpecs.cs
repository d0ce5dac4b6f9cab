using System.Text;
using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Client;

public class BlockCodecSpecs
{
    private static readonly VolumeId Volume = new(42);

    private static byte[] Block(int seed, int kind)
    {
        var random = new Random(seed);
        var block = new byte[Limits.BlockBytes];
        switch (kind)
        {
            case 0:
                break;
            case 1:
                random.NextBytes(block);
                break;
            case 2:
                var text = string.Concat(Enumerable.Repeat("a database page holds many rows like this one. ", 100));
                Encoding.ASCII.GetBytes(text[..Limits.BlockBytes]).CopyTo(block, 0);
                break;
            default:
                random.NextBytes(block.AsSpan(0, random.Next(Limits.BlockBytes)));
                block[^1] = 1;
                break;
        }
        return block;
    }

    [Theory(DisplayName = "Zeroes cost nothing, random bytes stay raw, text is compressed, and off means off")]
    [InlineData(0, true, BlockEncoding.Zero)]
    [InlineData(1, true, BlockEncoding.Raw)]
    [InlineData(2, true, BlockEncoding.Lz4)]
    [InlineData(2, false, BlockEncoding.Raw)]
    [InlineData(0, false, BlockEncoding.Zero)]
    public void Chooses(int kind, bool compress, BlockEncoding expected)
    {
        var descriptor = BlockCodec.Encode(Volume, 0, 5, Block(1, kind), new byte[Limits.BlockBytes], compress);
        Assert.Equal(expected, descriptor.Encoding);
        if (expected == BlockEncoding.Lz4) Assert.InRange(descriptor.Length, 1, ClientLimits.CompressedBytesMax);
    }

    [Fact(DisplayName = "What is decoded is what was encoded, whatever the content")]
    public void Round_trip()
    {
        var encoded = new byte[Limits.BlockBytes];
        var decoded = new byte[Limits.BlockBytes];
        for (var seed = 0; seed < 2000; seed++)
        {
            var block = Block(seed, seed % 4);
            var descriptor = BlockCodec.Encode(Volume, 0, (ulong)seed, block, encoded, true);
            Assert.True(descriptor.IsPlausible);
            Assert.Equal(IoStatus.Ok, BlockCodec.Decode(descriptor, Volume, 0, (ulong)seed, encoded.AsSpan(0, descriptor.Length), decoded));
            Assert.Equal(block, decoded);
        }
    }

    [Fact(DisplayName = "A single non-zero byte anywhere is not taken for a block of zeroes")]
    public void Almost_zero()
    {
        for (var at = 0; at < Limits.BlockBytes; at += 7)
        {
            var block = new byte[Limits.BlockBytes];
            block[at] = 1;
            Assert.NotEqual(BlockEncoding.Zero, BlockCodec.Encode(Volume, 0, 1, block, new byte[Limits.BlockBytes], true).Encoding);
        }
    }

    [Theory(DisplayName = "Bytes that were changed, or belong to another block or volume, are BadChecksum")]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Changed_bytes(int kind)
    {
        var encoded = new byte[Limits.BlockBytes];
        var to = new byte[Limits.BlockBytes];
        var descriptor = BlockCodec.Encode(Volume, 0, 9, Block(3, kind), encoded, true);
        var bytes = encoded.AsSpan(0, descriptor.Length);
        Assert.Equal(IoStatus.BadChecksum, BlockCodec.Decode(descriptor, Volume, 0, 10, bytes, to));
        Assert.Equal(IoStatus.BadChecksum, BlockCodec.Decode(descriptor, new VolumeId(43), 0, 9, bytes, to));
        Assert.Equal(IoStatus.BadChecksum, BlockCodec.Decode(descriptor, Volume, 1, 9, bytes, to));
        for (var bit = 0; bit < bytes.Length * 8; bit += 13)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Equal(IoStatus.BadChecksum, BlockCodec.Decode(descriptor, Volume, 0, 9, bytes, to));
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.Equal(IoStatus.Ok, BlockCodec.Decode(descriptor, Volume, 0, 9, bytes, to));
    }

    [Fact(DisplayName = "Garbage under a right checksum is refused by the decoder and writes nothing beyond the block")]
    public void Hostile_lz4()
    {
        var random = new Random(11);
        var to = new byte[Limits.BlockBytes + 64];
        to.AsSpan(Limits.BlockBytes).Fill(0xee);
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = new byte[random.Next(1, Limits.BlockBytes)];
            random.NextBytes(bytes);
            var descriptor = BlockDescriptor.Of(BlockEncoding.Lz4, Volume, 0, 1, bytes);
            var status = BlockCodec.Decode(descriptor, Volume, 0, 1, bytes, to);
            Assert.True(status is IoStatus.Malformed or IoStatus.Ok, status.ToString());
            Assert.Equal(-1, to.AsSpan(Limits.BlockBytes).IndexOfAnyExcept((byte)0xee));
        }
    }

    [Fact(DisplayName = "A length that does not fit the encoding is Malformed")]
    public void Implausible() => Assert.Equal(
        IoStatus.Malformed,
        BlockCodec.Decode(new BlockDescriptor(BlockEncoding.Raw, 100, 0), Volume, 0, 1, new byte[100], new byte[Limits.BlockBytes]));
}
