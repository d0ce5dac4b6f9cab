using System.Globalization;

namespace Cluster.Node.Cli.Bench;

/// <summary>On a terminal one line, rewritten twice a second, that tells how the job goes; else nothing.</summary>
internal sealed class BenchProgress(TextWriter output, bool isTerminal)
{
    private const string ClearLine = "\r\u001b[K";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    /// <summary>Shows the line until the work ends, however it ends.</summary>
    public async Task<T> ShowAsync<T>(string what, Func<long> operations, Task<T> work)
    {
        if (!isTerminal) return await work;
        using var timer = new PeriodicTimer(Pause);
        long before = 0;
        while (true)
        {
            var tick = timer.WaitForNextTickAsync().AsTask();
            if (await Task.WhenAny(work, tick) == work) break;
            var now = operations();
            await output.WriteAsync(ClearLine + string.Create(CultureInfo.InvariantCulture, $"{what}: {now:N0} I/Os, {(now - before) / Pause.TotalSeconds:N0}/s"));
            await output.FlushAsync();
            before = now;
        }
        await output.WriteAsync(ClearLine);
        await output.FlushAsync();
        return await work;
    }
}
