using Cluster.Messages.Model;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// Two replicas of a volume with snapshots: one was away, and is caught up from the other's changes while that one goes on (R8, R19). Whatever was written, trimmed, kept and
/// deleted meanwhile, and in whatever order it arrives, both end up with the same snapshots of the same versions.
/// </summary>
public sealed class SnapshotCatchUpSpecs
{
    [Fact(DisplayName = "A copy that was away while snapshots came and went is the same as the owner's after a catch-up, through restarts of either")]
    public void Catch_up()
    {
        var (snapshots, kept) = (0, 0L);
        for (var seed = 1; seed <= 300; seed++)
        {
            var run = new SnapshotCatchUpRun(seed);
            run.Execute();
            snapshots += run.Owner.Snapshots.Count;
            kept += run.Owner.Usage.SnapshotBytes;
        }
        Assert.True(snapshots > 300 && kept > 300 * Limits.BlockBytes, $"the runs are too tame: {snapshots} snapshots, {kept} bytes");
    }
}
