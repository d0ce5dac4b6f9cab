using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>Who may talk to whom. Pure: both sides run it on what the other one sent.</summary>
internal static class MeshHandshake
{
    /// <summary>None with the version to use, or why not, in a sentence that names both sides.</summary>
    public static (RefuseReason Reason, string Text, byte Version) Check(MeshIdentity self, in HelloBody other)
    {
        var version = Math.Min(self.VersionCurrent, other.VersionCurrent);
        if (version < self.VersionOldest || version < other.VersionOldest)
            return Refuse(RefuseReason.Version, self, in other,
                $"speaks mesh versions {other.VersionOldest} to {other.VersionCurrent}", $"{self.VersionOldest} to {self.VersionCurrent}");
        if (UnknownBits(self.Features, other.Features) || UnknownBits(other.Features, self.Features))
            return Refuse(RefuseReason.Features, self, in other, $"needs the mesh features {Show(other.Features)}", Show(self.Features));
        if (other.Cluster != self.Cluster)
            return Refuse(RefuseReason.OtherCluster, self, in other, $"belongs to cluster {other.Cluster}", $"to cluster {self.Cluster}");
        if (other.Era != self.Era)
            return Refuse(RefuseReason.OtherEra, self, in other, $"is of recovery era {other.Era}", $"of era {self.Era}");
        if (other.Sender == self.Node) return Refuse(RefuseReason.OwnId, self, in other, "has the id", "of this very node");
        if (other.Receiver != self.Node)
            return Refuse(RefuseReason.WrongReceiver, self, in other, $"looks for node {other.Receiver}", $"found at {self.Node}");
        return (RefuseReason.None, "", version);
    }

    public static (RefuseReason Reason, string Text, byte Version) Refuse(RefuseReason reason, MeshIdentity self,
        in HelloBody other, string theirs, string ours) =>
        (reason, $"node {other.Name} ({other.Sender}) {theirs}, node {self.Name} ({self.Node}) {ours}", 0);

    private static bool UnknownBits(MeshFeatures known, MeshFeatures needed) =>
        ((needed.ReadOnlyCompat & ~known.ReadOnlyCompat) | (needed.Incompat & ~known.Incompat)) != 0;

    private static string Show(MeshFeatures features) => $"{features.ReadOnlyCompat:x}/{features.Incompat:x}";
}
