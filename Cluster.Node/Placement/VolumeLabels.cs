using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Globalization;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Options;

namespace Cluster.Node.Placement;

/// <summary>
/// Labels under "myrmidon.dev/", the same on volumes, StorageClasses, PVCs and Docker options. Other labels are the user's and are kept.
/// A label that this version does not know is kept too, unless it looks like a slip of the finger; one that it knows but can't honour yet
/// is refused, never ignored.
/// </summary>
public static class VolumeLabels
{
    public const string Prefix = "myrmidon.dev/";
    public const string Replicas = Prefix + "replicas";
    public const string FailureMode = Prefix + "failure-mode";
    public const string Compression = Prefix + "compression";
    public const string HoldTime = Prefix + "hold-time";
    public const string ReplaceAfter = Prefix + "replace-after";
    public const string ZoneSpreadLabel = Prefix + "zone-spread";
    public const string SnapshotEvery = Prefix + "snapshot-every";
    public const string SnapshotKeep = Prefix + "snapshot-keep";
    public const string SnapshotGroupKeep = Prefix + "snapshot-group-keep";

    /// <summary>The CSI driver looks at it: whether it publishes a raw block volume to several writers.</summary>
    public const string MultiWriter = Prefix + "multi-writer";

    public const string IopsMax = Prefix + "iops-max";
    public const string BandwidthMax = Prefix + "bandwidth-max";
    public const string Burst = Prefix + "burst";

    /// <summary>What a connection may have on its way is through long before the usual hold time.</summary>
    private const int IopsMaxMin = 10;
    private const int IopsMaxMax = 1_000_000;
    private const long BandwidthMaxMin = 1L << 20;
    private const long BandwidthMaxMax = 100L << 30;

    /// <summary>One less than a volume can have: the new one is made before the oldest goes.</summary>
    private const int SnapshotKeepMax = Limits.SnapshotsMax - 1;

