using System.ComponentModel;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;

namespace Cluster.Node.Api;

/// <summary>
/// /v1/devices and /v1/volumes/{name}/device. They mount file systems, so they answer only root on this host (<see cref="CallerIdentity"/>), whatever
/// address the API is bound to: anybody else could put programs of their own anywhere.
/// </summary>
internal static class DeviceEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var devices = routes.MapGroup("/v1").WithTags("Devices").ProducesProblem(400).ProducesProblem(403).ProducesProblem(500).ProducesProblem(503).ProducesProblem(504);
        devices.MapGet("/devices", (HttpContext http, IDeviceControl control, CancellationToken cancellation) =>
                AsRootAsync(http, async () => Answers.Of(await control.ListAsync(cancellation))))
            .WithName("ListDevices").WithSummary("Volumes that are block devices of this node's host").Produces<DeviceListResource>();
        devices.MapPost("/volumes/{name}/device", AttachAsync).WithName("AttachDevice")
            .WithSummary("Attach a volume to this node as a block device of its host, and mount it there; only from that host. The same request again answers the same device")
            .Produces<DeviceResource>().ProducesProblem(404).ProducesProblem(409);
        devices.MapDelete("/volumes/{name}/device", DetachAsync).WithName("DetachDevice")
            .WithSummary("Take a volume's mounts, its device and its attachment to this node away; answers the devices that are left")
            .Produces<DeviceListResource>().ProducesProblem(404).ProducesProblem(409);
    }

    private static Task<IResult> AttachAsync(
        HttpContext http, IDeviceControl control, string name, DeviceRequest request, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null) =>
        AsRootAsync(http, () => VolumeEndpoints.WithVolumeAsync(http, name, scope, async (volume, _) =>
            RequestChecks.Check(request) is { } failure
                ? Answers.Problem(failure.Status, failure.Reason)
                : Answers.Of(await control.AttachAsync(volume, request, cancellation))));

    private static Task<IResult> DetachAsync(
        HttpContext http, IDeviceControl control, string name, CancellationToken cancellation,
        [FromQuery(Name = "namespace")] string? scope = null,
        [FromQuery(Name = "force"), Description("true also while files are open there, or Docker or CSI has it on this host: their mounts go, and their I/O fails")] bool force = false) =>
        AsRootAsync(http, () => VolumeEndpoints.WithVolumeAsync(http, name, scope, async (volume, _) =>
            Answers.Of(await control.DetachAsync(volume, force, cancellation))));

    private static async Task<IResult> AsRootAsync(HttpContext http, Func<Task<IResult>> work)
    {
        var connection = http.Connection;
        if (connection is { RemoteIpAddress: { } remote, LocalIpAddress: { } local }
            && CallerIdentity.UserOf(new IPEndPoint(remote, connection.RemotePort), new IPEndPoint(local, connection.LocalPort)) == 0) return await work();
        return Answers.Problem(ControlStatus.Invalid, "Only root on the node's own host can attach and detach devices: run this there, as root.",
            StatusCodes.Status403Forbidden);
    }
}
