using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>A volume, as devices of this host need to know it.</summary>
/// <param name="AttachedNode">The node of an exclusive attachment; null while any node may use it.</param>
public sealed record HostVolume(
    VolumeId Id, string FullName, ulong SizeBytes, IReadOnlyDictionary<string, string> Labels, string? AttachedNode, ulong Generation, int HoldMs)
{
    /// <summary>Where an orchestrator has it published by CSI now.</summary>
    public IReadOnlyList<HostPublication> Publications { get; init; } = [];
}

/// <summary>A volume's publication to a node by CSI.</summary>
/// <param name="Mode">The access mode by its name, for messages.</param>
/// <param name="IsShared">It has the shared attachment, which an exclusive one would cut off.</param>
/// <param name="AllowsSeveralPaths">The volume may be at more than one path of the node.</param>
public sealed record HostPublication(string Node, string Mode, bool IsShared, bool AllowsSeveralPaths);

/// <summary>
/// What devices and the Docker plug-in ask of the cluster. Any thread; every method bounds its own waiting. Names are "NAME" or "NAMESPACE/NAME".
/// Statuses: NotFound, Invalid, Conflict (the present state forbids it), TimedOut, Unavailable (not now).
/// </summary>
public interface IHostVolumes
{
    /// <summary>This node.</summary>
    string NodeName { get; }

    /// <summary>The labels of volumes that do something, in full.</summary>
    IReadOnlyCollection<string> KnownLabels { get; }

    Task<AttachResult<HostVolume>> GetAsync(string fullName, CancellationToken cancellation);

    /// <summary>Those of the default namespace, by name; their hold times and, where no owner answers, attachments are not filled in.</summary>
    Task<AttachResult<IReadOnlyList<HostVolume>>> ListAsync(CancellationToken cancellation);

    /// <summary>The volume that is there if it is the same.</summary>
    Task<AttachResult<HostVolume>> CreateAsync(string fullName, ulong sizeBytes, IReadOnlyDictionary<string, string> labels, CancellationToken cancellation);

    Task<AttachResult<Done>> DeleteAsync(string fullName, CancellationToken cancellation);

    /// <summary>To this node alone, under a new generation that fences every other session (R11); the same generation if it is attached here.</summary>
    Task<AttachResult<HostVolume>> AttachAsync(string fullName, CancellationToken cancellation);

    /// <summary>Back to the shared attachment, if it is attached to this node; else nothing is done.</summary>
    Task<AttachResult<Done>> DetachAsync(string fullName, CancellationToken cancellation);

    /// <summary>
    /// Whether that node, which the cluster doesn't count as down, says within a second that it has the volume open. One that is dead, cut off or frozen says
    /// nothing, and one that has restarted uses nothing. TimedOut: whether it is up and where it listens is not known.
    /// </summary>
    Task<AttachResult<bool>> IsUsedOnAsync(string node, HostVolume volume, CancellationToken cancellation);
}
