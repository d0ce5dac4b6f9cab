using Cluster.Csi.Csi.V1;
using Grpc.Core;
using Rpc = Cluster.Csi.Csi.V1.GroupControllerServiceCapability.Types.RPC.Types.Type;

namespace Cluster.Csi.Csi;

/// <summary>Snapshots of several volumes at one point, from any node. Calls that change something are locked by the group's name.</summary>
internal sealed class GroupControllerService(IVolumeControl control, CsiCalls calls) : GroupController.GroupControllerBase
{
    private readonly GroupSnapshots _groups = new(control);

    public override Task<GroupControllerGetCapabilitiesResponse> GroupControllerGetCapabilities(GroupControllerGetCapabilitiesRequest request, ServerCallContext context) =>
        calls.RunAsync(new CsiCall(nameof(GroupControllerGetCapabilities)), context, _ => Task.FromResult<CsiResult<GroupControllerGetCapabilitiesResponse>>(
            new GroupControllerGetCapabilitiesResponse
            {
                Capabilities = { new GroupControllerServiceCapability { Rpc = new() { Type = Rpc.CreateDeleteGetVolumeGroupSnapshot } } },
            }));

    public override Task<CreateVolumeGroupSnapshotResponse> CreateVolumeGroupSnapshot(CreateVolumeGroupSnapshotRequest request, ServerCallContext context) => RunAsync(
        new CsiCall(nameof(CreateVolumeGroupSnapshot), string.Join(' ', request.SourceVolumeIds), Lock: LockOf(_groups.OwnName(request.Name))), context,
        CsiFields.Name(request.Name, "name"), cancellation => _groups.CreateAsync(request, cancellation));

    public override Task<DeleteVolumeGroupSnapshotResponse> DeleteVolumeGroupSnapshot(DeleteVolumeGroupSnapshotRequest request, ServerCallContext context) => RunAsync(
        new CsiCall(nameof(DeleteVolumeGroupSnapshot), request.GroupSnapshotId, Lock: LockOf(request.GroupSnapshotId)), context,
        CsiFields.Id(request.GroupSnapshotId, "group_snapshot_id"), cancellation => _groups.DeleteAsync(request, cancellation));

    public override Task<GetVolumeGroupSnapshotResponse> GetVolumeGroupSnapshot(GetVolumeGroupSnapshotRequest request, ServerCallContext context) => RunAsync(
        new CsiCall(nameof(GetVolumeGroupSnapshot), request.GroupSnapshotId), context,
        CsiFields.Id(request.GroupSnapshotId, "group_snapshot_id"), cancellation => _groups.GetAsync(request, cancellation));

    private static string LockOf(string group) => "group@" + group;

    private Task<T> RunAsync<T>(CsiCall call, ServerCallContext context, CsiError? wrong, Func<CancellationToken, Task<CsiResult<T>>> work)
        where T : class => calls.RunAsync(call, context, wrong is null ? work : _ => Task.FromResult<CsiResult<T>>(wrong));
}
