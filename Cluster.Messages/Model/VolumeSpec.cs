using System.Collections.Immutable;

namespace Cluster.Messages.Model;

/// <summary>When a volume may be written to with fewer copies than it is meant to have (label failure-mode, R7).</summary>
public enum FailureModeKind : byte
{
    /// <summary>max(1, copies - 1) copies must be in sync.</summary>
    Soft = 0,
    /// <summary>All copies must be in sync.</summary>
    Hard = 1,
    /// <summary>As many as the label's number says.</summary>
    Threshold = 2,
    /// <summary>One copy is enough.</summary>
    AlwaysOn = 3,
}

/// <summary>What a volume is meant to be. Journaled; labels are kept whole so that later versions can read what this one ignores.</summary>
public sealed record VolumeSpec(
    VolumeId Id,
    string Namespace,
    string Name,
    ulong SizeBytes,
    int Replicas,
    FailureModeKind FailureMode,
    int FailureThreshold,
    int HoldMs,
    bool Compression,
    ImmutableSortedDictionary<string, string> Labels,
    VolumeSource? Source = null)
{
    public const string DefaultNamespace = "default";

    /// <summary>"off": every read is confirmed by all copies instead of being covered by leases, which rest on clocks (R17).</summary>
    public const string ReadLeaseLabel = "myrmidon.dev/read-lease";

    /// <summary>Looked up anew each time.</summary>
    public bool ReadLease => Labels.GetValueOrDefault(ReadLeaseLabel) != "off";

    /// <summary>"preferred" (also without it): the owner follows the node whose front end alone uses the volume; "off": it stays where it is.</summary>
    public const string LocalityLabel = "myrmidon.dev/locality";

    public const string LocalityOff = "off";

    /// <summary>Looked up anew each time.</summary>
    public bool FollowsFrontEnd => Labels.GetValueOrDefault(LocalityLabel) != LocalityOff;

    /// <summary>"on": front ends on nodes without the owner keep what they read.</summary>
    public const string CacheLabel = "myrmidon.dev/cache";

    /// <summary>Looked up anew each time.</summary>
    public bool Caches => Labels.GetValueOrDefault(CacheLabel) == "on";

    public ulong SizeBlocks => (SizeBytes + Limits.BlockBytes - 1) >> Limits.BlockBytesLog2;

    /// <summary>Copies that must be in sync before a write is acknowledged (R7).</summary>
    public int InSyncMin => InSyncMinOf(Replicas);

    /// <summary>The same, were the volume of so many copies.</summary>
    public int InSyncMinOf(int copies) => FailureMode switch
    {
        FailureModeKind.Hard => copies,
        FailureModeKind.Threshold => Math.Clamp(FailureThreshold, 1, copies),
        FailureModeKind.AlwaysOn => 1,
        _ => Math.Max(1, copies - 1),
    };

    public string FullName => Namespace == DefaultNamespace ? Name : $"{Namespace}/{Name}";
}

/// <summary>What a volume was cloned from, for as long as it lives; the origin may be gone by then. Its order goes on from the snapshot's sequence.</summary>
/// <param name="OriginName">The origin's full name, for people.</param>
/// <param name="Snapshot">The snapshot's name, for people; empty: the volume as it was at that moment.</param>
public sealed record VolumeSource(VolumeId Origin, ulong Sequence, string OriginName, string Snapshot);

/// <summary>Where one copy lives. <see cref="Identity"/> is written into the replica's own header on disk (R5).</summary>
public sealed record ReplicaPlacement(ReplicaId Id, NodeId Node, string NodeName, Guid Identity);

/// <summary>An in-sync member and the store it was confirmed on, at which of its opens: a store that does not come from that one is foreign (R5).</summary>
/// <param name="StoreOpenMark">Of that open (<see cref="StoreOpens"/>); 0: journaled by a version that knew none.</param>
public sealed record InSyncMember(ReplicaId Id, Guid StoreId, ulong StoreOpenCount, ulong StoreOpenMark = 0);

public enum AttachmentMode : byte
{
    /// <summary>The default attachment: any node's front end may open a session.</summary>
    Shared = 0,
    /// <summary>One live session, on one node (R11).</summary>
    Exclusive = 1,
}

/// <summary>Who may use the volume. The generation rises with each change; sessions of a lower one are refused.</summary>
public sealed record Attachment(ulong Generation, AttachmentMode Mode, NodeId Node, string NodeName)
{
    public static readonly Attachment Default = new(0, AttachmentMode.Shared, default, "");
}
