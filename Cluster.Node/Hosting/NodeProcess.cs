using Cluster.Node.Cli;
using Cluster.Node.Hosting.Logging;
using Cluster.Node.Hosting.Options;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

/// <summary>`myrmidon node`: a node in this process, from settings to exit code.</summary>
public static partial class NodeProcess
{
    /// <param name="flags">Keys of settings without "myrmidon.", with their text.</param>
    /// <param name="file">The operator's settings file, or null.</param>
    /// <param name="cancellation">SIGTERM and Ctrl-C: stop in order.</param>
    public static async Task<int> RunAsync(
        IReadOnlyDictionary<string, string> flags, string? file, TextWriter error, CancellationToken cancellation)
    {
        var settings = NodeSettings.Load(flags, Variables(), file);
        if (settings.Options is not { } options)
        {
            await error.WriteLineAsync($"myrmidon: {settings.Error}");
            return ExitCode.Usage;
        }
        await using var logging = NodeLogging.Build(options.Name, options.LogLevel);
        var loggers = (ILoggerFactory)logging.GetService(typeof(ILoggerFactory))!;
        var log = loggers.CreateLogger("Myrmidon.Node");
        var host = new NodeHost(options, settings.Akka, loggers);
        var exit = ExitCode.Ok;
        try
        {
            await host.StartAsync(cancellation);
            var stop = Task.Delay(Timeout.Infinite, cancellation);
            if (await Task.WhenAny(host.Ended, stop) == host.Ended)
            {
                LogEnded(log, await host.Ended);
                exit = ExitCode.Failure;
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            LogInterrupted(log);
        }
        catch (NodeStartException e)
        {
            LogEnded(log, e.Message);
            await error.WriteLineAsync($"myrmidon: {e.Message}");
            exit = ExitCode.Failure;
        }
        LogStops(log);
        await host.StopAsync();
        return exit;
    }

    private static Dictionary<string, string> Variables()
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (System.Collections.DictionaryEntry variable in Environment.GetEnvironmentVariables())
            variables[(string)variable.Key] = (string?)variable.Value ?? "";
        return variables;
    }

    [LoggerMessage(Level = LogLevel.Critical, Message = "{Reason}")]
    private static partial void LogEnded(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "was stopped before it served")]
    private static partial void LogInterrupted(ILogger logger);

    [LoggerMessage(Level = LogLevel.Information, Message = "stops")]
    private static partial void LogStops(ILogger logger);
}
