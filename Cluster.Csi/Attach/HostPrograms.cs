namespace Cluster.Csi.Attach;

/// <summary>The programs of the host that attach, format, check, mount and grow, and where they are looked for.</summary>
public static class HostPrograms
{
    /// <summary>The system's directories, whatever the node's own PATH is.</summary>
    internal const string Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>Every one, with the package that it comes in, by the names of Debian, which others mostly share.</summary>
    public static IReadOnlyDictionary<string, string> Packages { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["losetup"] = "mount",
        ["mount"] = "mount",
        ["umount"] = "mount",
        ["blkid"] = "util-linux",
        ["wipefs"] = "util-linux",
        ["setsid"] = "util-linux",
        ["mkfs.ext4"] = "e2fsprogs",
        ["e2fsck"] = "e2fsprogs",
        ["resize2fs"] = "e2fsprogs",
        ["mkfs.xfs"] = "xfsprogs",
        ["xfs_growfs"] = "xfsprogs",
    };

    /// <summary>The program's file, or null.</summary>
    public static string? Find(string program) =>
        Path.Split(':').Select(directory => System.IO.Path.Combine(directory, program)).FirstOrDefault(File.Exists);
}
