using Cluster.Csi.Csi.V1;
using Google.Protobuf.WellKnownTypes;

namespace Cluster.Csi.Csi;

/// <summary>Volumes and snapshots as the specification's messages. Every node reaches every volume.</summary>
internal static class VolumeMessages
{
    public static Volume Of(VolumeFacts volume, VolumeContentSource? source = null) => new()
    {
        VolumeId = volume.FullName,
        CapacityBytes = (long)volume.SizeBytes,
        ContentSource = source,
        AccessibleTopology = { Topologies.AnyNode },
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

/// <summary>
/// Where nodes are, and volumes: these on every host with a node, which an orchestrator has to be told, or it puts workloads on hosts without one. Kubernetes keeps a segment's value as a label of its
/// host, and refuses a driver that comes back with another value for that key. So what all hosts have in common never changes, and a host without a zone has no key for it.
/// </summary>
internal static class Topologies
{
    public const string ZoneKey = "topology.myrmidon.dev/zone";
    public const string NodeKey = "topology.myrmidon.dev/node";
    private const string HasNode = "true";

    /// <summary>A new one, for a message of its own.</summary>
    public static Topology AnyNode => Of("");

    public static Topology Of(string zone)
    {
        var topology = new Topology { Segments = { [NodeKey] = HasNode } };
        if (zone.Length > 0) topology.Segments[ZoneKey] = zone;
        return topology;
    }

    /// <summary>Whether one of the nodes is there. None is in a segment that NodeGetInfo does not tell.</summary>
    public static bool Has(Topology topology, IEnumerable<NodeFacts> nodes) => topology.Segments.GetValueOrDefault(NodeKey, HasNode) == HasNode
        && topology.Segments.Keys.All(key => key is NodeKey or ZoneKey)
        && (!topology.Segments.TryGetValue(ZoneKey, out var zone) || nodes.Any(node => node.Zone == zone));
}
