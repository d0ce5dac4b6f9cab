using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using Cluster.Csi.Attach;
using Cluster.Csi.Client;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Options;

/// <summary>
/// One key of hocon/myrmidon.conf: what it expects, in words, and how its text changes the options (null: it does not fit).
/// </summary>
/// <param name="Key">Without the leading "myrmidon.".</param>
/// <param name="Flag">Whether `myrmidon node` takes it as "--key".</param>
public sealed record NodeSetting(string Key, bool Flag, string Expects, Func<NodeOptions, string, NodeOptions?> Apply)
{
    public const string Section = "myrmidon";
    private const string NameForm = "1 to 63 letters, digits and dashes, starting and ending with a letter or digit";
    internal const long CapacityBytesMin = 512L << 20;
    internal const long MapCacheBytesMin = 4L << 20;
    private const long MapCacheBytesMax = 1L << 40;
    private const int OverCommitPercentMax = 1_000_000_000;
    private const string PortForm = "a port from 0 (any free one) to 65535";

    /// <summary>Every setting there is.</summary>
    public static readonly ImmutableArray<NodeSetting> All =
    [
        new("name", true, NameForm, (o, v) => v.Length == 0 || Names.IsNodeName(v) ? o with { Name = v } : null),
        new("data", true, "a directory", (o, v) => v.Length > 0 ? o with { DataDirectory = v } : null),
        new("capacity", true, "0B or a size of at least 512MiB", (o, v) =>
            Quantities.TrySize(v, out var bytes) && bytes is 0 or >= CapacityBytesMin ? o with { CapacityBytes = bytes } : null),
        new("memory-limit", true, "auto, off, or a size such as 512MiB", (o, v) => v switch
        {
            "auto" => o with { MemoryLimitBytes = null },
            "off" => o with { MemoryLimitBytes = 0 },
            _ => Quantities.TrySize(v, out var bytes) && bytes > 0 ? o with { MemoryLimitBytes = bytes } : null,
        }),
        new("map-cache", true, "auto, or a size from 4MiB to 1TiB", (o, v) => v == "auto" ? o with { MapCacheBytes = 0 } :
            Quantities.TrySize(v, out var bytes) && bytes is >= MapCacheBytesMin and <= MapCacheBytesMax ? o with { MapCacheBytes = bytes } : null),
        new("read-cache", true, "off, or a size from 1MiB to 256MiB", (o, v) => v == "off" ? o with { ReadCacheBytes = 0 } :
            Quantities.TrySize(v, out var bytes) && bytes is >= ReadCache.BudgetBytesMin and <= ReadCache.BudgetBytesMax ? o with { ReadCacheBytes = bytes } : null),
        new("disks", true, "directories or block devices, several with commas between them, none twice", Disks),
        new("over-commit-percent", false, $"a number from 0 (no limit) to {OverCommitPercentMax}", (o, v) =>
            Number(v, 0, OverCommitPercentMax) is { } percent ? o with { OverCommitPercent = percent } : null),
        new("zone", true, "\"\" or " + NameForm, (o, v) => v.Length == 0 || Names.IsNodeName(v) ? o with { Zone = v } : null),
        new("host", true, "an address of this host", (o, v) =>
            IPAddress.TryParse(v, out _) || v == "localhost" ? o with { Host = v } : null),
        new("advertised-host", true, "a host name or address", (o, v) => Names.IsHost(v) ? o with { AdvertisedHost = v } : null),
        new("seeds", true, "host:port, several with commas between them", Seeds),
        new("bootstrap-expect", true, "auto, or a number of nodes from 0 to 7", BootstrapExpect),
        new("api-port", true, PortForm, (o, v) => Port(v) is { } port ? o with { ApiPort = port } : null),
        new("nbd-port", true, PortForm, (o, v) => Port(v) is { } port ? o with { NbdPort = port } : null),
        new("nbd-socket", true, "a path of at most 107 bytes", (o, v) => v.Length <= 107 ? o with { NbdSocket = v } : null),
        new("csi-socket", true, "off, or a path of at most 107 bytes", (o, v) => v.Length <= 107 ? o with { CsiSocket = v } : null),
        new("kubernetes-api", false, "auto, off, or an https address such as https://10.96.0.1:443", (o, v) =>
            v is "auto" or "off" || (Uri.TryCreate(v, UriKind.Absolute, out var api) && api.Scheme == Uri.UriSchemeHttps && api.PathAndQuery == "/" && api.UserInfo.Length + api.Fragment.Length == 0) ? o with { KubernetesApi = v } : null),
        new("kubernetes-credentials", false, "a directory", (o, v) => v.Length > 0 ? o with { KubernetesCredentials = v } : null),
        new("docker-socket", true, "off, or a path of at most 107 bytes", (o, v) => v.Length <= 107 ? o with { DockerSocket = v } : null),
        new("attacher", true, "auto, kernel-nbd or fuse-loop", (o, v) => Attachers.TryParse(v, out var attacher) ? o with { Attacher = attacher } : null),
        new("mesh-port", true, PortForm, (o, v) => Port(v) is { } port ? o with { MeshPort = port } : null),
        new("remote-port", true, PortForm, (o, v) => Port(v) is { } port ? o with { RemotePort = port } : null),
        new("journal-port", true, PortForm, (o, v) => Port(v) is { } port ? o with { JournalPort = port } : null),
        new("log-level", true, "trace, debug, information, warning or error", Level),
        new("replace-after", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) ? o with { ReplaceAfter = t } : null),
        new("replacements-max", false, "a number from 1 to 64", (o, v) =>
            Number(v, 1, 64) is { } n ? o with { ReplacementsMax = n } : null),
        new("locality-settle", false, "a duration from 1s to 1h, such as 10s", (o, v) =>
            Quantities.TryDuration(v, out var t) && t >= TimeSpan.FromSeconds(1) && t <= TimeSpan.FromHours(1) ? o with { LocalitySettle = t } : null),
        new("repair.scrub-bytes-per-second", false, Quantities.SizeForm, (o, v) =>
            Quantities.TrySize(v, out var bytes) && bytes > 0 ? o with { Repair = o.Repair with { ScrubBytesPerSecond = bytes } } : null),
        new("repair.scrub-interval", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) ? o with { Repair = o.Repair with { ScrubInterval = t } } : null),
        new("repair.catch-up-bytes-per-second", false, Quantities.SizeForm, (o, v) =>
            Quantities.TrySize(v, out var bytes) && bytes > 0 ? o with { Repair = o.Repair with { CatchUpBytesPerSecond = bytes } } : null),
        new("repair.catch-ups-out-max", false, "a number from 1 to 64", (o, v) =>
            Number(v, 1, 64) is { } n ? o with { Repair = o.Repair with { CatchUpsOutMax = n } } : null),
        new("repair.catch-ups-in-max", false, "a number from 1 to 64", (o, v) =>
            Number(v, 1, 64) is { } n ? o with { Repair = o.Repair with { CatchUpsInMax = n } } : null),
        new("repair.catch-up-short", false, Quantities.SizeForm, (o, v) =>
            Quantities.TrySize(v, out var bytes) ? o with { Repair = o.Repair with { CatchUpShortBytes = bytes } } : null),
        new("repair.slow-lag", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) ? o with { Repair = o.Repair with { SlowLag = t } } : null),
        new("repair.slow-for", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) && t > TimeSpan.Zero ? o with { Repair = o.Repair with { SlowFor = t } } : null),
        new("repair.slow-wait", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) && t > TimeSpan.Zero ? o with { Repair = o.Repair with { SlowWait = t } } : null),
        new("journal.replace-after", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) ? o with { JournalReplaceAfter = t } : null),
        new("stop-timeout", false, Quantities.DurationForm, (o, v) =>
            Quantities.TryDuration(v, out var t) ? o with { StopTimeout = t } : null),
    ];

    public string FullKey => $"{Section}.{Key}";

    /// <summary>The environment variable of the same meaning.</summary>
    public string Variable => $"{Section}_{Key}".Replace('-', '_').Replace('.', '_').ToUpperInvariant();

    private static NodeOptions? Seeds(NodeOptions options, string value)
    {
        var seeds = value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return seeds.All(Names.IsEndpoint) ? options with { Seeds = [.. seeds] } : null;
    }

    private static NodeOptions? Disks(NodeOptions options, string value)
    {
        var disks = value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(path => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))).ToArray();
        return disks.Distinct(StringComparer.Ordinal).Count() == disks.Length ? options with { Disks = [.. disks] } : null;
    }

    private static NodeOptions? BootstrapExpect(NodeOptions options, string value)
    {
        if (value == "auto") return options with { BootstrapExpect = null };
        return Number(value, 0, 7) is { } nodes ? options with { BootstrapExpect = nodes } : null;
    }

    private static NodeOptions? Level(NodeOptions options, string value) => value switch
    {
        "trace" => options with { LogLevel = LogLevel.Trace },
        "debug" => options with { LogLevel = LogLevel.Debug },
        "information" => options with { LogLevel = LogLevel.Information },
        "warning" => options with { LogLevel = LogLevel.Warning },
        "error" => options with { LogLevel = LogLevel.Error },
        _ => null,
    };

    private static int? Port(string value) => Number(value, 0, IPEndPoint.MaxPort);

    private static int? Number(string value, int min, int max) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= min && number <= max ? number
            : null;
}
