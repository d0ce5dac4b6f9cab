using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>/v1/nodes, /v1/status, /v1/health and /metrics.</summary>
internal static class NodeEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var nodes = routes.MapGroup("/v1/nodes").WithTags("Nodes").ProducesProblem(503).ProducesProblem(504);
        nodes.MapGet("", async (IControlPlane control, CancellationToken cancellation) =>
            Answers.Of(await control.ListNodesAsync(cancellation)))
            .WithName("ListNodes").WithSummary("All nodes of the cluster").Produces<IReadOnlyList<NodeResource>>();
        nodes.MapGet("/{name}", GetAsync).WithName("GetNode").WithSummary("One node").Produces<NodeResource>().ProducesProblem(404);
        nodes.MapPost("/{name}/cordon", (IControlPlane control, string name, CancellationToken cancellation) =>
            CordonAsync(control, name, true, cancellation))
            .WithName("CordonNode").WithSummary("Place no new copies on a node").Produces<NodeResource>().ProducesProblem(404);
        nodes.MapPost("/{name}/uncordon", (IControlPlane control, string name, CancellationToken cancellation) =>
            CordonAsync(control, name, false, cancellation))
            .WithName("UncordonNode").WithSummary("Place new copies on a node again").Produces<NodeResource>().ProducesProblem(404);
        nodes.MapPost("/{name}/end-restart", async (IControlPlane control, string name, CancellationToken cancellation) => Answers.Of(await control.EndRestartAsync(name, cancellation)))
            .WithName("EndRestart").WithSummary("Take back the cordon of a drain for a restart, and no other").Produces<NodeResource>().ProducesProblem(404);
        nodes.MapDelete("/{name}", async (IControlPlane control, string name, CancellationToken cancellation) => Answers.Of(await control.RemoveNodeAsync(name, cancellation)))
            .WithName("RemoveNode").WithSummary("Take a node out for good that is down and holds no copy; by its name, or its id where two had one name. What it was")
            .Produces<NodeResource>().ProducesProblem(404).ProducesProblem(409);
        nodes.MapPost("/{name}/drain", DrainAsync).WithName("DrainNode")
            .WithSummary("Cordon a node and move its owners to other nodes; answers when that is done, or how far it is when the time is over")
            .Produces<DrainResource>().ProducesProblem(400).ProducesProblem(404).ProducesProblem(409);
        nodes.MapPost("/{name}/disks/{disk}/drain", (IControlPlane control, string name, string disk, CancellationToken cancellation) => DrainDiskAsync(control, name, disk, true, cancellation))
            .WithName("DrainDisk").WithSummary("Move what is on a disk of a node's store to its other disks, and put nothing new there; answers at once, with what is left")
            .Produces<DiskResource>().ProducesProblem(400).ProducesProblem(404).ProducesProblem(409);
        nodes.MapPost("/{name}/disks/{disk}/undrain", (IControlPlane control, string name, string disk, CancellationToken cancellation) => DrainDiskAsync(control, name, disk, false, cancellation))
            .WithName("UndrainDisk").WithSummary("Use a disk of a node's store again that was to be drained")
            .Produces<DiskResource>().ProducesProblem(400).ProducesProblem(404).ProducesProblem(409);
        routes.MapGet("/v1/open-volumes", (IControlPlane control) => Answers.Of(control.ListOpenVolumes())).WithTags("Nodes")
            .WithName("ListOpenVolumes").WithSummary("Volumes that the answering node's front ends have open now")
            .Produces<IReadOnlyList<OpenVolumeResource>>().ProducesProblem(503);
        MapStatus(routes);
    }

    private static void MapStatus(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/status", async (IControlPlane control, CancellationToken cancellation) =>
            Answers.Of(await control.GetStatusAsync(cancellation)))
            .WithTags("Status").WithName("GetStatus").WithSummary("The cluster at a glance").Produces<StatusResource>()
                .ProducesProblem(503).ProducesProblem(504);
        routes.MapGet("/v1/health", (Health health, ApiOptions options) =>
            {
                var seen = health.Look(options.NodeName);
                return TypedResults.Json(seen, statusCode: Health.IsReady(seen) ? StatusCodes.Status200OK
                    : StatusCodes.Status503ServiceUnavailable);
            })
            .WithTags("Status").WithName("GetHealth").WithSummary("This node's parts; 200 when clients may use it, else 503")
            .Produces<HealthResource>().Produces<HealthResource>(503);
        routes.MapGet("/metrics", (Metrics metrics) => TypedResults.Text(metrics.Write(), Metrics.ContentType))
            .WithTags("Status").WithName("GetMetrics").WithSummary("This node's metrics in the Prometheus text format")
                .Produces<string>(200, "text/plain");
    }

    private static async Task<IResult> GetAsync(IControlPlane control, string name, CancellationToken cancellation) =>
        Answers.Of(await control.GetNodeAsync(name, cancellation));

    private static async Task<IResult> DrainAsync(IControlPlane control, string name, CancellationToken cancellation, DrainRequest? request = null)
    {
        request ??= new DrainRequest();
        if (RequestChecks.Check(request) is { } failure) return Answers.Problem(failure.Status, failure.Reason);
        return Answers.Of(await control.DrainNodeAsync(name, TimeSpan.FromSeconds(request.TimeoutSeconds), request.ForRestart, cancellation));
    }

    private static async Task<IResult> DrainDiskAsync(IControlPlane control, string name, string disk, bool drains, CancellationToken cancellation) =>
        Answers.Of(await control.DrainDiskAsync(name, disk, drains, cancellation));

    private static async Task<IResult> CordonAsync(IControlPlane control, string name, bool cordoned, CancellationToken cancellation) =>
        Answers.Of(await control.SetCordonedAsync(name, cordoned, cancellation));
}
