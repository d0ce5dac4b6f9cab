using Akka.Configuration;
using Cluster.Node.Cli;
using Cluster.Node.Hosting.Logging;
using Cluster.Node.Hosting.Memory;
using Cluster.Node.Hosting.Options;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

/// <summary>`myrmidon node`: a node in this process, from settings to exit code.</summary>
public static partial class NodeProcess
{
    /// <summary>A node that was taken out of its cluster has nothing to hand over: what has not stopped by then ends with the old run.</summary>
    private static readonly TimeSpan AnewStopMax = TimeSpan.FromSeconds(3);

    /// <param name="flags">Keys of settings without "myrmidon.", with their text.</param>
    /// <param name="file">The operator's settings file, or null.</param>
    /// <param name="cancellation">SIGTERM and Ctrl-C: stop in order.</param>
    public static async Task<int> RunAsync(
        IReadOnlyDictionary<string, string> flags, string? file, TextWriter error, CancellationToken cancellation)
    {
        var settings = NodeSettings.Load(flags, NodeSettings.Variables(), file);
        if (settings.Options is not { } options)
        {
            await error.WriteLineAsync($"myrmidon: {settings.Error}");
            return ExitCode.Usage;
        }
        if (OpenFiles.Refusal(OpenFiles.OfProcess()) is { Length: > 0 } refusal)
        {
            await error.WriteLineAsync($"myrmidon: {refusal}");
            return ExitCode.Failure;
        }
        var (exit, anew, reason) = await RunOnceAsync(options, settings.Akka, cancellation);
        // What it was for is the last that the process says, after all that its stop has told.
        if (reason.Length > 0 && (!anew || cancellation.IsCancellationRequested)) await error.WriteLineAsync($"myrmidon: {reason}");
        if (!anew || cancellation.IsCancellationRequested) return exit;
        await error.WriteLineAsync($"myrmidon: the node can't start anew by itself: {ProcessImage.StartAnew()}");
        return exit;
    }

    /// <summary>The exit code, whether the process is to start anew instead of ending, and why it ends, or an empty text. The log is written out when it returns.</summary>
    private static async Task<(int Exit, bool Anew, string Reason)> RunOnceAsync(NodeOptions options, Config akka, CancellationToken cancellation)
    {
        await using var logging = NodeLogging.Build(options.Name, options.LogLevel);
        var loggers = (ILoggerFactory)logging.GetService(typeof(ILoggerFactory))!;
        var log = loggers.CreateLogger("Myrmidon.Node");
        // Settings that loaded have a plan.
        var plan = MemoryPlan.Of(options, ContainerMemory.LimitBytes()).Plan ?? MemoryPlan.Unlimited;
        using var memory = MemoryGuard.Start(plan, log);
        while (true)
        {
            var host = new NodeHost(options, akka, loggers, plan);
            var ended = await RunAsync(host, options, log, cancellation);
            if (!host.StandsDown.IsCancellationRequested || cancellation.IsCancellationRequested) return ended;
            LogStandsDown(log, DataDirectory.PutJournalAside(options.DataDirectory, host.EraToPutAside));
        }
    }

    /// <summary>From start to stop.</summary>
    private static async Task<(int Exit, bool Anew, string Reason)> RunAsync(
        NodeHost host, NodeOptions options, ILogger log, CancellationToken cancellation)
    {
        var (exit, anew, reason) = (ExitCode.Ok, false, "");
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, host.StandsDown);
        using var start = CancellationTokenSource.CreateLinkedTokenSource(either.Token);
        try
        {
            // What ends a node may come while it still starts: it would wait for its cluster for ever.
            var started = host.StartAsync(start.Token);
            if (await Task.WhenAny(host.Ended, started) == started) await started;
            else
            {
                await start.CancelAsync();
                await started.WaitAsync(AnewStopMax, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            var stop = Task.Delay(Timeout.Infinite, either.Token);
            if (await Task.WhenAny(host.Ended, stop) == host.Ended)
            {
                (reason, anew) = await host.Ended;
                exit = ExitCode.Failure;
                LogEnded(log, anew ? LogLevel.Warning : LogLevel.Critical, reason);
            }
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            LogInterrupted(log);
        }
        catch (NodeStartException e)
        {
            LogEnded(log, LogLevel.Critical, e.Message);
            (exit, reason) = (ExitCode.Failure, e.Message);
        }
        LogStops(log);
        await host.StopAsync(anew ? AnewStopMax : options.StopTimeout);
        return (exit, anew, reason);
    }

    [LoggerMessage(Message = "{Reason}")]
    private static partial void LogEnded(ILogger logger, LogLevel level, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "was stopped before it served")]
    private static partial void LogInterrupted(ILogger logger);

    [LoggerMessage(Level = LogLevel.Warning, Message = "stands down: its journal is now {Directory}; starts anew")]
    private static partial void LogStandsDown(ILogger logger, string directory);

    [LoggerMessage(Level = LogLevel.Information, Message = "stops")]
    private static partial void LogStops(ILogger logger);
}
