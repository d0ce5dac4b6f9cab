using System.Globalization;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>CPU of this process and of its I/O threads, from the kernel (/proc/self/task/TID/schedstat). Any thread.</summary>
internal sealed class ThreadMetrics
{
    private const string Tasks = "/proc/self/task";
    private const string OfMainThread = "/proc/self/schedstat";
    private const double NanosecondsPerSecond = 1e9;

    private readonly string _name;
    private volatile string? _path;

    private ThreadMetrics(string name) => _name = name;

    /// <summary>Seconds on a core, and seconds in which the thread was ready and none was free. A thread gets its name a moment after its start: until then 0.</summary>
    private (double Cpu, double Delay) Times => (_path ??= PathOf(_name)) is { } path && TryRead(path, out var cpu, out var delay) ? (cpu, delay) : (0, 0);

    /// <param name="names">Of threads that run as long as the process. Without CONFIG_SCHED_INFO the kernel tells nothing of threads, and nor does the page.</param>
    public static void Expose(Metrics metrics, IReadOnlyList<string> names)
    {
        metrics.AddCounter("myrmidon_process_cpu_seconds_total", "CPU time of the node's process.", () => Environment.CpuUsage.TotalTime.TotalSeconds);
        metrics.AddGauge("myrmidon_process_resident_bytes", "Memory of the node's process.", () => Environment.WorkingSet);
        if (!TryRead(OfMainThread, out _, out _)) return;
        foreach (var name in names)
        {
            var thread = new ThreadMetrics(name);
            metrics.AddCounter("myrmidon_thread_cpu_seconds_total", "CPU time of the node's I/O threads.", () => thread.Times.Cpu, ("thread", name));
            metrics.AddCounter("myrmidon_thread_run_delay_seconds_total", "Time in which the thread could have run and had no core.", () => thread.Times.Delay, ("thread", name));
        }
    }

    private static string? PathOf(string name) =>
        Directory.EnumerateDirectories(Tasks).FirstOrDefault(task => TryName(task) == name) is { } found ? Path.Combine(found, "schedstat") : null;

    /// <summary>Threads end between the listing and the look.</summary>
    private static string? TryName(string task)
    {
        try
        {
            return File.ReadAllText(Path.Combine(task, "comm")).TrimEnd('\n');
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static bool TryRead(string path, out double cpuSeconds, out double delaySeconds)
    {
        (cpuSeconds, delaySeconds) = (0, 0);
        try
        {
            var fields = File.ReadAllText(path).Split(' ');
            cpuSeconds = double.Parse(fields[0], CultureInfo.InvariantCulture) / NanosecondsPerSecond;
            delaySeconds = double.Parse(fields[1], CultureInfo.InvariantCulture) / NanosecondsPerSecond;
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
