using System.Text.Json.Serialization;

namespace Cluster.Csi.Docker;

/// <summary>What Docker's daemon sends to a volume plug-in: a POST per call, with as much of this as the call needs. Names are Docker's.</summary>
internal sealed record DockerCall
{
    public string? Name { get; init; }

    /// <summary>Of whoever mounts: a container, or several of them after one another.</summary>
    [JsonPropertyName("ID")]
    public string? Id { get; init; }

    public Dictionary<string, string>? Opts { get; init; }
}

/// <summary>What it gets: <see cref="Err"/> is empty unless the call failed; the rest depends on the call.</summary>
internal sealed record DockerAnswer
{
    public string Err { get; init; } = "";

    public string? Mountpoint { get; init; }

    public DockerVolume? Volume { get; init; }

    public IReadOnlyList<DockerVolume>? Volumes { get; init; }

    public DockerCapabilities? Capabilities { get; init; }

    public IReadOnlyList<string>? Implements { get; init; }

    public static DockerAnswer Error(string reason) => new() { Err = reason };
}

/// <param name="Mountpoint">"" while it is not mounted on this host.</param>
internal sealed record DockerVolume(string Name, string Mountpoint, IReadOnlyDictionary<string, string>? Status = null);

/// <param name="Scope">"global": the volumes are the cluster's, not the host's.</param>
internal sealed record DockerCapabilities(string Scope);
