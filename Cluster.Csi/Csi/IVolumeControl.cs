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

    /// <summary>Those of <see cref="KnownLabels"/> that do something: the others are refused with a reason of their own, and not offered.</summary>
    ImmutableSortedSet<string> HonouredLabels { get; }

    /// <summary>Whether a volume can begin as a copy of a snapshot or of another volume.</summary>
    bool CanClone { get; }

    /// <summary>Whether this node can serve calls now. Quick.</summary>
    DriverState Look();

    /// <summary>The node that hosts the catalogue hangs: a change of labels waits until another one does. Quick.</summary>
    bool IsCatalogueSilent { get; }

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

    /// <summary>Full names of the volumes that have a label of this key, as the catalogue has it: no owner is asked, so one that is silent costs no time.</summary>
    Task<CsiResult<IReadOnlyList<string>>> ListWithLabelAsync(string key, CancellationToken cancellation);

    /// <summary>
    /// The labels and annotations "myrmidon.dev/..." of a claim of Kubernetes; none where that is not asked, or when the claim is gone. UNAVAILABLE when it does not answer.
    /// </summary>
    Task<CsiResult<ImmutableSortedDictionary<string, string>>> ReadClaimAsync(string scope, string claim, CancellationToken cancellation);

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
    Task<bool> IsUsedByAsync(VolumeFacts volume, NodeFacts node, CancellationToken cancellation);

    /// <summary>True when the node itself says, within a short time, that an operator or Docker has the volume on its host, beside CSI: under the attachment that is known of it here, or a newer one.</summary>
    Task<bool> IsUsedOutsideCsiAsync(VolumeFacts volume, NodeFacts node, CancellationToken cancellation);

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

    /// <summary>Oldest first. Of which groups they are is not said here: <see cref="GroupFacts.Mark"/>.</summary>
    Task<CsiResult<IReadOnlyList<SnapshotFacts>>> ListSnapshotsAsync(string fullName, CancellationToken cancellation);

    /// <summary>NOT_FOUND when there is none. INVALID_ARGUMENT when it is one of a group, with which it is deleted.</summary>
    Task<CsiResult<VolumeFacts>> DeleteSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation);

    /// <summary>Snapshots of that name of all these volumes at one point; the one that is there, if it is of the same volumes. FAILED_PRECONDITION if it is of others, or one of them can't have such a snapshot.</summary>
    Task<CsiResult<GroupFacts>> CreateGroupAsync(string name, IReadOnlyList<string> volumes, CancellationToken cancellation);

    Task<CsiResult<GroupFacts>> GetGroupAsync(string name, CancellationToken cancellation);

    Task<CsiResult<IReadOnlyList<GroupFacts>>> ListGroupsAsync(CancellationToken cancellation);

    Task<CsiResult<GroupFacts>> DeleteGroupAsync(string name, CancellationToken cancellation);

    /// <summary>
    /// Where a volume changed between two snapshots (<paramref name="from"/> null: everything that <paramref name="to"/> holds), from that byte's block on. INVALID_ARGUMENT when the first is not the older one.
    /// </summary>
    Task<CsiResult<ChangePage>> ListChangesAsync(string fullName, string? from, string to, ulong first, CancellationToken cancellation);
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
public sealed record NodeFacts(string Name, string Zone, bool IsUp, bool TakesCopies, ulong FreeBytes, string? Api)
{
    /// <summary>False: how it is and what it has free is not known now.</summary>
    public bool IsKnown { get; init; } = true;
}

public sealed record SnapshotFacts(string Volume, string Name, ulong Sequence, DateTimeOffset CreatedAt)
{
    /// <summary>The group that it is one of, and is deleted with; "": none.</summary>
    public string Group { get; init; } = "";

    /// <summary>False while its group is made or taken back: it may go with that.</summary>
    public bool IsReady { get; init; } = true;
}

/// <param name="IsReady">All of its snapshots exist.</param>
/// <param name="IsMade">They did; some may be gone with their volumes.</param>
public sealed record GroupFacts(string Name, bool IsReady, bool IsMade, DateTimeOffset CreatedAt, IReadOnlyList<GroupSnapshotFacts> Snapshots)
{
    /// <summary>The snapshot, as one of this group if it is one.</summary>
    public SnapshotFacts Mark(SnapshotFacts snapshot) => snapshot.Name == Name && Snapshots.Any(member => member.Volume == snapshot.Volume && member.Sequence == snapshot.Sequence)
        ? snapshot with { Group = Name, IsReady = IsMade } : snapshot;
}

/// <param name="Exists">False: not yet, or not any more.</param>
public sealed record GroupSnapshotFacts(string Volume, ulong Sequence, DateTimeOffset CreatedAt, bool Exists);

/// <summary>Bytes that changed, ascending.</summary>
/// <param name="Next">Where to go on; null: that was all.</param>
public sealed record ChangePage(IReadOnlyList<(ulong Offset, ulong Length)> Runs, ulong? Next);
