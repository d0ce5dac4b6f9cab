using System.Collections.Immutable;
using Cluster.Csi.Csi.V1;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>Who the driver is, what it can do, and whether this node can do it now.</summary>
internal sealed class IdentityService(IVolumeControl control, CsiCalls calls) : Identity.IdentityBase
{
    public const string DriverName = "csi.myrmidon.dev";

    /// <summary>The same on every node of a version, as the specification demands.</summary>
    public static readonly ImmutableArray<PluginCapability> Capabilities =
    [
        Of(PluginCapability.Types.Service.Types.Type.ControllerService),
        Of(PluginCapability.Types.Service.Types.Type.VolumeAccessibilityConstraints),
        Of(PluginCapability.Types.Service.Types.Type.GroupControllerService),
        Of(PluginCapability.Types.Service.Types.Type.SnapshotMetadataService),
        new PluginCapability { VolumeExpansion = new() { Type = PluginCapability.Types.VolumeExpansion.Types.Type.Online } },
    ];

    public override Task<GetPluginInfoResponse> GetPluginInfo(GetPluginInfoRequest request, ServerCallContext context) => calls.RunAsync(
        new CsiCall(nameof(GetPluginInfo)), context, _ => Answer(new GetPluginInfoResponse { Name = DriverName, VendorVersion = control.Version }));

    public override Task<GetPluginCapabilitiesResponse> GetPluginCapabilities(GetPluginCapabilitiesRequest request, ServerCallContext context) =>
        calls.RunAsync(new CsiCall(nameof(GetPluginCapabilities)), context, _ => Answer(new GetPluginCapabilitiesResponse { Capabilities = { Capabilities } }));

    /// <summary>Not ready while the node starts; FAILED_PRECONDITION when it has started and can't serve.</summary>
    public override Task<ProbeResponse> Probe(ProbeRequest request, ServerCallContext context) => calls.RunAsync(
        new CsiCall(nameof(Probe)), context, _ =>
        {
            var state = control.Look();
            return state.IsReady || state.IsStarting
                ? Answer(new ProbeResponse { Ready = state.IsReady })
                : Task.FromResult<CsiResult<ProbeResponse>>(CsiError.Precondition(state.Reason));
        });

    private static PluginCapability Of(PluginCapability.Types.Service.Types.Type type) => new() { Service = new() { Type = type } };

    private static Task<CsiResult<T>> Answer<T>(T response)
        where T : class => Task.FromResult<CsiResult<T>>(response);
}
