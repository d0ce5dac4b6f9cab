using Cluster.Csi.Csi.V1;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Hosting;
using Grpc.Core;
using static Cluster.Tests.Integration.Csi.CsiNode;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Integration.Csi;

/// <summary>Volumes that move between the nodes of a cluster of three (R11).</summary>
public class MobilitySpecs
{
    [Fact(DisplayName = "A volume published on a node that does not use it is taken from it at once; one that is in use there is FAILED_PRECONDITION, and names the node")]
    public async Task Taken_or_refused()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        using var client = new CsiClient(SocketOf(nodes, 0));
        var volume = (await client.Controller.CreateVolumeAsync(CreateRequest("pg"))).Volume.VolumeId;
        var first = await PublishAsync(client, volume, "node-0");
        // Nothing is staged there: it may go anywhere.
        var second = await PublishAsync(client, volume, "node-1");
        Assert.True(ulong.Parse(second.PublishContext["generation"]) > ulong.Parse(first.PublishContext["generation"]));
        Assert.Equal("node-1", Assert.Single(await PublishedAsync(client, volume)));
        using (var user = await OpenAsync(nodes, 1, volume))
        {
            await user.WriteAsync(0, new byte[4096], CancellationToken.None);
            var reason = await CsiClient.FailsAsync(StatusCode.FailedPrecondition, client.Controller.ControllerPublishVolumeAsync(Request(volume, "node-2")));
            Assert.Contains("node-1", reason, StringComparison.Ordinal);
            await user.WriteAsync(0, new byte[4096], CancellationToken.None);
            // Unpublishing fences without asking: it is the orchestrator's word that nobody uses it there.
            await client.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volume, NodeId = "node-1" });
            await PublishAsync(client, volume, "node-2");
            await Assert.ThrowsAnyAsync<IOException>(() => user.WriteAsync(0, new byte[4096], CancellationToken.None));
        }
        // An unpublication that comes late, for the node that had it before, changes nothing.
        await client.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volume, NodeId = "node-1" });
        Assert.Equal("node-2", Assert.Single(await PublishedAsync(client, volume)));
    }

    [Fact(DisplayName = "A volume that is in use on a node which is gone is published elsewhere while that node is away")]
    public async Task Dead_nodes()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        using var client = new CsiClient(SocketOf(nodes, 0));
        var volume = (await client.Controller.CreateVolumeAsync(CreateRequest("pg"))).Volume.VolumeId;
        await PublishAsync(client, volume, "node-2");
        using (var user = await OpenAsync(nodes, 2, volume))
        {
            await user.WriteAsync(0, new byte[4096], CancellationToken.None);
            await nodes.StopAsync(2);
        }
        await PublishAsync(client, volume, "node-1");
        using var next = await OpenAsync(nodes, 1, volume);
        await next.WriteAsync(0, new byte[4096], CancellationToken.None);
    }

    [Fact(DisplayName = "Several nodes read one volume at one time; a writer gets it when none of them uses it any more")]
    public async Task Readers()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        using var client = new CsiClient(SocketOf(nodes, 0));
        var volume = (await client.Controller.CreateVolumeAsync(CreateRequest("pg"))).Volume.VolumeId;
        await PublishAsync(client, volume, "node-0");
        foreach (var node in new[] { "node-1", "node-2" })
        {
            var request = Request(volume, node, Mode.MultiNodeReaderOnly);
            var published = await client.Controller.ControllerPublishVolumeAsync(request);
            Assert.Equal("true", published.PublishContext["readonly"]);
            Assert.Equal(published, await client.Controller.ControllerPublishVolumeAsync(request));
        }
        Assert.Equal(["node-1", "node-2"], (await PublishedAsync(client, volume)).Order(StringComparer.Ordinal));
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, client.Controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = volume }));
        using (await OpenAsync(nodes, 1, volume))
            await CsiClient.FailsAsync(StatusCode.FailedPrecondition, client.Controller.ControllerPublishVolumeAsync(Request(volume, "node-0")));
        await client.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volume, NodeId = "node-1" });
        Assert.Equal("node-2", Assert.Single(await PublishedAsync(client, volume)));
        await client.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volume, NodeId = "node-2" });
        await PublishAsync(client, volume, "node-0");
        Assert.Equal("node-0", Assert.Single(await PublishedAsync(client, volume)));
    }

    [Fact(DisplayName = "Several nodes write one raw volume at one time if its label says that they may; without it, or with a file system, none does; one node that wants it alone fences them")]
    public async Task Writers()
    {
        await using var nodes = new TestNodes(3);
        await nodes.StartAllAsync();
        using var client = new CsiClient(SocketOf(nodes, 0));
        var shared = Block(Mode.MultiNodeMultiWriter);
        var create = CreateRequest("vm");
        create.VolumeCapabilities[0] = shared;
        var refused = await CsiClient.FailsAsync(StatusCode.InvalidArgument, client.Controller.CreateVolumeAsync(create));
        Assert.Contains("myrmidon.dev/multi-writer=on", refused, StringComparison.Ordinal);
        create.Parameters["multi-writer"] = "on";
        var volume = (await client.Controller.CreateVolumeAsync(create)).Volume.VolumeId;
        var plain = (await client.Controller.CreateVolumeAsync(CreateRequest("pg"))).Volume.VolumeId;
        Assert.Contains("multi-writer=on", await CsiClient.FailsAsync(StatusCode.InvalidArgument, client.Controller.ControllerPublishVolumeAsync(Request(plain, "node-1", shared))), StringComparison.Ordinal);
        Assert.Contains("raw block", await CsiClient.FailsAsync(StatusCode.InvalidArgument,
            client.Controller.ControllerPublishVolumeAsync(Request(volume, "node-1", Mount(Mode.MultiNodeMultiWriter)))), StringComparison.Ordinal);
        var validate = new ValidateVolumeCapabilitiesRequest { VolumeId = volume, VolumeCapabilities = { shared } };
        Assert.NotNull((await client.Controller.ValidateVolumeCapabilitiesAsync(validate)).Confirmed);
        foreach (var node in new[] { "node-1", "node-2" })
        {
            var published = await client.Controller.ControllerPublishVolumeAsync(Request(volume, node, shared));
            Assert.Equal("false", published.PublishContext["readonly"]);
            Assert.Equal(published, await client.Controller.ControllerPublishVolumeAsync(Request(volume, node, shared)));
        }
        Assert.Equal(["node-1", "node-2"], (await PublishedAsync(client, volume)).Order(StringComparer.Ordinal));
        using (var one = await OpenAsync(nodes, 1, volume))
        {
            using var two = await OpenAsync(nodes, 2, volume);
            var read = new byte[4096];
            foreach (var (writer, reader, value) in new[] { (one, two, 1), (two, one, 2), (one, two, 3) })
            {
                byte[] data = [.. Enumerable.Repeat((byte)value, 4096)];
                await writer.WriteAsync(0, data, CancellationToken.None);
                await reader.ReadAsync(0, read, CancellationToken.None);
                Assert.Equal(data, read);
            }
            await CsiClient.FailsAsync(StatusCode.FailedPrecondition, client.Controller.ControllerPublishVolumeAsync(Request(volume, "node-0", Block())));
            await client.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volume, NodeId = "" });
            await client.Controller.ControllerPublishVolumeAsync(Request(volume, "node-0", Block()));
            await Assert.ThrowsAnyAsync<IOException>(() => one.WriteAsync(0, read, CancellationToken.None));
            await Assert.ThrowsAnyAsync<IOException>(() => two.WriteAsync(0, read, CancellationToken.None));
        }
        Assert.Equal("node-0", Assert.Single(await PublishedAsync(client, volume)));
    }

    private static ControllerPublishVolumeRequest Request(string volume, string node, VolumeCapability capability) =>
        new() { VolumeId = volume, NodeId = node, VolumeCapability = capability };

    private static ControllerPublishVolumeRequest Request(string volume, string node, Mode mode = Mode.SingleNodeWriter) =>
        new() { VolumeId = volume, NodeId = node, VolumeCapability = Mount(mode) };

    private static async Task<ControllerPublishVolumeResponse> PublishAsync(CsiClient client, string volume, string node) =>
        await client.Controller.ControllerPublishVolumeAsync(Request(volume, node));

    private static async Task<IEnumerable<string>> PublishedAsync(CsiClient client, string volume) =>
        (await client.Controller.ControllerGetVolumeAsync(new ControllerGetVolumeRequest { VolumeId = volume })).Status.PublishedNodeIds;

    private static async Task<NbdClient> OpenAsync(TestNodes nodes, int index, string volume)
    {
        var (_, node) = await nodes.GetAsync(0, $"/v1/nodes/node-{index}");
        return await NbdClient.ConnectAsync(new Uri($"{node.GetProperty("nbd").GetString()}/{volume}"), CancellationToken.None);
    }
}
