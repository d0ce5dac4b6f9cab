using System.Collections.Concurrent;
using Cluster.Node.Api;
using Cluster.Node.Repair;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>What the owners of this node found and mended, for Prometheus. Any thread.</summary>
public sealed class RepairMetrics(Metrics metrics)
{
    private readonly ConcurrentDictionary<string, bool> _copies = new(StringComparer.Ordinal);
    private long _heldForRoom;

    /// <summary>Alerts look for a rise, and a counter that comes into being with its first event has none: all that can be counted is there from the start, at 0.</summary>
    public void Expose(NodeRepair repair, string nodeName)
    {
        foreach (var cause in Enum.GetValues<RepairCause>()) LostOf(cause);
        Expect(nodeName);
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
        else SlowOf(copy).Add(1);
    }

    /// <summary>An owner of this node has a copy there, or gets one.</summary>
    public void Expect(string copy)
    {
        if (!_copies.TryAdd(copy, true)) return;
        SlowOf(copy);
        foreach (var cause in Enum.GetValues<RepairCause>()) MendedOf(cause, copy);
    }

    public void Count(in RepairEvent repair)
    {
        if (repair.Mended > 0) MendedOf(repair.Cause, repair.Copy).Add(repair.Mended);
        if (repair.Lost > 0) LostOf(repair.Cause).Add(repair.Lost);
    }

    private Counter SlowOf(string copy) =>
        metrics.AddCounter("myrmidon_slow_copies_total", "Copies that owners of this node took out of the in-sync set because they were slow.", ("copy", copy));

    private Counter MendedOf(RepairCause cause, string copy) =>
        metrics.AddCounter("myrmidon_repair_mended_blocks_total", "Bad blocks of a copy that were written anew from another copy.", ("cause", NameOf(cause)), ("copy", copy));

    private Counter LostOf(RepairCause cause) =>
        metrics.AddCounter("myrmidon_repair_lost_blocks_total", "Blocks found that no in-sync copy had good; each time that one is read counts.", ("cause", NameOf(cause)));

    private static string NameOf(RepairCause cause) => cause.ToString().ToLowerInvariant();
}
