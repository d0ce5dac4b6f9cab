using System.Security.Cryptography;
using Cluster.Csi.Csi.V1;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Grpc.Core;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;
using Rpc = Cluster.Csi.Csi.V1.NodeServiceCapability.Types.RPC.Types.Type;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>The node service on this host's real devices and mounts: one node, and the calls that a kubelet makes.</summary>
public class CsiNodeSpecs
{
    private const string Missing = "no-such-volume";

    [Fact(DisplayName = "The node names itself, that it is there, how many volumes it takes, and only what it can do")]
    public async Task Who_it_is()
    {
        await using var host = await CsiHost.StartAsync();
        var info = await host.Node.NodeGetInfoAsync(new NodeGetInfoRequest());
        Assert.Equal("node-0", info.NodeId);
        Assert.Equal(256, info.MaxVolumesPerNode);
        Assert.Equal(("topology.myrmidon.dev/node", "true"), Assert.Single(info.AccessibleTopology.Segments.Select(segment => (segment.Key, segment.Value))));
        var capabilities = await host.Node.NodeGetCapabilitiesAsync(new NodeGetCapabilitiesRequest());
        Assert.Equal([Rpc.StageUnstageVolume, Rpc.GetVolumeStats, Rpc.ExpandVolume, Rpc.VolumeCondition, Rpc.SingleNodeMultiWriter],
            capabilities.Capabilities.Select(capability => capability.Rpc.Type));
    }

