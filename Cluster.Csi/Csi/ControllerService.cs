using Cluster.Csi.Csi.V1;
using Grpc.Core;
using Rpc = Cluster.Csi.Csi.V1.ControllerServiceCapability.Types.RPC.Types.Type;

namespace Cluster.Csi.Csi;

/// <summary>What is done to volumes, from any node: each call is checked, locked by its volume, and handed to the part that does it.</summary>
internal sealed class ControllerService(IVolumeControl control, CsiCalls calls) : Controller.ControllerBase
{
    private readonly VolumeCreation _creation = new(control);
    private readonly VolumePublication _publication = new(control, calls.OnLateNote);
    private readonly VolumeLists _lists = new(control);
    private readonly VolumeChanges _changes = new(control);
    private readonly Snapshots _snapshots = new(control);

    /// <summary>All of them hold; tests go through them one by one.</summary>
    internal IEnumerable<Rpc> Capabilities =>
    [
        Rpc.CreateDeleteVolume, Rpc.PublishUnpublishVolume, Rpc.ListVolumes, Rpc.GetCapacity, Rpc.CreateDeleteSnapshot, Rpc.ListSnapshots,
        Rpc.PublishReadonly, Rpc.ExpandVolume, Rpc.ListVolumesPublishedNodes, Rpc.VolumeCondition, Rpc.GetVolume, Rpc.SingleNodeMultiWriter,
        Rpc.ModifyVolume, Rpc.GetSnapshot, .. control.CanClone ? [Rpc.CloneVolume] : Array.Empty<Rpc>(),
    ];

    public override Task<ControllerGetCapabilitiesResponse> ControllerGetCapabilities(ControllerGetCapabilitiesRequest request, ServerCallContext context) =>
        calls.RunAsync(new CsiCall(nameof(ControllerGetCapabilities)), context, _ => Task.FromResult<CsiResult<ControllerGetCapabilitiesResponse>>(
            new ControllerGetCapabilitiesResponse
            {
                Capabilities = { Capabilities.Select(type => new ControllerServiceCapability { Rpc = new() { Type = type } }) },
            }));

    public override Task<CreateVolumeResponse> CreateVolume(CreateVolumeRequest request, ServerCallContext context) => ChangeAsync(
        new CsiCall(nameof(CreateVolume), VolumeCreation.OwnName(request.Name)), context, CsiFields.Name(request.Name, "name"),
        cancellation => _creation.CreateAsync(request, cancellation));

