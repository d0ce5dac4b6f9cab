using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Owner;

/// <summary>A volume that is not healthy says what it lacks, and who has it.</summary>
public sealed class ReasonSpecs
{
    [Fact(DisplayName = "A degraded volume names the copies that are not in sync and what they do; a healthy one says nothing")]
    public void Degraded()
    {
        // Guards CopiesReason.
        using var rig = OwnerRig.Serving(3);
        Assert.Equal(("healthy", ""), Said(rig));
        rig.LinkDown(1);
        rig.Journal();
        Assert.Equal(("degraded", "2 of 3 copies are in sync: n1 offline"), Said(rig));
        rig.LinkUp(1);
        rig.Promised(1);
        rig.CaughtUp(1, 0);
        Assert.Equal(("degraded", "2 of 3 copies are in sync: n1 catching up"), Said(rig));
    }

    [Fact(DisplayName = "A volume that is held for too few copies says how many it takes")]
    public void Held()
    {
        using var rig = OwnerRig.Serving(3);
        rig.LinkDown(1);
        rig.Journal();
        rig.LinkUp(1);
        rig.Promised(1);
        rig.CaughtUp(1, 0);
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { FailureMode = FailureModeKind.Hard }, rig.State.SpecRevision + 1));
        rig.Journal();
        Assert.Equal(("held", "2 of 3 copies are in sync and 3 are needed: n1 catching up"), Said(rig));
    }

    [Fact(DisplayName = "A volume whose minimum needs a copy that can't be reached is held, though no member may leave, and healthy again when that copy is back")]
    public void Held_by_a_member()
    {
        // Guards AnsweringMembers in StateName: the set is full.
        using var rig = OwnerRig.Serving(3, FailureModeKind.Hard);
        rig.LinkDown(1);
        Assert.Empty(rig.Proposals);
        Assert.Equal(("held", "2 of 3 copies are in sync and 3 are needed: n1 unreachable"), Said(rig));
        rig.LinkUp(1);
        rig.Promised(1, inSyncEpoch: rig.Machine.EpochNumber);
        rig.Truncated(1, 0);
        Assert.Equal(("healthy", ""), Said(rig));
    }

    [Fact(DisplayName = "A copy that the minimum needs and that is linked but acknowledges nothing is named as silent, until it has made up for it")]
    public void Held_by_a_silent_member()
    {
        using var rig = OwnerRig.Serving(2, FailureModeKind.Hard);
        rig.Write(1, 3);
        rig.Appended(0, 1);
        rig.Tick(Limits.ReplicaAckMs + 100);
        Assert.Equal(("held", "1 of 2 copies is in sync and 2 are needed: n1 silent"), Said(rig));
        rig.Appended(1, 1);
        Assert.Equal(("healthy", ""), Said(rig));
    }

    [Fact(DisplayName = "A takeover that waits for promises names the nodes that are silent")]
    public void Waiting()
    {
        // Guards SilentOf.
        using var rig = new OwnerRig(3, FailureModeKind.Hard);
        rig.Machine.Start();
        rig.Journal();
        rig.Promised(0);
        Assert.Equal(("starting", "waiting for promises: 1 of 3 members answered, 3 needed; silent: n1, n2"), Said(rig));
        rig.Promised(2);
        Assert.Equal("waiting for promises: 2 of 3 members answered, 3 needed; silent: n1", Said(rig).Reason);
    }

    private static (string State, string Reason) Said(OwnerRig rig) => (rig.Machine.View().State, rig.Machine.View().Reason);
}
