using System.Net;
using Cluster.Csi.Csi.V1;
using Grpc.Core;
using static Cluster.Tests.Integration.Csi.CsiNode;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Integration.Csi;

/// <summary>CreateVolume and DeleteVolume, with every condition that the specification names.</summary>
public class VolumeLifeSpecs(CsiNode node) : IClassFixture<CsiNode>
{
    [Fact(DisplayName = "A volume is created, the same request finds it, it is deleted, and deleting it again is no error")]
    public async Task Created_and_deleted()
    {
        var request = CreateRequest(node.NewName());
        request.Parameters["replicas"] = "1";
        request.Parameters["myrmidon.dev/failure-mode"] = "hard";
        request.Parameters["csi.storage.k8s.io/pvc/name"] = "data-0";
        request.MutableParameters["compression"] = "off";
        var volume = (await node.Controller.CreateVolumeAsync(request)).Volume;
        Assert.Equal(request.Name, volume.VolumeId);
        Assert.Equal(Gibibyte, volume.CapacityBytes);
        // Every host that has a node, and no other.
        Assert.Equal("true", Assert.Single(Assert.Single(volume.AccessibleTopology).Segments, segment => segment.Key == "topology.myrmidon.dev/node").Value);
        Assert.Equal(volume, (await node.Controller.CreateVolumeAsync(request)).Volume);
        var (_, shown) = await node.Nodes.GetAsync(0, $"/v1/volumes/{volume.VolumeId}");
        var labels = shown.GetProperty("labels");
        Assert.Equal("hard", labels.GetProperty("myrmidon.dev/failure-mode").GetString());
        Assert.Equal("off", labels.GetProperty("myrmidon.dev/compression").GetString());
        Assert.Equal("data-0", labels.GetProperty("csi.storage.k8s.io/pvc/name").GetString());
        Assert.DoesNotContain("a secret", shown.ToString(), StringComparison.Ordinal);
        await node.DeleteAsync(volume.VolumeId);
        Assert.Equal(HttpStatusCode.NotFound, (await node.Nodes.GetAsync(0, $"/v1/volumes/{volume.VolumeId}")).Status);
        await node.DeleteAsync(volume.VolumeId);
    }

