using System.Globalization;
using Cluster.Csi.Client;
using Cluster.Node.Api;
using Cluster.Node.Owner;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>The parts of a pause, for the log and for Prometheus: docs/operations.md tells what each is. Any thread.</summary>
public sealed class FailoverMetrics(Metrics metrics)
{
    private static readonly double[] BoundsSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

    /// <summary>The text "detect 3 ms, ..." of what is counted by this.</summary>
    /// <param name="loss">The owner that this one replaces, if it was lost.</param>
    /// <param name="startedMs">When the volume's actor was started here.</param>
    /// <param name="recoveredMs">When it had read its journal.</param>
    public string Count(LostOwner? loss, long startedMs, long recoveredMs, TakeoverTimes times)
    {
        List<(string Phase, long Ms)> parts = [];
        var begunMs = startedMs;
        if (loss is { } lost)
        {
            // An early claim does not wait for the cluster to take the node out.
            var outMs = lost.OutMs > lost.FoundMs && lost.OutMs < startedMs ? lost.OutMs : lost.FoundMs;
            begunMs = lost.HeardMs;
            parts.AddRange([("detect", lost.FoundMs - lost.HeardMs), ("down", outMs - lost.FoundMs), ("shard", startedMs - outMs)]);
        }
        parts.AddRange([
            ("recover", recoveredMs - startedMs), ("claim", times.PromiseMs - times.ClaimMs), ("promise", times.AlignMs - times.PromiseMs),
            ("align", times.OpenMs - times.AlignMs), ("open", times.StampMs - times.OpenMs), ("stamp", times.LeaseMs - times.StampMs),
            ("lease", times.ServedMs - times.LeaseMs), ("total", times.ServedMs - begunMs),
        ]);
        TakeoversOf(loss?.Loss ?? OwnerLoss.None).Add();
        foreach (var (phase, ms) in parts) Observe(phase, ms);
        return string.Join(", ", parts.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Phase} {Math.Max(part.Ms, 0)} ms")));
    }

    /// <summary>A front end of this node reaches a volume again.</summary>
    public void CountFrontEnd(long heldMs, long replayMs)
    {
        Observe("held", heldMs);
        Observe("replay", replayMs);
    }

    /// <summary>A volume that this node serves has lost writes with the power of all its copies, and got them back from who was answered them.</summary>
    public void CountPresented(int writes) => metrics.AddCounter("myrmidon_owner_restored_writes_total",
        "Writes that all copies had lost with their power and that sessions presented again.").Add(writes);

    /// <summary>As the node that hosts placement, an owner has followed who uses its volume, or did not get there in time.</summary>
    public void CountFollowed(bool isMade) => metrics.AddCounter("myrmidon_locality_moves_total",
        "Owners that placement, on this node, moved to who uses their volumes, by what came of it.", ("result", isMade ? "made" : "failed")).Add();

    /// <summary>Takeovers at 0 by each loss, and what this node's front ends keep.</summary>
    public void Expose(KeptBudget kept)
    {
        // Alerts look for a rise: the first takeover is one only from a 0 that was there before.
        foreach (var loss in Enum.GetValues<OwnerLoss>()) TakeoversOf(loss);
        PhaseOf("total");
        metrics.AddGauge("myrmidon_session_kept_bytes", "Answered writes, not known to be on media, that front ends keep.", () => kept.Bytes);
        metrics.AddCounter("myrmidon_session_forced_flushes_total", "Flushes by front ends that nobody had asked for.", () => kept.ForcedFlushes);
        metrics.AddCounter("myrmidon_session_presented_writes_total", "Kept writes that front ends presented to owners that had lost them.", () => kept.Presented);
    }

    private Counter TakeoversOf(OwnerLoss loss) =>
        metrics.AddCounter("myrmidon_failover_takeovers_total", "Volumes that this node began to serve, by how their owner was lost.", ("loss", loss.ToString().ToLowerInvariant()));

    private Histogram PhaseOf(string phase) =>
        metrics.AddHistogram("myrmidon_failover_seconds", "Parts of the pauses of volumes whose owner changed.", BoundsSeconds, ("phase", phase));

    private void Observe(string phase, long ms) => PhaseOf(phase).Observe(Math.Max(ms, 0) / 1000.0);
}
