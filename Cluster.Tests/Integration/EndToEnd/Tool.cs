using System.Diagnostics;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>A program that ran.</summary>
public sealed record ToolRun(string Command, int Exit, string Output, string Error)
{
    /// <summary>This, or a failed test that shows all that the program said.</summary>
    public ToolRun Ok()
    {
        Assert.True(Exit == 0, $"{Command}\nexit {Exit}\n{Output}\n{Error}");
        return this;
    }
}

/// <summary>
/// Runs unchanged public programs, each within a time limit; one that is still running then is killed and fails the test.
/// </summary>
public static class Tool
{
    private static readonly TimeSpan TimeMax = TimeSpan.FromMinutes(3);

    public static Task<ToolRun> RunAsync(string program, params string[] arguments) =>
        RunInAsync(Environment.CurrentDirectory, program, arguments);

    public static async Task<ToolRun> RunInAsync(string directory, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = directory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        using var limit = new CancellationTokenSource(TimeMax);
        var command = $"{program} {string.Join(' ', arguments)}";
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            return new ToolRun(command, -1, await output, await error + $"\nstill running after {TimeMax.TotalSeconds} s, killed");
        }
        return new ToolRun(command, process.ExitCode, await output, await error);
    }
}
