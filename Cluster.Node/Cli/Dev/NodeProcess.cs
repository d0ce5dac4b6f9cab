using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Cluster.Node.Cli.Dev;

/// <summary>
/// Node processes of a local cluster. Each is a session of its own, so that Ctrl-C at the supervisor's terminal does not reach it,
/// and writes its log to a file
/// itself, so that it outlives whoever started it.
/// </summary>
internal static partial class NodeProcess
{
    public const int KillNow = 9;

    public const int Term = 15;

    public const int Continue = 18;

    private const int PollMs = 20;

    /// <summary>Starts `myrmidon node ARGUMENTS`, by a program that becomes it if one is given.</summary>
    public static Process Start(IEnumerable<string> by, IEnumerable<string> arguments, string log)
    {
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        // The shell opens the log and becomes the node: the pid stays the same.
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("log=$1; shift; exec setsid \"$@\" >>\"$log\" 2>&1 </dev/null");
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add(log);
        foreach (var part in by.Concat(Program())) start.ArgumentList.Add(part);
        start.ArgumentList.Add("node");
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        // Settings of the caller's own cluster must not leak into this one.
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("MYRMIDON_", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(name);
        }
        return Process.Start(start) ?? throw new DevException("A node's process could not be started: /bin/sh did not run.");
    }

    /// <summary>
    /// Whether the process is alive and is the node whose data directory this is: a pid that was given out anew is not. One that shows no
    /// command line is just being started or is ending: it counts as alive, since its ports may be taken.
    /// </summary>
    public static bool IsAlive(int? pid, string data)
    {
        if (pid is not { } number) return false;
        var directory = $"/proc/{number.ToString(CultureInfo.InvariantCulture)}";
        try
        {
            var parts = File.ReadAllText($"{directory}/cmdline").Split('\0');
            return parts.Length > 1 ? parts.Contains("node") && parts.Contains(data) : !HasEnded(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>A zombie whose threads are all gone has closed its files.</summary>
    private static bool HasEnded(string directory)
    {
        var stat = File.ReadAllText($"{directory}/stat");
        var state = stat[stat.LastIndexOf(')') + 2];
        return state is 'X' or 'x' || (state == 'Z' && Directory.GetDirectories($"{directory}/task").Length <= 1);
    }

    /// <summary>Whether a node ends on it: all but those that stop or continue it, or that are ignored by default.</summary>
    public static bool EndsProcess(int signal) => signal is not (Continue or 19 or 20 or 21 or 22 or 17 or 23 or 28);

    /// <summary>False when the process is gone already.</summary>
    public static bool Signal(int pid, int signal) => Kill(pid, signal) == 0;

    /// <summary>True once the process is gone; false after the timeout.</summary>
    public static async Task<bool> WaitForEndAsync(int pid, string data, int timeoutMs, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); IsAlive(pid, data);)
        {
            if (waited.ElapsedMilliseconds > timeoutMs) return false;
            await Task.Delay(PollMs, cancellation);
        }
        return true;
    }

    /// <summary>The last lines of a log, indented, for an error message.</summary>
    public static string Tail(string log, int linesMax)
    {
        try
        {
            var lines = File.ReadLines(log).TakeLast(linesMax).ToArray();
            return lines.Length == 0 ? "  (its log is empty)" : string.Join('\n', lines.Select(line => "  " + line));
        }
        catch (IOException)
        {
            return "  (it has no log)";
        }
    }

    /// <summary>A signal's number by its name, with or without SIG, or by its number; null when it is neither.</summary>
    public static int? SignalNumber(string text)
    {
        var name = text.ToUpperInvariant();
        if (name.StartsWith("SIG", StringComparison.Ordinal)) name = name[3..];
        return name switch
        {
            "HUP" => 1,
            "INT" => 2,
            "QUIT" => 3,
            "ABRT" => 6,
            "KILL" => 9,
            "TERM" => 15,
            "CONT" => 18,
            "STOP" => 19,
            _ => int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 0 and < 64 ? number
                : null,
        };
    }

    /// <summary>This program, as a command.</summary>
    internal static string[] Program()
    {
        // Run by `dotnet myrmidon.dll` as by the launcher, or from a published executable.
        var assembly = typeof(NodeProcess).Assembly.Location;
        var host = Environment.ProcessPath ?? "dotnet";
        var isHost = Path.GetFileNameWithoutExtension(host) is "dotnet";
        if (!isHost && Path.GetFileName(host) == "myrmidon") return [host];
        return [isHost ? host : "dotnet", "exec", assembly];
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int pid, int signal);
}
