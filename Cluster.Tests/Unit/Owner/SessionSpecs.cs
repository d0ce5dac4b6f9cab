using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

/// <summary>What an owner answers to sessions of other generations of the attachment than its own (R11).</summary>
public sealed class SessionSpecs
{
    [Fact(DisplayName = "R11, R18: a session of an older attachment is over; one of a newer is not: the owner is, and its front end looks for the next one")]
    public void Generations()
    {
        using var rig = OwnerRig.Serving(1);
        rig.Machine.Propose(new AttachmentChanged(rig.Machine.Volume, Attachment.Default with { Generation = 5 }));
        rig.Journal();
        Assert.Equal(IoStatus.StaleSession, Opens(rig, 4));
        Assert.Equal(IoStatus.NotOwner, Opens(rig, 6));
        Assert.Equal(IoStatus.Ok, Opens(rig, 5));
        Assert.Equal(IoStatus.StaleSession, Reads(rig, 4));
        Assert.Equal(IoStatus.NotOwner, Reads(rig, 6));
    }

    private static IoStatus Opens(OwnerRig rig, ulong generation)
    {
        rig.Client(null, FrameKind.SessionOpen, generation, new SessionOpenBody(new SessionId(generation, 9), 1).Encode(new byte[SessionOpenBody.SizeBytes]));
        return rig.Front.LastOf(FrameKind.SessionOpened).Status;
    }

    private static IoStatus Reads(OwnerRig rig, ulong generation)
    {
        rig.Client(null, FrameKind.ClientRead, 100 + generation, new ClientReadBody(new SessionId(generation, 9), new BlockRange(0, 1)).Encode(new byte[32]));
        return rig.Front.LastOf(FrameKind.ClientReadReply).Status;
    }
}
