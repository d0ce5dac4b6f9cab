using Cluster.Messages.Model;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Unit.Store;

/// <summary>R9, R10: what a failed fdatasync leaves behind, seen by the process after.</summary>
public sealed class FailedSyncSpecs
{
    [Fact(DisplayName = "What a failed fdatasync left in the page cache only is written again by the next open before it counts as durable")]
    public void Written_again()
    {
        var (rig, _) = WithFailedSync();
        var volume = rig.Restart(PowerLoss.ProcessOnly).Find();
        Assert.Equal((2UL, 2UL), (volume.LastSequence, volume.DurableSequence));
        Assert.Equal(2UL, rig.Restart(PowerLoss.LoseAll).Find().LastSequence);
    }

    [Fact(DisplayName = "A store whose fdatasync failed notes it, and is suspect when it is opened again in the same boot, once")]
    public void Suspect_once()
    {
        var (rig, _) = WithFailedSync();
        Assert.True(rig.Restart(PowerLoss.ProcessOnly).Store.Suspect);
        Assert.Equal((2UL, 2UL), (rig.Store.OpenCount, rig.Store.SuspectSince));
        Assert.False(rig.Restart(PowerLoss.ProcessOnly).Store.Suspect);
        Assert.Equal((3UL, 2UL), (rig.Store.OpenCount, rig.Store.SuspectSince));
    }

    [Fact(DisplayName = "What the page cache has dropped after a failed fdatasync is cut, and the store is suspect")]
    public void Dropped_from_the_cache()
    {
        var (rig, _) = WithFailedSync();
        rig.Disk.Evict(() => true);
        var volume = rig.Restart(PowerLoss.ProcessOnly).Find();
        Assert.Equal((1UL, 1UL), (volume.LastSequence, volume.DurableSequence));
        Assert.True(rig.Store.Suspect);
    }

    [Fact(DisplayName = "A disk that takes no note of a failed fdatasync is asked again until it does")]
    public void Noted_later()
    {
        var (rig, _) = WithFailedSync(failing: 4);
        Assert.False(new StoreRig(disk: rig.Disk.Copy(media: true)).Open().Store.Suspect);
        for (var second = 0; second < 5; second++) rig.Loop.Advance(1000);
        Assert.True(new StoreRig(disk: rig.Disk.Copy(media: true)).Open().Store.Suspect);
    }

    [Fact(DisplayName = "A store that is stopped after a failed fdatasync does not call its stop clean, and is suspect")]
    public void Stopped()
    {
        var (rig, _) = WithFailedSync(failing: 2);
        rig.StopClean();
        Assert.True(rig.Open().Store.Suspect);
        Assert.Equal(2UL, rig.Find().LastSequence);
    }

    [Fact(DisplayName = "An open whose own fdatasync fails is refused, and the next one is suspect and writes the log's end again")]
    public void Open_fails()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        rig.Loop.Settle();
        rig.Disk.Restart(PowerLoss.ProcessOnly);
        // The first sync of an open is that of the superblock.
        rig.Disk.FailSyncsAfter(1, 1);
        Assert.Equal(IoStatus.DeviceError, rig.TryOpen().Status);
        Assert.Equal(1UL, rig.Restart(PowerLoss.ProcessOnly).Find().LastSequence);
        Assert.True(rig.Store.Suspect);
        Assert.Equal(1UL, rig.Restart(PowerLoss.LoseAll).Find().LastSequence);
    }

    /// <summary>Record 1 is on media, record 2 in a page cache that calls it clean.</summary>
    private static (StoreRig Rig, IVolumeStore Volume) WithFailedSync(int failing = 1)
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        rig.Sync(volume);
        StoreRig.AppendBlock(volume, 2, StoreRig.Bytes(2));
        rig.Disk.FailSyncs = failing;
        rig.Sync(volume);
        Assert.Single(rig.Events.Failed);
        return (rig, volume);
    }
}
