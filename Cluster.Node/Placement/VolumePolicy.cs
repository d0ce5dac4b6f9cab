using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>How copies are spread over zones, where nodes carry one.</summary>
public enum ZoneSpread : byte
{
    /// <summary>Over as many zones as there are.</summary>
    Preferred = 0,
    /// <summary>Each copy in a zone of its own, or none is placed.</summary>
    Required = 1,
}

/// <summary>What a volume's labels say, checked. Times are in milliseconds.</summary>
public sealed record VolumePolicy
{
    /// <summary>Null: as many as the cluster can give, <see cref="ReplicasDefault"/> at most.</summary>
    public int? Replicas { get; init; }

    public FailureModeKind FailureMode { get; init; }

    public int FailureThreshold { get; init; }

    public int HoldMs { get; init; } = Limits.HoldMsDefault;

    public bool Compression { get; init; } = true;

    /// <summary>Null: the cluster's setting myrmidon.replace-after.</summary>
    public TimeSpan? ReplaceAfter { get; init; }

    public ZoneSpread ZoneSpread { get; init; }

    /// <summary>Null: no snapshots by themselves.</summary>
    public TimeSpan? SnapshotEvery { get; init; }

    /// <summary>How many of the schedule's snapshots are kept. Null: 24 if there is a schedule, else all.</summary>
    public int? SnapshotKeep { get; init; }

    /// <summary>How many snapshots of several volumes, this one among them, are kept of the same volumes. Null: all.</summary>
    public int? SnapshotGroupKeep { get; init; }

    /// <summary>The owner moves to the node whose front end alone uses the volume (<see cref="VolumeSpec.FollowsFrontEnd"/>).</summary>
    public bool FollowsFrontEnd { get; init; } = true;

    /// <summary>I/Os per second; null: no limit.</summary>
    public long? IopsMax { get; init; }

    /// <summary>Bytes per second; null: no limit.</summary>
    public long? BandwidthMax { get; init; }

    /// <summary>An idle volume saves what its limits give in this time. Null: next to nothing.</summary>
    public TimeSpan? Burst { get; init; }

    public const int ReplicasDefault = 3;
}
