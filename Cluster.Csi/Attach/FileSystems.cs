namespace Cluster.Csi.Attach;

/// <summary>The names of file systems, as users and programs write them.</summary>
public static class FileSystems
{
    /// <summary>Every one there is, for messages.</summary>
    public const string Names = "ext4, xfs";

    /// <summary>A volume of fewer bytes is none for this file system: mkfs.xfs refuses it, mkfs.ext4 does or leaves the journal out (below 8 MiB).</summary>
    public static ulong BytesMin(FileSystemKind kind) => kind == FileSystemKind.Xfs ? 300UL << 20 : 16UL << 20;

    public static string NameOf(FileSystemKind kind) => kind switch
    {
        FileSystemKind.Ext4 => "ext4",
        FileSystemKind.Xfs => "xfs",
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    public static bool TryParse(string? name, out FileSystemKind kind)
    {
        kind = name switch
        {
            "ext4" => FileSystemKind.Ext4,
            "xfs" => FileSystemKind.Xfs,
            _ => FileSystemKind.Unset,
        };
        return kind != FileSystemKind.Unset;
    }
}
