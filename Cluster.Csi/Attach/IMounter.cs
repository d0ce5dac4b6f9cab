namespace Cluster.Csi.Attach;

/// <summary>A file system that volumes may have.</summary>
public enum FileSystemKind
{
    Unset = 0,
    Ext4,
    Xfs,
}

/// <summary>What a probe found on a device.</summary>
public enum DeviceContent
{
    Unset = 0,
    /// <summary>No signature, and every byte is zero.</summary>
    Blank,
    /// <summary>A format that this program began and did not finish; nothing of anybody's is on it, and it is begun anew.</summary>
    UnfinishedFormat,
    /// <summary>Exactly one of <see cref="FileSystemKind"/>.</summary>
    FileSystem,
    /// <summary>Anything else: another file system, a partition table, a physical volume of LVM, an array's member, bytes without a signature.</summary>
    Other,
}

/// <param name="FileSystem">When <see cref="Content"/> is FileSystem.</param>
/// <param name="What">In words for Other, such as "LVM2_member" or "bytes that are no known format".</param>
public sealed record DeviceProbe(DeviceContent Content, FileSystemKind FileSystem, string What);

/// <param name="Options">As for mount -o, such as "noatime", "discard". Given in any order; "ro" comes from <see cref="ReadOnly"/>.</param>
public sealed record MountRequest(AttachedDevice Device, string Path, FileSystemKind FileSystem, IReadOnlyList<string> Options, bool ReadOnly = false);

/// <summary>One line of /proc/self/mountinfo.</summary>
/// <param name="Source">The device, such as /dev/loop3.</param>
/// <param name="Root">What of the file system is mounted: "/" unless it is a bind mount of a part.</param>
/// <param name="Major">With <see cref="Minor"/>: the device's number, which no renaming changes.</param>
/// <param name="IsReadOnly">This mount, or the whole file system, is read-only.</param>
public sealed record MountEntry(
    int Id, int Major, int Minor, string Root, string Path, string FileSystem, string Source, bool IsReadOnly, string Options, string SuperOptions);

/// <summary>How full a file system is.</summary>
public sealed record FileSystemStats(
    ulong TotalBytes, ulong AvailableBytes, ulong UsedBytes, ulong TotalInodes, ulong AvailableInodes, ulong UsedInodes);

/// <summary>
/// File systems and mounts of this host. Every call is idempotent and reads what is mounted from the kernel. Paths are absolute. Any thread;
/// calls for one device or path are made one at a time by the caller.
/// </summary>
public interface IMounter
{
    /// <summary>What is on the device. Changes nothing. InUse while it is mounted or a format of it runs.</summary>
    Task<AttachResult<DeviceProbe>> ProbeAsync(AttachedDevice device, CancellationToken cancellation);

    /// <summary>
    /// Makes the file system if, and only if, the device is blank (or an unfinished format of this program). Ok and nothing done if it has that
    /// file system; NotBlank, and what it has, for anything else.
    /// </summary>
    Task<AttachResult<Done>> FormatAsync(AttachedDevice device, FileSystemKind fileSystem, IReadOnlyList<string> options, CancellationToken cancellation);

    /// <summary>
    /// Checks and, where that loses nothing, mends a file system that is not mounted: journal replay for ext4 and xfs, fsck -p for ext4. Damaged if that is not
    /// enough.
    /// </summary>
    Task<AttachResult<Done>> CheckAsync(AttachedDevice device, FileSystemKind fileSystem, CancellationToken cancellation);

    /// <summary>
    /// Mounts the device at the path, which is made if it is missing. The file system must be there already (<see cref="FormatAsync"/>); it is checked
    /// before its first mount on this host. Ok if it is mounted there the same way; Conflict if anything else is.
    /// </summary>
    Task<AttachResult<MountEntry>> MountAsync(MountRequest request, CancellationToken cancellation);

    /// <summary>
    /// Shows <paramref name="source"/> (a directory, or a device file for raw block) at <paramref name="path"/> too. The target is made if it is
    /// missing: a directory, or an empty file for a device. Ok if it is there already.
    /// </summary>
    Task<AttachResult<MountEntry>> BindAsync(string source, string path, bool readOnly, CancellationToken cancellation);

    /// <summary>
    /// Takes away what is mounted at the path, all layers of it; the path itself stays. Ok if nothing is. InUse while files are open there, unless
    /// <paramref name="force"/>: then it vanishes from the tree now, and goes when its last user does.
    /// </summary>
    Task<AttachResult<Done>> UnmountAsync(string path, bool force, CancellationToken cancellation);

    /// <summary>Grows the mounted file system to the size of its device. Ok if it has that.</summary>
    Task<AttachResult<Done>> GrowAsync(MountEntry mount, CancellationToken cancellation);

    /// <summary>
    /// Grows a file system that is mounted nowhere to the size of its device, if it can be grown so: ext4, for which the kernel wants a privilege otherwise
    /// (CAP_SYS_RESOURCE). Ok and nothing done if it is mounted, or as large already, or has to be mounted for it.
    /// </summary>
    Task<AttachResult<Done>> GrowUnmountedAsync(AttachedDevice device, FileSystemKind fileSystem, CancellationToken cancellation);

    AttachResult<FileSystemStats> Stats(string path);

    /// <summary>What is mounted at the path (the uppermost layer), or NotFound.</summary>
    AttachResult<MountEntry> MountedAt(string path);

    /// <summary>Every mount of the device, bind mounts too, in the order of mounting.</summary>
    AttachResult<IReadOnlyList<MountEntry>> MountsOf(string devicePath);

    /// <summary>Every path at which the device file itself is shown (<see cref="BindAsync"/>), in the order of mounting; not where it is by itself.</summary>
    AttachResult<IReadOnlyList<MountEntry>> BindsOf(string devicePath);
}
