using Cluster.Csi.Client;
using Cluster.Csi.Nbd;
using Cluster.Messages.Wire;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Memory;

/// <summary>What the node's memory is divided into, and what each part takes.</summary>
internal static class MemoryMetrics
{
    private const string PartLimit = "myrmidon_memory_part_limit_bytes";
    private const string PartUsed = "myrmidon_memory_part_bytes";
    private const string PartLimitHelp = "What a part of the node's memory may take. The maps are in the heap, front ends and kept writes are in the buffers.";
    private const string PartUsedHelp = "What a part of the node's memory takes.";

    public static void Expose(Metrics metrics, MemoryPlan plan, BlockStore store)
    {
        metrics.AddGauge("myrmidon_memory_limit_bytes", "Memory that the node's process may take (memory-limit); 0: no limit.", () => plan.LimitBytes);
        Part(metrics, "heap", plan.LimitBytes == 0 ? null : plan.HeapBytes, () => MemoryGuard.HeapBytes);
        metrics.AddGauge("myrmidon_memory_heap_live_bytes", "Of the heap, what was in use after the last collection.", () => MemoryGuard.HeapLiveBytes);
        Part(metrics, "maps", plan.MapsBytes, () => store.Maps.Facts.ResidentPages * MapCache.PageBytes);
        Part(metrics, "buffers", plan.LimitBytes == 0 ? null : plan.BuffersBytes, () => BufferPool.Shared.RentedBytes + BufferPool.Shared.KeptBytes);
        metrics.AddGauge("myrmidon_memory_buffers_in_use_bytes", "Of the buffers, those that hold something; the others are kept for the next.", () => BufferPool.Shared.RentedBytes);
        if (plan.LimitBytes == 0) return;
        Part(metrics, "program", MemoryPlan.ProgramBytes,
            () => Math.Max(0, Environment.WorkingSet - MemoryGuard.HeapBytes - BufferPool.Shared.RentedBytes - BufferPool.Shared.KeptBytes));
    }

    public static void Expose(Metrics metrics, MemoryPlan plan, NbdServer server, VolumeSessions sessions, VolumeRuntime runtime)
    {
        Part(metrics, "front-ends", plan.FrontEndBytes, () => server.CountedBytes);
        Part(metrics, "kept", plan.KeptBytes, () => sessions.Kept.Bytes);
        Part(metrics, "read-cache", plan.ReadCacheBytes, () => sessions.Cache.Bytes);
        metrics.AddCounter("myrmidon_memory_waits_total", "Times that a client or a request had to wait for memory: NBD clients that were not read, and requests that an owner sent back.",
            () => server.MemoryWaits, ("where", "front-end"));
        metrics.AddCounter("myrmidon_memory_waits_total", "", () => runtime.RefusedForMemory, ("where", "owner"));
    }

    private static void Part(Metrics metrics, string name, long? limit, Func<double> used)
    {
        if (limit is { } bytes) metrics.AddGauge(PartLimit, PartLimitHelp, () => bytes, ("part", name));
        metrics.AddGauge(PartUsed, PartUsedHelp, used, ("part", name));
    }
}
