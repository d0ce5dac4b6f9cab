using System.Net.Sockets;
using Cluster.Csi.Attach;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Csi;

/// <summary>The CSI driver of a node: gRPC on a Unix socket. It starts and stops with its owner, and takes no signals of its own.</summary>
public sealed class CsiServer : IAsyncDisposable
{
    private readonly WebApplication _application;

    private CsiServer(WebApplication application, string path) => (_application, Path) = (application, path);

    /// <summary>Of the socket.</summary>
    public string Path { get; }

    /// <summary>Throws IOException, with one sentence, when the socket can't be had.</summary>
    /// <param name="devices">Null while this host's devices are not looked after.</param>
    /// <param name="onCall">Told the method and the code of every call that ended; any thread.</param>
    public static async Task<CsiServer> StartAsync(
        string path, IVolumeControl control, Func<HostDevices?> devices, Action<string, StatusCode> onCall, ILoggerFactory loggers,
        CancellationToken cancellation = default)
    {
        var log = loggers.CreateLogger("Myrmidon.Csi");
        LocalSocket.Free(path, log);
        var application = Build(path, control, devices, new CsiCalls(log, onCall));
        try
        {
            await application.StartAsync(cancellation).ConfigureAwait(false);
            // Only now is it open to the group: from its making on nobody else could ever connect.
            LocalSocket.OpenToGroup(path);
        }
        catch (Exception e)
        {
            await application.DisposeAsync().ConfigureAwait(false);
            if (e is SocketException or UnauthorizedAccessException) throw new IOException($"The socket {path} can't be made: {e.Message}", e);
            throw;
        }
        CsiLog.Listening(log, path);
        return new CsiServer(application, path);
    }

    public async ValueTask DisposeAsync()
    {
        // Before the listener ends: afterwards the path may be another process's.
        File.Delete(Path);
        await _application.StopAsync().ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
    }

    private static WebApplication Build(string path, IVolumeControl control, Func<HostDevices?> devices, CsiCalls calls)
    {
        var builder = WebApplication.CreateEmptyBuilder(
            new WebApplicationOptions { ApplicationName = typeof(CsiServer).Assembly.GetName().Name });
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = CsiLimits.RequestBytesMax;
            kestrel.ListenUnixSocket(path, listen => listen.Protocols = HttpProtocols.Http2);
        });
        var services = builder.Services;
        services.Configure<SocketTransportOptions>(sockets => sockets.CreateBoundListenSocket = LocalSocket.Bind);
        services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        services.AddSingleton<IHostLifetime, SilentLifetime>();
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromMilliseconds(CsiLimits.StopMs));
        services.AddRoutingCore();
        services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = CsiLimits.RequestBytesMax);
        services.AddSingleton(new IdentityService(control, calls)).AddSingleton(new ControllerService(control, calls))
            .AddSingleton(new NodeService(control, devices, calls)).AddSingleton(new GroupControllerService(control, calls))
            .AddSingleton(new SnapshotMetadataService(control, calls));
        var application = builder.Build();
        application.UseRouting();
        application.MapGrpcService<IdentityService>();
        application.MapGrpcService<ControllerService>();
        application.MapGrpcService<NodeService>();
        application.MapGrpcService<GroupControllerService>();
        application.MapGrpcService<SnapshotMetadataService>();
        return application;
    }

    /// <summary>Leaves signals to the node.</summary>
    private sealed class SilentLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
