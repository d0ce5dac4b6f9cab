using Cluster.Csi.Fuse;
using Cluster.Csi.Nbd;

namespace Cluster.Tests.Unit.Attach;

/// <summary>The bytes that the kernel gets (linux/fuse.h). Little-endian hosts.</summary>
public class FuseProtocolSpecs
{
    [Fact(DisplayName = "A reply's header is its length, the negative error and the request's number")]
    public void Header()
    {
        var bytes = new byte[FuseProtocol.ReplyHeaderBytes];
        FuseProtocol.ReplyHeader(bytes, 16, 5, 0x1122334455667788);
        Assert.Equal("10000000FBFFFFFF8877665544332211", Convert.ToHexString(bytes));
    }

    [Fact(DisplayName = "INIT is answered with version 7.31, requests of 1 MiB, and only flags that the kernel has")]
    public void Init()
    {
        var bytes = new byte[FuseProtocol.InitReplyBytes];
        bytes.AsSpan().Fill(0xff);
        FuseProtocol.InitReply(bytes, 0xffffffff);
        Assert.Equal("07000000" + "1F000000" + "00001000" + "21804000" + "4000" + "3000" + "00001000" + "01000000" + "0001" + new string('0', 68), Convert.ToHexString(bytes));
        FuseProtocol.InitReply(bytes, FuseProtocol.BigWrites);
        Assert.Equal("20000000", Convert.ToHexString(bytes.AsSpan(12, 4)));
    }

    [Fact(DisplayName = "The file's attributes: its size, a regular file of root's, valid for no time")]
    public void Attributes()
    {
        var bytes = new byte[FuseProtocol.AttributesReplyBytes];
        bytes.AsSpan().Fill(0xff);
        FuseProtocol.AttributesReply(bytes, 1UL << 30);
        var zero = new string('0', 32);
        Assert.Equal(zero + "0100000000000000" + "0000004000000000" + "0000200000000000" + new string('0', 48) + new string('0', 24)
            + "80810000" + "01000000" + new string('0', 24) + "00100000" + "00000000", Convert.ToHexString(bytes));
    }

    [Fact(DisplayName = "The file system's numbers: blocks of 4 KiB, none of them free")]
    public void StatFs()
    {
        var bytes = new byte[FuseProtocol.StatFsReplyBytes];
        bytes.AsSpan().Fill(0xff);
        FuseProtocol.StatFsReply(bytes, 1UL << 30);
        Assert.Equal("0000040000000000" + new string('0', 32) + "0100000000000000" + new string('0', 16) + "00100000" + "FF000000" + "00100000" + new string('0', 56),
            Convert.ToHexString(bytes));
    }

    [Theory(DisplayName = "A range to be zeroed goes in pieces that fit an NBD length")]
    [InlineData(4096UL, 1)]
    [InlineData(1UL << 30, 1)]
    [InlineData((1UL << 30) + 512, 2)]
    [InlineData(10UL << 30, 10)]
    public void Pieces(ulong length, int pieces)
    {
        var request = new DeviceRequest(1, NbdCommandType.WriteZeroes, 512, length);
        ulong at = 512;
        for (var piece = 1; ; piece++)
        {
            Assert.Equal(at, request.PieceOffset);
            at += request.PieceLength;
            if (!request.Advance()) continue;
            Assert.Equal(pieces, piece);
            break;
        }
        Assert.Equal(512 + length, at);
    }
}
