using System.Net;
using Cluster.Csi.Csi.V1;
using Grpc.Core;
using static Cluster.Tests.Integration.Csi.CsiNode;

namespace Cluster.Tests.Integration.Csi;

/// <summary>CreateSnapshot, DeleteSnapshot, ListSnapshots and GetSnapshot.</summary>
public class SnapshotCallSpecs(CsiNode node) : IClassFixture<CsiNode>
{
    [Fact(DisplayName = "A snapshot is made once per name, is found by its id, keeps its volume from deletion, and is deleted twice without an error")]
    public async Task Life()
    {
        var volume = await node.CreateAsync();
        var request = Request(volume.VolumeId, node.NewName("snap"));
        request.Parameters["csi.storage.k8s.io/volumesnapshot/name"] = "nightly";
        var made = (await node.Controller.CreateSnapshotAsync(request)).Snapshot;
        Assert.Equal(volume.VolumeId, made.SourceVolumeId);
        Assert.True(made.ReadyToUse);
        Assert.Equal(Gibibyte, made.SizeBytes);
        Assert.InRange(made.CreationTime.ToDateTimeOffset(), DateTimeOffset.UtcNow.AddMinutes(-5), DateTimeOffset.UtcNow.AddMinutes(5));
        Assert.Equal(made, (await node.Controller.CreateSnapshotAsync(request)).Snapshot);
        Assert.Equal(made, (await node.Controller.GetSnapshotAsync(new GetSnapshotRequest { SnapshotId = made.SnapshotId })).Snapshot);
        await CsiClient.FailsAsync(StatusCode.FailedPrecondition, node.Controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = volume.VolumeId }));
        for (var again = 0; again < 2; again++) await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = made.SnapshotId });
        await CsiClient.FailsAsync(StatusCode.NotFound, node.Controller.GetSnapshotAsync(new GetSnapshotRequest { SnapshotId = made.SnapshotId }));
        await node.DeleteAsync(volume.VolumeId);
    }

    [Fact(DisplayName = "A name that another volume's snapshot has is ALREADY_EXISTS; it is free again when that is deleted, or gone with its volume")]
    public async Task One_name_in_the_cluster()
    {
        var (first, second) = (await node.CreateAsync(), await node.CreateAsync());
        var name = node.NewName("snap");
        var made = (await node.Controller.CreateSnapshotAsync(Request(first.VolumeId, name))).Snapshot;
        await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateSnapshotAsync(Request(second.VolumeId, name)));
        await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = made.SnapshotId });
        made = (await node.Controller.CreateSnapshotAsync(Request(second.VolumeId, name))).Snapshot;
        Assert.Equal(second.VolumeId, made.SourceVolumeId);
        // Deleted by hand, by which the name is not given back.
        Assert.Equal(HttpStatusCode.NoContent, (await node.Nodes.DeleteAsync(0, $"/v1/volumes/{second.VolumeId}?force=true")).Status);
        made = (await node.Controller.CreateSnapshotAsync(Request(first.VolumeId, name))).Snapshot;
        Assert.Equal(first.VolumeId, made.SourceVolumeId);
        await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = made.SnapshotId });
        await node.DeleteAsync(first.VolumeId);
    }

    [Fact(DisplayName = "Snapshots are listed by id, by volume and page by page; what is not there is an empty list, a wrong token ABORTED")]
    public async Task Lists()
    {
        var (first, second) = (await node.CreateAsync(), await node.CreateAsync());
        var made = new List<Snapshot>();
        for (var index = 0; index < 5; index++)
            made.Add((await node.Controller.CreateSnapshotAsync(Request(index == 4 ? second.VolumeId : first.VolumeId, node.NewName("list")))).Snapshot);
        Assert.Equal(made[2], Assert.Single(await ListAsync(new ListSnapshotsRequest { SnapshotId = made[2].SnapshotId })));
        Assert.Equal(made[..4], await ListAsync(new ListSnapshotsRequest { SourceVolumeId = first.VolumeId }));
        Assert.Empty(await ListAsync(new ListSnapshotsRequest { SourceVolumeId = second.VolumeId, SnapshotId = made[2].SnapshotId }));
        Assert.Empty(await ListAsync(new ListSnapshotsRequest { SnapshotId = "none-existing-id" }));
        Assert.Empty(await ListAsync(new ListSnapshotsRequest { SnapshotId = $"{first.VolumeId}@none" }));
        Assert.Empty(await ListAsync(new ListSnapshotsRequest { SourceVolumeId = "none-existing-id" }));
        var page = await node.Controller.ListSnapshotsAsync(new ListSnapshotsRequest { SourceVolumeId = first.VolumeId, MaxEntries = 3 });
        Assert.Equal(3, page.Entries.Count);
        var rest = await node.Controller.ListSnapshotsAsync(
            new ListSnapshotsRequest { SourceVolumeId = first.VolumeId, MaxEntries = 3, StartingToken = page.NextToken });
        Assert.Equal("", rest.NextToken);
        Assert.Equal(made[..4], page.Entries.Concat(rest.Entries).Select(entry => entry.Snapshot));
        Assert.Equal(made.Select(snapshot => snapshot.SnapshotId).Order(StringComparer.Ordinal),
            (await ListAsync(new ListSnapshotsRequest())).Select(snapshot => snapshot.SnapshotId).Where(id => id.Contains("@list-", StringComparison.Ordinal)));
        await CsiClient.FailsAsync(StatusCode.Aborted, node.Controller.ListSnapshotsAsync(new ListSnapshotsRequest { StartingToken = "invalid" }));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.ListSnapshotsAsync(new ListSnapshotsRequest { MaxEntries = -1 }));
        foreach (var snapshot in made) await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = snapshot.SnapshotId });
    }

    [Fact(DisplayName = "What makes no snapshot says why; names of 128 bytes, and those that the schedule has for itself, do")]
    public async Task Names()
    {
        var volume = await node.CreateAsync();
        foreach (var name in new[] { new string('s', 128), "Über Nacht", "auto-1" })
        {
            var made = (await node.Controller.CreateSnapshotAsync(Request(volume.VolumeId, name))).Snapshot;
            Assert.Equal(made, (await node.Controller.CreateSnapshotAsync(Request(volume.VolumeId, name))).Snapshot);
            Assert.DoesNotContain("@auto-", made.SnapshotId, StringComparison.Ordinal);
            await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = made.SnapshotId });
        }
        await Refused(StatusCode.InvalidArgument, request => request.Name = "");
        await Refused(StatusCode.InvalidArgument, request => request.Name = new string('s', 129));
        await Refused(StatusCode.InvalidArgument, request => request.SourceVolumeId = "");
        await Refused(StatusCode.InvalidArgument, request => request.Parameters["NoSuchKey"] = "x");
        await Refused(StatusCode.NotFound, request => request.SourceVolumeId = "no-such-volume");
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest()));
        await CsiClient.FailsAsync(StatusCode.InvalidArgument, node.Controller.GetSnapshotAsync(new GetSnapshotRequest()));
        await CsiClient.FailsAsync(StatusCode.NotFound, node.Controller.GetSnapshotAsync(new GetSnapshotRequest { SnapshotId = "non-existing-snapshot-id" }));
        await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = "reallyfakesnapshotid" });
        await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = "no-such-volume@snap" });

        async Task Refused(StatusCode code, Action<CreateSnapshotRequest> change)
        {
            var request = Request(volume.VolumeId, "refused");
            change(request);
            await CsiClient.FailsAsync(code, node.Controller.CreateSnapshotAsync(request));
        }
    }

    [Fact(DisplayName = "Many calls for one snapshot at one time make one: each answers it, or ABORTED")]
    public async Task Concurrent_calls()
    {
        var volume = await node.CreateAsync();
        for (var round = 0; round < 5; round++)
        {
            var request = Request(volume.VolumeId, node.NewName("race"));
            var ids = await Task.WhenAll(Enumerable.Range(0, 6).Select(async _ =>
            {
                try
                {
                    return (await node.Controller.CreateSnapshotAsync(request)).Snapshot.SnapshotId;
                }
                catch (RpcException e) when (e.StatusCode == StatusCode.Aborted)
                {
                    return "";
                }
            }));
            var id = Assert.Single(ids.Where(id => id.Length > 0).Distinct());
            await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = id });
        }
        await node.DeleteAsync(volume.VolumeId);
    }

    [Fact(DisplayName = "A source that is not there is NOT_FOUND, one without an id INVALID_ARGUMENT; nothing is created")]
    public async Task Missing_sources()
    {
        var volume = await node.CreateAsync();
        foreach (var id in new[] { "non-existing-snapshot-id", "no-such-volume@snap", $"{volume.VolumeId}@none" })
            await Refused(StatusCode.NotFound, new VolumeContentSource { Snapshot = new() { SnapshotId = id } });
        foreach (var id in new[] { "no-such-volume", "No id!" }) await Refused(StatusCode.NotFound, new VolumeContentSource { Volume = new() { VolumeId = id } });
        await Refused(StatusCode.InvalidArgument, new VolumeContentSource());
        await Refused(StatusCode.InvalidArgument, new VolumeContentSource { Volume = new() });
        await Refused(StatusCode.InvalidArgument, new VolumeContentSource { Snapshot = new() });
        await node.DeleteAsync(volume.VolumeId);

        async Task Refused(StatusCode code, VolumeContentSource source)
        {
            var request = CreateRequest(node.NewName("clone"));
            request.VolumeContentSource = source;
            await CsiClient.FailsAsync(code, node.Controller.CreateVolumeAsync(request));
            Assert.Equal(HttpStatusCode.NotFound, (await node.Nodes.GetAsync(0, $"/v1/volumes/{request.Name}")).Status);
        }
    }

    [Fact(DisplayName = "A volume begins as a copy of a snapshot or of a volume, as large at least; the same request finds it, another source is ALREADY_EXISTS")]
    public async Task Clones()
    {
        var volume = await node.CreateAsync();
        var snapshot = (await node.Controller.CreateSnapshotAsync(Request(volume.VolumeId, node.NewName("snap")))).Snapshot;
        var sources = new[]
        {
            new VolumeContentSource { Snapshot = new() { SnapshotId = snapshot.SnapshotId } },
            new VolumeContentSource { Volume = new() { VolumeId = volume.VolumeId } },
        };
        for (var index = 0; index < sources.Length; index++)
        {
            var request = CreateRequest(node.NewName("clone"));
            request.VolumeContentSource = sources[index];
            var clone = (await node.Controller.CreateVolumeAsync(request)).Volume;
            Assert.Equal((sources[index], Gibibyte), (clone.ContentSource, clone.CapacityBytes));
            Assert.Equal(clone, (await node.Controller.CreateVolumeAsync(request)).Volume);
            var other = request.Clone();
            other.VolumeContentSource = sources[1 - index];
            await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(other));
            other.VolumeContentSource = null;
            await CsiClient.FailsAsync(StatusCode.AlreadyExists, node.Controller.CreateVolumeAsync(other));
            var smaller = CreateRequest(node.NewName("clone"), 1 << 20);
            smaller.VolumeContentSource = sources[index];
            Assert.Equal(Gibibyte, (await node.Controller.CreateVolumeAsync(smaller)).Volume.CapacityBytes);
            await node.DeleteAsync(smaller.Name);
            smaller.CapacityRange.LimitBytes = Gibibyte / 2;
            await CsiClient.FailsAsync(StatusCode.OutOfRange, node.Controller.CreateVolumeAsync(smaller));
            await node.DeleteAsync(clone.VolumeId);
        }
    }

    private static CreateSnapshotRequest Request(string volumeId, string name) => new() { SourceVolumeId = volumeId, Name = name };

    private async Task<IEnumerable<Snapshot>> ListAsync(ListSnapshotsRequest request) =>
        (await node.Controller.ListSnapshotsAsync(request)).Entries.Select(entry => entry.Snapshot);
}
