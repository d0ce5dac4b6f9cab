using Cluster.Node.Api;
using Cluster.Node.Journal;

namespace Cluster.Node.Hosting;

/// <summary>How the node's parts and its journal are, for Prometheus. Any thread.</summary>
internal static class HealthMetrics
{
    /// <param name="parts">Of <paramref name="health"/>: those that report or are probed.</param>
    public static void Expose(Metrics metrics, Health health, IReadOnlyList<string> parts)
    {
        foreach (var part in parts)
            metrics.AddGauge("myrmidon_health", "The node's parts, as /v1/health has them: 0 healthy, 1 starting, 2 degraded, 3 unhealthy.", () => (double)health.StateOf(part), ("part", part));
    }

    public static void Expose(Metrics metrics, IMetaLog journal)
    {
        metrics.AddGauge("myrmidon_journal_has_leader", "1 while this node knows a leader of the metadata journal, else 0: without one nothing can be changed or taken over.",
            () => journal.Status.LeaderName is null ? 0 : 1);
        metrics.AddGauge("myrmidon_journal_role", "This node's part in the metadata journal: 0 none (it asks others), 1 follower, 2 leader, 3 learner.", () => (double)journal.Status.Role);
        metrics.AddGauge("myrmidon_journal_term", "The journal's term; each election raises it. 0 on a node that is no member.", () => journal.Status.Term);
        metrics.AddGauge("myrmidon_journal_applied_index", "Index of the last entry of the journal that this member knows to be committed, which it applies next; one that stays behind the others is cut off or slow. 0 on a node that is no member.", () => journal.Status.CommitIndex);
        metrics.AddGauge("myrmidon_journal_log_bytes", "Bytes of entries in this member's log, until it is compacted.", () => journal.Status.LogBytes);
    }
}
