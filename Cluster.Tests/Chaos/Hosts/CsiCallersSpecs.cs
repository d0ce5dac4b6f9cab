using Cluster.Csi.Csi.V1;
using Cluster.Tests.Integration.Csi;
using Grpc.Core;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>The driver as its callers call it: many at one time, given up at any moment, and in the order in which the standard sidecars and the kubelet do.</summary>
public class CsiCallersSpecs
{
    private const int Callers = 6;

    /// <summary>A caller's deadline; a stage of a new volume takes about half a second.</summary>
    private static readonly int[] DeadlinesMs = [1, 20, 50, 90, 140, 200, 270, 350, 450];

    [Fact(DisplayName = "Of many calls for one volume at one time each ends well or is ABORTED, whatever they are; nothing is there twice, and nothing is left")]
    public async Task Many_at_one_time()
    {
        await using var host = await CsiHost.StartAsync();
        for (var round = 0; round < 4; round++)
        {
            var volume = await host.PublishedAsync("pg", CsiNode.Mount());
            await AtOnceAsync(() => host.Node.NodeStageVolumeAsync(volume.StageRequest()));
            await AtOnceAsync(() => host.Node.NodePublishVolumeAsync(volume.PublishRequest()));
            Assert.Equal(2, File.ReadLines("/proc/self/mountinfo").Count(line => line.Contains(volume.Staging, StringComparison.Ordinal) || line.Contains(volume.Target, StringComparison.Ordinal)));
            await AtOnceAsync(() => host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "pg", TargetPath = volume.Target }));
            await AtOnceAsync(() => host.Node.NodeUnstageVolumeAsync(volume.UnstageRequest()));
            // One that stages and one that takes away: whoever comes second is told so, or goes on from what the first has made.
            await Task.WhenAll(AtOnceAsync(() => host.Node.NodeStageVolumeAsync(volume.StageRequest())), AtOnceAsync(() => host.Node.NodeUnstageVolumeAsync(volume.UnstageRequest())));
            await volume.EndAsync();
            await host.NothingIsLeftAsync();
        }
    }

    [Fact(DisplayName = "A call whose caller gives up at any moment ends; made again it ends well, or all is taken away; nothing is left")]
    public async Task Given_up()
    {
        await using var host = await CsiHost.StartAsync();
        var cut = 0;
        foreach (var isMadeAgain in new[] { true, false })
        {
            foreach (var deadline in DeadlinesMs)
            {
                var volume = await host.PublishedAsync("pg", CsiNode.Mount());
                await GivenUpAsync(options => host.Node.NodeStageVolumeAsync(volume.StageRequest(), options), deadline);
                if (isMadeAgain)
                {
                    await AgainAsync(() => host.Node.NodeStageVolumeAsync(volume.StageRequest()));
                    await GivenUpAsync(options => host.Node.NodePublishVolumeAsync(volume.PublishRequest(), options), deadline / 10);
                    await AgainAsync(() => host.Node.NodePublishVolumeAsync(volume.PublishRequest()));
                    await GivenUpAsync(options => host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "pg", TargetPath = volume.Target }, options), deadline / 10);
                }
                await AgainAsync(() => host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "pg", TargetPath = volume.Target }));
                await GivenUpAsync(options => host.Node.NodeUnstageVolumeAsync(volume.UnstageRequest(), options), deadline / 4);
                await AgainAsync(() => host.Node.NodeUnstageVolumeAsync(volume.UnstageRequest()));
                await volume.UnpublishAsync();
                await host.NothingIsLeftAsync();
            }
        }
        Assert.True(cut > DeadlinesMs.Length, $"{cut} calls were given up");

        async Task GivenUpAsync<T>(Func<CallOptions, AsyncUnaryCall<T>> call, int milliseconds)
        {
            try
            {
                await call(new CallOptions(deadline: DateTime.UtcNow.AddMilliseconds(milliseconds)));
            }
            catch (RpcException e)
            {
                Assert.True(e.StatusCode is StatusCode.DeadlineExceeded or StatusCode.Cancelled, $"{e.Status}");
                cut++;
            }
        }
    }

    [Fact(DisplayName = "What registrar, provisioner, attacher, kubelet, resizer and snapshotter ask, in their order, is answered as they need it, and every call may be made twice")]
    public async Task Sidecars()
    {
        await using var host = await CsiHost.StartAsync();
        var (identity, controller, node, groups) = (host.Client.Identity, host.Controller, host.Node, host.Client.Groups);
        // All of them at their start.
        Assert.True((await identity.ProbeAsync(new ProbeRequest())).Ready);
        Assert.Equal("csi.myrmidon.dev", (await identity.GetPluginInfoAsync(new GetPluginInfoRequest())).Name);
        await identity.GetPluginCapabilitiesAsync(new GetPluginCapabilitiesRequest());
        await controller.ControllerGetCapabilitiesAsync(new ControllerGetCapabilitiesRequest());
        await groups.GroupControllerGetCapabilitiesAsync(new GroupControllerGetCapabilitiesRequest());
        var nodeId = (await node.NodeGetInfoAsync(new NodeGetInfoRequest())).NodeId;

        // The provisioner, with its extra metadata and the topology of the node that was chosen.
        var topology = (await node.NodeGetInfoAsync(new NodeGetInfoRequest())).AccessibleTopology;
        var create = new CreateVolumeRequest
        {
            Name = "pvc-0d6c1a3e-5a0b-4f0e-8d5e-3a1d2f1b7c11",
            CapacityRange = new() { RequiredBytes = CsiHost.VolumeBytes },
            VolumeCapabilities = { CsiNode.Mount(fsType: "ext4") },
            Parameters = { ["csi.storage.k8s.io/pv/name"] = "pvc-0d6c1a3e", ["csi.storage.k8s.io/pvc/name"] = "data", ["csi.storage.k8s.io/pvc/namespace"] = "shop" },
            AccessibilityRequirements = new() { Requisite = { topology }, Preferred = { topology } },
        };
        var made = (await TwiceAsync(() => controller.CreateVolumeAsync(create))).Volume;
        var id = made.VolumeId;
        // What the provisioner makes the PersistentVolume's node affinity of: labels that the kubelet of this host has put on it.
        Assert.Subset(topology.Segments.ToHashSet(), Assert.Single(made.AccessibleTopology).Segments.ToHashSet());

        // The attacher, which also looks over all volumes every minute.
        var publish = new ControllerPublishVolumeRequest { VolumeId = id, NodeId = nodeId, VolumeCapability = create.VolumeCapabilities[0] };
        var context = (await TwiceAsync(() => controller.ControllerPublishVolumeAsync(publish))).PublishContext;
        var status = Assert.Single((await controller.ListVolumesAsync(new ListVolumesRequest())).Entries).Status;
        Assert.Equal(nodeId, Assert.Single(status.PublishedNodeIds));

        // The kubelet.
        var (staging, target) = (Directory.CreateDirectory(host.PathOf("globalmount")).FullName, host.PathOf("mount"));
        await node.NodeGetCapabilitiesAsync(new NodeGetCapabilitiesRequest());
        var stage = new NodeStageVolumeRequest { VolumeId = id, StagingTargetPath = staging, VolumeCapability = publish.VolumeCapability, PublishContext = { context } };
        await TwiceAsync(() => node.NodeStageVolumeAsync(stage));
        var show = new NodePublishVolumeRequest { VolumeId = id, StagingTargetPath = staging, TargetPath = target, VolumeCapability = publish.VolumeCapability, PublishContext = { context } };
        await TwiceAsync(() => node.NodePublishVolumeAsync(show));
        var file = Path.Combine(target, "data");
        await File.WriteAllTextAsync(file, "first");
        Assert.False((await node.NodeGetVolumeStatsAsync(new NodeGetVolumeStatsRequest { VolumeId = id, VolumePath = target, StagingTargetPath = staging })).VolumeCondition.Abnormal);

        // The snapshotter, single and of a group, which asks until it is ready.
        await RootTools.RunAsync("sync", "-f", target);
        var snapshot = (await TwiceAsync(() => controller.CreateSnapshotAsync(new CreateSnapshotRequest { Name = "snapshot-41", SourceVolumeId = id }))).Snapshot;
        Assert.True(Assert.Single((await controller.ListSnapshotsAsync(new ListSnapshotsRequest { SnapshotId = snapshot.SnapshotId })).Entries).Snapshot.ReadyToUse);
        var group = (await TwiceAsync(() => groups.CreateVolumeGroupSnapshotAsync(new CreateVolumeGroupSnapshotRequest { Name = "groupsnapshot-17", SourceVolumeIds = { id } }))).GroupSnapshot;
        var members = group.Snapshots.Select(member => member.SnapshotId).ToArray();
        Assert.True((await groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest { GroupSnapshotId = group.GroupSnapshotId, SnapshotIds = { members } })).GroupSnapshot.ReadyToUse);
        Assert.True((await controller.GetSnapshotAsync(new GetSnapshotRequest { SnapshotId = members[0] })).Snapshot.ReadyToUse);

        // The resizer, whose other half is the kubelet's.
        var expand = new ControllerExpandVolumeRequest { VolumeId = id, CapacityRange = new() { RequiredBytes = CsiHost.VolumeBytes * 2 }, VolumeCapability = publish.VolumeCapability };
        var expanded = await TwiceAsync(() => controller.ControllerExpandVolumeAsync(expand));
        Assert.Equal((CsiHost.VolumeBytes * 2, true), (expanded.CapacityBytes, expanded.NodeExpansionRequired));

        // All of it back, in the kubelet's order, then the attacher's, the snapshotter's, the provisioner's.
        await TwiceAsync(() => node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = id, TargetPath = target }));
        Assert.False(Path.Exists(target));
        await TwiceAsync(() => node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest { VolumeId = id, StagingTargetPath = staging }));
        await TwiceAsync(() => controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = id, NodeId = nodeId }));
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = id }));
        await TwiceAsync(() => groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = group.GroupSnapshotId, SnapshotIds = { members } }));
        await TwiceAsync(() => controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = snapshot.SnapshotId }));
        await TwiceAsync(() => controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = id }));
        await host.NothingIsLeftAsync();
    }

    private static async Task<T> TwiceAsync<T>(Func<AsyncUnaryCall<T>> call)
    {
        var first = await call();
        Assert.Equal(first, await call());
        return first;
    }

    private static async Task AtOnceAsync<T>(Func<AsyncUnaryCall<T>> call)
    {
        var codes = await Task.WhenAll(Enumerable.Range(0, Callers).Select(async _ =>
        {
            try
            {
                await call();
                return StatusCode.OK;
            }
            catch (RpcException e)
            {
                return e.StatusCode;
            }
        }));
        Assert.All(codes, code => Assert.True(code is StatusCode.OK or StatusCode.Aborted, $"{code}"));
    }

    /// <summary>Who gave up a call may come again before the driver has noticed: ABORTED says that, and to come again.</summary>
    private static async Task AgainAsync<T>(Func<AsyncUnaryCall<T>> call)
    {
        for (var tries = 0; ; tries++)
        {
            try
            {
                await call();
                return;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Aborted && tries < 100)
            {
                await Task.Delay(50);
            }
        }
    }
}
