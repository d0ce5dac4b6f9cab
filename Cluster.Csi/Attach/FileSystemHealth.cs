namespace Cluster.Csi.Attach;

/// <summary>
/// Whether a mounted file system still works. After an error of its device that it can't go on from (I/O that was held longer than the volume's hold time, for one) it stops for good, also when the device
/// answers again: it has to be unmounted, and is checked at its next mount. Read from the kernel; reads nothing of the device, which may not answer.
/// </summary>
public static class FileSystemHealth
{
    /// <summary>What the kernel shows among the options of a super block that takes no writes any more, from 6.15 on.</summary>
    private static readonly string[] Stopped = ["shutdown", "emergency_ro"];

    /// <summary>Why it has stopped, or "".</summary>
    public static string Trouble(MountEntry mount)
    {
        if (Stopped.FirstOrDefault(mount.SuperOptions.Split(',').Contains) is { } option) return $"stopped after an I/O error ({option})";
        // Older kernels: the super block has become read-only, under a mount for writing.
        if (mount.SuperOptions.Split(',').Contains("ro") && !mount.Options.Split(',').Contains("ro")) return "stopped after an I/O error (read-only)";
        try
        {
            // An xfs that has shut down answers nothing; of one that works, this is in memory.
            if (mount.FileSystem == FileSystems.NameOf(FileSystemKind.Xfs)) File.GetAttributes(mount.Path);
            return "";
        }
        catch (Exception e) when (e is IOException and not (FileNotFoundException or DirectoryNotFoundException))
        {
            return $"stopped after an I/O error ({e.Message})";
        }
    }

    /// <summary>Of the first of the mounts that has any.</summary>
    public static string Trouble(IEnumerable<MountEntry> mounts) => mounts.Select(Trouble).FirstOrDefault(trouble => trouble.Length > 0) ?? "";
}
