using Cluster.Node.Api;
using Cluster.Node.Repair;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What the owners of this node found and mended, for Prometheus. Any thread.</summary>
public sealed class RepairMetrics(Metrics metrics)
{
    public void Count(in RepairEvent repair)
    {
        var cause = repair.Cause.ToString().ToLowerInvariant();
        if (repair.Mended > 0)
        {
            metrics.AddCounter("myrmidon_repair_mended_blocks_total", "Bad blocks of a copy that were written anew from another copy.",
                ("cause", cause), ("copy", repair.Copy)).Add(repair.Mended);
        }
        if (repair.Lost > 0)
        {
            metrics.AddCounter("myrmidon_repair_lost_blocks_total", "Blocks found that no in-sync copy had good; each time that one is read counts.",
                ("cause", cause)).Add(repair.Lost);
        }
    }
}
