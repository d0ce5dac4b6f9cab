using Cluster.Csi.Csi.V1;
using Cluster.Messages.Model;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>
/// CreateVolumeGroupSnapshot, DeleteVolumeGroupSnapshot and GetVolumeGroupSnapshot. A group's id is its name, and that of the snapshot of each of its volumes. That nothing is left of a group that was
/// not made is the cluster's to see to.
/// </summary>
internal sealed class GroupSnapshots(IVolumeControl control)
{
    public async Task<CsiResult<CreateVolumeGroupSnapshotResponse>> CreateAsync(CreateVolumeGroupSnapshotRequest request, CancellationToken cancellation)
    {
        if ((CheckVolumes(request.SourceVolumeIds) ?? VolumeParameters.CheckGroup(request.Parameters) ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        var name = OwnName(request.Name);
        var volumes = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var id in request.SourceVolumeIds)
        {
            var found = await control.FindAsync(id, cancellation).ConfigureAwait(false);
            if (found.Error is { } missing) return missing;
            if (CsiFields.Id(CsiFields.SnapshotId(id, name), "snapshot_id") is not null)
                return CsiError.Invalid($"The id of snapshot {name} of volume {id} would be longer than the specification allows; use a shorter name.");
            volumes.Add(id, found.Value!.SizeBytes);
        }
        var made = await control.CreateGroupAsync(name, [.. volumes.Keys], cancellation).ConfigureAwait(false);
        if (made.Error is { Code: StatusCode.FailedPrecondition } refused) return await WhyAsync(refused, name, volumes.Keys, cancellation).ConfigureAwait(false);
        return made.Error is { } error ? error : new CreateVolumeGroupSnapshotResponse { GroupSnapshot = Of(made.Value!, volumes) };
    }

    /// <summary>Ok too when there is no such group.</summary>
    public async Task<CsiResult<DeleteVolumeGroupSnapshotResponse>> DeleteAsync(DeleteVolumeGroupSnapshotRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        var found = await FindAsync(request.GroupSnapshotId, request.SnapshotIds, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error.Code == StatusCode.NotFound ? new DeleteVolumeGroupSnapshotResponse() : error;
        var deleted = await control.DeleteGroupAsync(request.GroupSnapshotId, cancellation).ConfigureAwait(false);
        return deleted.Error is { Code: not StatusCode.NotFound } refused ? refused : new DeleteVolumeGroupSnapshotResponse();
    }

    public async Task<CsiResult<GetVolumeGroupSnapshotResponse>> GetAsync(GetVolumeGroupSnapshotRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        var found = await FindAsync(request.GroupSnapshotId, request.SnapshotIds, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error;
        var sizes = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var snapshot in found.Value!.Snapshots.Where(snapshot => snapshot.Exists))
        {
            var volume = await control.FindAsync(snapshot.Volume, cancellation).ConfigureAwait(false);
            // Deleted since: its snapshot went with it.
            if (volume.Error is { Code: StatusCode.NotFound }) continue;
            if (volume.Error is { } unknown) return unknown;
            sizes.Add(snapshot.Volume, volume.Value!.SizeBytes);
        }
        return new GetVolumeGroupSnapshotResponse { GroupSnapshot = Of(found.Value!, sizes) };
    }

    /// <summary>The group's name for the orchestrator's.</summary>
    public string OwnName(string name) => CsiFields.OwnName(name, control.IsReservedSnapshotName);

    /// <param name="snapshotIds">Those that the caller believes to be in it; none: the caller does not say.</param>
    private async Task<CsiResult<GroupFacts>> FindAsync(string id, RepeatedField<string> snapshotIds, CancellationToken cancellation)
    {
        var found = CsiFields.IsGroupId(id) ? await control.GetGroupAsync(id, cancellation).ConfigureAwait(false) : CsiError.NotFound($"There is no group snapshot '{id}'.");
        if (found.Error is not null || snapshotIds.Count == 0) return found;
        var known = found.Value!.Snapshots.Select(snapshot => CsiFields.SnapshotId(snapshot.Volume, id)).ToHashSet(StringComparer.Ordinal);
        return known.SetEquals(snapshotIds) ? found
            : CsiError.Invalid($"The snapshot_ids are not those of group snapshot {id}, which are {string.Join(", ", known.Order(StringComparer.Ordinal))}.");
    }

    /// <summary>The present state forbids it: the name is a group's of other volumes, or a snapshot's of one of them; or one has no room for another snapshot.</summary>
    private async Task<CsiError> WhyAsync(CsiError refused, string name, IEnumerable<string> volumes, CancellationToken cancellation)
    {
        var group = await control.GetGroupAsync(name, cancellation).ConfigureAwait(false);
        if (group.Value is not null) return CsiError.Exists(refused.Message);
        foreach (var volume in volumes)
        {
            var snapshot = await control.GetSnapshotAsync(volume, name, cancellation).ConfigureAwait(false);
            if (snapshot.Value is not null) return CsiError.Exists(refused.Message);
        }
        return CsiError.Exhausted(refused.Message);
    }

    private static CsiError? CheckVolumes(RepeatedField<string> ids)
    {
        if (ids.Count == 0) return CsiError.Invalid("The field source_volume_ids is missing.");
        if (ids.Count > Limits.GroupVolumesMax) return CsiError.Invalid($"There are {ids.Count} source_volume_ids; give at most {Limits.GroupVolumesMax}.");
        if (ids.Select(id => CsiFields.Id(id, "source_volume_ids")).FirstOrDefault(error => error is not null) is { } wrong) return wrong;
        return ids.Distinct(StringComparer.Ordinal).Count() == ids.Count ? null : CsiError.Invalid("The source_volume_ids name a volume twice; name each once.");
    }

    /// <param name="sizes">Of the volumes that there are.</param>
    private static VolumeGroupSnapshot Of(GroupFacts group, Dictionary<string, ulong> sizes) => new()
    {
        GroupSnapshotId = group.Name,
        CreationTime = Timestamp.FromDateTimeOffset(group.CreatedAt),
        ReadyToUse = group.IsReady,
        Snapshots =
        {
            group.Snapshots.Where(snapshot => snapshot.Exists && sizes.ContainsKey(snapshot.Volume)).Select(snapshot => VolumeMessages.Of(
                new SnapshotFacts(snapshot.Volume, group.Name, snapshot.Sequence, snapshot.CreatedAt) { Group = group.Name, IsReady = group.IsMade }, sizes[snapshot.Volume])),
        },
    };
}
