using System.Globalization;

namespace Cluster.Node.Hosting.Memory;

/// <summary>The memory limit of the control group that this process is in, and of those above it.</summary>
public static class ContainerMemory
{
    private const string Groups = "/sys/fs/cgroup";
    private const string OfProcess = "/proc/self/cgroup";
    private const string Unified = "0::";
    private const string Version1 = "memory/memory.limit_in_bytes";

    /// <summary>The least of them; null: there is none. More than the machine has is none.</summary>
    public static long? LimitBytes() => LimitBytes(TryRead, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes * 2);

    /// <param name="read">A file's text; null: it can't be read.</param>
    /// <param name="most">A limit of this or more is none.</param>
    internal static long? LimitBytes(Func<string, string?> read, long most)
    {
        var least = Value(read(Path.Combine(Groups, Version1))) ?? most;
        var line = read(OfProcess)?.Split('\n').FirstOrDefault(line => line.StartsWith(Unified, StringComparison.Ordinal));
        // Within a container the path begins at its own group, mostly.
        for (var path = line?[Unified.Length..].Trim('/') ?? ""; ; path = Path.GetDirectoryName(path) ?? "")
        {
            if (Value(read(Path.Combine(Groups, path, "memory.max"))) is { } bytes) least = Math.Min(least, bytes);
            if (path.Length == 0) break;
        }
        return least < most ? least : null;
    }

    private static long? Value(string? text) => long.TryParse(text?.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var bytes) ? bytes : null;

    private static string? TryRead(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
