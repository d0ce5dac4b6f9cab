using System.Diagnostics;
using Akka.Actor;
using Cluster.Node.Hosting.Serialization;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>
/// Once a node has joined, in the background: what a first creation or attachment would compile is run with throw-away state. Nothing rests on it: one that fails is told, and what it
/// would have spared is paid later. A stop ends it between two steps.
/// </summary>
internal sealed partial class NodeWarmUp : IDisposable
{
    private readonly CancellationTokenSource _stopped = new();
    private readonly ActorSystem _system;
    private readonly string _node;
    private readonly ILogger _logger;

    public NodeWarmUp(ActorSystem system, string node, ILogger logger)
    {
        (_system, _node, _logger) = (system, node, logger);
        Done = Task.Run(RunAsync);
    }

    /// <summary>Completes in any case.</summary>
    public Task Done { get; }

    /// <summary>Does not wait for it: what it runs is its own.</summary>
    public void Dispose() => _stopped.Cancel();

    private async Task RunAsync()
    {
        var (started, before, cancellation) = (Stopwatch.GetTimestamp(), System.Runtime.JitInfo.GetCompiledMethodCount(), _stopped.Token);
        try
        {
            await ControlWarmUp.RunAsync(new ControlSerializer((ExtendedActorSystem)_system), cancellation).ConfigureAwait(false);
            VolumeWarmUp.Run(cancellation);
            await ActorWarmUp.RunAsync(_system, cancellation).ConfigureAwait(false);
            LogDone(_node, Stopwatch.GetElapsedTime(started).TotalMilliseconds, System.Runtime.JitInfo.GetCompiledMethodCount() - before);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            LogStopped(_node);
        }
        catch (Exception e)
        {
            LogFailed(e, _node);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "node {Node} is warm: what a first volume needs ran with throw-away state, {Milliseconds:F0} ms in the background ({Methods} methods compiled meanwhile)")]
    private partial void LogDone(string node, double milliseconds, long methods);

    [LoggerMessage(Level = LogLevel.Debug, Message = "node {Node} stops before it is warm")]
    private partial void LogStopped(string node);

    [LoggerMessage(Level = LogLevel.Warning, Message = "node {Node} could not warm up; its first creations and attachments take longer")]
    private partial void LogFailed(Exception e, string node);
}
