using System.Collections.Frozen;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>Snapshots of the volumes that this node owns, and group snapshots that were asked of it, for Prometheus. Any thread.</summary>
public sealed class SnapshotMetrics
{
    private readonly Counter _created;
    private readonly Counter _released;
    private readonly Counter _givenUp;
    private readonly Counter _heldMs;
    private readonly Counter _groupsMade;
    private readonly Counter _groupsFailed;
    private readonly FrozenDictionary<string, Counter> _swept;
    private long _owned;

    public SnapshotMetrics(Metrics metrics)
    {
        _created = metrics.AddCounter("myrmidon_snapshots_created_total", "Snapshots that owners of this node made.");
        metrics.AddGauge("myrmidon_snapshots", "Snapshots of the volumes that this node owns.", () => Volatile.Read(ref _owned));
        const string holds = "myrmidon_snapshot_holds_total", groups = "myrmidon_snapshot_groups_total";
        const string holdsHelp = "Times that owners of this node held a volume's writes for a snapshot of several volumes, by what came of it.";
        const string groupsHelp = "Snapshots of several volumes that were asked of this node, by what came of it.";
        _released = metrics.AddCounter(holds, holdsHelp, ("result", "committed"));
        _givenUp = metrics.AddCounter(holds, holdsHelp, ("result", "given-up"));
        _heldMs = metrics.AddCounter("myrmidon_snapshot_hold_milliseconds_total", "Milliseconds for which owners of this node held a volume's writes for a snapshot of several volumes.");
        _groupsMade = metrics.AddCounter(groups, groupsHelp, ("result", "made"));
        _groupsFailed = metrics.AddCounter(groups, groupsHelp, ("result", "failed"));
        const string sweptHelp = "Snapshots of several volumes that this node finished, took back or deleted by itself: what had been given up half-way, what the label snapshot-group-keep wants gone, and what has none of its volumes any more.";
        _swept = SweepResults.ToFrozenDictionary(result => result, result => metrics.AddCounter("myrmidon_snapshot_groups_swept_total", sweptHelp, ("result", result)));
    }

    /// <summary>What a sweep does to a group, or that it failed.</summary>
    private static readonly string[] SweepResults = ["finished", "undone", "retired", "emptied", SweepFailed];

    private const string SweepFailed = "failed";

    /// <param name="step">One of <see cref="SweepResults"/>.</param>
    public void CountSwept(string step, bool isDone) => _swept[isDone ? step : SweepFailed].Add();

    public void Owned(int by) => Interlocked.Add(ref _owned, by);

    public void Created() => _created.Add();

    public void CountHold(long heldMs, bool isCommitted)
    {
        (isCommitted ? _released : _givenUp).Add();
        _heldMs.Add(heldMs);
    }

    public void CountGroup(bool isMade) => (isMade ? _groupsMade : _groupsFailed).Add();
}
