using System.Net;
using System.Text.Json.Nodes;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;
using Cluster.Tests.Chaos.Devices;
using Cluster.Tests.Integration.Csi;
using Grpc.Core;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>An operator, Docker and CSI with one volume on one host: each takes away only what it made, and the attachment goes with the last.</summary>
public class DeviceUsersSpecs
{
    private const string Volume = "db";

    [Fact(DisplayName = "Docker's remove leaves what an operator has mounted, or attached without a device, and its data; nothing of Docker's was ever there")]
    public async Task Removed_under_an_operator()
    {
        await using var host = await CsiHost.StartAsync();
        var users = await Users.StartAsync(host);
        await users.AttachAsync();
        await users.WriteAsync(users.Mine);
        Assert.Contains("attached to node-0", await users.DockerAsync("Remove"), StringComparison.Ordinal);
        await users.WriteAsync(users.Mine);
        Assert.Equal((HttpStatusCode.OK, null), await users.DetachAsync());
        await host.NothingIsLeftAsync();
        await users.AttachOnlyAsync();
        Assert.Contains("attached to node-0", await users.DockerAsync("Remove"), StringComparison.Ordinal);
        await users.DockerOkAsync("Mount", "c1");
        await users.DockerOkAsync("Unmount", "c1");
        Assert.Equal("node-0", await users.AttachedAsync());
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "Docker's remove takes a volume that nobody has away, on a node where Docker never mounted any")]
    public async Task Removed()
    {
        await using var host = await CsiHost.StartAsync();
        var users = await Users.StartAsync(host);
        await users.DockerOkAsync("Remove");
        await users.DockerOkAsync("Remove");
        await Assert.ThrowsAsync<RpcException>(async () => await host.Controller.ControllerGetVolumeAsync(new ControllerGetVolumeRequest { VolumeId = Volume }));
    }

    [Theory(DisplayName = "Docker's last unmount takes away Docker's mount; an operator's mount, or device, stays, also when the node was started anew in between. A detach ends it")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Docker_leaves_an_operator(bool mounts)
    {
        await using var host = await CsiHost.StartAsync();
        var users = await Users.StartAsync(host);
        await users.AttachAsync(mounts);
        await users.DockerOkAsync("Mount", "c1");
        await host.RestartAsync();
        await users.DockerOkAsync("Unmount", "c1");
        Assert.Equal(mounts ? [users.Mine] : [], await users.MountsAsync());
        Assert.Equal("node-0", await users.AttachedAsync());
        if (mounts) await users.WriteAsync(users.Mine);
        Assert.Equal((HttpStatusCode.OK, null), await users.DetachAsync());
        await host.NothingIsLeftAsync();
        Assert.Null(await users.AttachedAsync());
    }

    [Fact(DisplayName = "A detach is refused while Docker has the volume here, and says where; then Docker's mount and the operator's are both there still. Forced it takes all of it away")]
    public async Task Detached_under_Docker()
    {
        await using var host = await CsiHost.StartAsync();
        var users = await Users.StartAsync(host);
        await users.DockerOkAsync("Mount", "c1");
        await users.AttachAsync();
        var (status, reason) = await users.DetachAsync();
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains($"Docker has it mounted at {users.Dockers}", reason, StringComparison.Ordinal);
        Assert.Contains("--force", reason, StringComparison.Ordinal);
        await users.WriteAsync(users.Mine, users.Dockers);
        await users.DockerOkAsync("Unmount", "c1");
        await users.WriteAsync(users.Mine);
        await users.DockerOkAsync("Mount", "c2");
        Assert.Equal((HttpStatusCode.OK, null), await users.DetachAsync(force: true));
        Assert.Null(await users.AttachedAsync());
        await users.DockerOkAsync("Unmount", "c2");
        await host.NothingIsLeftAsync();
    }

    [Fact(DisplayName = "What a pod has, neither Docker nor a detach takes away, and Docker does not mount it where one place was promised; unstaged and unpublished, what an operator has stays and works until his detach")]
    public async Task Published()
    {
        await using var host = await CsiHost.StartAsync();
        var users = await Users.StartAsync(host);
        var pod = await host.PublishedAsync(Volume, CsiNode.Mount());
        Assert.Contains("published by CSI on node-0", await users.DockerAsync("Remove"), StringComparison.Ordinal);
        await pod.StageAsync();
        await pod.NodePublishAsync();
        Assert.Contains("published by CSI on node-0", await users.DockerAsync("Remove"), StringComparison.Ordinal);
        Assert.Contains("SingleNodeWriter allows one place", await users.DockerAsync("Mount", "c1"), StringComparison.Ordinal);
        await users.AttachAsync();
        var (status, reason) = await users.DetachAsync();
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains($"CSI has it mounted at {pod.Target}", reason, StringComparison.Ordinal);
        await users.WriteAsync(users.Mine, pod.Target);
        await host.RestartAsync();
        await pod.NodeUnpublishAsync();
        for (var again = 0; again < 2; again++) await pod.UnstageAsync();
        Assert.Equal([users.Mine], await users.MountsAsync());
        for (var again = 0; again < 2; again++) await pod.UnpublishAsync();
        Assert.Equal("node-0", await users.AttachedAsync());
        await users.WriteAsync(users.Mine);
        // Sharers would need another attachment than his.
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Controller.ControllerPublishVolumeAsync(new ControllerPublishVolumeRequest
        {
            VolumeId = Volume,
            NodeId = "node-0",
            VolumeCapability = CsiNode.Mount(Mode.MultiNodeReaderOnly),
        }));
        Assert.Equal((HttpStatusCode.OK, null), await users.DetachAsync());
        await host.NothingIsLeftAsync();
        Assert.Null(await users.AttachedAsync());
    }

    [Theory(DisplayName = "A pod and a container share a volume whose access mode allows that; whoever goes first leaves the other all it has, and with the last the attachment goes")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Shared_with_Docker(bool podFirst)
    {
        await using var host = await CsiHost.StartAsync();
        var users = await Users.StartAsync(host);
        var pod = await host.PublishedAsync(Volume, CsiNode.Mount(Mode.SingleNodeMultiWriter));
        await pod.StageAsync();
        await pod.NodePublishAsync();
        await users.DockerOkAsync("Mount", "c1");
        if (podFirst)
        {
            await pod.EndAsync();
            await users.WriteAsync(users.Dockers);
            await users.DockerOkAsync("Unmount", "c1");
        }
        else
        {
            await users.DockerOkAsync("Unmount", "c1");
            await users.WriteAsync(pod.Target);
            await pod.EndAsync();
        }
        await host.NothingIsLeftAsync();
        Assert.Null(await users.AttachedAsync());
    }

    [Fact(DisplayName = "A volume is staged at one path of a node: a second one is refused with the first, which is then unstaged")]
    public async Task Staged_twice()
    {
        await using var host = await CsiHost.StartAsync();
        var pod = await host.PublishedAsync(Volume, CsiNode.Mount(Mode.SingleNodeMultiWriter));
        await pod.StageAsync();
        var second = pod.StageRequest();
        second.StagingTargetPath = Directory.CreateDirectory(host.PathOf("second")).FullName;
        Assert.Contains($"mounted at {pod.Staging} already", await CsiClient.FailsAsync(StatusCode.FailedPrecondition, host.Node.NodeStageVolumeAsync(second)), StringComparison.Ordinal);
        await pod.StageAsync();
        Assert.Contains($"still mounted at {pod.Staging}", await CsiClient.FailsAsync(StatusCode.FailedPrecondition,
            host.Node.NodeUnstageVolumeAsync(new NodeUnstageVolumeRequest { VolumeId = Volume, StagingTargetPath = second.StagingTargetPath })), StringComparison.Ordinal);
        await pod.EndAsync();
        await host.NothingIsLeftAsync();
    }

    /// <summary>The operator's and Docker's calls for the one volume.</summary>
    private sealed class Users(CsiHost host)
    {
        public string Mine => host.PathOf("mine");

        public string Dockers => Path.Combine(host.Data, "docker", "mnt", Volume);

        public static async Task<Users> StartAsync(CsiHost host)
        {
            await host.Controller.CreateVolumeAsync(
                new CreateVolumeRequest { Name = Volume, CapacityRange = new() { RequiredBytes = CsiHost.VolumeBytes }, VolumeCapabilities = { CsiNode.Mount() } });
            return new Users(host);
        }

        public async Task AttachAsync(bool mounts = true)
        {
            var (status, body) = await host.Nodes.PostAsync(0, $"/v1/volumes/{Volume}/device", mounts ? new { mount = Mine } : new { });
            Assert.True(status == HttpStatusCode.OK, body.ToString());
        }

        /// <summary>Without a device, as for an NBD client.</summary>
        public async Task AttachOnlyAsync()
        {
            var (status, body) = await host.Nodes.PostAsync(0, $"/v1/volumes/{Volume}/attach", new { node = "node-0" });
            Assert.True(status == HttpStatusCode.OK, body.ToString());
        }

        /// <summary>The reason where it is refused.</summary>
        public async Task<(HttpStatusCode Status, string? Reason)> DetachAsync(bool force = false)
        {
            var (status, body) = await host.Nodes.DeleteAsync(0, $"/v1/volumes/{Volume}/device{(force ? "?force=true" : "")}");
            return (status, status == HttpStatusCode.OK ? null : body.GetProperty("detail").GetString());
        }

        public async Task<string?> AttachedAsync()
        {
            var (status, body) = await host.Nodes.GetAsync(0, $"/v1/volumes/{Volume}");
            Assert.True(status == HttpStatusCode.OK, body.ToString());
            return (string?)JsonNode.Parse(body.GetRawText())!["attachment"]!["node"];
        }

        public async Task<string[]> MountsAsync()
        {
            var device = (await host.Nodes.GetAsync(0, "/v1/devices")).Body.GetProperty("devices").EnumerateArray().Single(each => each.GetProperty("volume").GetString() == Volume);
            return [.. device.GetProperty("mounts").EnumerateArray().Select(mount => mount.GetProperty("path").GetString()!)];
        }

        /// <summary>What is written there is on the volume: it was not cut off.</summary>
        public async Task WriteAsync(params string[] paths)
        {
            foreach (var path in paths)
            {
                Assert.True(MountTable.At(MountTable.Read(), path) is not null, $"nothing is mounted at {path}");
                await RootTools.RunAsync("dd", "if=/dev/urandom", $"of={Path.Combine(path, "written")}", "bs=4k", "count=4", "oflag=direct,sync");
            }
        }

        /// <summary>Its error; "" is none.</summary>
        public async Task<string> DockerAsync(string call, string? id = null) =>
            (string)(await DockerCalls.CallAsync(Path.Combine(host.Data, "docker.sock"), $"VolumeDriver.{call}", new { Name = Volume, ID = id }))["Err"]!;

        public async Task DockerOkAsync(string call, string? id = null) => Assert.Equal("", await DockerAsync(call, id));
    }
}
