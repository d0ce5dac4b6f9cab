using System.Globalization;

namespace Cluster.Node.Hosting;

/// <summary>
/// How many files and sockets this process may have open, and how many of them clients and the store's segments may take: a client too many must find no room, rather than the store, the journal or the other nodes
/// find none, and a large store must leave room for all of them. Pure but for <see cref="OfProcess"/>.
/// </summary>
public static class OpenFiles
{
    /// <summary>With less a node does not start: it has 300 to 350 when it serves nobody, assemblies, disks and other nodes.</summary>
    public const long Least = 1024;

    /// <summary>What is left to the node itself, beside segments.</summary>
    private const long Own = 512;

    /// <summary>Of so many the ones that are in use are open, however large the store is; more would only be memory of the kernel's.</summary>
    private const long SegmentsMax = 16_384;

    /// <summary>As /proc/self/limits has it: the hard limit, to which the runtime raises the soft one by itself. Null: it can't be read; the most that there is: unlimited.</summary>
    public static long? Limit(string? limits)
    {
        var line = limits?.Split('\n').FirstOrDefault(line => line.StartsWith("Max open files", StringComparison.Ordinal));
        if (line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) is not { Length: >= 5 } words) return null;
        if (words[4] == "unlimited") return long.MaxValue;
        return long.TryParse(words[4], NumberStyles.None, CultureInfo.InvariantCulture, out var files) ? files : null;
    }

    public static long? OfProcess() => Limit(File.ReadAllText("/proc/self/limits"));

    /// <summary>Segment files that are open at one time, of all disks: half of what the node itself leaves.</summary>
    public static int Segments(long? limit) => (int)Math.Clamp(((limit ?? long.MaxValue) - Own) / 2, 1, SegmentsMax);

    /// <summary>Connections that each of the two servers, NBD and REST, takes at one time; at most <paramref name="most"/>.</summary>
    public static int Clients(long? limit, int most) => limit is { } files ? (int)Math.Clamp((files - Own - Segments(limit)) / 2, 1, most) : most;

    /// <summary>Why a node can't run with that limit, in one sentence, or empty.</summary>
    public static string Refusal(long? limit) => limit is not { } files || files >= Least ? ""
        : string.Create(CultureInfo.InvariantCulture, $"This process may have {files} files and sockets open at one time, and a node needs {Least} at least, 65536 with many clients: raise the limit (LimitNOFILE in the systemd unit, or ulimit -Hn).");
}
