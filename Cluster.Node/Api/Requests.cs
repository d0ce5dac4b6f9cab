namespace Cluster.Node.Api;

/// <summary>A new volume. Copies: `replicas`, else the label myrmidon.dev/replicas, else what the cluster can give, 3 at most.</summary>
public sealed record CreateVolumeRequest
{
    public required string Name { get; init; }

    public string? Namespace { get; init; }

    /// <summary>Of a clone: not below that of what it comes from; 0 or absent: the same.</summary>
    public ulong SizeBytes { get; init; }

    public int? Replicas { get; init; }

    /// <summary>Of a clone too: none is taken over from what it comes from.</summary>
    public Dictionary<string, string>? Labels { get; init; }

    /// <summary>What to clone; absent: nothing, the volume is empty.</summary>
    public CloneSourceRequest? Source { get; init; }
}

/// <summary>What a clone begins as.</summary>
public sealed record CloneSourceRequest
{
    /// <summary>NAME, or NAMESPACE/NAME outside the namespace "default".</summary>
    public required string Volume { get; init; }

    /// <summary>One of its snapshots; absent: the volume as it is when this is carried out.</summary>
    public string? Snapshot { get; init; }
}

/// <summary>A change of a volume (JSON merge patch): what is absent stays; a label with the value null is removed.</summary>
public sealed record ChangeVolumeRequest
{
    /// <summary>The new size; not below the present one, unless <see cref="AllowShrink"/>.</summary>
    public ulong? SizeBytes { get; init; }

    /// <summary>The new size may be a smaller one. It is refused all the same when data is stored beyond the new end, and while the volume has snapshots.</summary>
    public bool AllowShrink { get; init; }

    /// <summary>The new number of copies, 1-5: the label myrmidon.dev/replicas, for short.</summary>
    public int? Replicas { get; init; }

    public Dictionary<string, string?>? Labels { get; init; }
}

/// <summary>Names a node: the one to attach a volume on, or to move its owner to.</summary>
public sealed record NodeRequest
{
    public required string Node { get; init; }
}

/// <summary>How to drain a node.</summary>
public sealed record DrainRequest
{
    public const double TimeoutSecondsDefault = 30;

    public const double TimeoutSecondsMax = 600;

    /// <summary>How long the request goes on before it says how far it is; 0-600.</summary>
    public double TimeoutSeconds { get; init; } = TimeoutSecondsDefault;

    /// <summary>The node comes back by itself: its cordon, if it was not cordoned before, ends with its next start, by end-restart, or when this request is cut off.</summary>
    public bool ForRestart { get; init; }
}