    public override Task<DeleteVolumeResponse> DeleteVolume(DeleteVolumeRequest request, ServerCallContext context) => ChangeAsync(
        new CsiCall(nameof(DeleteVolume), request.VolumeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
        cancellation => _creation.DeleteAsync(request, cancellation));

    public override Task<ControllerPublishVolumeResponse> ControllerPublishVolume(ControllerPublishVolumeRequest request, ServerCallContext context) =>
        ChangeAsync(
            new CsiCall(nameof(ControllerPublishVolume), request.VolumeId, request.NodeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
            cancellation => _publication.PublishAsync(request, cancellation));

    public override Task<ControllerUnpublishVolumeResponse> ControllerUnpublishVolume(ControllerUnpublishVolumeRequest request, ServerCallContext context) =>
        ChangeAsync(
            new CsiCall(nameof(ControllerUnpublishVolume), request.VolumeId, request.NodeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
            cancellation => _publication.UnpublishAsync(request, cancellation));

    public override Task<ControllerExpandVolumeResponse> ControllerExpandVolume(ControllerExpandVolumeRequest request, ServerCallContext context) =>
        ChangeAsync(
            new CsiCall(nameof(ControllerExpandVolume), request.VolumeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
            cancellation => _changes.ExpandAsync(request, cancellation));

    public override Task<ControllerModifyVolumeResponse> ControllerModifyVolume(ControllerModifyVolumeRequest request, ServerCallContext context) =>
        ChangeAsync(
            new CsiCall(nameof(ControllerModifyVolume), request.VolumeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
            cancellation => _changes.ModifyAsync(request, cancellation));

    public override Task<ValidateVolumeCapabilitiesResponse> ValidateVolumeCapabilities(
        ValidateVolumeCapabilitiesRequest request, ServerCallContext context) => LookAsync(
            new CsiCall(nameof(ValidateVolumeCapabilities), request.VolumeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
            cancellation => _changes.ValidateAsync(request, cancellation));

    public override Task<ListVolumesResponse> ListVolumes(ListVolumesRequest request, ServerCallContext context) => LookAsync(
        new CsiCall(nameof(ListVolumes)), context, null, cancellation => _lists.ListAsync(request, cancellation));

    public override Task<ControllerGetVolumeResponse> ControllerGetVolume(ControllerGetVolumeRequest request, ServerCallContext context) => LookAsync(
        new CsiCall(nameof(ControllerGetVolume), request.VolumeId), context, CsiFields.Id(request.VolumeId, "volume_id"),
        cancellation => _lists.GetAsync(request, cancellation));

    public override Task<GetCapacityResponse> GetCapacity(GetCapacityRequest request, ServerCallContext context) => LookAsync(
        new CsiCall(nameof(GetCapacity)), context, null, cancellation => _lists.CapacityAsync(request, cancellation));

    /// <summary>Locked by the snapshot's name, which is what two calls may disagree about.</summary>
    public override Task<CreateSnapshotResponse> CreateSnapshot(CreateSnapshotRequest request, ServerCallContext context) => calls.RunAsync(
        new CsiCall(nameof(CreateSnapshot), request.SourceVolumeId, Lock: LockOf(_snapshots.OwnName(request.Name))), context,
        Checked(CsiFields.Name(request.Name, "name"), cancellation => _snapshots.CreateAsync(request, cancellation)));

    public override Task<DeleteSnapshotResponse> DeleteSnapshot(DeleteSnapshotRequest request, ServerCallContext context)
    {
        var isOurs = CsiFields.TrySnapshot(request.SnapshotId, out _, out var name);
        return calls.RunAsync(
            new CsiCall(nameof(DeleteSnapshot), request.SnapshotId, Lock: LockOf(isOurs ? name : request.SnapshotId)), context,
            Checked(CsiFields.Id(request.SnapshotId, "snapshot_id"), cancellation => _snapshots.DeleteAsync(request, cancellation)));
    }

    public override Task<ListSnapshotsResponse> ListSnapshots(ListSnapshotsRequest request, ServerCallContext context) => LookAsync(
        new CsiCall(nameof(ListSnapshots)), context, null, cancellation => _snapshots.ListAsync(request, cancellation));

    public override Task<GetSnapshotResponse> GetSnapshot(GetSnapshotRequest request, ServerCallContext context) => LookAsync(
        new CsiCall(nameof(GetSnapshot), request.SnapshotId), context, CsiFields.Id(request.SnapshotId, "snapshot_id"),
        cancellation => _snapshots.GetAsync(request, cancellation));

    private static string LockOf(string snapshot) => "snapshot@" + snapshot;

    private Task<T> ChangeAsync<T>(CsiCall call, ServerCallContext context, CsiError? wrong, Func<CancellationToken, Task<CsiResult<T>>> work)
        where T : class => calls.RunAsync(call with { Lock = call.Volume }, context, Checked(wrong, work));

    private Task<T> LookAsync<T>(CsiCall call, ServerCallContext context, CsiError? wrong, Func<CancellationToken, Task<CsiResult<T>>> work)
        where T : class => calls.RunAsync(call, context, Checked(wrong, work));

    private static Func<CancellationToken, Task<CsiResult<T>>> Checked<T>(CsiError? wrong, Func<CancellationToken, Task<CsiResult<T>>> work)
        where T : class => wrong is null ? work : _ => Task.FromResult<CsiResult<T>>(wrong);
}
