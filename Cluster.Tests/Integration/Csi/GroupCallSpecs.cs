using System.Net;
using Cluster.Csi.Csi.V1;
using Grpc.Core;
using static Cluster.Tests.Integration.Csi.CsiNode;

namespace Cluster.Tests.Integration.Csi;

/// <summary>CreateVolumeGroupSnapshot, DeleteVolumeGroupSnapshot and GetVolumeGroupSnapshot, and what single snapshots say of groups.</summary>
public class GroupCallSpecs(CsiNode node) : IClassFixture<CsiNode>
{
    private GroupController.GroupControllerClient Groups => node.Client.Groups;

    [Fact(DisplayName = "A group snapshot is made once per name, its snapshots say that they are its, go only with it, and it is deleted twice without an error")]
    public async Task Life()
    {
        var (request, volumes) = await NewAsync(3);
        request.Parameters["csi.storage.k8s.io/volumegroupsnapshot/name"] = "nightly";
        var made = (await Groups.CreateVolumeGroupSnapshotAsync(request)).GroupSnapshot;
        Assert.Equal((request.Name, true, 3), (made.GroupSnapshotId, made.ReadyToUse, made.Snapshots.Count));
        Assert.Equal(volumes, made.Snapshots.Select(snapshot => snapshot.SourceVolumeId));
        Assert.All(made.Snapshots, snapshot => Assert.Equal((made.GroupSnapshotId, true, Gibibyte), (snapshot.GroupSnapshotId, snapshot.ReadyToUse, snapshot.SizeBytes)));
        Assert.InRange(made.CreationTime.ToDateTimeOffset(), DateTimeOffset.UtcNow.AddMinutes(-5), DateTimeOffset.UtcNow.AddMinutes(5));
        Assert.Equal(made, (await Groups.CreateVolumeGroupSnapshotAsync(request)).GroupSnapshot);
        var ids = made.Snapshots.Select(snapshot => snapshot.SnapshotId).ToArray();
        Assert.Equal(made, (await Groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest { GroupSnapshotId = made.GroupSnapshotId, SnapshotIds = { ids.Reverse() } })).GroupSnapshot);

