using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Csi.Attach;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
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

    internal static JsonSerializerOptions Json { get; } = new() { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

    private readonly WebApplication _application;
    private readonly DockerDriver _driver;
    private readonly ILogger _logger;

    private DockerPlugin(WebApplication application, DockerDriver driver, ILogger logger) => (_application, _driver, _logger) = (application, driver, logger);

    /// <summary>
    /// Listens on <paramref name="socket"/>, which replaces one that a dead process left. Mounts are under <paramref name="directory"/>. Throws IOException if the
    /// socket can't be had.
    /// </summary>
    public static async Task<DockerPlugin> StartAsync(
        string socket, string directory, string bootId, VolumeDevices devices, IHostVolumes volumes, ILoggerFactory loggers, CancellationToken cancellation)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = typeof(DockerPlugin).Assembly.GetName().Name });
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = RequestBytesMax;
            kestrel.ListenUnixSocket(socket);
        });
        builder.Services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        builder.Services.AddSingleton<IHostLifetime, SilentLifetime>();
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromMilliseconds(StopMs));
        var application = builder.Build();
        Directory.CreateDirectory(directory);
        var driver = new DockerDriver(devices, volumes, Native.RealPath(directory) ?? directory, bootId);
        var plugin = new DockerPlugin(application, driver, loggers.CreateLogger("Myrmidon.Docker"));
        application.Run(plugin.OnRequestAsync);
        File.Delete(socket);
        try
        {
            await application.StartAsync(cancellation).ConfigureAwait(false);
        }
        catch
        {
            await application.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        if (OperatingSystem.IsLinux()) File.SetUnixFileMode(socket, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await driver.RecoverAsync(cancellation).ConfigureAwait(false);
        plugin.LogListens(socket);
        return plugin;
    }

    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync().ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
    }

    private async Task OnRequestAsync(HttpContext http)
    {
        DockerAnswer answer;
        try
        {
            answer = await AnswerAsync(http.Request, http.RequestAborted).ConfigureAwait(false);
        }
        catch (JsonException wrong)
        {
            answer = DockerAnswer.Error($"the call is not the JSON that is expected: {wrong.Message}");
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            http.Abort();
            return;
        }
        catch (Exception failure)
        {
            LogFailed(failure, http.Request.Path);
            answer = DockerAnswer.Error($"the node failed to answer ({failure.Message}): its log has the details");
        }
        if (answer.Err.Length > 0) LogRefused(http.Request.Path, answer.Err);
        http.Response.ContentType = ContentType;
        await http.Response.WriteAsync(JsonSerializer.Serialize(answer, Json), http.RequestAborted).ConfigureAwait(false);
    }

    private async Task<DockerAnswer> AnswerAsync(HttpRequest request, CancellationToken cancellation)
    {
        var call = await ReadAsync(request, cancellation).ConfigureAwait(false);
        return request.Path.Value switch
        {
            "/Plugin.Activate" => new DockerAnswer { Implements = ["VolumeDriver"] },
            "/VolumeDriver.Capabilities" => new DockerAnswer { Capabilities = new DockerCapabilities("global") },
            "/VolumeDriver.Create" => await _driver.CreateAsync(call, cancellation).ConfigureAwait(false),
            "/VolumeDriver.Remove" => await _driver.RemoveAsync(call, cancellation).ConfigureAwait(false),
            "/VolumeDriver.Mount" => await _driver.MountAsync(call, cancellation).ConfigureAwait(false),
            "/VolumeDriver.Unmount" => await _driver.UnmountAsync(call, cancellation).ConfigureAwait(false),
            "/VolumeDriver.Path" => await _driver.PathAsync(call, cancellation).ConfigureAwait(false),
            "/VolumeDriver.Get" => await _driver.GetAsync(call, cancellation).ConfigureAwait(false),
            "/VolumeDriver.List" => await _driver.ListAsync(cancellation).ConfigureAwait(false),
            _ => DockerAnswer.Error($"{request.Path} is no call of a volume plug-in"),
        };
    }

    /// <summary>Some calls come without a body, or with null.</summary>
    private static async Task<DockerCall> ReadAsync(HttpRequest request, CancellationToken cancellation)
    {
        using var reader = new StreamReader(request.Body);
        var text = await reader.ReadToEndAsync(cancellation).ConfigureAwait(false);
        return string.IsNullOrWhiteSpace(text) ? new DockerCall() : JsonSerializer.Deserialize<DockerCall>(text) ?? new DockerCall();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Docker's volume plug-in listens on {Socket}")]
    private partial void LogListens(string socket);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Call} is refused: {Reason}")]
    private partial void LogRefused(string call, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Call} failed")]
    private partial void LogFailed(Exception failure, string call);

    /// <summary>Leaves signals to the node.</summary>
    private sealed class SilentLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
