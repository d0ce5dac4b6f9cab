using System.ComponentModel;
using Cluster.Messages.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>/v1/volumes. A volume outside the namespace "default" is named by the query parameter `namespace`.</summary>
internal static class VolumeEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var volumes = routes.MapGroup("/v1/volumes").WithTags("Volumes").ProducesProblem(400).ProducesProblem(503).ProducesProblem(504);
        volumes.MapGet("", ListAsync).WithName("ListVolumes").WithSummary("All volumes, or those of one namespace")
            .Produces<IReadOnlyList<VolumeResource>>();
        volumes.MapPost("", CreateAsync).WithName("CreateVolume")
            .WithSummary("Create a volume; the same request again answers the same volume")
            .Produces<VolumeResource>(201).ProducesProblem(404).ProducesProblem(409);
        var volume = volumes.MapGroup("/{name}").ProducesProblem(404);
        volume.MapGet("", GetAsync).WithName("GetVolume").WithSummary("One volume, with its copies and its ETag")
            .Produces<VolumeResource>().Produces(304);
        volume.MapGet("/events", ExplainAsync).WithName("ListVolumeEvents").WithSummary("The volume's journaled history, oldest first")
            .Produces<IReadOnlyList<VolumeEventResource>>();
        volume.MapGet("/scrub", (HttpContext http, IControlPlane control, string name, CancellationToken cancellation,
                [FromQuery(Name = "namespace")] string? scope = null) => ScrubAsync(http, control, name, scope, false, cancellation))
            .WithName("GetScrub").WithSummary("The scrub of a volume: progress, findings, when the next one is due").Produces<ScrubResource>();
        volume.MapPost("/scrub", (HttpContext http, IControlPlane control, string name, CancellationToken cancellation,
                [FromQuery(Name = "namespace")] string? scope = null) => ScrubAsync(http, control, name, scope, true, cancellation))
            .WithName("StartScrub").WithSummary("Start a scrub, unless one is under way").Produces<ScrubResource>();
        MapChanges(volume);
        SnapshotEndpoints.Map(volume);
    }

    private static void MapChanges(RouteGroupBuilder volume)
    {
        volume.MapPatch("", ChangeAsync).WithName("ChangeVolume").WithSummary("Grow a volume, change its number of copies or its labels (JSON merge patch)")
            .Produces<VolumeResource>().ProducesProblem(409).ProducesProblem(412);
        volume.MapDelete("", DeleteAsync).WithName("DeleteVolume").WithSummary("Delete a volume and its data; refused while it is in use or has snapshots, unless forced")
            .Produces(204).ProducesProblem(409).ProducesProblem(412);
        volume.MapPost("/attach", AttachAsync).WithName("AttachVolume")
            .WithSummary("Attach a volume to one node; earlier users are fenced off")
            .Produces<VolumeResource>().ProducesProblem(409).ProducesProblem(412);
        volume.MapPost("/detach", DetachAsync).WithName("DetachVolume").WithSummary("Back to the shared attachment")
            .Produces<VolumeResource>().ProducesProblem(412);
        volume.MapPost("/move", MoveAsync).WithName("MoveVolume").WithSummary("Move the owner to a node that holds an in-sync copy")
            .Produces<VolumeResource>().ProducesProblem(409);
    }

    private static async Task<IResult> ListAsync(
        IControlPlane control, CancellationToken cancellation, [FromQuery(Name = "namespace")] string? scope = null)
    {
        if (scope is not null
            && !VolumeName.IsLabel(scope, "namespace", out var reason)) return Answers.Problem(ControlStatus.Invalid, reason);
        return Answers.Of(await control.ListVolumesAsync(scope, cancellation));
    }

    private static async Task<IResult> CreateAsync(
        HttpContext http, IControlPlane control, CreateVolumeRequest request, CancellationToken cancellation)
    {
        if (RequestChecks.Check(request) is { } failure) return Answers.Problem(failure.Status, failure.Reason);
        var created = await control.CreateVolumeAsync(request, cancellation);
        return Answers.Of(http, created, createdAt: created.IsOk ? PathOf(created.Value!) : null);
    }

    private static Task<IResult> GetAsync(
        HttpContext http, IControlPlane control, string name, CancellationToken cancellation,
        [FromQuery(Name = "namespace"), Description("default when absent")] string? scope = null) =>
        WithVolumeAsync(http, name, scope, async (volume, _) => Answers.OfGet(http, await control.GetVolumeAsync(volume, cancellation)));

    private static Task<IResult> ExplainAsync(
        HttpContext http, IControlPlane control, string name, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        WithVolumeAsync(http, name, scope, async (volume, _) => Answers.Of(await control.ExplainAsync(volume, cancellation)));

    private static Task<IResult> ScrubAsync(
        HttpContext http, IControlPlane control, string name, string? scope, bool start, CancellationToken cancellation) =>
        WithVolumeAsync(http, name, scope, async (volume, _) => Answers.Of(await control.ScrubAsync(volume, start, cancellation)));

    private static Task<IResult> ChangeAsync(
        HttpContext http, IControlPlane control, string name, ChangeVolumeRequest change, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        WithVolumeAsync(http, name, scope, async (volume, ifMatch) =>
            RequestChecks.Check(change) is { } failure
                ? Answers.Problem(failure.Status, failure.Reason)
                : Answers.Of(http, await control.ChangeVolumeAsync(volume, change, ifMatch, cancellation)));

    private static Task<IResult> DeleteAsync(
        HttpContext http, IControlPlane control, string name, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null,
        [FromQuery(Name = "force"), Description("true cuts off whoever uses the volume, and deletes its snapshots too")] bool force = false) =>
        WithVolumeAsync(http, name, scope, async (volume, ifMatch) =>
        {
            var deleted = await control.DeleteVolumeAsync(volume, ifMatch, force, cancellation);
            return deleted.IsOk ? TypedResults.NoContent() : Answers.Failed(deleted);
        });

    private static Task<IResult> AttachAsync(
        HttpContext http, IControlPlane control, string name, NodeRequest request, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        WithVolumeAsync(http, name, scope, async (volume, ifMatch) =>
            Answers.Of(http, await control.AttachAsync(volume, request.Node, ifMatch, cancellation)));

    private static Task<IResult> DetachAsync(
        HttpContext http, IControlPlane control, string name, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        WithVolumeAsync(http, name, scope, async (volume, ifMatch) =>
            Answers.Of(http, await control.DetachAsync(volume, ifMatch, cancellation)));

    private static Task<IResult> MoveAsync(
        HttpContext http, IControlPlane control, string name, NodeRequest request, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        WithVolumeAsync(http, name, scope, async (volume, _) =>
            Answers.Of(http, await control.MoveAsync(volume, request.Node, cancellation)));

    /// <summary>Checks the name and If-Match before the work.</summary>
    internal static async Task<IResult> WithVolumeAsync(
        HttpContext http, string name, string? scope, Func<VolumeName, string?, Task<IResult>> work)
    {
        scope ??= VolumeSpec.DefaultNamespace;
        if (!VolumeName.IsLabel(scope, "namespace", out var reason) || !VolumeName.IsLabel(name, "volume name", out reason))
        {
            return Answers.Problem(ControlStatus.Invalid, reason);
        }
        return Answers.TryReadIfMatch(http, out var ifMatch, out var failure)
            ? await work(new VolumeName(scope, name), ifMatch)
            : Answers.Problem(failure!.Status, failure.Reason);
    }

    private static string PathOf(VolumeResource volume) =>
        volume.Namespace == VolumeSpec.DefaultNamespace ? $"/v1/volumes/{volume.Name}"
            : $"/v1/volumes/{volume.Name}?namespace={volume.Namespace}";
}
