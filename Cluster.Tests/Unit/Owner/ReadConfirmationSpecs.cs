using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R17 with the label read-lease=off: no clock is relied on; every read is confirmed by all copies.</summary>
public sealed class ReadConfirmationSpecs
{
    [Fact(DisplayName = "R17: without leases a read is answered once every copy has confirmed the epoch, and however old the leases are")]
    public void R17_every_copy_confirms()
    {
        using var rig = OwnerRig.Serving(3, readLease: false);
        Array.Fill(rig.LeaseUntil, 0);
        rig.Read(1, 3);
        Assert.Empty(rig.Links[1].Of(FrameKind.ConfirmEpoch));
        rig.AnswerRead();
        rig.Confirmed(1);
        rig.Tick();
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
        rig.Confirmed(2);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        Assert.Empty(rig.Links[0].Of(FrameKind.ConfirmEpoch));
    }

    [Fact(DisplayName = "R17: a confirmation that was asked for before the data was read does not count")]
    public void R17_an_older_question_does_not_count()
    {
        using var rig = OwnerRig.Serving(2, readLease: false);
        rig.Read(1, 3);
        rig.AnswerRead();
        var first = rig.Links[1].LastOf(FrameKind.ConfirmEpoch).RequestId;
        rig.Read(2, 3);
        rig.AnswerRead();
        Assert.Equal(first, rig.Links[1].LastOf(FrameKind.ConfirmEpoch).RequestId);
        rig.Confirmed(1, first);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(2));
        rig.Confirmed(1, first);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(2));
        rig.Confirmed(1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
    }

    [Fact(DisplayName = "R17: an owner whose own copy has promised to another answers no read")]
    public void R17_the_owners_own_copy_confirms_too()
    {
        using var rig = OwnerRig.Serving(2, readLease: false);
        rig.Read(1, 3);
        rig.LocalTakes = false;
        rig.AnswerRead();
        rig.Confirmed(1);
        rig.Tick();
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
    }

    [Fact(DisplayName = "R17: a copy whose link breaks is asked no more once it is journaled out, and asked anew when it is back before that")]
    public void R17_a_copy_that_breaks()
    {
        using var rig = OwnerRig.Serving(3, readLease: false);
        rig.Read(1, 3);
        rig.AnswerRead();
        rig.Confirmed(1);
        rig.LinkDown(2);
        rig.Tick();
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(1));
        rig.Journal();
        rig.Tick();
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));

        rig.Read(2, 3);
        rig.AnswerRead();
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Promised(1, inSyncEpoch: 1);
        rig.Truncated(1, 0);
        rig.Tick();
        rig.Confirmed(1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
    }

    [Fact(DisplayName = "Block status is confirmed like a read")]
    public void Block_status_is_confirmed()
    {
        using var rig = OwnerRig.Serving(2, readLease: false);
        rig.Client(null, FrameKind.ClientStatus, 1, new ClientReadBody(rig.Session, new BlockRange(0, 1)).Encode(new byte[32]));
        Assert.Empty(rig.Front.Of(FrameKind.ClientStatusReply));
        rig.Confirmed(1);
        Assert.Equal(IoStatus.Ok, rig.Front.LastOf(FrameKind.ClientStatusReply).Status);
    }

    [Fact(DisplayName = "The label takes effect while reads are held: from leases to confirmations and back")]
    public void The_label_changes_live()
    {
        using var rig = OwnerRig.Serving(2);
        rig.LeaseUntil[1] = 0;
        rig.Read(1, 3);
        rig.AnswerRead();
        Relabel(rig, readLease: false);
        rig.Tick();
        rig.Confirmed(1);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        rig.Read(2, 3);
        rig.AnswerRead();
        Relabel(rig, readLease: true);
        rig.Tick();
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(2));
        rig.LeaseUntil[1] = long.MaxValue;
        rig.Tick();
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
    }

    private static void Relabel(OwnerRig rig, bool readLease)
    {
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { Labels = SimWorld.Labels(readLease) }, 0));
        rig.Journal();
    }
}
