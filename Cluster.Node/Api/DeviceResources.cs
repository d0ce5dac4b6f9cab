namespace Cluster.Node.Api;

/// <summary>How a volume is wanted on this node's host.</summary>
public sealed record DeviceRequest
{
    /// <summary>This node's name, to be sure; null: whichever answers.</summary>
    public string? Node { get; init; }

    /// <summary>An absolute path; made if it is missing. Null: only a device.</summary>
    public string? Mount { get; init; }

    /// <summary>ext4 or xfs; null: the one that the volume has, ext4 if it is blank. A blank volume is formatted; one that holds anything else never is.</summary>
    public string? FileSystem { get; init; }

    /// <summary>As for mount -o, one an item.</summary>
    public IReadOnlyList<string>? MountOptions { get; init; }

    /// <summary>Arguments for mkfs, one an item.</summary>
    public IReadOnlyList<string>? FormatOptions { get; init; }

    public bool ReadOnly { get; init; }
}

/// <summary>A volume as a block device of this node's host.</summary>
public sealed record DeviceResource
{
    public required string Volume { get; init; }

    public required string Id { get; init; }

    public required string Node { get; init; }

    /// <summary>Of the attachment that it belongs to.</summary>
    public required ulong Generation { get; init; }

    /// <summary>Such as /dev/loop0.</summary>
    public required string Device { get; init; }

    public required ulong SizeBytes { get; init; }

    public bool ReadOnly { get; init; }

    /// <summary>kernel-nbd or fuse-loop.</summary>
    public required string Kind { get; init; }

    /// <summary>False: nothing is behind the device any more, its I/O fails, and it can only be detached.</summary>
    public required bool Served { get; init; }

    public IReadOnlyList<MountResource> Mounts { get; init; } = [];
}

public sealed record MountResource
{
    public required string Path { get; init; }

    public required string FileSystem { get; init; }

    public required string Options { get; init; }

    public bool ReadOnly { get; init; }

    /// <summary>Why the file system works no more until it is mounted anew; empty while it works.</summary>
    public string Trouble { get; init; } = "";
}

public sealed record DeviceListResource
{
    public required IReadOnlyList<DeviceResource> Devices { get; init; }
}
