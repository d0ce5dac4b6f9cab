using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Csi.Attach;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Docker;

/// <summary>Docker's volume plug-in protocol: HTTP on a Unix socket that only its owner may use. Errors are in "Err" of an answer with status 200.</summary>
public sealed partial class DockerPlugin : IAsyncDisposable
{
    private const string ContentType = "application/vnd.docker.plugins.v1.2+json";
    private const int RequestBytesMax = 64 * 1024;
    private const int StopMs = 2000;
    private const string Done = "done";
    private const string Refused = "refused";
    private const string Failed = "failed";

    private static readonly string[] Calls = ["Activate", "Capabilities", "Create", "Remove", "Mount", "Unmount", "Path", "Get", "List"];

    internal static JsonSerializerOptions Json { get; } = new() { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

    private readonly WebApplication _application;
    private readonly string _socket;
    private readonly DockerDriver _driver;
    private readonly Action<string, string> _onCall;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stops = new();
    private Task _recovery = Task.CompletedTask;

    private DockerPlugin(WebApplication application, string socket, DockerDriver driver, Action<string, string> onCall, ILogger logger) =>
        (_application, _socket, _driver, _onCall, _logger) = (application, socket, driver, onCall, logger);

    /// <summary>
    /// Listens on <paramref name="socket"/>, which replaces one that a dead process left. Mounts are under <paramref name="directory"/>; what a crash left of
    /// unmounts is finished beside the first calls. Throws IOException, with one sentence, if the socket can't be had.
    /// </summary>
    /// <param name="onCall">Told the call ("Mount") and its outcome (done, refused, failed) when it ended; any thread.</param>
    public static async Task<DockerPlugin> StartAsync(
        string socket, string directory, string bootId, VolumeDevices devices, IHostVolumes volumes, Action<string, string> onCall, ILoggerFactory loggers,
        CancellationToken cancellation)
    {
        var logger = loggers.CreateLogger("Myrmidon.Docker");
        LocalSocket.Free(socket, logger);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = typeof(DockerPlugin).Assembly.GetName().Name });
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = RequestBytesMax;
            kestrel.ListenUnixSocket(socket);
        });
        builder.Services.Configure<SocketTransportOptions>(sockets => sockets.CreateBoundListenSocket = LocalSocket.Bind);
        builder.Services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        builder.Services.AddSingleton<IHostLifetime, SilentLifetime>();
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromMilliseconds(StopMs));
        var application = builder.Build();
        Directory.CreateDirectory(directory);
        var driver = new DockerDriver(devices, volumes, Native.RealPath(directory) ?? directory, bootId, logger);
        var plugin = new DockerPlugin(application, socket, driver, onCall, logger);
        application.Run(plugin.OnRequestAsync);
        try
        {
            await application.StartAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            await application.DisposeAsync().ConfigureAwait(false);
            if (e is SocketException or UnauthorizedAccessException) throw new IOException($"The socket {socket} can't be made: {e.Message}", e);
            throw;
        }
        plugin._recovery = driver.RecoverAsync(plugin._stops.Token);
        plugin.LogListens(socket);
        return plugin;
    }

    public async ValueTask DisposeAsync()
    {
        // Before the listener ends: afterwards the path may be another process's.
        File.Delete(_socket);
        await _stops.CancelAsync().ConfigureAwait(false);
        await _application.StopAsync().ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
        await _recovery.ConfigureAwait(false);
        _stops.Dispose();
    }

    private async Task OnRequestAsync(HttpContext http)
    {
        var started = Stopwatch.GetTimestamp();
        // Of a request only what is bounded is logged and counted: a known call, and a name that is one.
        var method = Calls.FirstOrDefault(known => http.Request.Path.Value == PathOf(known)) ?? "other";
        var (answer, volume, outcome) = (new DockerAnswer(), "", Done);
        try
        {
            var call = await ReadAsync(http.Request, http.RequestAborted).ConfigureAwait(false);
            volume = DockerName.VolumeOf(call.Name) is { } name ? name : "";
            answer = await AnswerAsync(method, http.Request.Path, call, http.RequestAborted).ConfigureAwait(false);
            if (answer.Err.Length > 0) outcome = Refused;
        }
        catch (JsonException wrong)
        {
            (answer, outcome) = (DockerAnswer.Error($"the call is not the JSON that is expected: {wrong.Message}"), Refused);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            _onCall(method, Failed);
            http.Abort();
            return;
        }
        catch (Exception failure)
        {
            LogFailed(failure, method, volume);
            (answer, outcome) = (DockerAnswer.Error($"the node failed to answer ({failure.Message}): its log has the details"), Failed);
        }
        _onCall(method, outcome);
        var ms = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        if (outcome == Refused) LogRefused(method, volume, ms, answer.Err);
        else if (outcome == Done && method is ("Create" or "Remove" or "Mount" or "Unmount")) LogDone(method, volume, ms);
        else if (outcome == Done) LogLooked(method, volume, ms);
        http.Response.ContentType = ContentType;
        await http.Response.WriteAsync(JsonSerializer.Serialize(answer, Json), http.RequestAborted).ConfigureAwait(false);
    }

    /// <summary>Where volumes are mounted, below the plug-in's directory.</summary>
    public static string MountsIn(string directory) => DockerDriver.MountsIn(directory);

    private static string PathOf(string method) => method == "Activate" ? "/Plugin.Activate" : $"/VolumeDriver.{method}";

    private async Task<DockerAnswer> AnswerAsync(string method, string path, DockerCall call, CancellationToken cancellation) => method switch
    {
        "Activate" => new DockerAnswer { Implements = ["VolumeDriver"] },
        "Capabilities" => new DockerAnswer { Capabilities = new DockerCapabilities("global") },
        "Create" => await _driver.CreateAsync(call, cancellation).ConfigureAwait(false),
        "Remove" => await _driver.RemoveAsync(call, cancellation).ConfigureAwait(false),
        "Mount" => await _driver.MountAsync(call, cancellation).ConfigureAwait(false),
        "Unmount" => await _driver.UnmountAsync(call, cancellation).ConfigureAwait(false),
        "Path" => await _driver.PathAsync(call, cancellation).ConfigureAwait(false),
        "Get" => await _driver.GetAsync(call, cancellation).ConfigureAwait(false),
        "List" => await _driver.ListAsync(cancellation).ConfigureAwait(false),
        _ => DockerAnswer.Error($"{path} is no call of a volume plug-in"),
    };

    /// <summary>Some calls come without a body, or with null.</summary>
    private static async Task<DockerCall> ReadAsync(HttpRequest request, CancellationToken cancellation)
    {
        using var reader = new StreamReader(request.Body);
        var text = await reader.ReadToEndAsync(cancellation).ConfigureAwait(false);
        return string.IsNullOrWhiteSpace(text) ? new DockerCall() : JsonSerializer.Deserialize<DockerCall>(text) ?? new DockerCall();
    }

    [LoggerMessage(EventId = 2401, Level = LogLevel.Information, Message = "Docker's volume plug-in listens on {Socket}")]
    private partial void LogListens(string socket);

    [LoggerMessage(EventId = 2402, Level = LogLevel.Information, Message = "Docker {Call} volume {Volume}: done in {Ms} ms")]
    private partial void LogDone(string call, string volume, long ms);

    [LoggerMessage(EventId = 2403, Level = LogLevel.Debug, Message = "Docker {Call} volume {Volume}: done in {Ms} ms")]
    private partial void LogLooked(string call, string volume, long ms);

    [LoggerMessage(EventId = 2404, Level = LogLevel.Warning, Message = "Docker {Call} volume {Volume}: refused after {Ms} ms: {Reason}")]
    private partial void LogRefused(string call, string volume, long ms, string reason);

    [LoggerMessage(EventId = 2405, Level = LogLevel.Error, Message = "Docker {Call} volume {Volume} failed")]
    private partial void LogFailed(Exception failure, string call, string volume);

    /// <summary>Leaves signals to the node.</summary>
    private sealed class SilentLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
