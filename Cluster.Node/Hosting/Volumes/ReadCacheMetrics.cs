using Cluster.Csi.Client;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What front ends of this node had of what they read from other nodes, of volumes with the label cache.</summary>
internal static class ReadCacheMetrics
{
    public static void Expose(Metrics metrics, ReadCache cache)
    {
        metrics.AddCounter("myrmidon_read_cache_hits_total", "Blocks that front ends of this node had, and that their owner, which was asked, did not send again.", () => cache.Hits);
        metrics.AddCounter("myrmidon_read_cache_misses_total", "Blocks of volumes with the label cache that an owner on another node sent.", () => cache.Misses);
        metrics.AddCounter("myrmidon_read_cache_hit_bytes_total", "Encoded bytes that were not sent for that.", () => cache.HitBytes);
        metrics.AddCounter("myrmidon_read_cache_evictions_total", "Blocks that made room for others.", () => cache.Evictions);
        metrics.AddGauge("myrmidon_read_cache_bytes", "Memory that the blocks take which are kept.", () => cache.Bytes);
        metrics.AddGauge("myrmidon_read_cache_budget_bytes", "What they may take (read-cache).", () => cache.BudgetBytes);
    }
}
