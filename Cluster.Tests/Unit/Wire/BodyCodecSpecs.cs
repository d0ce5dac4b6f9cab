using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Wire;

public class BodyCodecSpecs
{
    [Fact(DisplayName = "What was written reads back, field by field, to the end")]
    public void Round_trip()
    {
        var guid = Guid.NewGuid();
        var writer = new BodyWriter(new byte[200]);
        writer.U8(1);
        writer.Bool(true);
        writer.U16(0x0203);
        writer.U32(0x04050607);
        writer.U64(ulong.MaxValue);
        writer.Guid(guid);
        writer.Replica(new ReplicaId(9, 2));
        writer.Session(new SessionId(3, 4));
        writer.Bytes([5, 6]);
        writer.Text("größe");
        Assert.Equal(1 + 1 + 2 + 4 + 8 + 16 + 4 + 16 + 6 + 11, writer.Written.Length);

        var reader = new BodyReader(writer.Written);
        Assert.Equal(1, reader.U8());
        Assert.True(reader.Bool());
        Assert.Equal(0x0203, reader.U16());
        Assert.Equal(0x04050607u, reader.U32());
        Assert.Equal(ulong.MaxValue, reader.U64());
        Assert.Equal(guid, reader.Guid());
        Assert.Equal(new ReplicaId(9, 2), reader.Replica());
        Assert.Equal(new SessionId(3, 4), reader.Session());
        Assert.Equal([5, 6], reader.Bytes(2).ToArray());
        Assert.False(reader.AtEnd);
        Assert.Equal(11, reader.Remaining);
        Assert.Equal("größe", reader.Text(7));
        Assert.True(reader.AtEnd);
    }

    [Fact(DisplayName = "Input that ends early clears Ok for good, and reads give zeroes")]
    public void Too_short()
    {
        var reader = new BodyReader([1, 2, 3]);
        Assert.Equal(0u, reader.U32());
        Assert.False(reader.Ok);
        Assert.Equal(0, reader.U8());
        Assert.Equal(default, reader.Guid());
        Assert.False(reader.AtEnd);
    }

    [Theory(DisplayName = "A length beyond its bound or beyond the input is refused")]
    [InlineData(new byte[] { 3, 0, 0, 0, 1, 2, 3 }, 2)]
    [InlineData(new byte[] { 3, 0, 0, 0, 1, 2 }, 10)]
    [InlineData(new byte[] { 255, 255, 255, 255, 1 }, int.MaxValue)]
    [InlineData(new byte[] { 3, 0, 0 }, 10)]
    public void Bad_length(byte[] bytes, int lengthMax)
    {
        var reader = new BodyReader(bytes);
        Assert.Empty(reader.Bytes(lengthMax).ToArray());
        Assert.False(reader.Ok);
    }

    [Fact(DisplayName = "Text that is not UTF-8, a bool that is neither 0 nor 1 and a replica's reserved byte are refused")]
    public void Bad_values()
    {
        var text = new BodyReader([2, 0, 0, 0, 0xC3, 0x28]);
        Assert.Equal("", text.Text(10));
        Assert.False(text.Ok);
        var flag = new BodyReader([2]);
        Assert.False(flag.Bool());
        Assert.False(flag.Ok);
        var replica = new BodyReader([1, 0, 0, 1]);
        replica.Replica();
        Assert.False(replica.Ok);
    }

    [Fact(DisplayName = "A writer that runs out of room is a fault of the program")]
    public void Out_of_room()
    {
        Assert.Throws<InvariantException>(() => new BodyWriter(new byte[7]).U64(1));
        Assert.Throws<InvariantException>(() => new BodyWriter(new byte[5]).Bytes([1, 2]));
    }

    [Fact(DisplayName = "A catch-up's reset word is 0 or 1, and one that starts from nothing has no cursor")]
    public void Catch_up_reset()
    {
        var bytes = new CatchUpBody(1, 2, 3, true, 0, 0, 9).Encode(new byte[CatchUpBody.SizeBytes]).ToArray();
        Assert.True(CatchUpBody.TryDecode(bytes, out _));
        bytes[25] = 1;
        Assert.False(CatchUpBody.TryDecode(bytes, out _));
        bytes[25] = 0;
        bytes[24] = 2;
        Assert.False(CatchUpBody.TryDecode(bytes, out _));
        Assert.False(CatchUpBody.TryDecode(new CatchUpBody(1, 2, 3, true, 4, 5, 9).Encode(new byte[CatchUpBody.SizeBytes]), out _));
    }

    [Fact(DisplayName = "A hello with another magic, crossed versions or reserved bytes is refused; a refusal's text is cut to its bound")]
    public void Bad_hello()
    {
        var hello = new HelloBody(1, 1, false, default, Guid.NewGuid(), Guid.NewGuid(), NodeId.New(), NodeId.New(), "n");
        var bytes = hello.Encode(new byte[HelloBody.EncodedBytesMax]).ToArray();
        Assert.True(HelloBody.TryDecode(bytes, out _));
        foreach (var (at, value) in new (int, byte)[] { (0, 0), (8, 2), (10, 2), (11, 1), (12, 1), (15, 1) })
        {
            var wrong = (byte[])bytes.Clone();
            wrong[at] = value;
            Assert.False(HelloBody.TryDecode(wrong, out _), $"byte {at}");
        }
        var refusal = new RefuseBody(RefuseReason.Version, new string('\u20ac', 1000)).Encode(new byte[RefuseBody.EncodedBytesMax]);
        Assert.True(RefuseBody.TryDecode(refusal, out var back));
        Assert.NotEmpty(back.Text);
    }
}
