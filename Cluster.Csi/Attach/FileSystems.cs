namespace Cluster.Csi.Attach;

/// <summary>The names of file systems, as users and programs write them.</summary>
public static class FileSystems
{
    /// <summary>Every one there is, for messages.</summary>
    public const string Names = "ext4, xfs";

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
