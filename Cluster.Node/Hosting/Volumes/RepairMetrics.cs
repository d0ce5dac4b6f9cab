using Cluster.Node.Api;
using Cluster.Node.Repair;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What the owners of this node found and mended, for Prometheus. Any thread.</summary>
public sealed class RepairMetrics(Metrics metrics)
{
    private long _heldForRoom;

    public void Expose(NodeRepair repair)
    {
        metrics.AddCounter("myrmidon_scrub_bytes_total", "Bytes that scrubs of this node's volumes read and compared, on each copy.", () => repair.ScrubbedBytes);
        metrics.AddCounter("myrmidon_scrub_ended_total", "Scrubs of this node's volumes that ended.", () => repair.ScrubsEnded);
        metrics.AddGauge("myrmidon_scrub_running", "Scrubs of this node's volumes under way.", () => repair.ScrubsUnderWay);
        metrics.AddGauge("myrmidon_volumes_held_for_room", "Volumes owned by this node whose writes are held because a copy has no room.",
            () => Volatile.Read(ref _heldForRoom));
        ExposeCatchUps(repair);
    }

    public void HeldForRoom(bool isHeld) => Interlocked.Add(ref _heldForRoom, isHeld ? 1 : -1);

    private void ExposeCatchUps(NodeRepair repair)
    {
        metrics.AddCounter("myrmidon_catch_up_bytes_total", "Bytes that owners of this node sent to copies that were behind or new.", () => repair.CaughtUpBytes);
        metrics.AddCounter("myrmidon_catch_up_started_total", "Catch-ups that owners of this node started.", () => repair.CatchUpsStarted);
        metrics.AddCounter("myrmidon_catch_up_resumed_total", "Of those started, the ones that went on where an earlier one was interrupted.",
            () => repair.CatchUpsResumed);
        metrics.AddCounter("myrmidon_catch_up_ended_total", "Of those started, the ones whose copy is in sync again.", () => repair.CatchUpsEnded);
        metrics.AddGauge("myrmidon_catch_up_running", "Catch-ups that owners of this node drive.", () => repair.CatchUpsUnderWay);
        metrics.AddGauge("myrmidon_catch_up_waiting", "Copies whose catch-up waits for others of this node to end.", () => repair.CatchUpsWaiting);
    }

    public void CountSlow(string copy, bool isOwner)
    {
        if (isOwner) metrics.AddCounter("myrmidon_slow_owner_moves_total", "Owners that were to leave this node because their own copy was slow.").Add(1);
        else metrics.AddCounter("myrmidon_slow_copies_total", "Copies that owners of this node took out of the in-sync set because they were slow.", ("copy", copy)).Add(1);
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
