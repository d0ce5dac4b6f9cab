using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Csi.Csi;

/// <summary>
/// What the driver asks of the cluster. Any thread; every method bounds its own waiting. Errors carry the status code that fits unless the caller knows a
/// better one: INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION (the present state forbids it), ABORTED (it changed meanwhile), UNAVAILABLE,
/// DEADLINE_EXCEEDED.
/// </summary>
public interface IVolumeControl
{
    /// <summary>This node.</summary>
    string NodeName { get; }

    /// <summary>This node's failure domain, or "".</summary>
    string Zone { get; }

    /// <summary>Of the program.</summary>
    string Version { get; }

    /// <summary>Labels that volumes may be created with, "myrmidon.dev/..." in full.</summary>
    ImmutableSortedSet<string> KnownLabels { get; }

    /// <summary>Whether a volume can begin as a copy of a snapshot or of another volume.</summary>
    bool CanClone { get; }

    /// <summary>Whether this node can serve calls now. Quick.</summary>
    DriverState Look();

    /// <summary>Null when a volume can have these labels, else why not.</summary>
    string? CheckLabels(ImmutableSortedDictionary<string, string> labels);

    /// <summary>Names of snapshots that users can't give.</summary>
    bool IsReservedSnapshotName(string name);

    Task<CsiResult<VolumeFacts>> CreateAsync(NewVolume volume, CancellationToken cancellation);

    /// <summary>Also one that is being deleted.</summary>
    /// <param name="fullName">"NAME" or "NAMESPACE/NAME"; NOT_FOUND too when it can't be one.</param>
    Task<CsiResult<VolumeFacts>> GetAsync(string fullName, CancellationToken cancellation);

    /// <summary>All volumes, in any order.</summary>
    Task<CsiResult<IReadOnlyList<VolumeFacts>>> ListAsync(CancellationToken cancellation);

    /// <summary>FAILED_PRECONDITION while it is attached or open, or has snapshots.</summary>
    Task<CsiResult<VolumeFacts>> DeleteAsync(string fullName, CancellationToken cancellation);

    /// <summary>A label with the value "" is removed. ABORTED when the volume is at another revision than the one given (null: any).</summary>
    Task<CsiResult<VolumeFacts>> ChangeAsync(
        string fullName, ulong? sizeBytes, ImmutableSortedDictionary<string, string> labels, string? revision, CancellationToken cancellation);

    /// <summary>To one node alone, under a new generation that fences every other session (R11); the same generation if it is attached there.</summary>
    Task<CsiResult<VolumeFacts>> AttachAsync(string fullName, string node, string? revision, CancellationToken cancellation);

    /// <summary>Back to the shared attachment, under a new generation.</summary>
    Task<CsiResult<VolumeFacts>> DetachAsync(string fullName, string? revision, CancellationToken cancellation);

    /// <summary>True when the node itself says, within a short time, that a front end of it has the volume open.</summary>
    Task<bool> IsUsedByAsync(string fullName, NodeFacts node, CancellationToken cancellation);

    Task<CsiResult<IReadOnlyList<NodeFacts>>> ListNodesAsync(CancellationToken cancellation);

    /// <summary>
    /// Takes the name for the volume, so that no two volumes have a snapshot of one name: the orchestrator's names are unique in the cluster, ours in a volume.
    /// Answers the volume that has it, which may be another one.
    /// </summary>
    Task<CsiResult<string>> ReserveSnapshotNameAsync(string snapshot, string fullName, CancellationToken cancellation);

    /// <summary>Gives the name back, if the volume has it.</summary>
    Task<CsiResult<string>> ReleaseSnapshotNameAsync(string snapshot, string fullName, CancellationToken cancellation);

    /// <summary>The one that is there, if it is.</summary>
    Task<CsiResult<SnapshotFacts>> CreateSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation);

    Task<CsiResult<SnapshotFacts>> GetSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation);

    /// <summary>Oldest first.</summary>
    Task<CsiResult<IReadOnlyList<SnapshotFacts>>> ListSnapshotsAsync(string fullName, CancellationToken cancellation);

    /// <summary>NOT_FOUND when there is none.</summary>
    Task<CsiResult<VolumeFacts>> DeleteSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation);
}

/// <summary>How the driver is: ready, starting (it will be ready by itself), or neither.</summary>
/// <param name="Reason">One sentence when it is not ready.</param>
public sealed record DriverState(bool IsReady, bool IsStarting, string Reason);

/// <param name="Source">Null: an empty volume.</param>
public sealed record NewVolume(string Name, ulong SizeBytes, ImmutableSortedDictionary<string, string> Labels, VolumeSource? Source);

/// <summary>What a new volume begins as.</summary>
/// <param name="Snapshot">Null: the volume as it is now.</param>
public sealed record VolumeSource(string Volume, string? Snapshot);

/// <param name="AttachedNode">The node of an exclusive attachment; null while any node may use it.</param>
/// <param name="IsHealthy">Every copy is in sync and it is served.</param>
/// <param name="Condition">One sentence.</param>
/// <param name="IsDeleting">Its data is going; it can't be used any more.</param>
public sealed record VolumeFacts(
    VolumeId Id, string FullName, ulong SizeBytes, ImmutableSortedDictionary<string, string> Labels, string? AttachedNode, ulong Generation, int HoldMs,
    bool IsHealthy, string Condition, string Revision, bool IsDeleting);

internal static class VolumeControls
{
    /// <summary>One that can be used: for all but its creation and deletion, one that is being deleted is gone.</summary>
    public static async Task<CsiResult<VolumeFacts>> FindAsync(this IVolumeControl control, string fullName, CancellationToken cancellation)
    {
        var found = await control.GetAsync(fullName, cancellation).ConfigureAwait(false);
        return found.Value is { IsDeleting: true } ? CsiError.NotFound($"Volume {fullName} is being deleted.") : found;
    }

    public static async Task<CsiResult<IReadOnlyList<VolumeFacts>>> ListUsableAsync(this IVolumeControl control, CancellationToken cancellation)
    {
        var list = await control.ListAsync(cancellation).ConfigureAwait(false);
        return list.Error is { } error ? error : list.Value!.Where(volume => !volume.IsDeleting).ToArray();
    }
}

/// <param name="Api">Base address of its REST API, or null.</param>
/// <param name="TakesCopies">Up, and new copies may be placed there.</param>
public sealed record NodeFacts(string Name, string Zone, bool IsUp, bool TakesCopies, ulong FreeBytes, string? Api);

public sealed record SnapshotFacts(string Volume, string Name, ulong Sequence, DateTimeOffset CreatedAt);
