using System.Collections.Immutable;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi.V1;
using Cluster.Messages.Model;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Csi.Csi;

/// <summary>What a workload wants, checked.</summary>
/// <param name="Mode">One that the driver supports.</param>
/// <param name="FileSystem">"" for a raw device.</param>
/// <param name="ReadOnly">By the mode, or because the request says so.</param>
internal sealed record Access(Mode Mode, string FileSystem, ImmutableArray<string> MountFlags, bool ReadOnly)
{
    public bool IsBlock => FileSystem.Length == 0;

    /// <summary>Whether one node alone may use the volume.</summary>
    public bool IsExclusive => !Capabilities.IsShared(Mode);
}

/// <summary>What the driver can give (docs/csi.md has the table).</summary>
internal static class Capabilities
{
    public const string Ext4 = "ext4";
    public const string Xfs = "xfs";
    private static readonly string[] Supported = [Ext4, Xfs];

    private static readonly Mode[] Modes =
        [Mode.SingleNodeWriter, Mode.SingleNodeReaderOnly, Mode.SingleNodeSingleWriter, Mode.SingleNodeMultiWriter, Mode.MultiNodeReaderOnly, Mode.MultiNodeMultiWriter];

    /// <summary>Says that several nodes may write to the volume at one time.</summary>
    public const string MultiWriterLabel = VolumeParameters.Prefix + "multi-writer";

    public static string SupportedModes { get; } =
        "SINGLE_NODE_WRITER, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER, SINGLE_NODE_READER_ONLY, MULTI_NODE_READER_ONLY, and MULTI_NODE_MULTI_WRITER of a raw block volume";

    /// <summary>Several nodes share the volume's shared attachment, which fences none of them.</summary>
    public static bool IsShared(Mode mode) => mode is Mode.MultiNodeReaderOnly or Mode.MultiNodeMultiWriter;

    /// <summary>The volume may be at more than one path of a node at one time.</summary>
    public static bool AllowsSeveralPaths(Mode mode) => mode is Mode.SingleNodeMultiWriter or Mode.MultiNodeReaderOnly or Mode.MultiNodeMultiWriter;

    /// <summary>
    /// What the volume was not made for. Writers on several nodes are for software that keeps them apart itself, on a raw device: no file system that this driver makes does,
    /// and whoever asks for a claim that many may write to does not know that.
    /// </summary>
    public static CsiError? NotFor(IReadOnlyDictionary<string, string> labels, VolumeCapability capability) => NotFor(labels, capability.AccessMode.Mode);

    public static CsiError? NotFor(IReadOnlyDictionary<string, string> labels, Mode mode) =>
        mode == Mode.MultiNodeMultiWriter && labels.GetValueOrDefault(MultiWriterLabel) != "on"
            ? CsiError.Invalid($"The access mode {mode} is only for a volume with the label {MultiWriterLabel}=on: its writers on several nodes must keep apart what they write themselves.")
            : null;

    /// <summary>Null when all of them are well formed and each can be given.</summary>
    public static CsiError? Check(IReadOnlyCollection<VolumeCapability> capabilities)
    {
        if (capabilities.Count == 0) return CsiError.Invalid("The field volume_capabilities is missing.");
        if (capabilities.Count > CsiLimits.CapabilitiesMax)
            return CsiError.Invalid($"There are {capabilities.Count} volume_capabilities; give at most {CsiLimits.CapabilitiesMax}.");
        return capabilities.Select(capability => Malformed(capability) ?? Unsupported(capability)).FirstOrDefault(error => error is not null);
    }

    public static CsiResult<Access> Read(VolumeCapability? capability, bool readOnly)
    {
        if (capability is null) return CsiError.Invalid("The field volume_capability is missing.");
        if ((Malformed(capability) ?? Unsupported(capability)) is { } error) return error;
        var mode = capability.AccessMode.Mode;
        var isReader = readOnly || mode is Mode.SingleNodeReaderOnly or Mode.MultiNodeReaderOnly;
        if (capability.Block is not null) return new Access(mode, "", [], isReader);
        var fileSystem = capability.Mount.FsType.Length > 0 ? capability.Mount.FsType : Ext4;
        return new Access(mode, fileSystem, [.. capability.Mount.MountFlags], isReader);
    }

    /// <summary>What a volume needs at least for the file systems that it is to have one of.</summary>
    public static ulong BytesMin(IEnumerable<VolumeCapability> capabilities) => capabilities.Where(capability => capability.Mount is not null)
        .Select(capability => FileSystems.BytesMin(capability.Mount.FsType == Xfs ? FileSystemKind.Xfs : FileSystemKind.Ext4)).DefaultIfEmpty().Max();

