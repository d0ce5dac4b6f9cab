using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Cluster.Csi.Attach;

/// <summary>How a program ended, and what it said.</summary>
internal sealed record ProgramRun(string Program, int Exit, string Output, string Error)
{
    public bool IsOk => Exit == 0;

    /// <summary>One sentence for the user.</summary>
    public string Reason => $"{Program} failed (exit {Exit}): {(Error.Trim() is { Length: > 0 } said ? said : Output.Trim())}".Replace('\n', ' ');
}

/// <summary>Runs programs of the host: found in the system's directories, with a plain environment, within a time.</summary>
internal static class HostProgram
{
    private const int NoProgram = 127;
    private const int TooLate = 124;

    /// <summary>The first of the programs that is missing, as a reason; null when all are there.</summary>
    public static string? Missing(params ReadOnlySpan<string> programs)
    {
        foreach (var program in programs)
        {
            if (HostPrograms.Find(program) is null) return $"this host has no program {program}: install {HostPrograms.Packages.GetValueOrDefault(program, program)}";
        }
        return null;
    }

    public static Task<ProgramRun> RunAsync(string program, string[] arguments, CancellationToken cancellation) =>
        RunAsync(program, arguments, AttachLimits.ProgramMs, cancellation);

    /// <summary>
    /// Runs it to its end. Cancelled, it is killed, and the cancellation thrown: what it did or not is found out by whoever looks next.
    /// </summary>
    public static Task<ProgramRun> RunAsync(string program, string[] arguments, int atMostMs, CancellationToken cancellation) =>
        HostPrograms.Find(program) is { } file ? RunAsync(program, file, arguments, null, atMostMs, cancellation)
            : Task.FromResult(new ProgramRun(program, NoProgram, "", Missing(program)!));

    /// <summary>Runs a process of this program that gets one line, and whose input ends when this process does.</summary>
    public static Task<ProgramRun> WorkAsync(IReadOnlyList<string> command, string line, int atMostMs, CancellationToken cancellation) =>
        RunAsync(string.Join(' ', command), command[0], [.. command.Skip(1)], line, atMostMs, cancellation);

    private static async Task<ProgramRun> RunAsync(string program, string file, string[] arguments, string? line, int atMostMs, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(file, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["PATH"] = HostPrograms.Path;
        // What programs say is shown to users and partly read: one language.
        start.Environment["LC_ALL"] = "C";
        Process? started;
        try
        {
            started = Process.Start(start);
        }
        catch (Win32Exception failure)
        {
            return new ProgramRun(program, NoProgram, "", failure.Message);
        }
        using var process = started!;
        // The process's own disposal leaves open what was used of these. The stream below the writer: a writer that could not write tries again when it is disposed.
        await using var input = process.StandardInput.BaseStream;
        if (line is null) input.Close();
        else await TellAsync(input, line).ConfigureAwait(false);
        var (output, error) = (ReadAsync(process.StandardOutput), ReadAsync(process.StandardError));
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(atMostMs);
        try
        {
            await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await EndedAsync(process).ConfigureAwait(false);
            cancellation.ThrowIfCancellationRequested();
            return new ProgramRun(program, TooLate, "", $"it still ran after {atMostMs / 1000} s");
        }
        return new ProgramRun(program, process.ExitCode, await output.ConfigureAwait(false), await error.ConfigureAwait(false));
    }

    /// <summary>Until it has ended it may hold the device, and whoever looks next would find it in use. One that waits for a device which does not answer can't be killed.</summary>
    private static async Task EndedAsync(Process process)
    {
        using var limit = new CancellationTokenSource(AttachLimits.KilledMs);
        try
        {
            await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // It goes when its device answers; until then a device that it holds is in use.
        }
    }

    private static async Task TellAsync(Stream input, string line)
    {
        try
        {
            await input.WriteAsync(Encoding.UTF8.GetBytes(line + '\n')).ConfigureAwait(false);
            await input.FlushAsync().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // It has ended already; its exit says why.
        }
    }

    private static async Task<string> ReadAsync(StreamReader from)
    {
        using var closed = from;
        var kept = new StringBuilder();
        var buffer = new char[4096];
        for (int count; (count = await from.ReadAsync(buffer).ConfigureAwait(false)) > 0;)
        {
            if (kept.Length < AttachLimits.ProgramOutputChars) kept.Append(buffer, 0, count);
        }
        return kept.ToString();
    }
}
