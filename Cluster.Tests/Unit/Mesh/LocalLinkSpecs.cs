using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Unit.Mesh;

public class LocalLinkSpecs
{
    private static readonly NodeId Node = NodeId.New();
    private readonly LocalDelivery _delivery = new();
    private readonly FrameProbe _left = new();
    private readonly FrameProbe _right = new();

    [Fact(DisplayName = "Frames arrive in the order sent, in a later phase, from the end to answer on")]
    public void Frames_arrive_in_order()
    {
        var (toRight, toLeft) = LocalLink.Pair(_delivery, Node, _left, _right);
        for (ulong id = 1; id <= 3; id++) toRight.Send(FrameHeader.Of(FrameKind.ClientFlush, new VolumeId(9), requestId: id), [(byte)id]);
        Assert.Empty(_right.Frames);
        Assert.Equal(3 * (FrameHeader.SizeBytes + 1), toRight.QueuedBytes);
        Assert.True(_delivery.Run());
        Assert.Equal([(1UL, "01"), (2UL, "02"), (3UL, "03")], _right.Frames.Select(frame => (frame.Header.RequestId, frame.Body)));
        Assert.All(_right.Frames, frame => Assert.Same(toLeft, frame.From));
        Assert.All(_right.Frames, frame => Assert.Equal(1u, frame.Header.BodyLength));
        Assert.Equal(0, toRight.QueuedBytes);
        Assert.False(_delivery.Run());
        Assert.Equal(toRight.Generation, toLeft.Generation);
    }

    [Fact(DisplayName = "A handler that answers within its call is not called again within it; the answer comes in the same run")]
    public void No_reentrance()
    {
        var (toRight, _) = LocalLink.Pair(_delivery, Node, _left, _right);
        var depth = 0;
        _right.On = frame =>
        {
            Assert.Equal(1, ++depth);
            frame.From.Send(FrameHeader.Of(FrameKind.ClientAck, default), []);
            Assert.Empty(_left.Frames);
            depth--;
        };
        toRight.Send(FrameHeader.Of(FrameKind.ClientFlush, default), []);
        Assert.True(_delivery.Run());
        Assert.Equal(FrameKind.ClientAck, Assert.Single(_left.Frames).Header.Kind);
    }

    [Fact(DisplayName = "A buffer travels by reference, a record is marked as self-checked, and the reference ends with the delivery")]
    public void Buffers_by_reference()
    {
        var pool = new BufferPool();
        var (toRight, _) = LocalLink.Pair(_delivery, Node, _left, _right);
        var buffer = pool.Rent(1000);
        var same = false;
        _right.OnBuffer = given => same = ReferenceEquals(given, buffer);
        toRight.Send(FrameHeader.Of(FrameKind.Append, new VolumeId(1)), buffer);
        buffer.Release();
        Assert.True(pool.RentedBytes > 0);
        _delivery.Run();
        Assert.True(same);
        Assert.Equal(FrameFlags.SelfChecked, Assert.Single(_right.Frames).Header.Flags);
        Assert.Equal(0, pool.RentedBytes);
    }

    [Fact(DisplayName = "A closed pair delivers nothing more, gives buffers back, and the next pair has a higher generation")]
    public void Close_drops_what_is_queued()
    {
        var pool = new BufferPool();
        var (toRight, toLeft) = LocalLink.Pair(_delivery, Node, _left, _right);
        var buffer = pool.Rent(1000);
        toRight.Send(FrameHeader.Of(FrameKind.Append, new VolumeId(1)), buffer);
        toLeft.Close();
        Assert.False(toRight.IsUp);
        toRight.Send(FrameHeader.Of(FrameKind.Append, new VolumeId(1)), buffer);
        buffer.Release();
        _delivery.Run();
        Assert.Empty(_right.Frames);
        Assert.Equal(0, pool.RentedBytes);
        Assert.True(LocalLink.Pair(_delivery, Node, _left, _right).Left.Generation > toRight.Generation);
    }
}

/// <summary>Keeps what arrives.</summary>
internal sealed class FrameProbe : IFrameHandler
{
    public List<(IFrameLink From, FrameHeader Header, string Body)> Frames { get; } = [];

    public Action<(IFrameLink From, FrameHeader Header, string Body)>? On { get; set; }

    public Action<IoBuffer?>? OnBuffer { get; set; }

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        var frame = (from, header, Convert.ToHexString(body));
        Frames.Add(frame);
        On?.Invoke(frame);
        OnBuffer?.Invoke(buffer);
    }
}
