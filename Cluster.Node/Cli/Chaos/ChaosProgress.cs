using System.Globalization;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// The sentences of a run, and on a terminal below them one line that tells every second how it goes. Thread-safe.
/// </summary>
internal sealed class ChaosProgress(TextWriter output, bool isTerminal) : IAsyncDisposable
{
    private const string ClearLine = "\r\u001b[K";

    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _stop = new();
    private Task _running = Task.CompletedTask;

    /// <summary>Shows the line from now on.</summary>
    public void Start(ChaosRun run)
    {
        if (isTerminal) _running = RunAsync(run);
    }

    public void Say(string sentence)
    {
        lock (_lock)
        {
            if (isTerminal) output.Write(ClearLine);
            output.WriteLine(sentence);
            output.Flush();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
    }

    private async Task RunAsync(ChaosRun run)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        long before = 0;
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                var answers = run.Tally.Answers;
                var line = string.Create(CultureInfo.InvariantCulture,
                    $"{run.Elapsed:hh\\:mm\\:ss} {run.Log.Windows.Count - 1} faults, now: {run.Log.Present.Fault}; {answers} answers, "
                    + $"{answers - before}/s, {run.Tally.FailureCount} violations");
                before = answers;
                lock (_lock)
                {
                    output.Write(ClearLine + line);
                    output.Flush();
                }
            }
        }
        catch (OperationCanceledException)
        {
            lock (_lock) output.Write(ClearLine);
        }
    }
}
