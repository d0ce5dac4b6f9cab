using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>What an owner, on node 0, says of a volume that is used elsewhere.</summary>
public sealed class LocalitySpecs
{
    [Fact(DisplayName = "A volume that one other node alone uses, which has a copy in sync, is away; one without sessions, at home or with several users is not")]
    public void Away()
    {
        using var rig = OwnerRig.Serving(3);
        Assert.Null(rig.Machine.Away);
        Assert.Contains("no copy in sync", rig.Machine.View().Usage, StringComparison.Ordinal);
        rig.Machine.OnLinkDown(rig.Front);
        Assert.Equal((null, ""), (rig.Machine.Away, rig.Machine.View().Usage));
        rig.Open(new SessionId(0, 6), rig.Links[1]);
        Assert.Equal(rig.Nodes[1], rig.Machine.Away?.FrontEnd);
        Assert.Contains("on n1; the owner follows", rig.Machine.View().Usage, StringComparison.Ordinal);
        rig.Open(new SessionId(0, 7), rig.Links[2]);
        Assert.Null(rig.Machine.Away);
        Assert.Contains("n1 and n2", rig.Machine.View().Usage, StringComparison.Ordinal);
        using var home = OwnerRig.Serving(3);
        home.Machine.OnLinkDown(home.Front);
        home.Open(new SessionId(0, 6), home.Links[0]);
        Assert.Null(home.Machine.Away);
        Assert.Contains("which owns it", home.Machine.View().Usage, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A user whose copy is out of sync does not get the owner")]
    public void Out_of_sync()
    {
        using var rig = OwnerRig.Serving(3);
        rig.Machine.OnLinkDown(rig.Front);
        rig.LinkDown(1);
        rig.Journal();
        rig.LinkUp(1);
        rig.Open(new SessionId(0, 6), rig.Links[1]);
        Assert.Null(rig.Machine.Away);
        Assert.Contains("no copy in sync", rig.Machine.View().Usage, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The label locality=off keeps the owner where it is, and can be changed while the volume is in use")]
    public void Off()
    {
        using var rig = OwnerRig.Serving(3);
        rig.Machine.OnLinkDown(rig.Front);
        rig.Open(new SessionId(0, 6), rig.Links[1]);
        var labels = ImmutableSortedDictionary<string, string>.Empty.Add(VolumeSpec.LocalityLabel, VolumeSpec.LocalityOff);
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { Labels = labels }, 1));
        rig.Journal();
        Assert.Null(rig.Machine.Away);
        Assert.Contains(VolumeSpec.LocalityLabel, rig.Machine.View().Usage, StringComparison.Ordinal);
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { Labels = SimWorld.Labels(readLease: true) }, 2));
        rig.Journal();
        Assert.Equal(rig.Nodes[1], rig.Machine.Away?.FrontEnd);
    }
}
