using Cluster.Csi.Csi.V1;
using Grpc.Core;
using Rpc = Cluster.Csi.Csi.V1.NodeServiceCapability.Types.RPC.Types.Type;

namespace Cluster.Csi.Csi;

/// <summary>What is done on this node: each call is checked, locked by its volume, and handed to the part that does it.</summary>
/// <param name="devices">Null while this host's devices are not looked after.</param>
internal sealed class NodeService(IVolumeControl control, Func<HostDevices?> devices, CsiCalls calls) : Node.NodeBase
{
    private static readonly CsiError NotReady = new(StatusCode.Unavailable, "This node's devices are not looked after yet; try again in a moment.");

    /// <summary>All of them hold; tests go through them one by one.</summary>
    private static readonly Rpc[] Capabilities =
        [Rpc.StageUnstageVolume, Rpc.GetVolumeStats, Rpc.ExpandVolume, Rpc.VolumeCondition, Rpc.SingleNodeMultiWriter];

    public override Task<NodeGetCapabilitiesResponse> NodeGetCapabilities(NodeGetCapabilitiesRequest request, ServerCallContext context) => calls.RunAsync(
        new CsiCall(nameof(NodeGetCapabilities)), context, _ => Task.FromResult<CsiResult<NodeGetCapabilitiesResponse>>(new NodeGetCapabilitiesResponse
        {
            Capabilities = { Capabilities.Select(type => new NodeServiceCapability { Rpc = new() { Type = type } }) },
        }));

    public override Task<NodeGetInfoResponse> NodeGetInfo(NodeGetInfoRequest request, ServerCallContext context) => calls.RunAsync(
        new CsiCall(nameof(NodeGetInfo)), context, _ => Task.FromResult<CsiResult<NodeGetInfoResponse>>(new NodeGetInfoResponse
        {
            NodeId = control.NodeName,
            MaxVolumesPerNode = CsiLimits.VolumesPerNodeMax,
            AccessibleTopology = Topologies.Of(control.Zone),
        }));

    public override Task<NodeStageVolumeResponse> NodeStageVolume(NodeStageVolumeRequest request, ServerCallContext context) => RunAsync(
        nameof(NodeStageVolume), request.VolumeId, true, context, (host, cancellation) => new NodeStaging(control, host).StageAsync(request, cancellation));

    public override Task<NodeUnstageVolumeResponse> NodeUnstageVolume(NodeUnstageVolumeRequest request, ServerCallContext context) => RunAsync(
        nameof(NodeUnstageVolume), request.VolumeId, true, context, (host, cancellation) => new NodeStaging(control, host).UnstageAsync(request, cancellation));

    public override Task<NodePublishVolumeResponse> NodePublishVolume(NodePublishVolumeRequest request, ServerCallContext context) => RunAsync(
        nameof(NodePublishVolume), request.VolumeId, true, context, (host, cancellation) => new NodePublishing(control, host).PublishAsync(request, cancellation));

    public override Task<NodeUnpublishVolumeResponse> NodeUnpublishVolume(NodeUnpublishVolumeRequest request, ServerCallContext context) => RunAsync(
        nameof(NodeUnpublishVolume), request.VolumeId, true, context,
        (host, cancellation) => new NodePublishing(control, host).UnpublishAsync(request, cancellation));

    public override Task<NodeExpandVolumeResponse> NodeExpandVolume(NodeExpandVolumeRequest request, ServerCallContext context) => RunAsync(
        nameof(NodeExpandVolume), request.VolumeId, true, context, (host, cancellation) => new NodeUsage(control, host).ExpandAsync(request, cancellation));

    /// <summary>Looks only, and is asked every minute: it waits for no other call and makes none wait.</summary>
    public override Task<NodeGetVolumeStatsResponse> NodeGetVolumeStats(NodeGetVolumeStatsRequest request, ServerCallContext context) => RunAsync(
        nameof(NodeGetVolumeStats), request.VolumeId, false, context, (host, cancellation) => new NodeUsage(control, host).StatsAsync(request, cancellation));

    private Task<T> RunAsync<T>(
        string method, string volume, bool locks, ServerCallContext context, Func<HostDevices, CancellationToken, Task<CsiResult<T>>> work)
        where T : class => calls.RunAsync(
            new CsiCall(method, volume, control.NodeName, locks ? "node@" + volume : null), context, cancellation =>
            {
                if (CsiFields.Id(volume, "volume_id") is { } wrong) return Task.FromResult<CsiResult<T>>(wrong);
                return devices() is { } host ? work(host, cancellation) : Task.FromResult<CsiResult<T>>(NotReady);
            });
}
