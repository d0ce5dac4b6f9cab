using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

public sealed class TombstoneSpecs
{
    [Fact(DisplayName = "R20: tombstones up to the sequence that every copy has passed go, newer ones stay, and the blocks read the same, also after a crash")]
    public void Forgotten()
    {
        var rig = new StoreRig().Open();
        var volume = (VolumeStore)rig.Create();
        for (var block = 0UL; block < 40; block++) StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block));
        for (var block = 0UL; block < 20; block++)
            StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(2 * block, 1)));
        volume.Commit(volume.LastSequence);
        StoreRig.AppendBlock(volume, 100, StoreRig.Bytes(100), 1, volume.CommitWatermark);
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        Assert.Equal(20, volume.Map.Tombstones.Count);
        volume.ForgetTombstones(50);
        Assert.Equal(10, volume.Map.Tombstones.Count);
        Assert.All(Enumerable.Range(0, 10), index => Assert.True(volume.Map.Tombstones[index].Sequence > 50));
        Read(rig, volume);
        volume.ForgetTombstones(volume.CommitWatermark);
        Assert.False(volume.HasTombstones);
        Read(rig, volume);
        volume = (VolumeStore)rig.Restart(PowerLoss.LoseAll).Find();
        volume.Commit(volume.LastSequence);
        Read(rig, volume);
        volume.ForgetTombstones(volume.CommitWatermark);
        Assert.False(volume.HasTombstones);
        // A checkpoint of a map without tombstones brings none back.
        rig.StopClean();
        volume = (VolumeStore)rig.Open().Find();
        volume.Commit(volume.LastSequence);
        Assert.False(volume.HasTombstones);
        Read(rig, volume);
    }

    [Fact(DisplayName = "R20: a tombstone that another copy may still need is not forgotten")]
    public void Not_yet()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.Append(volume, StoreRig.Trim(volume.Volume, 1, new BlockRange(0, 8)));
        volume.Commit(1);
        Assert.Throws<InvariantException>(() => volume.ForgetTombstones(1));
        rig.Sync(volume);
        volume.ForgetTombstones(1);
        Assert.Throws<InvariantException>(() => volume.ForgetTombstones(2));
    }

    private static void Read(StoreRig rig, VolumeStore volume)
    {
        for (var block = 0UL; block < 40; block++)
        {
            var (_, bytes) = rig.Read(volume, block).Blocks[0];
            Assert.Equal(block % 2 == 0 ? [] : StoreRig.Bytes(block), bytes);
        }
    }
}
