using Cluster.Csi.Csi.V1;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Grpc.Core;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>A volume has no owner for longer than its hold time while a pod of another node has it mounted: whole nodes, a real device, a real file system.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class HoldTimeSpecs
{
    private const string HoldTime = "3s";

    [Theory(DisplayName = "I/O that is held longer than the hold time fails; the mount says so, NodeGetVolumeStats is abnormal, also once the owner is back; nothing more is published of it; without its pod it is staged anew, works, and has what was synced")]
    [InlineData("ext4")]
    [InlineData("xfs")]
    public async Task Expires(string fsType)
    {
        RootTools.Require("mkfs.ext4", "mkfs.xfs", "losetup", "dd");
        await using var cluster = await LocalCluster.StartAsync();
        var placement = (await LocalCluster.GetStatusAsync(cluster.Nodes[0])).PlacementHost!;
        // The catalogue and the pod's node stay; the only copy's node goes.
        var (volume, owner) = await OwnedElsewhereAsync(cluster, placement);
        var front = cluster.Node(placement);
        using var client = new CsiClient(Path.Combine(front.Data, "csi.sock"));
        await using var pod = new Pod(client, volume, front, fsType, cluster.Directory);
        await pod.StartAsync();
        await File.WriteAllTextAsync(Path.Combine(pod.Target, "kept"), "kept");
        await RootTools.RunAsync("sync", "-f", pod.Target);
        await pod.StatsAsync(stats => !stats.VolumeCondition.Abnormal, "well at first");

        await cluster.KillAsync(owner);
        // Until the file system itself can't go on: what is written is in memory at first.
        await LocalCluster.WaitForAsync(() => WriteAsync(pod.Target), exit => exit != 0, "writes did not fail");
        var stopped = await LocalCluster.WaitForAsync(async () =>
        {
            await WriteAsync(pod.Target);
            return await TroubleAsync(front);
        }, trouble => trouble.Length > 0, "the mount is not shown as stopped");
        Assert.StartsWith("stopped after an I/O error", stopped, StringComparison.Ordinal);
        await pod.StatsAsync(stats => stats.VolumeCondition.Abnormal && stats.Usage.Count > 0, "abnormal");

        await cluster.StartNodeAsync(owner);
        await LocalCluster.WaitForVolumeAsync(front, volume, "served again", now => now.State == "healthy");
        var after = await pod.StatsAsync(stats => stats.VolumeCondition.Abnormal, "abnormal");
        Assert.Contains("stopped after an I/O error", after.VolumeCondition.Message, StringComparison.Ordinal);
        var (staging, target) = (pod.StageRequest(), pod.PublishRequest());
        Assert.Contains(pod.Target, await CsiClient.FailsAsync(StatusCode.FailedPrecondition, client.Node.NodeStageVolumeAsync(staging)), StringComparison.Ordinal);
        target.TargetPath += "-second";
        Assert.Contains("stage it anew", await CsiClient.FailsAsync(StatusCode.FailedPrecondition, client.Node.NodePublishVolumeAsync(target)), StringComparison.Ordinal);

        // Its pod goes, and one that came before the kubelet has unstaged it is well too.
        await pod.UnpublishAsync();
        await client.Node.NodeStageVolumeAsync(staging);
        await client.Node.NodePublishVolumeAsync(pod.PublishRequest());
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(pod.Target, "kept")));
        Assert.Equal(0, await WriteAsync(pod.Target));
        await pod.StatsAsync(stats => !stats.VolumeCondition.Abnormal, "well in the end");
        Assert.Equal("", await TroubleAsync(front));
    }

    /// <summary>A volume of one copy, on a node that is not this one.</summary>
    private static async Task<(string Volume, string Owner)> OwnedElsewhereAsync(LocalCluster cluster, string node)
    {
        using var client = new CsiClient(Path.Combine(cluster.Node(node).Data, "csi.sock"));
        // Free space decides where copies lie: at most one of the first three is on any node.
        for (var index = 0; index < 3; index++)
        {
            var request = CsiNode.CreateRequest($"volume-{index}");
            request.Parameters["replicas"] = "1";
            request.Parameters["hold-time"] = HoldTime;
            var volume = (await client.Controller.CreateVolumeAsync(request)).Volume.VolumeId;
            var placed = await LocalCluster.WaitForVolumeAsync(cluster.Node(node), volume, "served", now => now is { State: "healthy", Owner: not null });
            if (placed.Owner != node) return (volume, placed.Owner!);
        }
        throw new Xunit.Sdk.XunitException("all copies lie on one node");
    }

    /// <summary>A new file, synced: the program's exit.</summary>
    private static async Task<int> WriteAsync(string directory) =>
        (await Tool.RunAsync("dd", "if=/dev/zero", $"of={directory}/{Guid.NewGuid():N}", "bs=64k", "count=4", "conv=fsync")).Exit;

    private static async Task<string> TroubleAsync(DevNode node)
    {
        using var api = new ApiClient(new Uri(node.Api));
        var answer = await api.GetAsync("/v1/devices", default);
        Assert.True(answer.IsOk, answer.Error);
        return Assert.Single(answer.As<DeviceListResource>().Devices).Mounts[0].Trouble;
    }

    /// <summary>What the kubelet does for a pod.</summary>
    private sealed class Pod(CsiClient client, string volume, DevNode node, string fsType, string directory) : IAsyncDisposable
    {
        private readonly string _staging = Directory.CreateDirectory(Path.Combine(directory, "staging")).FullName;
        private readonly VolumeCapability _capability = CsiNode.Mount(fsType: fsType);
        private Google.Protobuf.Collections.MapField<string, string> _context = [];

        public string Target { get; } = Path.Combine(directory, "target");

        public NodeStageVolumeRequest StageRequest() => new() { VolumeId = volume, StagingTargetPath = _staging, VolumeCapability = _capability, PublishContext = { _context } };

        public NodePublishVolumeRequest PublishRequest() => new() { VolumeId = volume, StagingTargetPath = _staging, TargetPath = Target, VolumeCapability = _capability, PublishContext = { _context } };

        public async Task StartAsync()
        {
            _context = (await client.Controller.ControllerPublishVolumeAsync(new ControllerPublishVolumeRequest { VolumeId = volume, NodeId = node.Name, VolumeCapability = _capability })).PublishContext;
            await client.Node.NodeStageVolumeAsync(StageRequest());
            await client.Node.NodePublishVolumeAsync(PublishRequest());
        }

        public async Task UnpublishAsync() => await client.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = volume, TargetPath = Target });

        public Task<NodeGetVolumeStatsResponse> StatsAsync(Func<NodeGetVolumeStatsResponse, bool> wanted, string what) => LocalCluster.WaitForAsync(
            async () => await client.Node.NodeGetVolumeStatsAsync(new NodeGetVolumeStatsRequest { VolumeId = volume, VolumePath = Target, StagingTargetPath = _staging }), wanted, $"the volume was not {what}");

        public async ValueTask DisposeAsync()
        {
            await UnpublishAsync();
            await client.Node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest { VolumeId = volume, StagingTargetPath = _staging });
        }
    }
}
