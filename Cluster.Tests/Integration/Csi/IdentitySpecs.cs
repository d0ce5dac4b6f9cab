using Cluster.Csi.Csi.V1;
using Cluster.Tests.Integration.Hosting;
using Grpc.Core;
using PluginService = Cluster.Csi.Csi.V1.PluginCapability.Types.Service.Types.Type;

namespace Cluster.Tests.Integration.Csi;

/// <summary>The identity service, and the socket that all services share.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public class IdentitySpecs(CsiNode node) : IClassFixture<CsiNode>
{
    [Fact(DisplayName = "The driver is csi.myrmidon.dev, with a version, and says what it can do")]
    public async Task Who_it_is()
    {
        var info = await node.Client.Identity.GetPluginInfoAsync(new GetPluginInfoRequest());
        Assert.Equal("csi.myrmidon.dev", info.Name);
        Assert.Matches(@"\A[0-9]+\.[0-9]+\.[0-9]+\z", info.VendorVersion);
        var capabilities = (await node.Client.Identity.GetPluginCapabilitiesAsync(new GetPluginCapabilitiesRequest())).Capabilities;
        Assert.Equal(
            [PluginService.ControllerService, PluginService.VolumeAccessibilityConstraints, PluginService.GroupControllerService, PluginService.SnapshotMetadataService],
            capabilities.Where(capability => capability.Service is not null).Select(capability => capability.Service.Type));
        Assert.Equal(PluginCapability.Types.VolumeExpansion.Types.Type.Online, Assert.Single(
            capabilities, capability => capability.VolumeExpansion is not null).VolumeExpansion.Type);
    }

    [Fact(DisplayName = "A probe of a node that serves says ready; one of three that has lost the other two says FAILED_PRECONDITION and why")]
    public async Task Probes()
    {
        Assert.True((await node.Client.Identity.ProbeAsync(new ProbeRequest())).Ready);
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        using var client = new CsiClient(CsiNode.SocketOf(nodes, 0));
        var started = TimeProvider.System.GetTimestamp();
        // On a host that stands still the journal may elect a leader again.
        for (var isReady = false; !isReady;)
        {
            try
            {
                isReady = (await client.Identity.ProbeAsync(new ProbeRequest())).Ready == true;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.FailedPrecondition)
            {
                Assert.True(TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromSeconds(60), $"a node that serves does not say that it is ready: {e.Status.Detail}");
                await Task.Delay(50);
            }
        }
        await nodes.StopAsync(1);
        await nodes.StopAsync(2);
        started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                await client.Identity.ProbeAsync(new ProbeRequest());
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.FailedPrecondition)
            {
                Assert.NotEmpty(e.Status.Detail);
                return;
            }
            Assert.True(TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromSeconds(60), "a node without a journal says that it is ready");
            await Task.Delay(50);
        }
    }

    [Fact(DisplayName = "The socket is its owner's and group's alone; calls are counted by method and code")]
    public async Task The_socket()
    {
        var mode = File.GetUnixFileMode(CsiNode.SocketOf(node.Nodes, 0));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite, mode);
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.DeleteVolumeAsync(new DeleteVolumeRequest()));
        var page = await node.Nodes.TextAsync(0, "/metrics");
        Assert.Contains("myrmidon_csi_calls_total{method=\"DeleteVolume\",code=\"InvalidArgument\"} 1", page, StringComparison.Ordinal);
    }
}
