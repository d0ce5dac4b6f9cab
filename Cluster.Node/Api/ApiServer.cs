using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Api;

/// <summary>Where the API listens and who it says it is. Port 0 takes a free one.</summary>
public sealed record ApiOptions(string NodeName, IPAddress Address, int Port, int ConnectionsMax = ApiServer.ConnectionsMax);

/// <summary>
/// The node's REST API: /v1/…, /openapi/v1.json, /metrics. It starts and stops with its owner, and takes no signals of its own. It may be
/// started before the cluster is up: requests are then answered with 503 and the reason.
/// </summary>
public sealed class ApiServer : IAsyncDisposable
{
    /// <summary>Bytes of a request's body at most: 64 labels of full length fit.</summary>
    public const int RequestBytesMax = 128 * 1024;

    /// <summary>Connections at one time; one more is ended at once.</summary>
    public const int ConnectionsMax = 1024;

    /// <summary>How long running requests may take to end at a stop, in milliseconds.</summary>
    public const int StopMs = 2000;

    private readonly WebApplication _application;

    private ApiServer(WebApplication application, Uri address)
    {
        _application = application;
        Address = address;
    }

    /// <summary>Base address, with the port that was really taken.</summary>
    public Uri Address { get; }

    internal static JsonSerializerOptions Json { get; } = Configure(
        new JsonSerializerOptions(JsonSerializerDefaults.Web) { WriteIndented = true });

    /// <summary>Throws IOException when the port can't be taken.</summary>
    public static async Task<ApiServer> StartAsync(
        ApiOptions options, IControlPlane control, IRecoveryControl recovery, IDeviceControl devices, Health health, Metrics metrics,
        CancellationToken cancellation = default)
    {
        var application = Build(options, control, recovery, devices, health, metrics);
        try
        {
            await application.StartAsync(cancellation);
        }
        catch
        {
            await application.DisposeAsync();
            throw;
        }
        var addresses = application.Services.GetRequiredService<IServer>().Features.GetRequiredFeature<IServerAddressesFeature>();
        return new ApiServer(application, new Uri(addresses.Addresses.First()));
    }

    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync();
        await _application.DisposeAsync();
    }

    private static WebApplication Build(
        ApiOptions options, IControlPlane control, IRecoveryControl recovery, IDeviceControl devices, Health health, Metrics metrics)
    {
        // No content root, no settings files, no console: the node's own settings and log are the only ones.
        var builder = WebApplication.CreateEmptyBuilder(
            new WebApplicationOptions { ApplicationName = typeof(ApiServer).Assembly.GetName().Name });
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = RequestBytesMax;
            kestrel.Limits.MaxConcurrentConnections = options.ConnectionsMax;
            kestrel.Listen(options.Address, options.Port);
        });
        var services = builder.Services;
        services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        services.AddSingleton<IHostLifetime, SilentLifetime>();
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromMilliseconds(StopMs));
        services.AddRoutingCore();
        services.AddProblemDetails();
        services.AddSingleton(control).AddSingleton(recovery).AddSingleton(devices).AddSingleton(health).AddSingleton(metrics).AddSingleton(options);
        services.ConfigureHttpJsonOptions(http => Configure(http.SerializerOptions));
        services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        services.AddOpenApi("v1", OpenApiText.Describe);

        var application = builder.Build();
        application.UseMiddleware<RequestGuard>();
        application.UseRouting();
        application.Use(QueryParameters.CheckAsync);
        application.MapOpenApi("/openapi/{documentName}.json");
        VolumeEndpoints.Map(application);
        SnapshotGroupEndpoints.Map(application);
        DeviceEndpoints.Map(application);
        NodeEndpoints.Map(application);
        RecoveryEndpoints.Map(application);
        return application;
    }

    private static JsonSerializerOptions Configure(JsonSerializerOptions json)
    {
        // A misspelt member must not be ignored: the volume would silently be another one than was asked for.
        json.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        json.AllowDuplicateProperties = false;
        json.RespectNullableAnnotations = true;
        json.Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping;
        return json;
    }

    /// <summary>Leaves signals to the node.</summary>
    private sealed class SilentLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