    private static readonly FrozenDictionary<string, Label> Known = new Dictionary<string, Label>
    {
        [Replicas] = new($"1 to {Limits.ReplicasMax}", (p, v) => Number(v, Limits.ReplicasMax) is { } n ? p with { Replicas = n } : null),
        [FailureMode] = new($"hard, soft, always-on, or a number of copies from 1 to {Limits.ReplicasMax}", ReadFailureMode),
        [Compression] = new("on or off", (p, v) => OnOff(v) is { } on ? p with { Compression = on } : null),
        [HoldTime] = new("a duration from 1s to 24d, such as 30s or 5m", ReadHoldTime),
        [ReplaceAfter] = new("a duration from 1s to 24d, such as 10m or 1h", ReadReplaceAfter),
        [ZoneSpreadLabel] = new("preferred or required", ReadZoneSpread),
        [SnapshotEvery] = new("a duration from 1m to 24d, such as 15m or 1h",
            (p, v) => Duration(v) is { } time && time >= TimeSpan.FromMinutes(1) ? p with { SnapshotEvery = time } : null),
        [SnapshotKeep] = new($"1 to {SnapshotKeepMax}", (p, v) => Number(v, SnapshotKeepMax) is { } n ? p with { SnapshotKeep = n } : null),
        [SnapshotGroupKeep] = new($"1 to {SnapshotKeepMax}", (p, v) => Number(v, SnapshotKeepMax) is { } n ? p with { SnapshotGroupKeep = n } : null),
        [Prefix + "encryption"] = new("off", (p, v) => v == "off" ? p : null, IsHonoured: false),
        [VolumeSpec.ReadLeaseLabel] = new("on or off", (p, v) => OnOff(v) is null ? null : p),
        [IopsMax] = new($"a number of I/Os per second from {IopsMaxMin} to {IopsMaxMax}",
            (p, v) => Number(v, IopsMaxMax) is { } n && n >= IopsMaxMin ? p with { IopsMax = n } : null),
        [BandwidthMax] = new("bytes per second as a size from 1MiB to 100GiB, such as 50MiB", ReadBandwidth),
        [Burst] = new("a duration from 1s to 1h, such as 30s",
            (p, v) => Duration(v) is { } time && time <= TimeSpan.FromHours(1) ? p with { Burst = time } : null),
        [MultiWriter] = new("on or off", (p, v) => OnOff(v) is null ? null : p),
        [VolumeSpec.LocalityLabel] = new("preferred or off", ReadLocality),
        [VolumeSpec.CacheLabel] = new("on or off", (p, v) => OnOff(v) is null ? null : p),
        [Prefix + "sync"] = new("none", (_, _) => null, IsHonoured: false),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Every label that this version knows, also those that it refuses.</summary>
    public static IEnumerable<string> Keys => Known.Keys;

    /// <summary>Those that do something.</summary>
    public static IEnumerable<string> Honoured => Known.Where(label => label.Value.IsHonoured).Select(label => label.Key);

    /// <param name="IsHonoured">False: reserved, so that nobody believes to have what this version has not.</param>
    private sealed record Label(string Legal, Func<VolumePolicy, string, VolumePolicy?> Apply, bool IsHonoured = true);

    /// <summary>The policy, or one sentence that names the label and its legal values.</summary>
    public static (VolumePolicy? Policy, string Error) Read(ImmutableSortedDictionary<string, string> labels)
    {
        if (labels.Count > Limits.LabelsMax) return (null, $"There are {labels.Count} labels; a volume has room for {Limits.LabelsMax}.");
        var policy = new VolumePolicy();
        foreach (var (key, value) in labels)
        {
            if (key.Length is 0 or > Limits.LabelLengthMax || value.Length > Limits.LabelLengthMax)
                return (null, $"The label '{Cut(key)}' or its value is longer than {Limits.LabelLengthMax} characters.");
            if (Known.TryGetValue(key, out var label))
            {
                if (label.Apply(policy, value) is not { } next)
                    return (null, label.IsHonoured ? $"The label {key} is '{Cut(value)}'; legal is {label.Legal}."
                        : $"The label {key} is '{Cut(value)}', which can't be honoured by this version: leave it out.");
                policy = next;
            }
            else if (key.StartsWith(Prefix, StringComparison.Ordinal) && Nearest.Slip(key, Known.Keys) is { } near)
            {
                return (null, $"The label {key} is unknown; did you mean {near}?");
            }
        }
        if (policy is { FailureMode: FailureModeKind.Threshold, Replicas: { } copies } && policy.FailureThreshold > copies)
            return (null, $"The label {FailureMode} is '{policy.FailureThreshold}', more than the volume's {copies} copies.");
        return (policy, "");
    }

    private static VolumePolicy? ReadFailureMode(VolumePolicy policy, string value) => value switch
    {
        "hard" => policy with { FailureMode = FailureModeKind.Hard },
        "soft" => policy with { FailureMode = FailureModeKind.Soft },
        "always-on" => policy with { FailureMode = FailureModeKind.AlwaysOn },
        _ => Number(value, Limits.ReplicasMax) is { } copies
            ? policy with { FailureMode = FailureModeKind.Threshold, FailureThreshold = copies }
            : null,
    };

    private static VolumePolicy? ReadHoldTime(VolumePolicy policy, string value) =>
        Duration(value) is { } time ? policy with { HoldMs = (int)time.TotalMilliseconds } : null;

    private static VolumePolicy? ReadReplaceAfter(VolumePolicy policy, string value) =>
        Duration(value) is { } time ? policy with { ReplaceAfter = time } : null;

    private static VolumePolicy? ReadZoneSpread(VolumePolicy policy, string value) => value switch
    {
        "preferred" => policy with { ZoneSpread = ZoneSpread.Preferred },
        "required" => policy with { ZoneSpread = ZoneSpread.Required },
        _ => null,
    };

    private static VolumePolicy? ReadBandwidth(VolumePolicy policy, string value) =>
        Quantities.TrySize(value, out var bytes) && bytes is >= BandwidthMaxMin and <= BandwidthMaxMax ? policy with { BandwidthMax = bytes } : null;

    private static VolumePolicy? ReadLocality(VolumePolicy policy, string value) => value switch
    {
        "preferred" => policy with { FollowsFrontEnd = true },
        VolumeSpec.LocalityOff => policy with { FollowsFrontEnd = false },
        _ => null,
    };

    private static TimeSpan? Duration(string value) =>
        Quantities.TryDuration(value, out var time) && time >= TimeSpan.FromSeconds(1) ? time : null;

    private static bool? OnOff(string value) => value switch { "on" => true, "off" => false, _ => null };

    private static int? Number(string value, int max) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= 1 && number <= max ? number
            : null;

    private static string Cut(string text) => text.Length <= 80 ? text : text[..80] + "...";
}
