using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;
using Cluster.Tests.Unit.Fakes;
using Cluster.Tests.Unit.Owner;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>Where a node takes frames that are for none of its volumes.</summary>
public sealed class VolumeRuntimeSpecs
{
    [Theory(DisplayName = "A node that does not own the volume refuses a request by the kind that the front end waits for, or not at all where it waits for none")]
    [InlineData(FrameKind.SessionOpen, FrameKind.SessionOpened)]
    [InlineData(FrameKind.ClientWrite, FrameKind.ClientAck)]
    [InlineData(FrameKind.ClientFlush, FrameKind.ClientAck)]
    [InlineData(FrameKind.ClientRead, FrameKind.ClientReadReply)]
    [InlineData(FrameKind.ClientReadCached, FrameKind.ClientReadCachedReply)]
    [InlineData(FrameKind.ClientStatus, FrameKind.ClientStatusReply)]
    [InlineData(FrameKind.SessionClose, FrameKind.Invalid)]
    [InlineData(FrameKind.Presented, FrameKind.Invalid)]
    public void Refused(FrameKind request, FrameKind answer)
    {
        var identity = new NodeIdentity(new NodeId(Guid.NewGuid()), "n0", Guid.NewGuid(), Guid.NewGuid());
        // Requests of front ends never reach the store of a node that owns nothing.
        var runtime = new VolumeRuntime(new FakeLoop(), null!, identity, NullLoggerFactory.Instance);
        var link = new RecordingLink(new NodeId(Guid.NewGuid()));
        runtime.OnFrame(link, FrameHeader.Of(request, new VolumeId(7), 1, 42, 43), [], null);
        if (answer == FrameKind.Invalid)
        {
            Assert.Empty(link.Sent);
            return;
        }
        var refusal = Assert.Single(link.Sent).Header;
        Assert.Equal((answer, IoStatus.NotOwner, 42UL, 43UL), (refusal.Kind, refusal.Status, refusal.RequestId, refusal.Argument));
    }
}