    [Fact(DisplayName = "A name that exists with another size, other parameters or another source is ALREADY_EXISTS, also after the volume was changed")]
    public async Task Other_requests_of_one_name()
    {
        var request = CreateRequest(node.NewName());
        request.CapacityRange.LimitBytes = Gibibyte;
        await node.Controller.CreateVolumeAsync(request);
        var larger = CreateRequest(request.Name, 2 * Gibibyte);
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(larger));
        var smaller = CreateRequest(request.Name, 1 << 20);
        smaller.CapacityRange.LimitBytes = Gibibyte / 2;
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(smaller));
        var other = request.Clone();
        other.Parameters["compression"] = "off";
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(other));
        var modified = new ControllerModifyVolumeRequest { VolumeId = request.Name, MutableParameters = { ["compression"] = "off" } };
        await node.Controller.ControllerModifyVolumeAsync(modified);
        await node.Controller.CreateVolumeAsync(request);
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(other));
        await node.DeleteAsync(request.Name);
    }

    [Fact(DisplayName = "A volume that was not made through CSI is never taken for one that was")]
    public async Task Volumes_of_others()
    {
        var name = node.NewName();
        Assert.Equal(HttpStatusCode.Created, (await node.Nodes.PostAsync(0, "/v1/volumes", new { name, sizeBytes = Gibibyte })).Status);
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(CreateRequest(name)));
        await node.DeleteAsync(name);
    }

    [Fact(DisplayName = "Names of 128 bytes and of any printable characters make volumes, each its own")]
    public async Task Long_names()
    {
        var first = await node.CreateAsync("Daten für " + new string('x', 117));
        var second = await node.CreateAsync("Daten für " + new string('x', 116) + "y");
        Assert.NotEqual(first.VolumeId, second.VolumeId);
        Assert.Equal(first.VolumeId, (await node.CreateAsync("Daten für " + new string('x', 117))).VolumeId);
        var (_, shown) = await node.Nodes.GetAsync(0, $"/v1/volumes/{first.VolumeId}");
        Assert.StartsWith("Daten für ", shown.GetProperty("labels").GetProperty("csi.myrmidon.dev/name").GetString(), StringComparison.Ordinal);
        await node.DeleteAsync(first.VolumeId);
        await node.DeleteAsync(second.VolumeId);
    }

    [Fact(DisplayName = "A volume of no stated capacity gets a default; whole blocks are rounded up to, and a limit between two blocks is OUT_OF_RANGE")]
    public async Task Capacities()
    {
        var open = CreateRequest(node.NewName());
        open.CapacityRange = null;
        Assert.Equal(Gibibyte, (await node.Controller.CreateVolumeAsync(open)).Volume.CapacityBytes);
        await node.DeleteAsync(open.Name);
        var odd = await node.Controller.CreateVolumeAsync(CreateRequest(open.Name, Gibibyte - 1));
        Assert.Equal(Gibibyte, odd.Volume.CapacityBytes);
        await node.DeleteAsync(open.Name);
        await Refused(StatusCode.OutOfRange, request => request.CapacityRange = new() { RequiredBytes = 4097, LimitBytes = 4098 });
        await Refused(StatusCode.OutOfRange, request => request.CapacityRange = new() { RequiredBytes = 8192, LimitBytes = 4096 });
        await Refused(StatusCode.OutOfRange, request => request.CapacityRange = new() { RequiredBytes = long.MaxValue });
        await Refused(StatusCode.OutOfRange, request => request.CapacityRange = new() { LimitBytes = 100 });
        await Refused(StatusCode.InvalidArgument, request => request.CapacityRange = new() { RequiredBytes = -1 });
    }

    [Theory(DisplayName = "A volume is made large enough for its file system: else it would be there, and no workload ever begin")]
    [InlineData("", 16)]
    [InlineData("ext4", 16)]
    [InlineData("xfs", 300)]
    public async Task Large_enough(string fileSystem, int leastMebibytes)
    {
        var request = CreateRequest(node.NewName(), 1 << 20);
        request.VolumeCapabilities[0] = Mount(fsType: fileSystem);
        for (var again = 0; again < 2; again++) Assert.Equal((long)leastMebibytes << 20, (await node.Controller.CreateVolumeAsync(request)).Volume.CapacityBytes);
        await node.DeleteAsync(request.Name);
        request.CapacityRange.LimitBytes = ((long)leastMebibytes << 20) - 1;
        Assert.Contains("needs", await CsiClient.FailsAsync(StatusCode.OutOfRange, node.Controller.CreateVolumeAsync(request)), StringComparison.Ordinal);
        request.VolumeCapabilities[0] = Block();
        Assert.Equal(1L << 20, (await node.Controller.CreateVolumeAsync(request)).Volume.CapacityBytes);
        await node.DeleteAsync(request.Name);
    }

    [Fact(DisplayName = "A request that lacks a field, or has one that makes no sense, is INVALID_ARGUMENT and creates nothing")]
    public async Task Malformed_requests()
    {
        await Refused(StatusCode.InvalidArgument, request => request.Name = "");
        await Refused(StatusCode.InvalidArgument, request => request.Name = new string('x', 129));
        await Refused(StatusCode.InvalidArgument, request => request.Name = "a\u0001b");
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities.Clear());
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities[0] = new() { AccessMode = new() { Mode = Mode.SingleNodeWriter } });
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities[0] = new() { Block = new() });
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities[0] = Mount(fsType: "ntfs"));
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities[0].Mount.VolumeMountGroup = "100");
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities[0].Mount.MountFlags.Add(""));
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities.Add(Block(Mode.MultiNodeMultiWriter)));
        await Refused(StatusCode.InvalidArgument, request => request.VolumeCapabilities.Add(Block(Mode.MultiNodeSingleWriter)));
        await Refused(StatusCode.InvalidArgument, request => request.Parameters["replicsa"] = "1");
        await Refused(StatusCode.InvalidArgument, request => request.Parameters["failure-mode"] = "maybe");
        await Refused(StatusCode.InvalidArgument, request => request.MutableParameters["NoSuchKey"] = "NoSuchValue");
        await Refused(StatusCode.InvalidArgument, request =>
        {
            request.Parameters["compression"] = "on";
            request.MutableParameters["myrmidon.dev/compression"] = "off";
        });
        await Refused(StatusCode.InvalidArgument, request => request.Secrets["large"] = new string('x', 5000));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.DeleteVolumeAsync(new DeleteVolumeRequest()));
    }

    [Fact(DisplayName = "More copies than there are nodes, a zone without a node, and hosts without one, are RESOURCE_EXHAUSTED")]
    public async Task No_room()
    {
        await Refused(StatusCode.ResourceExhausted, request => request.Parameters["replicas"] = "3");
        await Refused(StatusCode.ResourceExhausted, request => request.AccessibilityRequirements = new()
        {
            Requisite = { new Topology { Segments = { ["topology.myrmidon.dev/zone"] = "nowhere", ["topology.myrmidon.dev/node"] = "true" } } },
        });
        await Refused(StatusCode.ResourceExhausted, request => request.AccessibilityRequirements = new()
        {
            Requisite = { new Topology { Segments = { ["topology.myrmidon.dev/node"] = "false" } } },
        });
        // A key that no node tells: whoever restricts volumes by it would get them anywhere.
        var foreign = new Topology { Segments = { ["topology.kubernetes.io/zone"] = "a", ["topology.myrmidon.dev/node"] = "true" } };
        await Refused(StatusCode.ResourceExhausted, request => request.AccessibilityRequirements = new() { Requisite = { foreign } });
        Assert.Equal(0, (await node.Controller.GetCapacityAsync(new GetCapacityRequest { AccessibleTopology = foreign })).AvailableCapacity);
    }

    [Fact(DisplayName = "A volume that no id names is deleted already")]
    public async Task Deleting_nothing()
    {
        await node.DeleteAsync("reallyfakevolumeid");
        await node.DeleteAsync("No such name, at all!");
    }

    [Fact(DisplayName = "Many calls for one name at one time make one volume: each answers it, or ABORTED")]
    public async Task Concurrent_calls()
    {
        for (var round = 0; round < 10; round++)
        {
            var request = CreateRequest(node.NewName());
            var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
            {
                try
                {
                    return (await node.Controller.CreateVolumeAsync(request)).Volume.VolumeId;
                }
                catch (RpcException e) when (e.StatusCode == StatusCode.Aborted)
                {
                    return "";
                }
            }));
            Assert.Contains(request.Name, answers);
            Assert.All(answers, answer => Assert.True(answer == "" || answer == request.Name));
            await node.DeleteAsync(request.Name);
        }
    }

    [Fact(DisplayName = "A call that is cancelled or out of time says so, and the same call goes on from there")]
    public async Task Cancelled_calls()
    {
        var request = CreateRequest(node.NewName());
        using var cancellation = new CancellationTokenSource();
        var call = node.Controller.CreateVolumeAsync(request, cancellationToken: cancellation.Token);
        await cancellation.CancelAsync();
        await CsiClient.FailsAsync(StatusCode.Cancelled, call);
        await CsiClient.FailsAsync(StatusCode.DeadlineExceeded, node.Controller.CreateVolumeAsync(request, deadline: DateTime.UtcNow.AddMilliseconds(-1)));
        while (true)
        {
            // The server may not have seen yet that the calls before are over.
            try
            {
                Assert.Equal(request.Name, (await node.Controller.CreateVolumeAsync(request)).Volume.VolumeId);
                break;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Aborted)
            {
                await Task.Yield();
            }
        }
        await node.DeleteAsync(request.Name);
    }

    private async Task Refused(StatusCode code, Action<CreateVolumeRequest> change)
    {
        var request = CreateRequest(node.NewName());
        change(request);
        await CsiClient.FailsAsync(code, node.Controller.CreateVolumeAsync(request));
        var list = await node.Controller.ListVolumesAsync(new ListVolumesRequest());
        Assert.DoesNotContain(list.Entries, entry => entry.Volume.VolumeId == request.Name);
    }
}
