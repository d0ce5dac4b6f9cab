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

    /// <summary>The one asked for; when none is, the one that the device has, else ext4. Changes nothing.</summary>
    /// <param name="asked">Unset: none.</param>
    public static async Task<AttachResult<FileSystemKind>> ChooseAsync(IMounter mounter, AttachedDevice device, FileSystemKind asked, CancellationToken cancellation)
    {
        if (asked != FileSystemKind.Unset) return asked;
        var mounts = mounter.MountsOf(device.Path);
        if (mounts is { IsOk: true, Value: [var mount, ..] } && TryParse(mount.FileSystem, out var there)) return there;
        var probe = await mounter.ProbeAsync(device, cancellation).ConfigureAwait(false);
        if (!probe.IsOk) return probe.To<FileSystemKind>();
        return probe.Value!.Content == DeviceContent.FileSystem ? probe.Value.FileSystem : FileSystemKind.Ext4;
    }
}
