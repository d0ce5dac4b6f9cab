using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

[Collection("Cluster simulation")]
public sealed class VolumeMachineDeletionSpecs
{
    [Fact(DisplayName = "A volume that a front end has open is not deleted; once it is closed it is, and nothing opens it any more")]
    public void Deletion_waits_for_users()
    {
        using var rig = OwnerRig.Serving(2);
        var refused = rig.Machine.Delete();
        Assert.Equal(IoStatus.Busy, refused.Status);
        Assert.Equal([rig.Front.Peer], refused.Users);
        Assert.Empty(rig.Proposals);
        rig.Machine.OnLinkDown(rig.Front);
        Assert.Equal(IoStatus.Ok, rig.Machine.Delete().Status);
        // Between the decision and the journal: a session that opened now would write to a deleted volume.
        rig.Open(rig.Session);
        Assert.Equal(IoStatus.Offline, rig.Front.LastOf(FrameKind.SessionOpened).Status);
        Assert.Equal(IoStatus.Ok, rig.Machine.Delete().Status);
        Assert.IsType<VolumeDeleted>(Assert.Single(rig.Proposals));
        rig.Journal();
        Assert.Equal(VolumePhase.Stopped, rig.Machine.Phase);
    }

    [Fact(DisplayName = "Just after a takeover those who used the volume before may be on the way back: it is not deleted under them")]
    public void Deletion_waits_for_those_who_return()
    {
        using var rig = new OwnerRig(1, FailureModeKind.Soft);
        rig.Windows.Apply(rig.Session, 1, 1, 1);
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0);
        rig.Truncated(0, 0);
        rig.Journal();
        rig.Stamped(0);
        var refused = rig.Machine.Delete();
        Assert.Equal((IoStatus.Busy, 0), (refused.Status, refused.Users.Count));
        rig.Tick(VolumeMachine.ReturnGraceMs);
        Assert.Equal(IoStatus.Ok, rig.Machine.Delete().Status);
    }

    [Fact(DisplayName = "An owner that does not serve can't tell who uses the volume")]
    public void Deletion_needs_an_owner_that_serves()
    {
        using var rig = new OwnerRig(2, FailureModeKind.Soft);
        rig.Machine.Start();
        Assert.Equal(IoStatus.Offline, rig.Machine.Delete().Status);
    }
}
