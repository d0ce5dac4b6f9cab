using Cluster.Csi.Csi.V1;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.Hosting;
using NodeClient = Cluster.Csi.Csi.V1.Node.NodeClient;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>A node whose driver uses this host's devices, and a directory for what an orchestrator would make.</summary>
internal sealed class CsiHost : IAsyncDisposable
{
    public const long VolumeBytes = 512L << 20;

    private const int CapSysResource = 24;

    /// <summary>The kernel grows a mounted ext4 only for who has CAP_SYS_RESOURCE.</summary>
    public static bool MayGrowExt4 { get; } = (Convert.ToUInt64(
        File.ReadLines("/proc/self/status").First(line => line.StartsWith("CapEff:", StringComparison.Ordinal))[7..].Trim(), 16) >> CapSysResource & 1) == 1;

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-csi").FullName;
    private readonly TestNodes _nodes = new(1);
    private readonly Dictionary<string, CsiVolume> _volumes = new(StringComparer.Ordinal);
    private CsiClient? _client;

    public CsiClient Client => _client!;

    public TestNodes Nodes => _nodes;

    /// <summary>The node's data directory.</summary>
    public string Data => _nodes.DataOf(0);

    public Controller.ControllerClient Controller => _client!.Controller;

    public NodeClient Node => _client!.Node;

    public static async Task<CsiHost> StartAsync()
    {
        RootTools.Require("mkfs.ext4", "mkfs.xfs", "xfs_growfs", "losetup", "blockdev");
        var host = new CsiHost();
        await host._nodes.StartAllAsync();
        host._client = new CsiClient(CsiNode.SocketOf(host._nodes, 0));
        return host;
    }

    public string PathOf(string name) => Path.Combine(_directory, name);

    public async Task RestartAsync()
    {
        _client!.Dispose();
        await _nodes.StopAsync(0);
        await _nodes.StartAsync(0);
        _client = new CsiClient(CsiNode.SocketOf(_nodes, 0));
    }

    /// <summary>The volume, made if it is missing, and published to the node.</summary>
    public async Task<CsiVolume> PublishedAsync(string name, VolumeCapability capability, params (string Key, string Value)[] parameters)
    {
        var create = new CreateVolumeRequest { Name = name, CapacityRange = new() { RequiredBytes = VolumeBytes }, VolumeCapabilities = { CsiNode.Mount() } };
        foreach (var (key, value) in parameters) create.Parameters[key] = value;
        await Controller.CreateVolumeAsync(create);
        var publish = new ControllerPublishVolumeRequest { VolumeId = name, NodeId = "node-0", VolumeCapability = capability };
        var published = await Controller.ControllerPublishVolumeAsync(publish);
        return _volumes[name] = new CsiVolume(this, name, capability, published.PublishContext);
    }

    /// <summary>No device, no mount and no process of a device is there any more.</summary>
    public async Task NothingIsLeftAsync()
    {
        Assert.DoesNotContain(_directory, await File.ReadAllTextAsync("/proc/self/mountinfo"), StringComparison.Ordinal);
        Assert.DoesNotContain(_nodes.DataOf(0), await File.ReadAllTextAsync("/proc/self/mountinfo"), StringComparison.Ordinal);
        var (status, devices) = await _nodes.GetAsync(0, "/v1/devices");
        Assert.True(status == System.Net.HttpStatusCode.OK, devices.ToString());
        Assert.Equal(0, devices.GetProperty("devices").GetArrayLength());
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var volume in _volumes.Values) await volume.EndAsync();
        foreach (var device in (await _nodes.GetAsync(0, "/v1/devices")).Body.GetProperty("devices").EnumerateArray())
            await _nodes.DeleteAsync(0, $"/v1/volumes/{device.GetProperty("volume").GetString()}/device?force=true");
        _client?.Dispose();
        await _nodes.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>A volume that is published to the node, and the calls that a kubelet makes for it.</summary>
internal sealed class CsiVolume(CsiHost host, string id, VolumeCapability capability, IDictionary<string, string> context)
{
    public string Staging { get; } = Directory.CreateDirectory(host.PathOf($"{id}-staging")).FullName;

    public string Target => host.PathOf($"{id}-target");

    public NodeStageVolumeRequest StageRequest() => new()
    {
        VolumeId = id,
        StagingTargetPath = Staging,
        VolumeCapability = capability,
        PublishContext = { context },
    };

    public NodePublishVolumeRequest PublishRequest() => new()
    {
        VolumeId = id,
        StagingTargetPath = Staging,
        TargetPath = Target,
        VolumeCapability = capability,
        PublishContext = { context },
    };

    public NodeUnstageVolumeRequest UnstageRequest() => new() { VolumeId = id, StagingTargetPath = Staging };

    public NodeExpandVolumeRequest ExpandRequest(long bytes) => new()
    {
        VolumeId = id,
        VolumePath = Target,
        StagingTargetPath = Staging,
        CapacityRange = new() { RequiredBytes = bytes },
        VolumeCapability = capability,
    };

    public async Task StageAsync() => await host.Node.NodeStageVolumeAsync(StageRequest());

    public async Task NodePublishAsync() => await host.Node.NodePublishVolumeAsync(PublishRequest());

    public async Task<NodeGetVolumeStatsResponse> StatsAsync() => await host.Node.NodeGetVolumeStatsAsync(
        new NodeGetVolumeStatsRequest { VolumeId = id, VolumePath = Target, StagingTargetPath = Staging });

    public async Task ExpandAsync(long bytes) => await host.Controller.ControllerExpandVolumeAsync(
        new ControllerExpandVolumeRequest { VolumeId = id, CapacityRange = new() { RequiredBytes = bytes }, VolumeCapability = capability });

    public async Task NodeUnpublishAsync() => await host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = id, TargetPath = Target });

    public async Task UnstageAsync() => await host.Node.NodeUnstageVolumeAsync(UnstageRequest());

    public async Task UnpublishAsync() =>
        await host.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = id, NodeId = "node-0" });

    /// <summary>All of it back; what is not there is no error.</summary>
    public async Task EndAsync()
    {
        await NodeUnpublishAsync();
        await UnstageAsync();
        await UnpublishAsync();
    }
}
