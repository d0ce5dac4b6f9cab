namespace Cluster.Node.Api;

/// <summary>
/// What REST asks of the cluster. Every method may be called by any thread, bounds its own waiting, and answers operating errors as values.
/// `ifMatch` is a revision that the caller has seen, or null: the change is refused as Stale when the volume is at another one.
/// </summary>
public interface IControlPlane
{
    Task<ControlResult<VolumeResource>> CreateVolumeAsync(CreateVolumeRequest request, CancellationToken cancellation);

    /// <summary>All volumes, or those of one namespace, sorted by namespace and name.</summary>
    Task<ControlResult<IReadOnlyList<VolumeResource>>> ListVolumesAsync(string? scope, CancellationToken cancellation);

    /// <summary>Those that have a label of this key and are not being deleted. From the catalogue alone: no owner is asked.</summary>
    Task<ControlResult<IReadOnlyList<VolumeName>>> ListVolumesWithAsync(string label, CancellationToken cancellation);

    Task<ControlResult<VolumeResource>> GetVolumeAsync(VolumeName name, CancellationToken cancellation);

    /// <summary>Answers the volume as it was. Conflict while it is attached to a node or a client has it open, unless forced: then those are cut off.</summary>
    Task<ControlResult<VolumeResource>> DeleteVolumeAsync(VolumeName name, string? ifMatch, bool force, CancellationToken cancellation);

    Task<ControlResult<VolumeResource>> ChangeVolumeAsync(
        VolumeName name, ChangeVolumeRequest change, string? ifMatch, CancellationToken cancellation);

    Task<ControlResult<VolumeResource>> AttachAsync(VolumeName name, string node, string? ifMatch, CancellationToken cancellation);

    Task<ControlResult<VolumeResource>> DetachAsync(VolumeName name, string? ifMatch, CancellationToken cancellation);

    Task<ControlResult<VolumeResource>> MoveAsync(VolumeName name, string node, CancellationToken cancellation);

    /// <summary>Tells of the volume's scrub; with <paramref name="start"/> one is started unless one is under way.</summary>
    Task<ControlResult<ScrubResource>> ScrubAsync(VolumeName name, bool start, CancellationToken cancellation);

    /// <summary>Makes a snapshot, or finds the one that is there.</summary>
    Task<ControlResult<CreatedSnapshot>> CreateSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation);

    Task<ControlResult<SnapshotListResource>> ListSnapshotsAsync(VolumeName name, CancellationToken cancellation);

    Task<ControlResult<SnapshotResource>> GetSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation);

    /// <summary>Answers the volume as it is then.</summary>
    Task<ControlResult<VolumeResource>> DeleteSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation);

    /// <summary>Puts the volume back to what it was in the snapshot. Conflict while it is attached or a client has it open.</summary>
    Task<ControlResult<VolumeResource>> RestoreSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation);

    /// <summary>
    /// What changed from one snapshot (null: from nothing, so what holds data) to another (null: the volume as it is now), from an offset in bytes on, a multiple of the block size.
    /// </summary>
    Task<ControlResult<ChangedBlocksResource>> ChangedBlocksAsync(VolumeName name, string? from, string? to, ulong first, CancellationToken cancellation);

    /// <summary>The volume's journaled history, oldest first.</summary>
    Task<ControlResult<IReadOnlyList<VolumeEventResource>>> ExplainAsync(VolumeName name, CancellationToken cancellation);

    /// <summary>Snapshots of several volumes at one point; found again when it is there, of the same volumes. Conflict: of others, or a volume has a snapshot of that name.</summary>
    Task<ControlResult<CreatedSnapshotGroup>> CreateSnapshotGroupAsync(string name, IReadOnlyList<VolumeName> volumes, CancellationToken cancellation);

    /// <summary>By name.</summary>
    Task<ControlResult<IReadOnlyList<SnapshotGroupResource>>> ListSnapshotGroupsAsync(CancellationToken cancellation);

    Task<ControlResult<SnapshotGroupResource>> GetSnapshotGroupAsync(string name, CancellationToken cancellation);

    /// <summary>With the snapshots of its volumes. What it was.</summary>
    Task<ControlResult<SnapshotGroupResource>> DeleteSnapshotGroupAsync(string name, CancellationToken cancellation);

    /// <summary>Takes away the record of a group that is unreadable; the snapshots of its volumes stay, as single ones. What it was.</summary>
    Task<ControlResult<SnapshotGroupResource>> ForgetSnapshotGroupAsync(string name, CancellationToken cancellation);

    Task<ControlResult<IReadOnlyList<NodeResource>>> ListNodesAsync(CancellationToken cancellation);

    Task<ControlResult<NodeResource>> GetNodeAsync(string name, CancellationToken cancellation);

    /// <summary>Cordoned: no new copies are placed on the node.</summary>
    Task<ControlResult<NodeResource>> SetCordonedAsync(string name, bool cordoned, CancellationToken cancellation);

    /// <summary>
    /// Cordons the node and moves its owners to other nodes, for <paramref name="atMost"/>; a move that is under way then is waited for. Conflict when
    /// a volume has no other copy. Asked again it goes on.
    /// </summary>
    /// <param name="forRestart">The cordon ends with the node's next start, with <see cref="EndRestartAsync"/>, or when this call is cancelled; one that was there before does not.</param>
    Task<ControlResult<DrainResource>> DrainNodeAsync(string name, TimeSpan atMost, bool forRestart, CancellationToken cancellation);

    /// <summary>Takes a node out for good; answers it as it was. Conflict while it is up or holds a copy.</summary>
    /// <param name="name">Or its id, where two had one name.</param>
    Task<ControlResult<NodeResource>> RemoveNodeAsync(string name, CancellationToken cancellation);

    /// <summary>Takes back a cordon that was made for a restart, and no other.</summary>
    Task<ControlResult<NodeResource>> EndRestartAsync(string name, CancellationToken cancellation);

    /// <summary>
    /// Has a disk of a node's store emptied, or used again; answers the disk as it is then, once that is on the node's media. Idempotent. NotFound: no such node or disk; Conflict: the disk is
    /// the store's home, or is not in use.
    /// </summary>
    Task<ControlResult<DiskResource>> DrainDiskAsync(string name, string disk, bool drains, CancellationToken cancellation);

    Task<ControlResult<StatusResource>> GetStatusAsync(CancellationToken cancellation);

    /// <summary>Volumes that this node's front ends have open now.</summary>
    ControlResult<IReadOnlyList<OpenVolumeResource>> ListOpenVolumes();
}

/// <param name="IsNew">False: it was there, or being made, when it was asked for.</param>
public sealed record CreatedSnapshot(SnapshotResource Snapshot, bool IsNew);

/// <param name="IsNew">False: it was there when it was asked for.</param>
public sealed record CreatedSnapshotGroup(SnapshotGroupResource Group, bool IsNew);
