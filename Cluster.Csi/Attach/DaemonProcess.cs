using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Cluster.Csi.Attach;

/// <summary>
/// A helper process that outlives this one. It is known by the end of one of its arguments, which names a path that is only its own: that is
/// found again after any crash, also one right after it was started, and no other process that got the same pid is ever taken for it.
/// </summary>
internal static class DaemonProcess
{
    /// <summary>The pids of processes of the program's name with an argument that ends so. Those that have ended show no arguments.</summary>
    public static IReadOnlyList<int> Find(string program, string mark)
    {
        var found = new List<int>();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && Is(pid, program, mark)) found.Add(pid);
        }
        return found;
    }

    public static bool Is(int pid, string program, string mark)
    {
        try
        {
            var parts = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"), Encoding.UTF8).Split('\0');
            return Path.GetFileName(parts[0]) == program && parts.Any(part => part.EndsWith(mark, StringComparison.Ordinal));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>
    /// Starts it as a session of its own, so that no signal to this process or its terminal reaches it, with its output in a file that is begun
    /// anew. Answers its process, which may be gone already.
    /// </summary>
    public static Process Start(string program, IEnumerable<string> arguments, string directory, string log)
    {
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false, WorkingDirectory = directory };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("log=$1; shift; exec setsid \"$@\" >\"$log\" 2>&1 </dev/null");
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add(log);
        start.ArgumentList.Add(program);
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        start.Environment["LC_ALL"] = "C";
        // Settings and sockets of this process are none of the daemon's.
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("MYRMIDON_", StringComparison.Ordinal) || name == "NOTIFY_SOCKET").ToArray())
            start.Environment.Remove(name);
        return Process.Start(start)!;
    }

    /// <summary>Asks every such process to end, kills those that do not in time, and answers when all are gone.</summary>
    public static async Task<bool> StopAsync(string program, string mark, bool now, CancellationToken cancellation)
    {
        var asked = false;
        for (var waited = Stopwatch.StartNew(); Find(program, mark) is { Count: > 0 } pids;)
        {
            if (waited.ElapsedMilliseconds > AttachLimits.DaemonStopMs + AttachLimits.ReleaseMs) return false;
            var kill = now || waited.ElapsedMilliseconds > AttachLimits.DaemonStopMs;
            foreach (var pid in pids)
            {
                if (asked && !kill) continue;
                using var process = Native.OpenProcess(pid);
                // Looked at again through a handle that is to this very process.
                if (!process.IsInvalid && Is(pid, program, mark)) Native.Signal(process, kill ? Native.Kill : Native.Terminate);
            }
            asked = true;
            await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false);
        }
        return true;
    }
}