    /// <summary>What no driver could make sense of.</summary>
    public static CsiError? Malformed(VolumeCapability capability)
    {
        if (capability.AccessTypeCase == VolumeCapability.AccessTypeOneofCase.None)
            return CsiError.Invalid("A volume capability has neither block nor mount; give one of them.");
        if (capability.AccessMode is null || capability.AccessMode.Mode == Mode.Unknown)
            return CsiError.Invalid("A volume capability has no access_mode; give one of " + SupportedModes + ".");
        if (capability.Mount is not { } mount) return null;
        if (mount.MountFlags.Count > CsiLimits.MountFlagsMax)
            return CsiError.Invalid($"There are {mount.MountFlags.Count} mount_flags; give at most {CsiLimits.MountFlagsMax}.");
        return mount.MountFlags.Any(flag => flag.Length is 0 or > CsiLimits.StringBytesMax || flag.Any(char.IsControl))
            ? CsiError.Invalid($"One of the mount_flags is empty, longer than {CsiLimits.StringBytesMax} bytes, or has a control character.")
            : null;
    }

    /// <summary>What this driver does not give.</summary>
    public static CsiError? Unsupported(VolumeCapability capability)
    {
        if (!Modes.Contains(capability.AccessMode.Mode))
            return CsiError.Invalid($"The access mode {capability.AccessMode.Mode} is not supported; supported are {SupportedModes}.");
        if (capability.Mount is not { } mount) return null;
        if (capability.AccessMode.Mode == Mode.MultiNodeMultiWriter)
            return CsiError.Invalid($"The access mode {capability.AccessMode.Mode} is only for raw block volumes: a file system on several nodes at one time is destroyed.");
        if (mount.FsType.Length > 0 && !Supported.Contains(mount.FsType, StringComparer.Ordinal))
            return CsiError.Invalid($"The file system '{mount.FsType}' is not supported; supported are {string.Join(" and ", Supported)}.");
        return mount.VolumeMountGroup.Length > 0
            ? CsiError.Invalid("The field volume_mount_group is not supported: the driver does not have VOLUME_MOUNT_GROUP.")
            : null;
    }
}

/// <summary>Sizes as requests bound them.</summary>
internal static class CapacityRanges
{
    /// <summary>Null when the range makes sense.</summary>
    public static CsiError? Check(CapacityRange? range)
    {
        if (range is null) return null;
        if (range.RequiredBytes < 0 || range.LimitBytes < 0) return CsiError.Invalid("A capacity_range has negative bytes; 0 leaves a bound open.");
        if (range.LimitBytes > 0 && range.RequiredBytes > range.LimitBytes)
            return CsiError.OutOfRange($"The capacity_range requires {range.RequiredBytes} bytes and allows {range.LimitBytes}.");
        return null;
    }

    /// <summary>The size of a volume for a range: as required, in whole blocks. <paramref name="bytes"/> counts when the result is null.</summary>
    public static CsiError? Choose(CapacityRange? range, ulong whenOpen, out ulong bytes)
    {
        bytes = 0;
        if (Check(range) is { } error) return error;
        var (required, limit) = ((ulong)(range?.RequiredBytes ?? 0), (ulong)(range?.LimitBytes ?? 0));
        if (required > Limits.VolumeBytesMax)
            return CsiError.OutOfRange($"The capacity_range requires {required} bytes; a volume has at most {Limits.VolumeBytesMax}.");
        var wanted = required > 0 ? required : limit > 0 ? Math.Min(limit, whenOpen) : whenOpen;
        bytes = required > 0 ? Up(wanted) : Math.Max(Down(wanted), CsiLimits.VolumeBytesMin);
        return limit > 0 && bytes > limit
            ? CsiError.OutOfRange($"No size of whole blocks of {Limits.BlockBytes} bytes lies between {required} and {limit} bytes.")
            : null;
    }

    public static bool Holds(CapacityRange? range, ulong bytes) => range is null
        || ((ulong)range.RequiredBytes <= bytes && (range.LimitBytes == 0 || bytes <= (ulong)range.LimitBytes));

    private static ulong Up(ulong bytes) => (bytes + Limits.BlockBytes - 1) / Limits.BlockBytes * Limits.BlockBytes;

    private static ulong Down(ulong bytes) => bytes / Limits.BlockBytes * Limits.BlockBytes;
}
