using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>The first epoch of a clone (C21).</summary>
public sealed class CloneOpeningSpecs
{
    private static readonly VolumeSource Source = new(new VolumeId(3), 40, "pg", "monday");

    [Fact(DisplayName = "A clone is opened with the copies that begin at its snapshot; an empty one is left out and caught up from nothing")]
    public void Empty_copies_are_filled()
    {
        using var rig = new OwnerRig(3, FailureModeKind.Soft, source: Source);
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0, last: 40, tailFrom: 40);
        rig.Promised(1);
        rig.Promised(2, last: 40, tailFrom: 40);
        rig.Truncated(0, 40);
        rig.Truncated(2, 40);
        var opened = Assert.IsType<EpochOpened>(rig.Journal());
        Assert.Equal(40UL, opened.StartSequence);
        Assert.Equal([new ReplicaId(1), new ReplicaId(3)], opened.Members.Select(member => member.Id));
        rig.Stamped(0);
        rig.Stamped(2);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        rig.Tick();
        var begin = rig.Links[1].LastOf(FrameKind.CatchUpBegin);
        Assert.NotEqual(default, begin);
        Assert.Equal(40UL, rig.State.Fork(0, 40));
        Assert.Equal(0UL, rig.State.Fork(0, 0));
    }

    [Fact(DisplayName = "A clone of which no copy has anything is not opened: it says why, and goes on once one has")]
    public void Nothing_is_no_clone()
    {
        using var rig = new OwnerRig(2, FailureModeKind.Soft, source: Source);
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0);
        rig.Promised(1);
        rig.Tick(5000);
        Assert.Empty(rig.Proposals);
        Assert.Contains("no copy that answered could begin from what it is cloned from (pg, at 40)", rig.Machine.View().Reason, StringComparison.Ordinal);
    }
}
