using Cluster.Node.Api;
using Cluster.Node.Repair;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What the owners of this node found and mended, for Prometheus. Any thread.</summary>
public sealed class RepairMetrics(Metrics metrics)
{
    public void Expose(NodeRepair repair)
    {
        metrics.AddCounter("myrmidon_scrub_bytes_total", "Bytes that scrubs of this node's volumes read and compared, on each copy.", () => repair.ScrubbedBytes);
        metrics.AddCounter("myrmidon_scrub_ended_total", "Scrubs of this node's volumes that ended.", () => repair.ScrubsEnded);
        metrics.AddGauge("myrmidon_scrub_running", "Scrubs of this node's volumes under way.", () => repair.ScrubsUnderWay);
    }

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
