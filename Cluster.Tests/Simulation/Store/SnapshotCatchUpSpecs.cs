using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

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

    [Fact(DisplayName = "A copy of a clone that begins with nothing is the same as one that shares its blocks, whatever is written, kept, deleted and cloned meanwhile")]
    public void Catch_up_of_a_clone()
    {
        var detached = 0;
        for (var seed = 1; seed <= 300; seed++)
        {
            var run = new SnapshotCatchUpRun(seed, isClone: true);
            run.Execute();
            detached += run.Detached;
        }
        Assert.True(detached > 50, $"the runs are too tame: {detached} origins are gone");
    }

    [Fact(DisplayName = "What is applied outside the order is replayed behind the marker that came before it: what the snapshot sees outlives the process")]
    public void Behind_the_marker()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 0, StoreRig.Bytes(1)));
        var marker = new SnapshotMarker(true, 0, []).Build(StoreRig.Volume, out var header);
        (header.Sequence, header.Epoch) = (2, 1);
        header.Encode(marker.Span);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, marker));
        volume.Commit(2);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Write(StoreRig.Volume, 7, 0, [StoreRig.Bytes(7)], 0, 0, RecordFlags.Resync)));
        rig.Sync(volume);

        volume = rig.Restart(PowerLoss.LoseAll).Find();
        volume.Commit(2);
        Assert.Equal(7UL, volume.SequenceOf(0, withTail: false));
        Assert.True(((VolumeStore)volume).Map.FindAt(2, 0, out var seen, out _) && seen.Sequence == 1, $"the snapshot sees {seen.Sequence}");
    }
}
