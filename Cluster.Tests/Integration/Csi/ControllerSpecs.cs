using System.Net;
using Cluster.Csi.Csi.V1;
using Grpc.Core;
using static Cluster.Tests.Integration.Csi.CsiNode;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;
using Rpc = Cluster.Csi.Csi.V1.ControllerServiceCapability.Types.RPC.Types.Type;

namespace Cluster.Tests.Integration.Csi;

/// <summary>The controller's calls about volumes that exist: lists, changes, validation, capacity, publishing on the one node.</summary>
public class ControllerSpecs(CsiNode node) : IClassFixture<CsiNode>
{
    private const string Missing = "no-such-volume";

    [Fact(DisplayName = "Every capability that the controller names is one that these specs go through")]
    public async Task Capabilities()
    {
        var answer = await node.Controller.ControllerGetCapabilitiesAsync(new ControllerGetCapabilitiesRequest());
        Assert.Equal(
            [
                Rpc.CreateDeleteVolume, Rpc.PublishUnpublishVolume, Rpc.ListVolumes, Rpc.GetCapacity, Rpc.CreateDeleteSnapshot, Rpc.ListSnapshots,
                Rpc.PublishReadonly, Rpc.ExpandVolume, Rpc.ListVolumesPublishedNodes, Rpc.VolumeCondition, Rpc.GetVolume, Rpc.SingleNodeMultiWriter,
                Rpc.ModifyVolume, Rpc.GetSnapshot, Rpc.CloneVolume,
            ],
            answer.Capabilities.Select(capability => capability.Rpc.Type));
    }

