using System.ComponentModel;
using Cluster.Messages.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>/v1/volumes/NAME/snapshots and /v1/volumes/NAME/changed-blocks.</summary>
internal static class SnapshotEndpoints
{
    public static void Map(RouteGroupBuilder volume)
    {
        var snapshots = volume.MapGroup("/snapshots").WithTags("Snapshots");
        snapshots.MapGet("", ListAsync).WithName("ListSnapshots").WithSummary("The snapshots of a volume, from the oldest to the newest, and what each costs")
            .Produces<SnapshotListResource>();
        snapshots.MapPost("", CreateAsync).WithName("CreateSnapshot")
            .WithSummary("Make a snapshot: 201, or 200 with the one that is there when the name is taken. It is on media on every copy in sync when this is answered")
            .Produces<SnapshotResource>(201).Produces<SnapshotResource>().ProducesProblem(409);
        snapshots.MapGet("/{snapshot}", GetAsync).WithName("GetSnapshot").WithSummary("One snapshot").Produces<SnapshotResource>();
        snapshots.MapDelete("/{snapshot}", DeleteAsync).WithName("DeleteSnapshot").WithSummary("Delete a snapshot; the space that only it needs is freed").Produces(204).ProducesProblem(409);
        snapshots.MapPost("/{snapshot}/restore", RestoreAsync).WithName("RestoreSnapshot")
            .WithSummary("Put the volume back to what it was in a snapshot; refused while it is attached or a client has it open. Snapshots made since stay")
            .Produces<VolumeResource>().ProducesProblem(409);
        volume.MapGet("/changed-blocks", ChangedAsync).WithName("ListChangedBlocks").WithTags("Snapshots")
            .WithSummary("Where a volume changed between two snapshots, for incremental backups; page by page").Produces<ChangedBlocksResource>();
    }

    private static Task<IResult> ListAsync(
        HttpContext http, IControlPlane control, string name, CancellationToken cancellation, [FromQuery(Name = "namespace")] string? scope = null) =>
        VolumeEndpoints.WithVolumeAsync(http, name, scope, async (volume, _) => Answers.Of(await control.ListSnapshotsAsync(volume, cancellation)));

    private static Task<IResult> CreateAsync(
        HttpContext http, IControlPlane control, string name, CreateSnapshotRequest request, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        VolumeEndpoints.WithVolumeAsync(http, name, scope, async (volume, _) =>
        {
            if (RequestChecks.Check(request) is { } failure) return Answers.Problem(failure.Status, failure.Reason);
            var created = await control.CreateSnapshotAsync(volume, request.Name, cancellation);
            if (!created.IsOk) return Answers.Failed(created);
            var (snapshot, isNew) = created.Value!;
            return isNew ? TypedResults.Created(PathOf(snapshot), snapshot) : TypedResults.Ok(snapshot);
        });

    private static Task<IResult> GetAsync(
        HttpContext http, IControlPlane control, string name, string snapshot, CancellationToken cancellation, [FromQuery(Name = "namespace")] string? scope = null) =>
        WithSnapshotAsync(http, name, snapshot, scope, async volume => Answers.Of(await control.GetSnapshotAsync(volume, snapshot, cancellation)));

    private static Task<IResult> DeleteAsync(
        HttpContext http, IControlPlane control, string name, string snapshot, CancellationToken cancellation, [FromQuery(Name = "namespace")] string? scope = null) =>
        WithSnapshotAsync(http, name, snapshot, scope, async volume =>
        {
            var deleted = await control.DeleteSnapshotAsync(volume, snapshot, cancellation);
            return deleted.IsOk ? TypedResults.NoContent() : Answers.Failed(deleted);
        });

    private static Task<IResult> RestoreAsync(
        HttpContext http, IControlPlane control, string name, string snapshot, CancellationToken cancellation, [FromQuery(Name = "namespace")] string? scope = null) =>
        WithSnapshotAsync(http, name, snapshot, scope, async volume => Answers.Of(http, await control.RestoreSnapshotAsync(volume, snapshot, cancellation)));

    private static Task<IResult> ChangedAsync(
        HttpContext http, IControlPlane control, string name, CancellationToken cancellation, [FromQuery(Name = "namespace")] string? scope = null,
        [FromQuery(Name = "from"), Description("a snapshot; absent: everything that holds data is told")] string? from = null,
        [FromQuery(Name = "to"), Description("a newer snapshot; absent: the volume as it is now")] string? to = null,
        [FromQuery(Name = "first"), Description("offset in bytes to begin at: the `next` of the page before")] ulong first = 0) =>
        VolumeEndpoints.WithVolumeAsync(http, name, scope, async (volume, _) =>
        {
            foreach (var snapshot in new[] { from, to })
            {
                if (snapshot is not null && !VolumeName.IsLabel(snapshot, "snapshot name", out var reason)) return Answers.Problem(ControlStatus.Invalid, reason);
            }
            if (first % Limits.BlockBytes != 0)
                return Answers.Problem(ControlStatus.Invalid, $"The offset {first} is not a multiple of {Limits.BlockBytes}: send the `next` of the page before.");
            return Answers.Of(await control.ChangedBlocksAsync(volume, from, to, first, cancellation));
        });

    private static Task<IResult> WithSnapshotAsync(HttpContext http, string name, string snapshot, string? scope, Func<VolumeName, Task<IResult>> work) =>
        VolumeEndpoints.WithVolumeAsync(http, name, scope, async (volume, _) =>
            VolumeName.IsLabel(snapshot, "snapshot name", out var reason) ? await work(volume) : Answers.Problem(ControlStatus.Invalid, reason));

    private static string PathOf(SnapshotResource snapshot)
    {
        var path = $"/v1/volumes/{snapshot.Volume}/snapshots/{snapshot.Name}";
        return snapshot.Namespace == VolumeSpec.DefaultNamespace ? path : $"{path}?namespace={snapshot.Namespace}";
    }
}
