using Cluster.Node.Api;
using Cluster.Node.Hosting;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Raft;
using Cluster.Tests.Integration.Journal;

namespace Cluster.Tests.Unit.Api;

/// <summary>What alerts on a node's parts and its journal rest on.</summary>
public sealed class HealthMetricsSpecs
{
    [Fact(DisplayName = "The metrics of health say how each part is now, probed or reported, and a part of which nobody tells is unhealthy")]
    public void Parts()
    {
        var (metrics, health, state) = (new Metrics(), new Health(TimeProvider.System), HealthState.Healthy);
        health.Report("nbd", HealthState.Starting);
        health.AddProbe("store", () => (state, ""));
        HealthMetrics.Expose(metrics, health, ["nbd", "store", "other"]);
        Assert.Contains("myrmidon_health{part=\"nbd\"} 1\n", metrics.Write(), StringComparison.Ordinal);
        Assert.Contains("myrmidon_health{part=\"store\"} 0\n", metrics.Write(), StringComparison.Ordinal);
        Assert.Contains("myrmidon_health{part=\"other\"} 3\n", metrics.Write(), StringComparison.Ordinal);
        state = HealthState.Degraded;
        Assert.Contains("myrmidon_health{part=\"store\"} 2\n", metrics.Write(), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The metrics of the journal say whether a leader is known, and how far this member is")]
    public void Journal()
    {
        var metrics = new Metrics();
        var log = new StateLog { Status = new MetaLogStatus(MetaLogRole.Follower, 7, "node-1", 42, RaftMembers.Formed([])) { LogBytes = 4096 } };
        HealthMetrics.Expose(metrics, log);
        var page = metrics.Write();
        foreach (var line in new[] { "has_leader 1", "role 1", "term 7", "applied_index 42", "log_bytes 4096" })
            Assert.Contains($"myrmidon_journal_{line}\n", page, StringComparison.Ordinal);
        log.Status = log.Status with { LeaderName = null };
        Assert.Contains("myrmidon_journal_has_leader 0\n", metrics.Write(), StringComparison.Ordinal);
    }
}