    [Fact(DisplayName = "Volumes are listed page by page; tokens survive what comes and goes between pages, and any other token is ABORTED")]
    public async Task Pages()
    {
        for (var index = 0; index < 7; index++) await node.CreateAsync($"page-{index}");
        var seen = new List<string>();
        var token = "";
        do
        {
            var page = await node.Controller.ListVolumesAsync(new ListVolumesRequest { MaxEntries = 3, StartingToken = token });
            Assert.InRange(page.Entries.Count, 1, 3);
            seen.AddRange(page.Entries.Select(entry => entry.Volume.VolumeId).Where(id => id.StartsWith("page-", StringComparison.Ordinal)));
            token = page.NextToken;
            // The last volume of the page goes, and one comes that sorts before it.
            if (seen.Count > 0 && seen[^1] != "page-6") await node.DeleteAsync(seen[^1]);
        }
        while (token.Length > 0);
        Assert.Equal(Enumerable.Range(0, 7).Select(index => $"page-{index}"), seen);
        var all = await node.Controller.ListVolumesAsync(new ListVolumesRequest());
        Assert.Equal("", all.NextToken);
        Assert.Equal(Gibibyte, Assert.Single(all.Entries, entry => entry.Volume.VolumeId == "page-6").Volume.CapacityBytes);
        foreach (var wrong in new[] { "invalid-token", "1.", "1.!", "1.cGFnZQ==", "2.cGFnZQ" })
            await CsiClient.FailsAsync(StatusCode.Aborted, node.Controller.ListVolumesAsync(new ListVolumesRequest { StartingToken = wrong }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.ListVolumesAsync(new ListVolumesRequest { MaxEntries = -1 }));
    }

    [Fact(DisplayName = "A node has no more volumes published than it says it may have: one more is RESOURCE_EXHAUSTED, until another one goes")]
    public async Task Full_node()
    {
        const int AtOnce = 8;
        var most = (int)(await node.Client.Node.NodeGetInfoAsync(new NodeGetInfoRequest())).MaxVolumesPerNode;
        var others = (await node.Controller.ListVolumesAsync(new ListVolumesRequest())).Entries.Count(entry => entry.Status.PublishedNodeIds.Contains("node-0"));
        var volumes = new string[most - others + 1];
        await Parallel.ForAsync(0, volumes.Length, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (index, cancellation) =>
        {
            volumes[index] = (await node.CreateAsync()).VolumeId;
            if (index < volumes.Length - 1) await node.Controller.ControllerPublishVolumeAsync(PublishRequest(volumes[index]), cancellationToken: cancellation);
        });
        var refused = await CsiClient.FailsAsync(StatusCode.ResourceExhausted, node.Controller.ControllerPublishVolumeAsync(PublishRequest(volumes[^1])));
        Assert.Contains($"node-0 has {most} volumes", refused, StringComparison.Ordinal);
        // What is published there already is none more.
        await node.Controller.ControllerPublishVolumeAsync(PublishRequest(volumes[0]));
        await UnpublishAsync(volumes[0], "node-0");
        await node.Controller.ControllerPublishVolumeAsync(PublishRequest(volumes[^1]));
        await Parallel.ForEachAsync(volumes, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (volume, _) =>
        {
            await UnpublishAsync(volume, "node-0");
            await node.DeleteAsync(volume);
        });
    }

    [Fact(DisplayName = "A volume tells its condition and where it is published; publishing twice is one publication, and in another way ALREADY_EXISTS")]
    public async Task Published()
    {
        var volume = await node.CreateAsync();
        var before = await node.Controller.ControllerGetVolumeAsync(new ControllerGetVolumeRequest { VolumeId = volume.VolumeId });
        Assert.Empty(before.Status.PublishedNodeIds);
        Assert.False(before.Status.VolumeCondition.Abnormal, before.Status.VolumeCondition.Message);
        Assert.Contains("1 of 1", before.Status.VolumeCondition.Message, StringComparison.Ordinal);
        var request = PublishRequest(volume.VolumeId);
        var published = await node.Controller.ControllerPublishVolumeAsync(request);
        Assert.Equal("false", published.PublishContext["readonly"]);
        Assert.Equal(published, await node.Controller.ControllerPublishVolumeAsync(request));
        Assert.Equal("node-0", Assert.Single((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds));
        foreach (var change in new Action<ControllerPublishVolumeRequest>[]
        {
            other => other.Readonly = true,
            other => other.VolumeCapability = Mount(Mode.SingleNodeReaderOnly),
            other => other.VolumeCapability = Mount(Mode.MultiNodeReaderOnly),
            other => other.VolumeCapability = Mount(fsType: "xfs"),
            other => other.VolumeCapability = Block(),
        })
        {
            var other = request.Clone();
            change(other);
            await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.ControllerPublishVolumeAsync(other));
        }
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, node.Controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = volume.VolumeId }));
        await UnpublishAsync(volume.VolumeId, "node-0");
        await UnpublishAsync(volume.VolumeId, "node-0");
        Assert.Empty((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds);
        await node.DeleteAsync(volume.VolumeId);
        await UnpublishAsync(volume.VolumeId, "node-0");
    }

    [Theory(DisplayName = "Each access mode and access type that is supported is published, said again, and unpublished from every node")]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(6)]
    [InlineData(7)]
    public async Task Modes(int mode)
    {
        var volume = await node.CreateAsync();
        foreach (var capability in new[] { Mount((Mode)mode), Mount((Mode)mode, "xfs"), Block((Mode)mode) })
        {
            var request = PublishRequest(volume.VolumeId);
            request.VolumeCapability = capability;
            var published = await node.Controller.ControllerPublishVolumeAsync(request);
            Assert.Equal((Mode)mode is Mode.SingleNodeReaderOnly or Mode.MultiNodeReaderOnly ? "true" : "false", published.PublishContext["readonly"]);
            Assert.Equal(published, await node.Controller.ControllerPublishVolumeAsync(request));
            Assert.Equal("node-0", Assert.Single((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds));
            await UnpublishAsync(volume.VolumeId, "");
            Assert.Empty((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds);
        }
        var (_, shown) = await node.Nodes.GetAsync(0, $"/v1/volumes/{volume.VolumeId}");
        Assert.DoesNotContain("csi.myrmidon.dev/published", shown.ToString(), StringComparison.Ordinal);
        await node.DeleteAsync(volume.VolumeId);
    }

    [Fact(DisplayName = "What can't be published says why: no such volume or node is NOT_FOUND, a missing field or a mode that is not supported INVALID_ARGUMENT")]
    public async Task Not_published()
    {
        var volume = await node.CreateAsync();
        await Refused(StatusCode.NotFound, request => request.VolumeId = Missing);
        await Refused(StatusCode.NotFound, request => request.VolumeId = "No id!");
        await Refused(StatusCode.NotFound, request => request.NodeId = "some-fake-node-id");
        await Refused(StatusCode.InvalidArgument, request => request.VolumeId = "");
        await Refused(StatusCode.InvalidArgument, request => request.NodeId = "");
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapability = null);
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapability = Mount(Mode.Unknown));
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapability = Block(Mode.MultiNodeMultiWriter));
        await CsiClient.FailsAsync(
            StatusCode.InvalidArgument, node.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { NodeId = "node-0" }));
        await UnpublishAsync(volume.VolumeId, "some-fake-node-id");
        await UnpublishAsync(Missing, "node-0");
        Assert.Empty((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds);

        async Task Refused(StatusCode code, Action<ControllerPublishVolumeRequest> change)
        {
            var request = PublishRequest(volume.VolumeId);
            change(request);
            await CsiClient.FailsAsync(code, node.Controller.ControllerPublishVolumeAsync(request));
        }
    }

    [Fact(DisplayName = "A volume that was attached by hand, or by a driver that was killed before it noted how, is published by the same call made again")]
    public async Task Half_published()
    {
        var volume = await node.CreateAsync();
        Assert.Equal(HttpStatusCode.OK, (await node.Nodes.PostAsync(0, $"/v1/volumes/{volume.VolumeId}/attach", new { node = "node-0" })).Status);
        Assert.Equal("node-0", Assert.Single((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds));
        var (_, attached) = await node.Nodes.GetAsync(0, $"/v1/volumes/{volume.VolumeId}");
        var published = await node.Controller.ControllerPublishVolumeAsync(PublishRequest(volume.VolumeId));
        Assert.Equal(attached.GetProperty("attachment").GetProperty("generation").GetInt32().ToString(System.Globalization.CultureInfo.InvariantCulture),
            published.PublishContext["generation"]);
        // And by one that was killed between detaching and taking its note away.
        Assert.Equal(HttpStatusCode.OK, (await node.Nodes.PostAsync(0, $"/v1/volumes/{volume.VolumeId}/detach", new { })).Status);
        Assert.Empty((await EntryAsync(volume.VolumeId)).Status.PublishedNodeIds);
        await UnpublishAsync(volume.VolumeId, "node-0");
        await node.DeleteAsync(volume.VolumeId);
    }

    [Fact(DisplayName = "A volume grows to what is required, in whole blocks; it never shrinks, and expanding it again changes nothing")]
    public async Task Expanded()
    {
        var volume = await node.CreateAsync();
        var request = new ControllerExpandVolumeRequest { VolumeId = volume.VolumeId, CapacityRange = new() { RequiredBytes = (2 * Gibibyte) - 100 } };
        for (var again = 0; again < 2; again++)
        {
            var expanded = await node.Controller.ControllerExpandVolumeAsync(request);
            Assert.Equal(2 * Gibibyte, expanded.CapacityBytes);
            Assert.True(expanded.NodeExpansionRequired);
        }
        request.CapacityRange = new() { RequiredBytes = Gibibyte };
        Assert.Equal(2 * Gibibyte, (await node.Controller.ControllerExpandVolumeAsync(request)).CapacityBytes);
        Assert.Equal(2 * Gibibyte, (await EntryAsync(volume.VolumeId)).Volume.CapacityBytes);
        await Refused(StatusCode.OutOfRange, wrong => wrong.CapacityRange.LimitBytes = Gibibyte);
        await Refused(StatusCode.OutOfRange, wrong => wrong.CapacityRange = new() { RequiredBytes = long.MaxValue });
        await Refused(StatusCode.InvalidArgument, wrong => wrong.CapacityRange = null);
        await Refused(StatusCode.InvalidArgument, wrong => wrong.CapacityRange.RequiredBytes = -1);
        await Refused(StatusCode.InvalidArgument, wrong => wrong.VolumeId = "");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.VolumeCapability = Block(Mode.MultiNodeSingleWriter));
        await Refused(StatusCode.NotFound, wrong => wrong.VolumeId = Missing);

        async Task Refused(StatusCode code, Action<ControllerExpandVolumeRequest> change)
        {
            var wrong = request.Clone();
            change(wrong);
            await CsiClient.FailsAsync(code, node.Controller.ControllerExpandVolumeAsync(wrong));
        }
    }

    [Fact(DisplayName = "Mutable parameters change a volume's labels live, all of a call or none; what is not named stays")]
    public async Task Modified()
    {
        var volume = await node.CreateAsync();
        var request = new ControllerModifyVolumeRequest { VolumeId = volume.VolumeId };
        request.MutableParameters["compression"] = "off";
        request.MutableParameters["myrmidon.dev/hold-time"] = "30s";
        request.MutableParameters["iops-max"] = "500";
        for (var again = 0; again < 2; again++) await node.Controller.ControllerModifyVolumeAsync(request);
        var shown = (await node.Nodes.GetAsync(0, $"/v1/volumes/{volume.VolumeId}")).Body;
        var labels = shown.GetProperty("labels");
        Assert.Equal(0, shown.GetProperty("throttling").GetProperty("ios").GetInt32());
        Assert.Equal("500", labels.GetProperty("myrmidon.dev/iops-max").GetString());
        Assert.Equal("off", labels.GetProperty("myrmidon.dev/compression").GetString());
        Assert.Equal("30s", labels.GetProperty("myrmidon.dev/hold-time").GetString());
        await Refused(StatusCode.InvalidArgument, wrong => wrong.MutableParameters["NoSuchKey"] = "NoSuchValue");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.MutableParameters["hold-time"] = "for ever");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.MutableParameters["bandwidth-max"] = "1KiB");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.MutableParameters["replicas"] = "3");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.VolumeId = "");
        await Refused(StatusCode.NotFound, wrong => wrong.VolumeId = Missing);
        var after = (await node.Nodes.GetAsync(0, $"/v1/volumes/{volume.VolumeId}")).Body.GetProperty("labels");
        Assert.Equal(labels.ToString(), after.ToString());
        await node.Controller.ControllerModifyVolumeAsync(new ControllerModifyVolumeRequest { VolumeId = volume.VolumeId });

        async Task Refused(StatusCode code, Action<ControllerModifyVolumeRequest> change)
        {
            var wrong = new ControllerModifyVolumeRequest { VolumeId = volume.VolumeId, MutableParameters = { ["compression"] = "on" } };
            change(wrong);
            await CsiClient.FailsAsync(code, node.Controller.ControllerModifyVolumeAsync(wrong));
        }
    }

    [Fact(DisplayName = "Validation confirms what a volume can do, and says in words what it can't")]
    public async Task Validated()
    {
        var created = CreateRequest(node.NewName());
        created.Parameters["compression"] = "off";
        var volume = (await node.Controller.CreateVolumeAsync(created)).Volume;
        var request = new ValidateVolumeCapabilitiesRequest
        {
            VolumeId = volume.VolumeId,
            VolumeCapabilities = { Mount(), Block(Mode.SingleNodeSingleWriter) },
            Parameters = { ["compression"] = "off" },
        };
        var confirmed = await node.Controller.ValidateVolumeCapabilitiesAsync(request);
        Assert.Equal(request.VolumeCapabilities, confirmed.Confirmed.VolumeCapabilities);
        Assert.Equal(request.Parameters, confirmed.Confirmed.Parameters);
        Assert.Equal("", confirmed.Message);
        await Unconfirmed(other => other.VolumeCapabilities.Add(Block(Mode.MultiNodeMultiWriter)), "MultiNodeMultiWriter");
        await Unconfirmed(other => other.VolumeCapabilities.Add(Mount(fsType: "ntfs")), "ntfs");
        await Unconfirmed(other => other.Parameters["compression"] = "on", "compression");
        await Unconfirmed(other => other.MutableParameters["NoSuchKey"] = "x", "NoSuchKey");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.VolumeId = "");
        await Refused(StatusCode.InvalidArgument, wrong => wrong.VolumeCapabilities.Clear());
        await Refused(StatusCode.NotFound, wrong => wrong.VolumeId = Missing);

        async Task Unconfirmed(Action<ValidateVolumeCapabilitiesRequest> change, string said)
        {
            var other = request.Clone();
            change(other);
            var answer = await node.Controller.ValidateVolumeCapabilitiesAsync(other);
            Assert.Null(answer.Confirmed);
            Assert.Contains(said, answer.Message, StringComparison.Ordinal);
        }

        async Task Refused(StatusCode code, Action<ValidateVolumeCapabilitiesRequest> change)
        {
            var wrong = request.Clone();
            change(wrong);
            await CsiClient.FailsAsync(code, node.Controller.ValidateVolumeCapabilitiesAsync(wrong));
        }
    }

    [Fact(DisplayName = "The capacity is what can be written with so many copies; a topology without a node has none")]
    public async Task Capacity()
    {
        var open = await node.Controller.GetCapacityAsync(new GetCapacityRequest());
        Assert.True(open.AvailableCapacity > 0);
        Assert.Equal(1L << 53, open.MaximumVolumeSize);
        Assert.Equal(4096, open.MinimumVolumeSize);
        var info = await node.Client.Node.NodeGetInfoAsync(new NodeGetInfoRequest());
        Assert.True((await node.Controller.GetCapacityAsync(new GetCapacityRequest { AccessibleTopology = info.AccessibleTopology })).AvailableCapacity > 0);
        Assert.Equal(0, (await node.Controller.GetCapacityAsync(new GetCapacityRequest { Parameters = { ["replicas"] = "3" } })).AvailableCapacity);
        var nowhere = new Topology { Segments = { ["topology.myrmidon.dev/zone"] = "nowhere" } };
        Assert.Equal(0, (await node.Controller.GetCapacityAsync(new GetCapacityRequest { AccessibleTopology = nowhere })).AvailableCapacity);
        await CsiClient.FailsAsync(
            StatusCode.InvalidArgument, node.Controller.GetCapacityAsync(new GetCapacityRequest { Parameters = { ["replicsa"] = "3" } }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.GetCapacityAsync(
            new GetCapacityRequest { VolumeCapabilities = { Mount(Mode.MultiNodeMultiWriter) } }));
    }

    [Fact(DisplayName = "Calls for one volume at one time: each is done or ABORTED, and those that were told so succeed when made again")]
    public async Task Concurrent_calls()
    {
        var volume = await node.CreateAsync();
        var aborted = 0;
        for (var round = 0; round < 20; round++)
        {
            var calls = Enumerable.Range(0, 4).Select(async _ =>
            {
                while (true)
                {
                    try
                    {
                        return await node.Controller.ControllerPublishVolumeAsync(PublishRequest(volume.VolumeId));
                    }
                    catch (RpcException e) when (e.StatusCode == StatusCode.Aborted)
                    {
                        Interlocked.Increment(ref aborted);
                    }
                }
            });
            var answers = await Task.WhenAll(calls);
            Assert.Single(answers.Distinct());
            await UnpublishAsync(volume.VolumeId, "node-0");
        }
        Assert.True(aborted > 0, "no two calls met");
    }

    private static ControllerPublishVolumeRequest PublishRequest(string volumeId) => new()
    {
        VolumeId = volumeId,
        NodeId = "node-0",
        VolumeCapability = Mount(),
        VolumeContext = { ["storage.kubernetes.io/csiProvisionerIdentity"] = "one" },
    };

    private async Task UnpublishAsync(string volumeId, string nodeId) =>
        await node.Controller.ControllerUnpublishVolumeAsync(new ControllerUnpublishVolumeRequest { VolumeId = volumeId, NodeId = nodeId });

    private async Task<ListVolumesResponse.Types.Entry> EntryAsync(string volumeId)
    {
        var got = await node.Controller.ControllerGetVolumeAsync(new ControllerGetVolumeRequest { VolumeId = volumeId });
        var entry = Assert.Single((await node.Controller.ListVolumesAsync(new ListVolumesRequest())).Entries, entry => entry.Volume.VolumeId == volumeId);
        Assert.Equal(got.Volume, entry.Volume);
        Assert.Equal(got.Status.PublishedNodeIds, entry.Status.PublishedNodeIds);
        await CsiClient.FailsAsync(StatusCode.NotFound, node.Controller.ControllerGetVolumeAsync(new ControllerGetVolumeRequest { VolumeId = Missing }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.ControllerGetVolumeAsync(new ControllerGetVolumeRequest()));
        return entry;
    }
}
