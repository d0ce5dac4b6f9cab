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
        while (true)
        {
            var host = new NodeHost(options, settings.Akka, loggers);
            var exit = await RunAsync(host, log, error, cancellation);
            if (!host.StandsDown.IsCancellationRequested || cancellation.IsCancellationRequested) return exit;
            LogStandsDown(log, DataDirectory.PutJournalAside(options.DataDirectory, host.EraToPutAside));
        }
    }

    /// <summary>From start to stop.</summary>
    private static async Task<int> RunAsync(NodeHost host, ILogger log, TextWriter error, CancellationToken cancellation)
    {
        var exit = ExitCode.Ok;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, host.StandsDown);
        try
        {
            await host.StartAsync(either.Token);
            var stop = Task.Delay(Timeout.Infinite, either.Token);
            if (await Task.WhenAny(host.Ended, stop) == host.Ended)
            {
                LogEnded(log, await host.Ended);
                exit = ExitCode.Failure;
            }
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
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

    [LoggerMessage(Level = LogLevel.Warning, Message = "stands down: its journal is now {Directory}; starts anew")]
    private static partial void LogStandsDown(ILogger logger, string directory);

    [LoggerMessage(Level = LogLevel.Information, Message = "stops")]
    private static partial void LogStops(ILogger logger);
}
