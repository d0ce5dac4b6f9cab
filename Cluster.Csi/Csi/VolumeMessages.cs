using Cluster.Csi.Csi.V1;
using Google.Protobuf.WellKnownTypes;

namespace Cluster.Csi.Csi;

/// <summary>Volumes and snapshots as the specification's messages. No topology is given: every node reaches every volume.</summary>
internal static class VolumeMessages
{
    public static Volume Of(VolumeFacts volume, VolumeContentSource? source = null) => new()
    {
        VolumeId = volume.FullName,
        CapacityBytes = (long)volume.SizeBytes,
        ContentSource = source,
    };

    public static VolumeCondition ConditionOf(VolumeFacts volume) => new() { Abnormal = !volume.IsHealthy, Message = volume.Condition };

    /// <param name="sizeBytes">Of its volume now: a volume made of it has room for all that it can hold.</param>
    public static Snapshot Of(SnapshotFacts snapshot, ulong sizeBytes) => new()
    {
        SnapshotId = CsiFields.SnapshotId(snapshot.Volume, snapshot.Name),
        SourceVolumeId = snapshot.Volume,
        SizeBytes = (long)sizeBytes,
        CreationTime = Timestamp.FromDateTimeOffset(snapshot.CreatedAt),
        ReadyToUse = snapshot.IsReady,
        GroupSnapshotId = snapshot.Group,
    };
}

/// <summary>Where nodes are. A node without a zone is in the zone "none".</summary>
internal static class Topologies
{
    public const string ZoneKey = "topology.myrmidon.dev/zone";
    private const string NoZone = "none";

    public static Topology Of(string zone) => new() { Segments = { [ZoneKey] = zone.Length > 0 ? zone : NoZone } };

    /// <summary>Whether one of the nodes is there. Keys that are not ours restrict nothing that we know of.</summary>
    public static bool Has(Topology topology, IEnumerable<NodeFacts> nodes) =>
        !topology.Segments.TryGetValue(ZoneKey, out var zone) || nodes.Any(node => (node.Zone.Length > 0 ? node.Zone : NoZone) == zone);
}