        Assert.Equal(made.Snapshots[1], (await node.Controller.GetSnapshotAsync(new GetSnapshotRequest { SnapshotId = ids[1] })).Snapshot);
        var listed = (await node.Controller.ListSnapshotsAsync(new ListSnapshotsRequest { SourceVolumeId = volumes[2] })).Entries;
        Assert.Equal(made.Snapshots[2], Assert.Single(listed).Snapshot);
        var single = (await node.Controller.CreateSnapshotAsync(new CreateSnapshotRequest { SourceVolumeId = volumes[2], Name = node.NewName("single") })).Snapshot;
        Assert.Equal("", single.GroupSnapshotId);
        await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = single.SnapshotId });
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = ids[0] }));
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, node.Controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = volumes[0] }));
        var clone = CreateRequest(node.NewName("clone"));
        clone.VolumeContentSource = new() { Snapshot = new() { SnapshotId = ids[0] } };
        await node.Controller.CreateVolumeAsync(clone);
        await node.DeleteAsync(clone.Name);

        for (var again = 0; again < 2; again++)
            await Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = made.GroupSnapshotId, SnapshotIds = { ids } });
        await CsiClient.FailsAsync(StatusCode.NotFound, Groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest { GroupSnapshotId = made.GroupSnapshotId }));
        foreach (var id in ids) await CsiClient.FailsAsync(StatusCode.NotFound, node.Controller.GetSnapshotAsync(new GetSnapshotRequest { SnapshotId = id }));
        foreach (var volume in volumes) await node.DeleteAsync(volume);
    }

    [Fact(DisplayName = "A name that a group of other volumes has, or a snapshot of one of them, is ALREADY_EXISTS; a volume that is not there NOT_FOUND; nothing is left of what is refused")]
    public async Task Refusals()
    {
        var (request, volumes) = await NewAsync(2);
        await Groups.CreateVolumeGroupSnapshotAsync(request);
        var other = request.Clone();
        other.SourceVolumeIds.RemoveAt(1);
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, Groups.CreateVolumeGroupSnapshotAsync(other));
        var taken = (await node.Controller.CreateSnapshotAsync(new CreateSnapshotRequest { SourceVolumeId = volumes[1], Name = node.NewName("taken") })).Snapshot;
        other = request.Clone();
        other.Name = taken.SnapshotId.Split('@')[1];
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, Groups.CreateVolumeGroupSnapshotAsync(other));
        other.Name = node.NewName("missing");
        other.SourceVolumeIds[1] = "no-such-volume";
        await CsiClient.FailsAsync(StatusCode.NotFound, Groups.CreateVolumeGroupSnapshotAsync(other));
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateSnapshotAsync(new CreateSnapshotRequest { SourceVolumeId = volumes[0], Name = request.Name }));
        Assert.Single((await node.Controller.ListSnapshotsAsync(new ListSnapshotsRequest { SourceVolumeId = volumes[0] })).Entries);
        Assert.Equal(1, (await node.Nodes.GetAsync(0, "/v1/snapshot-groups")).Body.GetArrayLength());
        await CsiClient.FailsAsync(StatusCode.InvalidArgument,
            Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = request.Name, SnapshotIds = { taken.SnapshotId } }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument,
            Groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest { GroupSnapshotId = request.Name, SnapshotIds = { taken.SnapshotId } }));
        await Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = request.Name });
        await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = taken.SnapshotId });
        foreach (var volume in volumes) await node.DeleteAsync(volume);
    }

    [Fact(DisplayName = "A request that lacks a field, or has one that makes no sense, is INVALID_ARGUMENT; what no id names is deleted already")]
    public async Task Malformed()
    {
        var (request, volumes) = await NewAsync(1);
        await Refused(wrong => wrong.Name = "");
        await Refused(wrong => wrong.SourceVolumeIds.Clear());
        await Refused(wrong => wrong.SourceVolumeIds.Add(""));
        await Refused(wrong => wrong.SourceVolumeIds.Add(volumes[0]));
        await Refused(wrong => wrong.SourceVolumeIds.Add(Enumerable.Range(0, 64).Select(index => $"v{index}")));
        await Refused(wrong => wrong.Parameters["no-such"] = "1");
        await Refused(wrong => wrong.Secrets["large"] = new string('x', 5000));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, Groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest()));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest()));
        foreach (var id in new[] { "reallyfakegroup", "No such group, at all!" })
        {
            await CsiClient.FailsAsync(StatusCode.NotFound, Groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest { GroupSnapshotId = id }));
            await Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = id });
        }
        var capabilities = (await Groups.GroupControllerGetCapabilitiesAsync(new GroupControllerGetCapabilitiesRequest())).Capabilities;
        Assert.Equal(GroupControllerServiceCapability.Types.RPC.Types.Type.CreateDeleteGetVolumeGroupSnapshot, Assert.Single(capabilities).Rpc.Type);
        await node.DeleteAsync(volumes[0]);

        async Task Refused(Action<CreateVolumeGroupSnapshotRequest> change)
        {
            var wrong = request.Clone();
            change(wrong);
            await CsiClient.FailsAsync(StatusCode.InvalidArgument, Groups.CreateVolumeGroupSnapshotAsync(wrong));
        }
    }

    [Fact(DisplayName = "A group that has lost a snapshot with its volume is not ready, and its other snapshots are")]
    public async Task Incomplete()
    {
        var (request, volumes) = await NewAsync(2);
        await Groups.CreateVolumeGroupSnapshotAsync(request);
        Assert.Equal(HttpStatusCode.NoContent, (await node.Nodes.DeleteAsync(0, $"/v1/volumes/{volumes[0]}?force=true")).Status);
        var left = (await Groups.GetVolumeGroupSnapshotAsync(new GetVolumeGroupSnapshotRequest { GroupSnapshotId = request.Name })).GroupSnapshot;
        Assert.False(left.ReadyToUse);
        Assert.True(Assert.Single(left.Snapshots).ReadyToUse);
        await Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = request.Name });
        await node.DeleteAsync(volumes[1]);
    }

    [Fact(DisplayName = "Many calls for one group at one time make one: each answers it, or ABORTED")]
    public async Task Concurrent_calls()
    {
        var (request, volumes) = await NewAsync(2);
        for (var round = 0; round < 5; round++)
        {
            request.Name = node.NewName("race");
            var made = await Task.WhenAll(Enumerable.Range(0, 6).Select(async _ =>
            {
                try
                {
                    return (await Groups.CreateVolumeGroupSnapshotAsync(request)).GroupSnapshot;
                }
                catch (RpcException e) when (e.StatusCode == StatusCode.Aborted)
                {
                    return null;
                }
            }));
            Assert.Single(made.Where(group => group is not null).Distinct());
            await Groups.DeleteVolumeGroupSnapshotAsync(new DeleteVolumeGroupSnapshotRequest { GroupSnapshotId = request.Name });
        }
        foreach (var volume in volumes) await node.DeleteAsync(volume);
    }

    private async Task<(CreateVolumeGroupSnapshotRequest Request, string[] Volumes)> NewAsync(int count)
    {
        var volumes = new string[count];
        for (var index = 0; index < count; index++) volumes[index] = (await node.CreateAsync()).VolumeId;
        return (new CreateVolumeGroupSnapshotRequest { Name = node.NewName("group"), SourceVolumeIds = { volumes } }, volumes);
    }
}
