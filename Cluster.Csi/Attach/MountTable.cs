using System.Globalization;
using System.Text;

namespace Cluster.Csi.Attach;

/// <summary>
/// What is mounted, from /proc/self/mountinfo. A line: id, parent, major:minor, root, path, options, optional fields, "-", file system, source,
/// super block options; blanks and the like in paths are octal escapes (proc(5)).
/// </summary>
public static class MountTable
{
    private const string Source = "/proc/self/mountinfo";

    public static IReadOnlyList<MountEntry> Read() => Parse(File.ReadAllText(Source));

    /// <summary>In the order of mounting: a later entry at the same path covers an earlier one. Lines that do not fit are left out.</summary>
    public static IReadOnlyList<MountEntry> Parse(string text)
    {
        var entries = new List<MountEntry>();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (ParseLine(line) is { } entry) entries.Add(entry);
        }
        return entries;
    }

    /// <summary>The uppermost mount at the path, or null.</summary>
    public static MountEntry? At(IEnumerable<MountEntry> entries, string path) => entries.LastOrDefault(entry => entry.Path == path);

    /// <summary>The mount that the path lies in, and what of its file system the path shows.</summary>
    public static (MountEntry Mount, string Root)? Holding(IEnumerable<MountEntry> entries, string path)
    {
        MountEntry? best = null;
        foreach (var entry in entries)
        {
            if (IsWithin(path, entry.Path) && (best is null || entry.Path.Length >= best.Path.Length)) best = entry;
        }
        if (best is null) return null;
        var rest = path[(best.Path == "/" ? 0 : best.Path.Length)..].TrimStart('/');
        var root = rest.Length == 0 ? best.Root : $"{best.Root.TrimEnd('/')}/{rest}";
        return (best, root);
    }

    /// <summary>
    /// Who holds a device that is not mounted here (any more): a process whose mount namespace has a mount of it, such as a container's that was started meanwhile and got a copy of every mount of the host.
    /// Null: none that can be seen from here. For messages: it looks at every process.
    /// </summary>
    public static string? Elsewhere(string device)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal) { new FileInfo("/proc/self/ns/mnt").LinkTarget ?? "" };
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)) continue;
            try
            {
                if (new FileInfo(process + "/ns/mnt").LinkTarget is not { } name || !seen.Add(name)) continue;
                if (Parse(File.ReadAllText(process + "/mountinfo")).LastOrDefault(mount => mount.Source == device) is { } mount)
                    return $"process {pid} ({File.ReadAllText(process + "/comm").Trim()}), which has it mounted at {mount.Path} in a mount namespace of its own";
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended meanwhile, or is somebody else's.
            }
        }
        return null;
    }

    private static bool IsWithin(string path, string mount) =>
        mount == "/" || path == mount || path.StartsWith(mount + "/", StringComparison.Ordinal);

    private static MountEntry? ParseLine(string line)
    {
        var fields = line.Split(' ');
        var dash = Array.IndexOf(fields, "-", Math.Min(6, fields.Length));
        if (dash < 0 || fields.Length < dash + 4) return null;
        var number = fields[2].Split(':');
        if (number.Length != 2 || !TryInt(fields[0], out var id) || !TryInt(number[0], out var major) || !TryInt(number[1], out var minor)) return null;
        var (options, super) = (fields[5], fields[dash + 3]);
        var readOnly = options.Split(',').Contains("ro") || super.Split(',').Contains("ro");
        return new MountEntry(id, major, minor, Unescape(fields[3]), Unescape(fields[4]), fields[dash + 1], Unescape(fields[dash + 2]), readOnly, options, super);
    }

    private static bool TryInt(string text, out int value) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);

    /// <summary>\NNN is one byte, of UTF-8 if need be.</summary>
    private static string Unescape(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal)) return text;
        var from = Encoding.UTF8.GetBytes(text);
        var to = new List<byte>(from.Length);
        for (var at = 0; at < from.Length; at++)
        {
            if (from[at] == '\\' && at + 3 < from.Length && IsOctal(from[at + 1]) && IsOctal(from[at + 2]) && IsOctal(from[at + 3]))
            {
                to.Add((byte)(((from[at + 1] - '0') << 6) | ((from[at + 2] - '0') << 3) | (from[at + 3] - '0')));
                at += 3;
            }
            else to.Add(from[at]);
        }
        return Encoding.UTF8.GetString(to.ToArray());
    }

    private static bool IsOctal(byte c) => c is >= (byte)'0' and <= (byte)'7';
}
