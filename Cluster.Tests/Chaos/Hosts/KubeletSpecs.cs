using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;
using Cluster.Tests.Chaos.Devices;
using Cluster.Tests.Integration.Csi;
using Cluster.Tests.Integration.EndToEnd;
using Grpc.Core;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>What a kubelet, and Docker, ask after something went wrong on the host, and what they never ask for.</summary>
public class KubeletSpecs
{
    [Fact(DisplayName = "A kubelet that starts anew stages what its pods have, also if the staging path was unmounted by hand; another path is refused as before, and all of it is taken away in the end")]
    public async Task Staging_unmounted_by_hand()
    {
        await using var host = await CsiHost.StartAsync();
        var pod = await host.PublishedAsync("db", CsiNode.Mount());
        await pod.StageAsync();
        await pod.NodePublishAsync();
        await File.WriteAllTextAsync(Path.Combine(pod.Target, "data"), "kept");
        await RootTools.RunAsync("umount", pod.Staging);
        await host.RestartAsync();
        var elsewhere = pod.StageRequest();
        elsewhere.StagingTargetPath = Directory.CreateDirectory(host.PathOf("second")).FullName;
        Assert.Contains($"mounted at {pod.Target} already", await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeStageVolumeAsync(elsewhere)), StringComparison.Ordinal);
        for (var again = 0; again < 2; again++)
        {
            await pod.StageAsync();
            await pod.NodePublishAsync();
        }
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(pod.Staging, "data")));
        await pod.EndAsync();
        await host.NothingIsLeftAsync();
        Assert.Empty(Directory.GetFiles(Path.Combine(host.Data, "attach", "staged")));
    }

    [Fact(DisplayName = "What is staged stays staged when its volume has grown and its file system can't: a pod that runs is not held up by that")]
    public async Task Staged_and_grown()
    {
        await using var host = await CsiHost.StartAsync();
        var pod = await host.PublishedAsync("db", CsiNode.Mount());
        await pod.StageAsync();
        await pod.NodePublishAsync();
        await pod.ExpandAsync(2 * CsiHost.VolumeBytes);
        await pod.StageAsync();
        await pod.NodePublishAsync();
        if (CsiHost.MayGrowExt4) await host.Node.NodeExpandVolumeAsync(pod.ExpandRequest(2 * CsiHost.VolumeBytes));
        else await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeExpandVolumeAsync(pod.ExpandRequest(2 * CsiHost.VolumeBytes)));
        await pod.EndAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "A stage that fails for good, and a container's mount that does, leave no device: nobody takes away what he was not given")]
    public async Task Failed_for_good()
    {
        await using var host = await CsiHost.StartAsync();
        var capability = CsiNode.Mount();
        capability.Mount.MountFlags.Add("no-such-option");
        var pod = await host.PublishedAsync("db", capability);
        Assert.Contains("mount failed", await CsiClient.FailsAsync(StatusCode.Internal, host.Node.NodeStageVolumeAsync(pod.StageRequest())), StringComparison.Ordinal);
        await host.NothingIsLeftAsync();
        Assert.Empty(Directory.GetFiles(Path.Combine(host.Data, "attach", "staged")));
        await pod.UnpublishAsync();
        Assert.Equal("", await DockerAsync("Create", new { Name = "web", Opts = new Dictionary<string, string> { ["size"] = "64MiB", ["mount-options"] = "no-such-option" } }));
        Assert.Contains("mount failed", await DockerAsync("Mount", new { Name = "web", ID = "c1" }), StringComparison.Ordinal);
        await host.NothingIsLeftAsync();
        Assert.Empty(Directory.GetFiles(Path.Combine(host.Data, "docker", "mounts")));
        var (_, web) = await host.Nodes.GetAsync(0, "/v1/volumes/web");
        Assert.NotEqual("exclusive", web.GetProperty("attachment").GetProperty("mode").GetString());

        async Task<string> DockerAsync(string call, object body) => (string)(await DockerCalls.CallAsync(Path.Combine(host.Data, "docker.sock"), $"VolumeDriver.{call}", body))["Err"]!;
    }

    [Fact(DisplayName = "A volume that was taken from a host is told to be cut off there, and is shown to no further pod until it is staged anew")]
    public async Task Cut_off()
    {
        await using var host = await CsiHost.StartAsync();
        var pod = await host.PublishedAsync("db", CsiNode.Mount(Mode.SingleNodeMultiWriter));
        await pod.StageAsync();
        await pod.NodePublishAsync();
        Assert.False((await pod.StatsAsync()).VolumeCondition.Abnormal);
        await pod.UnpublishAsync();
        var condition = (await pod.StatsAsync()).VolumeCondition;
        Assert.True(condition.Abnormal);
        Assert.Contains("is cut off", condition.Message, StringComparison.Ordinal);
        var second = pod.PublishRequest();
        second.TargetPath = host.PathOf("second-pod");
        Assert.Contains("is cut off", await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodePublishVolumeAsync(second)), StringComparison.Ordinal);
        var anew = await host.PublishedAsync("db", CsiNode.Mount(Mode.SingleNodeMultiWriter));
        Assert.Contains("is cut off", await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodePublishVolumeAsync(second)), StringComparison.Ordinal);
        await anew.StageAsync();
        await anew.NodePublishAsync();
        Assert.False((await anew.StatsAsync()).VolumeCondition.Abnormal);
        await anew.EndAsync();
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "What is no volume of ours stays where it is mounted, whatever is to be unpublished from there")]
    public async Task Mounts_of_others()
    {
        await using var host = await CsiHost.StartAsync();
        var foreign = Directory.CreateDirectory(host.PathOf("foreign")).FullName;
        await RootTools.RunAsync("mount", "-t", "tmpfs", "none", foreign);
        await host.Node.NodeUnpublishVolumeAsync(new NodeUnpublishVolumeRequest { VolumeId = "db", TargetPath = foreign });
        var isThere = MountTable.At(MountTable.Read(), foreign) is not null;
        await Tool.RunAsync("umount", foreign);
        Assert.True(isThere);
    }
}
