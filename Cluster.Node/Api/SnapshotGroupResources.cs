namespace Cluster.Node.Api;

/// <summary>Snapshots of several volumes at one point.</summary>
public sealed record CreateSnapshotGroupRequest
{
    /// <summary>Of the group, unique in the cluster, and of the snapshot on each of its volumes.</summary>
    public required string Name { get; init; }

    /// <summary>NAME, or NAMESPACE/NAME outside the namespace "default"; 1 to 64 different ones.</summary>
    public required IReadOnlyList<string> Volumes { get; init; }
}

/// <summary>
/// Snapshots of several volumes at one point: what was written to one of them after a write to another had been answered is in its snapshot only if that write is in the other's.
/// </summary>
public sealed record SnapshotGroupResource
{
    public const string Ready = "ready";

    public const string Incomplete = "incomplete";

    public const string Unreadable = "unreadable";

    public required string Name { get; init; }

    /// <summary>
    /// ready; creating; deleting; unfinished: it was given up half-way, and is finished or taken back when it is asked for again; incomplete: some of its snapshots are gone since it was ready, with
    /// their volumes; or unreadable: its record can't be read by this version of the program, nothing is known of its snapshots, and nothing is done with it.
    /// </summary>
    public required string State { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public IReadOnlyList<SnapshotGroupMemberResource> Snapshots { get; init; } = [];
}

/// <summary>One volume's snapshot of a group.</summary>
/// <param name="Sequence">Its place in the volume's order of writes; 0 while the group is being created.</param>
/// <param name="Exists">False: it is not there yet, or not any more.</param>
public sealed record SnapshotGroupMemberResource(string Volume, string Namespace, string Name, ulong Sequence, DateTimeOffset? CreatedAt, bool Exists);
