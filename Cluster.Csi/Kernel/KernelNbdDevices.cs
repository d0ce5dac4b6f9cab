using System.Globalization;

namespace Cluster.Csi.Kernel;

/// <summary>A device of the kernel's NBD client that is configured, connected or not.</summary>
/// <param name="Backend">What it was made with: for ours the directory of the device; "" for those of other programs.</param>
internal sealed record KernelNbdDevice(uint Index, string Backend, ulong SizeBytes, bool ReadOnly, int Major, int Minor)
{
    public string Path => string.Create(CultureInfo.InvariantCulture, $"/dev/nbd{Index}");
}

/// <summary>NBD devices as the kernel lists them under /sys/block: the file "pid" is there as long as one is configured, "backend" if it was by netlink.</summary>
internal static class KernelNbdDevices
{
    private const int SectorBytes = 512;
    private const string Prefix = "nbd";

    public static IReadOnlyList<KernelNbdDevice> Read(string sys = "/sys/block")
    {
        var devices = new List<KernelNbdDevice>();
        foreach (var directory in Directory.EnumerateDirectories(sys, Prefix + "*").Order(StringComparer.Ordinal))
        {
            if (ReadOne(directory) is { } device) devices.Add(device);
        }
        return devices;
    }

    /// <summary>
    /// How long the kernel waits before it looks whether the connection that a request went by has another socket now, and sends it again there. In milliseconds; of
    /// requests from now on.
    /// </summary>
    public static void SetRequestTimer(KernelNbdDevice device, int ms, string sys = "/sys/block") =>
        File.WriteAllText(string.Create(CultureInfo.InvariantCulture, $"{sys}/{Prefix}{device.Index}/queue/io_timeout"), ms.ToString(CultureInfo.InvariantCulture));

    /// <summary>A process that has the device open, as words for a message, or null. Of processes that this one can see.</summary>
    public static string? Holder(KernelNbdDevice device)
    {
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) || pid == Environment.ProcessId) continue;
            try
            {
                if (!Directory.EnumerateFileSystemEntries(process + "/fd").Any(file => File.ResolveLinkTarget(file, returnFinalTarget: false)?.FullName == device.Path)) continue;
                return $"process {pid} ({File.ReadAllText(process + "/comm").Trim()})";
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended meanwhile, or closed that file.
            }
        }
        return null;
    }

    /// <summary>Null: it is not configured, or was not any more while it was looked at.</summary>
    private static KernelNbdDevice? ReadOne(string directory)
    {
        if (!uint.TryParse(Path.GetFileName(directory)[Prefix.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var index)) return null;
        try
        {
            if (!File.Exists($"{directory}/pid")) return null;
            var backend = File.Exists($"{directory}/backend") ? File.ReadAllText($"{directory}/backend").TrimEnd('\n') : "";
            var sectors = ulong.Parse(File.ReadAllText($"{directory}/size"), CultureInfo.InvariantCulture);
            var readOnly = File.ReadAllText($"{directory}/ro").Trim() == "1";
            var number = File.ReadAllText($"{directory}/dev").Trim().Split(':');
            return new KernelNbdDevice(index, backend, sectors * SectorBytes, readOnly,
                int.Parse(number[0], CultureInfo.InvariantCulture), int.Parse(number[1], CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
