using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Unit.Mesh;

public class MeshHandshakeSpecs
{
    private static readonly MeshIdentity Self = new(Guid.NewGuid(), Guid.NewGuid(), NodeId.New(), "here");
    private static readonly MeshIdentity Other = Self with { Node = NodeId.New(), Name = "there" };

    [Fact(DisplayName = "A node of the same cluster, era and version is welcome")]
    public void Welcome() => Assert.Equal((RefuseReason.None, "", WireVersion.Current), Check(Other));

    [Fact(DisplayName = "Both use the highest version that both speak")]
    public void Versions()
    {
        var self = Self with { VersionOldest = 2, VersionCurrent = 5 };
        Assert.Equal(4, Check(Other with { VersionOldest = 1, VersionCurrent = 4 }, self).Version);
        Assert.Equal(5, Check(Other with { VersionOldest = 5, VersionCurrent = 9 }, self).Version);
        Assert.Equal(RefuseReason.Version, Check(Other with { VersionOldest = 6, VersionCurrent = 9 }, self).Reason);
        Assert.Equal(RefuseReason.Version, Check(Other with { VersionOldest = 1, VersionCurrent = 1 }, self).Reason);
    }

    [Fact(DisplayName = "Unknown compat bits are ignored, unknown ro-compat and incompat bits are refused, in both directions")]
    public void Features()
    {
        Assert.Equal(RefuseReason.None, Check(Other with { Features = new MeshFeatures(8, 0, 0) }).Reason);
        Assert.Equal(RefuseReason.Features, Check(Other with { Features = new MeshFeatures(0, 8, 0) }).Reason);
        Assert.Equal(RefuseReason.Features, Check(Other with { Features = new MeshFeatures(0, 0, 8) }).Reason);
        Assert.Equal(RefuseReason.Features, Check(Other, Self with { Features = new MeshFeatures(0, 0, 8) }).Reason);
        var both = new MeshFeatures(0, 8, 8);
        Assert.Equal(RefuseReason.None, Check(Other with { Features = both }, Self with { Features = both }).Reason);
    }

    [Fact(DisplayName = "Another cluster, era, receiver or the node itself is refused in words that name both")]
    public void Strangers()
    {
        RefusedAs(RefuseReason.OtherCluster, Other with { Cluster = Guid.NewGuid() });
        RefusedAs(RefuseReason.OtherEra, Other with { Era = Guid.NewGuid() });
        RefusedAs(RefuseReason.OwnId, Other with { Node = Self.Node });
        var (reason, text, _) = MeshHandshake.Check(Self, Other.Hello(NodeId.New(), probe: false));
        Assert.Equal(RefuseReason.WrongReceiver, reason);
        Assert.Contains("here", text);
    }

    [Fact(DisplayName = "The holder's lease ends before the grantor's, whatever is within the drift bound")]
    public void Lease_bounds()
    {
        Assert.Equal(10_990, Lease.HeldUntilMs(10_000));
        Assert.Equal(11_010, Lease.GrantedUntilMs(10_000));
    }

    private static void RefusedAs(RefuseReason reason, MeshIdentity other)
    {
        var verdict = Check(other);
        Assert.Equal(reason, verdict.Reason);
        Assert.Contains("there", verdict.Text);
        Assert.Contains("here", verdict.Text);
        Assert.Contains(Self.Node.ToString(), verdict.Text);
    }

    private static (RefuseReason Reason, string Text, byte Version) Check(MeshIdentity other, MeshIdentity? self = null) =>
        MeshHandshake.Check(self ?? Self, other.Hello((self ?? Self).Node, probe: false));
}
