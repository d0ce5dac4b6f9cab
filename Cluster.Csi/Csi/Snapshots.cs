using Cluster.Csi.Csi.V1;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>
/// CreateSnapshot, DeleteSnapshot, ListSnapshots and GetSnapshot. A snapshot's id is VOLUME@SNAPSHOT. The orchestrator's names are unique in the cluster, so a
/// name is taken for its volume before the snapshot is made and given back after it is deleted; killed between the two, either call goes on when made again.
/// </summary>
internal sealed class Snapshots(IVolumeControl control)
{
    public async Task<CsiResult<CreateSnapshotResponse>> CreateAsync(CreateSnapshotRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Id(request.SourceVolumeId, "source_volume_id") is { } noVolume) return noVolume;
        if ((VolumeParameters.CheckSnapshot(request.Parameters) ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        var found = await control.FindAsync(request.SourceVolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        var (volume, name) = (found.Value!, OwnName(request.Name));
        if (CsiFields.Id(CsiFields.SnapshotId(volume.FullName, name), "snapshot_id") is not null)
            return CsiError.Invalid($"The id of snapshot {name} of volume {volume.FullName} would be longer than the specification allows; use a shorter name.");
        if (await TakeNameAsync(name, volume.FullName, cancellation).ConfigureAwait(false) is { } taken) return taken;
        var made = await control.CreateSnapshotAsync(volume.FullName, name, cancellation).ConfigureAwait(false);
        if (made.Error is { } refused)
            return refused.Code == StatusCode.FailedPrecondition ? CsiError.Exhausted(refused.Message) : refused;
        // It goes with its group, and only with it: whoever asked for a snapshot of his own could not delete it, and would lose it.
        if (made.Value!.Group is { Length: > 0 } group)
        {
            var released = await control.ReleaseSnapshotNameAsync(name, volume.FullName, cancellation).ConfigureAwait(false);
            return released.Error ?? CsiError.Exists($"Snapshot {name} of volume {volume.FullName} is one of the group {group}; use another name.");
        }
        return new CreateSnapshotResponse { Snapshot = VolumeMessages.Of(made.Value!, volume.SizeBytes) };
    }

    /// <summary>Ok too when there is no such snapshot.</summary>
    public async Task<CsiResult<DeleteSnapshotResponse>> DeleteAsync(DeleteSnapshotRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        if (!CsiFields.TrySnapshot(request.SnapshotId, out var volume, out var name)) return new DeleteSnapshotResponse();
        var deleted = await control.DeleteSnapshotAsync(volume, name, cancellation).ConfigureAwait(false);
        if (deleted.Error is { Code: not StatusCode.NotFound } refused) return refused;
        var released = await control.ReleaseSnapshotNameAsync(name, volume, cancellation).ConfigureAwait(false);
        return released.Error is { } error ? error : new DeleteSnapshotResponse();
    }

    public async Task<CsiResult<GetSnapshotResponse>> GetAsync(GetSnapshotRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        if (!CsiFields.TrySnapshot(request.SnapshotId, out var name, out var snapshot)) return CsiError.NotFound($"There is no snapshot '{request.SnapshotId}'.");
        var volume = await control.FindAsync(name, cancellation).ConfigureAwait(false);
        if (volume.Error is { } missing) return missing;
        var found = await control.GetSnapshotAsync(name, snapshot, cancellation).ConfigureAwait(false);
        return found.Error is { } error ? error : new GetSnapshotResponse { Snapshot = VolumeMessages.Of(found.Value!, volume.Value!.SizeBytes) };
    }

    public async Task<CsiResult<ListSnapshotsResponse>> ListAsync(ListSnapshotsRequest request, CancellationToken cancellation)
    {
        if ((CsiFields.MaxEntries(request.MaxEntries) ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        if (PageToken.Read(request.StartingToken) is not { } after)
            return CsiError.Aborted("The starting_token is none that ListSnapshots gave; begin again without one.");
        var isOne = CsiFields.TrySnapshot(request.SnapshotId, out var oneVolume, out var oneName);
        if (request.SnapshotId.Length > 0 && !isOne) return new ListSnapshotsResponse();
        if (isOne && request.SourceVolumeId.Length > 0 && request.SourceVolumeId != oneVolume) return new ListSnapshotsResponse();
        var volumes = await VolumesAsync(isOne ? oneVolume : request.SourceVolumeId, cancellation).ConfigureAwait(false);
        if (volumes.Error is { } error) return error;
        var groups = await control.ListGroupsAsync(cancellation).ConfigureAwait(false);
        if (groups.Error is { } unknown) return unknown;
        var groupOf = groups.Value!.ToDictionary(group => group.Name, StringComparer.Ordinal);
        var all = new List<Snapshot>();
        foreach (var volume in volumes.Value!)
        {
            var list = await control.ListSnapshotsAsync(volume.FullName, cancellation).ConfigureAwait(false);
            if (list.Error is { Code: StatusCode.NotFound }) continue;
            // A list without those of one volume would say that they are gone.
            if (list.Error is { } unavailable) return unavailable;
            all.AddRange(list.Value!.Where(snapshot => !isOne || snapshot.Name == oneName)
                .Select(snapshot => VolumeMessages.Of(groupOf.GetValueOrDefault(snapshot.Name)?.Mark(snapshot) ?? snapshot, volume.SizeBytes)));
        }
        var (page, next) = PageToken.Cut(all, snapshot => snapshot.SnapshotId, after, request.MaxEntries);
        return new ListSnapshotsResponse { NextToken = next, Entries = { page.Select(snapshot => new ListSnapshotsResponse.Types.Entry { Snapshot = snapshot }) } };
    }

    /// <summary>The snapshot's name for the orchestrator's.</summary>
    public string OwnName(string name) => CsiFields.OwnName(name, control.IsReservedSnapshotName);

    /// <param name="fullName">"": all of them.</param>
    private async Task<CsiResult<IReadOnlyList<VolumeFacts>>> VolumesAsync(string fullName, CancellationToken cancellation)
    {
        if (fullName.Length == 0) return await control.ListUsableAsync(cancellation).ConfigureAwait(false);
        var found = await control.FindAsync(fullName, cancellation).ConfigureAwait(false);
        if (found.Error is { Code: StatusCode.NotFound }) return Array.Empty<VolumeFacts>();
        return found.Error is { } error ? error : new[] { found.Value! };
    }

    /// <summary>Null once the volume has the name. One that was taken for a snapshot which never came, or is gone with its volume, is taken over.</summary>
    private async Task<CsiError?> TakeNameAsync(string name, string volume, CancellationToken cancellation)
    {
        var holder = await control.ReserveSnapshotNameAsync(name, volume, cancellation).ConfigureAwait(false);
        if (holder.Error is { } error) return error;
        if (holder.Value == volume) return null;
        var other = await control.GetSnapshotAsync(holder.Value!, name, cancellation).ConfigureAwait(false);
        if (other.Error is null)
            return CsiError.Exists($"Snapshot {name} exists, of volume {holder.Value}; use another name for one of volume {volume}.");
        if (other.Error.Code != StatusCode.NotFound) return other.Error;
        var released = await control.ReleaseSnapshotNameAsync(name, holder.Value!, cancellation).ConfigureAwait(false);
        if (released.Error is { } notReleased) return notReleased;
        holder = await control.ReserveSnapshotNameAsync(name, volume, cancellation).ConfigureAwait(false);
        if (holder.Error is { } notTaken) return notTaken;
        return holder.Value == volume ? null : CsiError.Aborted($"The name {name} was taken for volume {holder.Value} meanwhile; make this call again.");
    }
}
