using System.Globalization;

namespace Cluster.Csi.Attach;

/// <param name="Path">/dev/loopN.</param>
/// <param name="BackingFile">As the kernel shows it now: a path without symbolic links.</param>
/// <param name="IsGoing">It was detached while somebody had it open, and goes when the last one closes it.</param>
internal sealed record LoopDevice(string Path, string BackingFile, ulong SizeBytes, bool ReadOnly, bool IsGoing, int Major, int Minor);

/// <summary>Loop devices as the kernel lists them under /sys/block.</summary>
internal static class LoopDevices
{
    private const int SectorBytes = 512;

    public static IReadOnlyList<LoopDevice> Read(string sys = "/sys/block")
    {
        var devices = new List<LoopDevice>();
        foreach (var directory in Directory.EnumerateDirectories(sys, "loop*").Order(StringComparer.Ordinal))
        {
            if (ReadOne(directory) is { } device) devices.Add(device);
        }
        return devices;
    }

    /// <summary>Null: it has no file, or lost it while it was looked at.</summary>
    private static LoopDevice? ReadOne(string directory)
    {
        try
        {
            if (!File.Exists($"{directory}/loop/backing_file")) return null;
            var backing = File.ReadAllText($"{directory}/loop/backing_file").TrimEnd('\n');
            var sectors = ulong.Parse(File.ReadAllText($"{directory}/size"), CultureInfo.InvariantCulture);
            var readOnly = File.ReadAllText($"{directory}/ro").Trim() == "1";
            var going = File.ReadAllText($"{directory}/loop/autoclear").Trim() == "1";
            var number = File.ReadAllText($"{directory}/dev").Trim().Split(':');
            return new LoopDevice($"/dev/{Path.GetFileName(directory)}", backing, sectors * SectorBytes, readOnly, going,
                int.Parse(number[0], CultureInfo.InvariantCulture), int.Parse(number[1], CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
