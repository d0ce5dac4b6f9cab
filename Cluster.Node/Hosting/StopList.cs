using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

/// <summary>What was started, to be stopped in the reverse order. One thread.</summary>
internal sealed partial class StopList(ILogger logger)
{
    private readonly Stack<(string What, Func<Task> Stop)> _started = new();

    public void Add(string what, Func<Task> stop) => _started.Push((what, stop));

    public void Add(string what, IAsyncDisposable part) => Add(what, async () => await part.DisposeAsync());

    public void Add(string what, IDisposable part) => Add(what, () =>
    {
        part.Dispose();
        return Task.CompletedTask;
    });

    /// <summary>
    /// Stops everything within the time given. A part that fails or is late is logged and left behind: the process ends, and every part
    /// is made to survive that at any instruction.
    /// </summary>
    public async Task StopAsync(TimeSpan atMost)
    {
        using var limit = new CancellationTokenSource(atMost);
        while (_started.TryPop(out var part))
        {
            LogStops(part.What);
            try
            {
                await part.Stop().WaitAsync(limit.Token);
            }
            catch (OperationCanceledException) when (limit.IsCancellationRequested)
            {
                LogLate(part.What, atMost.TotalSeconds);
                return;
            }
            catch (Exception e)
            {
                LogFailed(e, part.What);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "stops {What}")]
    private partial void LogStops(string what);

    [LoggerMessage(Level = LogLevel.Error, Message = "{What} did not stop in order")]
    private partial void LogFailed(Exception e, string what);

    [LoggerMessage(Level = LogLevel.Error, Message = "the stop took longer than {Seconds} s, at {What}; the process ends without it")]
    private partial void LogLate(string what, double seconds);
}
