using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Cluster.Csi.Attach;

/// <summary>
/// A helper process that outlives this one. It is known by one of its arguments, which names a path that is only its own: that is
/// found again after any crash, also one right after it was started, and no other process that got the same pid is ever taken for it.
/// </summary>
internal static class DaemonProcess
{
    /// <summary>The pids of processes with just this argument. Those that have ended show no arguments.</summary>
    public static IReadOnlyList<int> Find(string mark)
    {
        var found = new List<int>();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && Is(pid, mark)) found.Add(pid);
        }
        return found;
    }

    public static bool Is(int pid, string mark)
    {
        try
        {
            var parts = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"), Encoding.UTF8).Split('\0');
            return parts.Contains(mark, StringComparer.Ordinal);
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
    public static Process Start(IEnumerable<string> command, string directory, string log)
    {
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false, WorkingDirectory = directory };
        start.ArgumentList.Add("-c");
        // Nor does it hold what whoever started this process had open: a lock, for one.
        start.ArgumentList.Add("log=$1; shift; exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec setsid \"$@\" >\"$log\" 2>&1 </dev/null");
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add(log);
        foreach (var argument in command) start.ArgumentList.Add(argument);
        start.Environment["LC_ALL"] = "C";
        // Settings and sockets of this process are none of the daemon's.
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("MYRMIDON_", StringComparison.Ordinal) || name == "NOTIFY_SOCKET").ToArray())
            start.Environment.Remove(name);
        return Process.Start(start)!;
    }

    /// <summary>Whether there was one to signal.</summary>
    public static bool Signal(string mark, int signal)
    {
        var any = false;
        foreach (var pid in Find(mark))
        {
            using var process = Native.OpenProcess(pid);
            // Looked at again through a handle that is to this very process.
            any |= !process.IsInvalid && Is(pid, mark) && Native.Signal(process, signal);
        }
        return any;
    }

    /// <summary>Answers when all are gone. They end by themselves when their file is unmounted; those that do not in time, or at once, are killed.</summary>
    public static async Task<bool> EndAsync(string mark, bool now, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); Find(mark).Count > 0; await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false))
        {
            if (waited.ElapsedMilliseconds > AttachLimits.DaemonStopMs + AttachLimits.ReleaseMs) return false;
            if (now || waited.ElapsedMilliseconds > AttachLimits.DaemonStopMs) Signal(mark, Native.Kill);
        }
        return true;
    }
}
