using System.Globalization;
using System.Text.RegularExpressions;
using Cluster.Node.Hosting;

namespace Cluster.Node.Cli.Preflight;

/// <summary>What does not depend on the node's settings: kernel, limits, memory, clock.</summary>
internal static partial class HostChecks
{
    /// <summary>pidfd_open(2), by which devices' processes are ended without hitting another one; the first kernel kept for long with it.</summary>
    private static readonly Version KernelMin = new(5, 4);

    /// <summary>As docker/myrmidon.service asks for: three files per client connection and device, and the store's.</summary>
    private const long FilesWanted = 65536;

    private const long MemoryWantedBytes = 2L << 30;
    private const long MemoryMinBytes = 512L << 20;

    /// <summary>Times in logs and snapshots' names of different nodes should agree this well; nothing's safety rests on it.</summary>
    private const double ClockErrorWantedMs = 1000;

    public static IEnumerable<Finding> All(IPreflightHost host) => [Kernel(host), Files(host), Memory(host), Clock(host)];

    private static Finding Kernel(IPreflightHost host)
    {
        var release = host.KernelRelease;
        var numbers = ReleaseNumbers().Match(release);
        if (!numbers.Success) return Finding.Warn("kernel", $"its release '{release}' can't be read", $"make sure that it is {KernelMin} or newer");
        var version = new Version(int.Parse(numbers.Groups[1].Value, CultureInfo.InvariantCulture), int.Parse(numbers.Groups[2].Value, CultureInfo.InvariantCulture));
        return version >= KernelMin
            ? Finding.Ok("kernel", release)
            : Finding.Fail("kernel", $"{release} is older than {KernelMin}", $"boot a kernel of {KernelMin} or newer");
    }

    private static Finding Files(IPreflightHost host)
    {
        if (OpenFiles.Limit(host.Read("/proc/self/limits")) is not { } files) return Finding.Warn("open-files", "the limit can't be read", $"make sure that it is {FilesWanted} or more");
        if (files == long.MaxValue) return Finding.Ok("open-files", "unlimited");
        if (files < OpenFiles.Least) return Finding.Fail("open-files", Text($"at most {files}: a node needs {OpenFiles.Least} to start"), Text($"LimitNOFILE={FilesWanted} in the systemd unit, or: ulimit -Hn {FilesWanted}"));
        return files >= FilesWanted
            ? Finding.Ok("open-files", Text($"at most {files}"))
            : Finding.Warn("open-files", Text($"at most {files}: many clients and devices need more"), Text($"LimitNOFILE={FilesWanted} in the systemd unit, or: ulimit -Hn {FilesWanted}"));
    }

    private static Finding Memory(IPreflightHost host)
    {
        var total = Kibibytes(host.Read("/proc/meminfo"), "MemTotal:");
        if (total is null) return Finding.Warn("memory", "/proc/meminfo can't be read", $"make sure that there are {SizeText.Format((ulong)MemoryWantedBytes)}");
        // Version 2 of control groups, seen from inside; version 1 has another file.
        foreach (var file in new[] { "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes" })
        {
            if (long.TryParse(host.Read(file)?.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var bound)) total = Math.Min(total.Value, bound);
        }
        var found = $"{SizeText.Format((ulong)total.Value)} for this process";
        if (total < MemoryMinBytes) return Finding.Fail("memory", found, $"give the node {SizeText.Format((ulong)MemoryWantedBytes)} (a container: its memory limit)");
        return total < MemoryWantedBytes
            ? Finding.Warn("memory", $"{found}: enough for a try", $"give the node {SizeText.Format((ulong)MemoryWantedBytes)} (a container: its memory limit)")
            : Finding.Ok("memory", found);
    }

    private static Finding Clock(IPreflightHost host)
    {
        const string fix = "run a time service: apt-get install chrony (or: timedatectl set-ntp true)";
        if (host.Clock() is not { } clock) return Finding.Warn("clock", "the kernel does not tell its state", fix);
        if (!clock.IsSynchronised) return Finding.Warn("clock", "nothing synchronises it: times in logs and in the names of scheduled snapshots will not agree between nodes (data does not depend on it)", fix);
        return clock.ErrorMaxMs > ClockErrorWantedMs
            ? Finding.Warn("clock", Text($"synchronised, but off by up to {clock.ErrorMaxMs:0} ms"), "see what the time service says: chronyc tracking")
            : Finding.Ok("clock", Text($"synchronised, off by {clock.ErrorMaxMs:0} ms at most"));
    }

    private static long? Kibibytes(string? text, string name)
    {
        var line = text?.Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
        var words = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return words is { Length: >= 2 } && long.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var kibibytes) ? kibibytes << 10 : null;
    }

    internal static string Text(FormattableString text) => FormattableString.Invariant(text);

    [GeneratedRegex(@"\A([0-9]{1,4})\.([0-9]{1,4})", RegexOptions.CultureInvariant)]
    private static partial Regex ReleaseNumbers();
}
