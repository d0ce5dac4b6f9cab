using System.ComponentModel;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>/v1/snapshot-groups.</summary>
internal static class SnapshotGroupEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var groups = routes.MapGroup("/v1/snapshot-groups").WithTags("Snapshots").ProducesProblem(400).ProducesProblem(503).ProducesProblem(504);
        groups.MapGet("", async (IControlPlane control, CancellationToken cancellation) => Answers.Of(await control.ListSnapshotGroupsAsync(cancellation)))
            .WithName("ListSnapshotGroups").WithSummary("All group snapshots, by name").Produces<IReadOnlyList<SnapshotGroupResource>>();
        groups.MapPost("", CreateAsync).WithName("CreateSnapshotGroup")
            .WithSummary("Make snapshots of several volumes at one point: 201, or 200 when there is that group of the same volumes. Writes of the volumes are held for a moment")
            .Produces<SnapshotGroupResource>(201).Produces<SnapshotGroupResource>().ProducesProblem(404).ProducesProblem(409);
        groups.MapGet("/{group}", GetAsync).WithName("GetSnapshotGroup").WithSummary("One group snapshot, and the snapshots of its volumes")
            .Produces<SnapshotGroupResource>().ProducesProblem(404);
        groups.MapDelete("/{group}", DeleteAsync).WithName("DeleteSnapshotGroup").WithSummary("Delete a group snapshot and the snapshots of its volumes")
            .Produces(204).ProducesProblem(404).ProducesProblem(409);
    }

    private static async Task<IResult> CreateAsync(IControlPlane control, CreateSnapshotGroupRequest request, CancellationToken cancellation)
    {
        if (RequestChecks.Check(request) is { } failure) return Answers.Problem(failure.Status, failure.Reason);
        var created = await control.CreateSnapshotGroupAsync(request.Name, [.. request.Volumes.Select(NameOf)], cancellation);
        if (!created.IsOk) return Answers.Failed(created);
        var (group, isNew) = created.Value!;
        return isNew ? TypedResults.Created($"/v1/snapshot-groups/{group.Name}", group) : TypedResults.Ok(group);
    }

    private static VolumeName NameOf(string text)
    {
        VolumeName.TryParse(text, out var name, out _);
        return name;
    }

    private static async Task<IResult> GetAsync(IControlPlane control, string group, CancellationToken cancellation) =>
        VolumeName.IsLabel(group, "name of a snapshot group", out var reason) ? Answers.Of(await control.GetSnapshotGroupAsync(group, cancellation))
            : Answers.Problem(ControlStatus.Invalid, reason);

    private static async Task<IResult> DeleteAsync(
        IControlPlane control, string group, CancellationToken cancellation,
        [FromQuery(Name = "forget-record"), Description("true takes away the record of a group that is unreadable, and leaves the snapshots")] bool forgetRecord = false)
    {
        if (!VolumeName.IsLabel(group, "name of a snapshot group", out var reason)) return Answers.Problem(ControlStatus.Invalid, reason);
        var deleted = forgetRecord ? await control.ForgetSnapshotGroupAsync(group, cancellation) : await control.DeleteSnapshotGroupAsync(group, cancellation);
        return deleted.IsOk ? TypedResults.NoContent() : Answers.Failed(deleted);
    }
}
