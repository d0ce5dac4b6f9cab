using System.Globalization;
using Cluster.Csi.Client;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Memory;

/// <summary>
/// How a node divides its memory (myrmidon.memory-limit): what the program itself takes, the managed heap with the maps, and the buffers that block bytes lie in. Of the latter, how much front
/// ends may fill and what sessions keep (R13); the rest is for owners, copies and catch-ups. Pure.
/// </summary>
/// <param name="LimitBytes">0: none, and the parts have the bounds that they always had.</param>
/// <param name="HeapBytes">Of that, <paramref name="MapsBytes"/> are for the maps.</param>
/// <param name="MapCacheBytes">myrmidon.map-cache.</param>
/// <param name="MapsBytes">What the maps take at most, which is while a checkpoint is written.</param>
/// <param name="BuffersBytes">All buffers.</param>
/// <param name="FrontEndBytes">Payload of NBD commands that are under way.</param>
/// <param name="KeptBytes">Answered writes that sessions keep until they are on media.</param>
/// <param name="ConnectionsMax">NBD clients.</param>
/// <param name="ReceiveBytes">Receive buffer of an NBD client.</param>
public sealed record MemoryPlan(
    long LimitBytes, long HeapBytes, long MapCacheBytes, long MapsBytes, long BuffersBytes, long FrontEndBytes, long KeptBytes, int ConnectionsMax, int ReceiveBytes)
{
    private const long MiB = 1L << 20;

    /// <summary>What front ends keep of what they read (label cache). In the buffers.</summary>
    public long ReadCacheBytes { get; init; } = ReadCache.BudgetBytesDefault;

    /// <summary>Of what front ends may fill, what one NBD client may: one that waits for a volume without an owner leaves most to the others.</summary>
    public long ConnectionBytes => LimitBytes == 0 ? NbdLimits.ConnectionBytesMax : Math.Min(NbdLimits.ConnectionBytesMax, FrontEndBytes / ConnectionPart);

    /// <summary>Of the buffers, what the writes of one volume may fill at its owner.</summary>
    public long VolumeBytes => LimitBytes == 0 ? long.MaxValue : BuffersBytes / VolumePart;

    /// <summary>Code (of files, and made at run time), the runtime's own memory, threads: what a loaded node was measured to have beside heap and buffers, and a tenth.</summary>
    public const long ProgramBytes = 144 * MiB;

    /// <summary>Actors, journal, sessions, machines, and what the collector has not collected yet.</summary>
    public const long HeapBaseBytes = 56 * MiB;

    /// <summary>With less, volumes would hardly go on side by side.</summary>
    public const long BuffersBytesMin = 40 * MiB;

    /// <summary>What is left of them when the heap needs more than its part: then they wait, and all but stand still, rather than that the process ends.</summary>
    public const long BuffersBytesFloor = 10 * MiB;

    /// <summary>More than front ends fill by themselves, and as much again.</summary>
    public const long BuffersBytesMax = 1024 * MiB;

    /// <summary>Pages that changed since a checkpoint began are there twice, and those that are not written yet are as many as <see cref="MapCache"/> allows.</summary>
    public const int MapsTimes = 4;

    /// <summary>The part of what is left for them that the maps get if nobody says how much.</summary>
    private const int MapsPart = 3;

    /// <summary>A payload is there twice, as it came and as it was encoded, and each is a little larger than its data. Together at most 40 % of the buffers.</summary>
    private const double FrontEndPart = 0.4 / 2.2;
    private const int KeptPart = 8;

    /// <summary>With it and what front ends and sessions have, owners have still some room before they refuse (<see cref="BufferPool.TightPercent"/>).</summary>
    private const int ReadCachePart = 8;
    private const int ConnectionPart = 4;
    private const int VolumePart = 8;

    /// <summary>What a client takes that may have one small piece in flight whatever there is: that piece twice, and its receive buffer.</summary>
    private const long ClientBytes = 160 << 10;
    private const int ShortReceiveBytes = 16 << 10;

    /// <summary>Of a container's memory limit: the rest is for the kernel's buffers and page cache, and for the processes of devices.</summary>
    public const int ContainerPercent = 75;

    public static readonly MemoryPlan Unlimited = new(0, 0, StoreOptions.MapCacheBytesDefault, StoreOptions.MapCacheBytesDefault * MapsTimes, long.MaxValue, NbdLimits.ServerBytesMax,
        Limits.KeptBytesOfProcessMax, NbdLimits.ConnectionsMax, NbdLimits.ReceiveBytes);

    /// <summary>The least limit that works, with a map cache of that size.</summary>
    public static long LeastBytes(long mapCacheBytes = NodeSetting.MapCacheBytesMin) => ProgramBytes + HeapBaseBytes + (MapsTimes * mapCacheBytes) + BuffersBytesMin;

    /// <summary>The plan, or what is wrong with the limit, in one sentence.</summary>
    /// <param name="containerBytes">The container's limit; null: there is none.</param>
    public static (MemoryPlan? Plan, string Error) Of(NodeOptions options, long? containerBytes)
    {
        var isOwn = options.MemoryLimitBytes is not null;
        var limit = options.MemoryLimitBytes ?? (containerBytes ?? 0) / 100 * ContainerPercent;
        if (limit == 0)
        {
            var plan = Unlimited with { ReadCacheBytes = options.ReadCacheBytes };
            return (options.MapCacheBytes == 0 ? plan : plan with { MapCacheBytes = options.MapCacheBytes, MapsBytes = options.MapCacheBytes * MapsTimes }, "");
        }
        var name = isOwn ? $"{NodeSetting.Section}.memory-limit is {Text(limit)}"
            : $"{NodeSetting.Section}.memory-limit is auto, which is {Text(limit)}, {ContainerPercent} % of this container's memory limit of {Text(containerBytes!.Value)}";
        if (limit < LeastBytes())
        {
            return (null, isOwn ? $"{name}; the least that works is {Text(LeastBytes())}."
                : $"{name}; the least that works is {Text(LeastBytes())}: give the container {Text(RoundUp(LeastBytes() * 100 / ContainerPercent))}, or set {NodeSetting.Section}.memory-limit.");
        }
        if (options.MapCacheBytes > 0 && limit < LeastBytes(options.MapCacheBytes))
        {
            return (null, $"{name}, but {NodeSetting.Section}.map-cache = {Text(options.MapCacheBytes)} takes up to {MapsTimes} times as much while a checkpoint is written: "
                + $"give the limit {Text(LeastBytes(options.MapCacheBytes))} or more, or map-cache {Text((limit - LeastBytes(0)) / MapsTimes / MiB * MiB)} or less, or auto.");
        }
        var divided = Divide(limit, options.MapCacheBytes);
        return (divided with { ReadCacheBytes = Math.Min(options.ReadCacheBytes, divided.BuffersBytes / ReadCachePart) }, "");
    }

    /// <summary>Null, or why the limit bounds nothing here: where there is less than that, the system ends the process before it is reached.</summary>
    /// <param name="containerBytes">The container's limit; null: there is none.</param>
    /// <param name="hostBytes">Memory of the machine.</param>
    public string? WarningOf(long? containerBytes, long hostBytes)
    {
        var there = Math.Min(containerBytes ?? hostBytes, hostBytes);
        if (LimitBytes <= there) return null;
        return $"{NodeSetting.Section}.memory-limit is {Text(LimitBytes)}, and {(containerBytes <= hostBytes ? "this container's memory limit" : "this host's memory")} is {Text(there)}: "
            + $"the system ends the node before that limit holds it. Use {Text(there / 100 * ContainerPercent / MiB * MiB)} or less{(containerBytes is null ? "" : ", or auto")}.";
    }

    private static MemoryPlan Divide(long limit, long mapCacheBytes)
    {
        var rest = limit - ProgramBytes - HeapBaseBytes;
        if (mapCacheBytes == 0)
            mapCacheBytes = Math.Clamp(Math.Min(rest / MapsPart, rest - BuffersBytesMin) / MapsTimes / MiB * MiB, NodeSetting.MapCacheBytesMin, StoreOptions.MapCacheBytesDefault);
        var maps = mapCacheBytes * MapsTimes;
        var buffers = Math.Min(rest - maps, BuffersBytesMax);
        return new MemoryPlan(limit, limit - ProgramBytes - buffers, mapCacheBytes, maps, buffers, Math.Min((long)(buffers * FrontEndPart), NbdLimits.ServerBytesMax),
            Math.Min(buffers / KeptPart, Limits.KeptBytesOfProcessMax), (int)Math.Min(buffers / ClientBytes, NbdLimits.ConnectionsMax),
            buffers >= BuffersBytesMax / 4 ? NbdLimits.ReceiveBytes : ShortReceiveBytes);
    }

    private static long RoundUp(long bytes) => (bytes + MiB - 1) / MiB * MiB;

    /// <summary>As settings write it.</summary>
    private static string Text(long bytes) => bytes % MiB == 0 ? string.Create(CultureInfo.InvariantCulture, $"{bytes / MiB}MiB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)MiB:0.#}MiB");
}
