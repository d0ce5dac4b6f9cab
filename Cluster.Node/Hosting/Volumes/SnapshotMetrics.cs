using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>Snapshots of the volumes that this node owns, for Prometheus. Any thread.</summary>
public sealed class SnapshotMetrics
{
    private readonly Counter _created;
    private long _owned;

    public SnapshotMetrics(Metrics metrics)
    {
        _created = metrics.AddCounter("myrmidon_snapshots_created_total", "Snapshots that owners of this node made.");
        metrics.AddGauge("myrmidon_snapshots", "Snapshots of the volumes that this node owns.", () => Volatile.Read(ref _owned));
    }

    public void Owned(int by) => Interlocked.Add(ref _owned, by);

    public void Created() => _created.Add();
}
