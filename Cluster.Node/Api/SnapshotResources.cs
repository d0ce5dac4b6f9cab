namespace Cluster.Node.Api;

/// <summary>A new snapshot.</summary>
public sealed record CreateSnapshotRequest
{
    public required string Name { get; init; }
}

/// <summary>What a volume was at one moment.</summary>
public sealed record SnapshotResource
{
    public required string Name { get; init; }

    /// <summary>Name of the volume.</summary>
    public required string Volume { get; init; }

    public required string Namespace { get; init; }

    /// <summary>Its place in the volume's order of writes: it holds all that came before.</summary>
    public required ulong Sequence { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>Bytes on each copy that nothing but this snapshot needs: what its deletion frees. A block that several snapshots need and the volume does not counts for none of them.</summary>
    public ulong UniqueBytes { get; init; }

    /// <summary>The same in blocks of 4 KiB, as they were before compression.</summary>
    public ulong UniqueBlocks { get; init; }

    /// <summary>
    /// Bytes on each copy that it holds besides and that its deletion does not free: the volume, another snapshot or a clone keeps them. Compressed, like uniqueBytes. What a clone's snapshot has
    /// of the clone's origin is not in it. Null: not known now.
    /// </summary>
    public ulong? SharedBytes { get; init; }
}

/// <summary>The snapshots of a volume.</summary>
public sealed record SnapshotListResource
{
    /// <summary>Bytes of the volume on its owner's disk, compressed.</summary>
    public ulong StoredBytes { get; init; }

    /// <summary>From the oldest to the newest.</summary>
    public IReadOnlyList<SnapshotResource> Snapshots { get; init; } = [];
}

/// <summary>Where a volume changed between two snapshots: one page.</summary>
public sealed record ChangedBlocksResource
{
    /// <summary>Ascending. A run may hold blocks that have not changed; none that has is left out.</summary>
    public IReadOnlyList<ChangedRunResource> Runs { get; init; } = [];

    /// <summary>The offset to ask for next; null: that was all.</summary>
    public ulong? Next { get; init; }
}

/// <summary>Bytes of the volume, in whole blocks of 4 KiB except at its very end.</summary>
public sealed record ChangedRunResource(ulong Offset, ulong Length);
