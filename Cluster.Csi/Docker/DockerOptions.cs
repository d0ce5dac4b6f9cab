using System.Collections.Immutable;
using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Csi.Docker;

/// <summary>
/// The options of `docker volume create -d myrmidon -o KEY=VALUE`: size, fs, mount-options, takeover, and labels of volumes, in full
/// ("myrmidon.dev/replicas") or without the prefix ("replicas"). What Docker needs to know again at a mount is kept as labels "docker/...".
/// </summary>
internal sealed record DockerOptions(ulong SizeBytes, ImmutableSortedDictionary<string, string> Labels)
{
    public const string NameLabel = "docker/name";
    public const string FileSystemLabel = "docker/fs";
    public const string MountOptionsLabel = "docker/mount-options";
    public const string TakeoverLabel = "docker/takeover";
    public const string TakeoverAlways = "always";
    private const string TakeoverWhenDown = "when-down";
    private const string FileSystemDefault = "ext4";

    /// <summary>A volume is thin: it costs nothing until it is written.</summary>
    private const ulong SizeBytesDefault = 10UL << 30;
    private const string LabelPrefix = "myrmidon.dev/";

    private static readonly string[] Own = ["size", "fs", "mount-options", "takeover"];

    /// <summary>The options, or one sentence that names the one that is wrong and what would be right.</summary>
    /// <param name="known">Labels that do something, in full: what has no prefix must be one of them.</param>
    public static AttachResult<DockerOptions> Read(string name, string volume, IReadOnlyDictionary<string, string>? options, IReadOnlyCollection<string> known)
    {
        var (size, labels) = (SizeBytesDefault, ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal));
        if (name != volume) labels[NameLabel] = name;
        foreach (var (key, value) in options ?? ImmutableDictionary<string, string>.Empty)
        {
            switch (key)
            {
                case "size":
                    if (!ByteSize.TryParse(IsInDockersWay(value) ? value + "iB" : value, out size, out var reason)) return Wrong($"the option size: {reason.TrimEnd('.')}");
                    if (size == 0) return Wrong($"the option size: {value} is nothing; give a size such as 10GiB");
                    break;
                case "fs" or "fstype":
                    if (!FileSystems.TryParse(value, out _)) return Wrong($"the option {key} is '{value}'; legal are {FileSystems.Names}");
                    labels[FileSystemLabel] = value;
                    break;
                case "mount-options":
                    labels[MountOptionsLabel] = value;
                    break;
                case "takeover":
                    if (value is not (TakeoverAlways or TakeoverWhenDown)) return Wrong($"the option takeover is '{value}'; legal are {TakeoverWhenDown} and {TakeoverAlways}");
                    labels[TakeoverLabel] = value;
                    break;
                case var label when label.Contains('/', StringComparison.Ordinal):
                    labels[label] = value;
                    break;
                // Taken for a label of the user's own, a slip such as "sizze" would make a volume that nobody asked for.
                case var label when !known.Contains(LabelPrefix + label):
                    var names = known.Where(one => one.StartsWith(LabelPrefix, StringComparison.Ordinal)).Select(one => one[LabelPrefix.Length..]);
                    return Wrong($"the option {label} is not known: use {string.Join(", ", Own.Concat(names.Order(StringComparer.Ordinal)))}, or a label of your own with a prefix, such as example.com/{label}");
                default:
                    labels[LabelPrefix + key] = value;
                    break;
            }
        }
        return new DockerOptions(size, labels.ToImmutable());
    }

    /// <summary>What of the options a volume with these labels has otherwise; null: nothing. What its labels do not say is not compared, but for the defaults of Docker's own.</summary>
    public string? Differs(IReadOnlyDictionary<string, string> labels)
    {
        foreach (var (key, value) in Labels)
        {
            if (key != NameLabel && (labels.GetValueOrDefault(key) ?? DefaultOf(key)) is { } has && has != value) return $"{key} '{has}' and not '{value}'";
        }
        return null;
    }

    private static string? DefaultOf(string key) => key switch
    {
        FileSystemLabel => FileSystemDefault,
        TakeoverLabel => TakeoverWhenDown,
        MountOptionsLabel => "",
        _ => null,
    };

    /// <summary>Docker's own sizes are written so, 1024-based: --memory 2g, --shm-size 64m.</summary>
    private static bool IsInDockersWay(string size) => size.Length > 1 && char.IsAsciiDigit(size[^2]) && "KMGTP".Contains(char.ToUpperInvariant(size[^1]), StringComparison.Ordinal);

    private static AttachResult<DockerOptions> Wrong(string reason) => AttachResult<DockerOptions>.Error(AttachStatus.Invalid, reason);
}
