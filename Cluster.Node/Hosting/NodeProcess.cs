using System.Diagnostics;
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
        var (exit, anew, reason, _) = await RunOnceAsync(options, settings.Akka, cancellation);
        // What it was for is the last that the process says, after all that its stop has told.
        if (reason.Length > 0 && (anew == 0 || cancellation.IsCancellationRequested)) await error.WriteLineAsync($"myrmidon: {reason}");
        if (anew == 0 || cancellation.IsCancellationRequested) return exit;
        await error.WriteLineAsync($"myrmidon: the node can't start anew by itself: {ProcessImage.StartAnew(anew)}");
        return exit;
    }

    /// <summary>How a run ended.</summary>
    /// <param name="Anew">How often in a row, with this time, the process is to start anew instead of ending; 0: it ends.</param>
    /// <param name="Reason">Why it ends, or an empty text.</param>
    /// <param name="Served">For how long the node was up in its cluster.</param>
    private readonly record struct RunEnd(int Exit, int Anew, string Reason, TimeSpan Served);

    /// <summary>The log is written out when it returns. A process that is to start anew has had its pause then.</summary>
    private static async Task<RunEnd> RunOnceAsync(NodeOptions options, Config akka, CancellationToken cancellation)
    {
        await using var logging = NodeLogging.Build(options.Name, options.LogLevel);
        var loggers = (ILoggerFactory)logging.GetService(typeof(ILoggerFactory))!;
        var log = loggers.CreateLogger("Myrmidon.Node");
        // Settings that loaded have a plan.
        var container = ContainerMemory.LimitBytes();
        var plan = MemoryPlan.Of(options, container).Plan ?? MemoryPlan.Unlimited;
        // Before the collector has its limit: it tells that from then on.
        if (plan.WarningOf(container, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes) is { } warning) LogMemory(log, warning);
        using var memory = MemoryGuard.Start(plan, log);
        while (true)
        {
            var host = new NodeHost(options, akka, loggers, plan);
            var ended = await RunAsync(host, options, log, cancellation);
            if (ended.Anew > 0)
            {
                ended = ended with { Anew = AnewPause.Count(Environment.GetEnvironmentVariable(AnewPause.Variable), ended.Served) };
                await PauseAsync(ended.Anew, log, cancellation);
            }
            if (!host.StandsDown.IsCancellationRequested || cancellation.IsCancellationRequested) return ended;
            LogStandsDown(log, DataDirectory.PutJournalAside(options.DataDirectory, host.EraToPutAside));
        }
    }

    /// <summary>Ends early, without an exception, when the process is to end.</summary>
    private static async Task PauseAsync(int count, ILogger log, CancellationToken cancellation)
    {
        var pause = AnewPause.Before(count);
        if (pause == TimeSpan.Zero || cancellation.IsCancellationRequested) return;
        LogPauses(log, count, AnewPause.Settled.TotalSeconds, pause.TotalSeconds);
        await Task.Delay(pause, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>From start to stop.</summary>
    private static async Task<RunEnd> RunAsync(NodeHost host, NodeOptions options, ILogger log, CancellationToken cancellation)
    {
        var (exit, anew, reason) = (ExitCode.Ok, false, "");
        long servesSince = 0;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, host.StandsDown);
        using var start = CancellationTokenSource.CreateLinkedTokenSource(either.Token);
        try
        {
            // What ends a node may come while it still starts: it would wait for its cluster for ever.
            var started = host.StartAsync(start.Token);
            if (await Task.WhenAny(host.Ended, started) == started)
            {
                await started;
                servesSince = Stopwatch.GetTimestamp();
            }
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
        var served = servesSince == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(servesSince);
        LogStops(log);
        await host.StopAsync(anew ? AnewStopMax : options.StopTimeout);
        return new RunEnd(exit, anew ? 1 : 0, reason, served);
    }

    [LoggerMessage(Message = "{Reason}")]
    private static partial void LogEnded(ILogger logger, LogLevel level, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "was stopped before it served")]
    private static partial void LogInterrupted(ILogger logger);

    [LoggerMessage(Level = LogLevel.Warning, Message = "stands down: its journal is now {Directory}; starts anew")]
    private static partial void LogStandsDown(ILogger logger, string directory);

    [LoggerMessage(Level = LogLevel.Warning, Message = "has to start anew {Count} times in a row, without {Settled} s of service in between: waits {Seconds} s before it does")]
    private static partial void LogPauses(ILogger logger, int count, double settled, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "memory: {Warning}")]
    private static partial void LogMemory(ILogger logger, string warning);

    [LoggerMessage(Level = LogLevel.Information, Message = "stops")]
    private static partial void LogStops(ILogger logger);
}