    [Theory(DisplayName = "A file system is staged, published, filled, measured, grown in use, and taken away, every call made twice; what was written is there when it comes back")]
    [InlineData("ext4")]
    [InlineData("xfs")]
    public async Task File_systems(string fsType)
    {
        await using var host = await CsiHost.StartAsync();
        var volume = await host.PublishedAsync("pg", CsiNode.Mount(fsType: fsType));
        for (var again = 0; again < 2; again++) await volume.StageAsync();
        for (var again = 0; again < 2; again++) await volume.NodePublishAsync();
        var file = Path.Combine(volume.Target, "data");
        var data = RandomNumberGenerator.GetBytes(20 << 20);
        await File.WriteAllBytesAsync(file, data);
        var before = await volume.StatsAsync();
        Assert.False(before.VolumeCondition.Abnormal, before.VolumeCondition.Message);
        var bytes = Assert.Single(before.Usage, usage => usage.Unit == VolumeUsage.Types.Unit.Bytes);
        Assert.InRange(bytes.Used, data.Length, bytes.Total);
        Assert.InRange(bytes.Available, 1, bytes.Total - data.Length);
        Assert.InRange(Assert.Single(before.Usage, usage => usage.Unit == VolumeUsage.Types.Unit.Inodes).Used, 1, 100);
        await volume.ExpandAsync(CsiHost.VolumeBytes * 2);
        if (fsType == "ext4" && !CsiHost.MayGrowExt4)
        {
            // What this kernel refuses in use is done when the volume is staged the next time.
            Assert.Contains("CAP_SYS_RESOURCE", await CsiClient.FailsAsync(
                StatusCode.FailedPrecondition, host.Node.NodeExpandVolumeAsync(volume.ExpandRequest(CsiHost.VolumeBytes * 2))), StringComparison.Ordinal);
            await volume.NodeUnpublishAsync();
            await volume.UnstageAsync();
            await volume.StageAsync();
            await volume.NodePublishAsync();
        }
        for (var again = 0; again < 2; again++)
        {
            Assert.Equal(CsiHost.VolumeBytes * 2, (await host.Node.NodeExpandVolumeAsync(volume.ExpandRequest(CsiHost.VolumeBytes * 2))).CapacityBytes);
        }
        var after = Assert.Single((await volume.StatsAsync()).Usage, usage => usage.Unit == VolumeUsage.Types.Unit.Bytes);
        Assert.InRange(after.Total, bytes.Total + (CsiHost.VolumeBytes / 2), CsiHost.VolumeBytes * 2);
        for (var again = 0; again < 2; again++) await volume.NodeUnpublishAsync();
        Assert.False(Path.Exists(volume.Target));
        for (var again = 0; again < 2; again++) await volume.UnstageAsync();
        await host.NothingIsLeftAsync();
        await volume.UnpublishAsync();
        volume = await host.PublishedAsync("pg", CsiNode.Mount());
        await volume.StageAsync();
        await volume.NodePublishAsync();
        Assert.Equal(data, await File.ReadAllBytesAsync(file));
        await volume.EndAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "A raw device is staged and published, written, measured, grown in use, and taken away, every call made twice")]
    public async Task Raw_devices()
    {
        await using var host = await CsiHost.StartAsync();
        var volume = await host.PublishedAsync("raw", CsiNode.Block());
        for (var again = 0; again < 2; again++) await volume.StageAsync();
        for (var again = 0; again < 2; again++) await volume.NodePublishAsync();
        Assert.Equal(CsiHost.VolumeBytes.ToString(System.Globalization.CultureInfo.InvariantCulture), await SizeOfAsync(volume.Target));
        await RootTools.RunAsync("dd", "if=/dev/urandom", $"of={volume.Target}", "bs=1M", "count=8", "conv=fsync");
        var usage = Assert.Single((await volume.StatsAsync()).Usage);
        Assert.Equal((VolumeUsage.Types.Unit.Bytes, CsiHost.VolumeBytes), (usage.Unit, usage.Total));
        await volume.ExpandAsync(CsiHost.VolumeBytes * 2);
        await host.Node.NodeExpandVolumeAsync(volume.ExpandRequest(CsiHost.VolumeBytes * 2));
        Assert.Equal((CsiHost.VolumeBytes * 2).ToString(System.Globalization.CultureInfo.InvariantCulture), await SizeOfAsync(volume.Target));
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeUnstageVolumeAsync(volume.UnstageRequest()));
        for (var again = 0; again < 2; again++) await volume.NodeUnpublishAsync();
        Assert.False(Path.Exists(volume.Target));
        for (var again = 0; again < 2; again++) await volume.UnstageAsync();
        await volume.UnpublishAsync();
        // What somebody wrote is never formatted over.
        volume = await host.PublishedAsync("raw", CsiNode.Mount());
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeStageVolumeAsync(volume.StageRequest()));
        await volume.EndAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "How often a volume may be published on one node is what the specification's table says of its access mode")]
    public async Task Access_modes()
    {
        await using var host = await CsiHost.StartAsync();
        foreach (var (mode, several) in new[] { (Mode.SingleNodeSingleWriter, false), (Mode.SingleNodeWriter, false), (Mode.SingleNodeMultiWriter, true) })
        {
            var volume = await host.PublishedAsync("modes", CsiNode.Mount(mode));
            await volume.StageAsync();
            await volume.NodePublishAsync();
            var second = volume.PublishRequest();
            second.TargetPath = volume.Target + "-2";
            if (several) await host.Node.NodePublishVolumeAsync(second);
            else await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodePublishVolumeAsync(second));
            var other = volume.PublishRequest();
            other.Readonly = true;
            await CsiClient.FailsAsync(StatusCode.AlreadyExists, host.Node.NodePublishVolumeAsync(other));
            await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeUnstageVolumeAsync(volume.UnstageRequest()));
            await host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "modes", TargetPath = second.TargetPath });
            await volume.EndAsync();
        }
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "A raw volume that several may write to is at several paths of one node, and what is written at one is read at the other")]
    public async Task Several_writers()
    {
        await using var host = await CsiHost.StartAsync();
        var volume = await host.PublishedAsync("several", CsiNode.Block(Mode.MultiNodeMultiWriter), ("multi-writer", "on"));
        await volume.StageAsync();
        await volume.NodePublishAsync();
        var second = volume.PublishRequest();
        second.TargetPath = volume.Target + "-2";
        for (var again = 0; again < 2; again++) await host.Node.NodePublishVolumeAsync(second);
        await RootTools.RunAsync("dd", "if=/dev/urandom", $"of={volume.Target}", "bs=64k", "count=1", "oflag=direct");
        await RootTools.RunAsync("cmp", "--bytes=65536", volume.Target, second.TargetPath);
        await host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "several", TargetPath = second.TargetPath });
        await volume.EndAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "Read-only is read-only: by the publication on the node, by that to the node, and by the mode")]
    public async Task Read_only()
    {
        await using var host = await CsiHost.StartAsync();
        var writer = await host.PublishedAsync("ro", CsiNode.Mount());
        await writer.StageAsync();
        var request = writer.PublishRequest();
        request.Readonly = true;
        await host.Node.NodePublishVolumeAsync(request);
        Assert.ThrowsAny<IOException>(() => File.WriteAllText(Path.Combine(writer.Target, "no"), ""));
        await host.Node.NodePublishVolumeAsync(request);
        await writer.NodeUnpublishAsync();
        await writer.NodePublishAsync();
        await File.WriteAllTextAsync(Path.Combine(writer.Target, "kept"), "kept");
        await writer.EndAsync();
        foreach (var capability in new[] { CsiNode.Mount(Mode.SingleNodeReaderOnly), CsiNode.Mount(Mode.MultiNodeReaderOnly) })
        {
            var reader = await host.PublishedAsync("ro", capability);
            await reader.StageAsync();
            await reader.NodePublishAsync();
            Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(reader.Target, "kept")));
            Assert.ThrowsAny<IOException>(() => File.WriteAllText(Path.Combine(reader.Target, "no"), ""));
            await reader.EndAsync();
        }
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "A node that restarts between two calls, and calls that were cut off half way, are gone on from by the next call; nothing leaks")]
    public async Task Restarts()
    {
        await using var host = await CsiHost.StartAsync();
        var volume = await host.PublishedAsync("pg", CsiNode.Mount());
        // The device is there, the mount is not.
        var block = volume.StageRequest();
        block.VolumeCapability = CsiNode.Block();
        await host.Node.NodeStageVolumeAsync(block);
        await host.RestartAsync();
        await host.Node.NodeStageVolumeAsync(volume.StageRequest());
        Directory.CreateDirectory(volume.Target);
        await volume.NodePublishAsync();
        await File.WriteAllTextAsync(Path.Combine(volume.Target, "data"), "before");
        await host.RestartAsync();
        // A running mount has noticed nothing.
        await File.AppendAllTextAsync(Path.Combine(volume.Target, "data"), " and after");
        await host.Node.NodeStageVolumeAsync(volume.StageRequest());
        await host.Node.NodePublishVolumeAsync(volume.PublishRequest());
        Assert.Equal("before and after", await File.ReadAllTextAsync(Path.Combine(volume.Target, "data")));
        // Unmounted, and then killed.
        await RootTools.RunAsync("umount", volume.Target);
        await host.RestartAsync();
        await volume.NodeUnpublishAsync();
        Assert.False(Path.Exists(volume.Target));
        await RootTools.RunAsync("umount", volume.Staging);
        await host.RestartAsync();
        await volume.UnstageAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "A volume that was elsewhere since is staged anew over what is left of its old device; an old publish_context stages nothing")]
    public async Task Moved_on()
    {
        await using var host = await CsiHost.StartAsync();
        var old = await host.PublishedAsync("pg", CsiNode.Mount());
        await old.StageAsync();
        await old.NodePublishAsync();
        await File.WriteAllTextAsync(Path.Combine(old.Target, "data"), "old");
        await RootTools.RunAsync("sync", "-f", old.Target);
        await old.UnpublishAsync();
        var now = await host.PublishedAsync("pg", CsiNode.Mount());
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeStageVolumeAsync(new NodeStageVolumeRequest(old.StageRequest())
        {
            StagingTargetPath = Directory.CreateDirectory(host.PathOf("other")).FullName,
        }));
        await now.StageAsync();
        await now.NodePublishAsync();
        Assert.Equal("old", await File.ReadAllTextAsync(Path.Combine(now.Target, "data")));
        await File.WriteAllTextAsync(Path.Combine(now.Target, "data"), "new");
        await now.EndAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "Every call says what is wrong with its request, with the specification's code")]
    public async Task Refusals()
    {
        await using var host = await CsiHost.StartAsync();
        var volume = await host.PublishedAsync("pg", CsiNode.Mount());
        await Stage(StatusCode.InvalidArgument, wrong => wrong.VolumeId = "");
        await Stage(StatusCode.InvalidArgument, wrong => wrong.StagingTargetPath = "");
        await Stage(StatusCode.InvalidArgument, wrong => wrong.StagingTargetPath = "relative");
        await Stage(StatusCode.InvalidArgument, wrong => wrong.VolumeCapability = null);
        await Stage(StatusCode.InvalidArgument, wrong => wrong.VolumeCapability = CsiNode.Mount(fsType: "ntfs"));
        await Stage(StatusCode.InvalidArgument, wrong => wrong.PublishContext.Clear());
        await Stage(StatusCode.NotFound, wrong => wrong.VolumeId = Missing);
        await Publish(StatusCode.FailedPrecondition, _ => { });
        await volume.StageAsync();
        await Stage(StatusCode.AlreadyExists, wrong => wrong.VolumeCapability = CsiNode.Mount(fsType: "xfs"));
        await Stage(StatusCode.AlreadyExists, wrong => wrong.VolumeCapability = CsiNode.Block());
        await Stage(StatusCode.AlreadyExists, wrong => wrong.VolumeCapability = CsiNode.Mount(Mode.SingleNodeReaderOnly));
        await Publish(StatusCode.InvalidArgument, wrong => wrong.VolumeId = "");
        await Publish(StatusCode.InvalidArgument, wrong => wrong.TargetPath = "");
        await Publish(StatusCode.InvalidArgument, wrong => wrong.VolumeCapability = null);
        await Publish(StatusCode.FailedPrecondition, wrong => wrong.StagingTargetPath = "");
        await Publish(StatusCode.FailedPrecondition, wrong => wrong.StagingTargetPath = host.PathOf("other"));
        await Publish(StatusCode.NotFound, wrong => wrong.VolumeId = Missing);
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest()));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "pg" }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, host.Node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest()));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, host.Node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest { VolumeId = "pg" }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, host.Node.NodeGetVolumeStatsAsync(new NodeGetVolumeStatsRequest { VolumePath = "/x" }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, host.Node.NodeGetVolumeStatsAsync(new NodeGetVolumeStatsRequest { VolumeId = "pg" }));
        await CsiClient.FailsAsync(StatusCode.NotFound, host.Node.NodeGetVolumeStatsAsync(new NodeGetVolumeStatsRequest { VolumeId = Missing, VolumePath = "some/path" }));
        await CsiClient.FailsAsync(StatusCode.NotFound, host.Node.NodeGetVolumeStatsAsync(new NodeGetVolumeStatsRequest { VolumeId = "pg", VolumePath = "some/path" }));
        await Expand(StatusCode.InvalidArgument, wrong => wrong.VolumeId = "");
        await Expand(StatusCode.InvalidArgument, wrong => wrong.VolumePath = "");
        await Expand(StatusCode.InvalidArgument, wrong => wrong.VolumeCapability = CsiNode.Mount(Mode.MultiNodeMultiWriter));
        await Expand(StatusCode.NotFound, wrong => wrong.VolumeId = Missing);
        await Expand(StatusCode.NotFound, wrong => wrong.VolumePath = "some/path");
        await Expand(StatusCode.OutOfRange, wrong => wrong.CapacityRange = new() { RequiredBytes = CsiHost.VolumeBytes * 8 });
        await host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = Missing, TargetPath = host.PathOf("nothing") });
        await host.Node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest { VolumeId = Missing, StagingTargetPath = host.PathOf("nothing") });
        await volume.EndAsync();
        await host.NothingIsLeftAsync();

        async Task Stage(StatusCode code, Action<NodeStageVolumeRequest> change)
        {
            var wrong = volume.StageRequest();
            change(wrong);
            await CsiClient.FailsAsync(code, host.Node.NodeStageVolumeAsync(wrong));
        }

        async Task Publish(StatusCode code, Action<NodePublishVolumeRequest> change)
        {
            var wrong = volume.PublishRequest();
            change(wrong);
            await CsiClient.FailsAsync(code, host.Node.NodePublishVolumeAsync(wrong));
        }

        async Task Expand(StatusCode code, Action<NodeExpandVolumeRequest> change)
        {
            var wrong = volume.ExpandRequest(CsiHost.VolumeBytes);
            wrong.VolumePath = volume.Staging;
            change(wrong);
            await CsiClient.FailsAsync(code, host.Node.NodeExpandVolumeAsync(wrong));
        }
    }

    private static async Task<string> SizeOfAsync(string device) => (await Tool.RunAsync("blockdev", "--getsize64", device)).Ok().Output.Trim();
}
