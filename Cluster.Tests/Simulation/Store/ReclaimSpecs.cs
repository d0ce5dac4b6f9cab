using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// A store that is nearly full, so that each segment is used anew as soon as nothing lives in it: one volume is overwritten all the time, another one rarely, and then the
/// power goes, or the process dies. What the checkpoint names may be overwritten by then; nothing of it may be missed.
/// </summary>
public sealed class ReclaimSpecs
{
    [Fact(DisplayName = "Segments are used anew without a checkpoint for each, and whatever the moment at which the power goes, every volume is whole")]
    public void Used_anew()
    {
        var (freed, checkpoints) = (0, 0);
        for (var seed = 1; seed <= 40; seed++)
        {
            var run = new ReclaimRun(seed);
            run.Execute();
            (freed, checkpoints) = (freed + run.Freed, checkpoints + run.Checkpoints);
        }
        Assert.True(freed > 2 * checkpoints && checkpoints > 100, $"{freed} segments were freed, {checkpoints} checkpoints written");
    }

    [Theory(DisplayName = "With no room for a checkpoint, segments that the last one names are used anew, but none from which an open reads the tail; and what superseded them counts as committed")]
    [InlineData(false)]
    [InlineData(true)]
    public void Without_a_checkpoint(bool hasTail)
    {
        const int segments = 12, blocks = 430, quietBlocks = 10;
        var rig = new StoreRig(1, new StoreOptions { CapacityBytes = segments * (long)StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 64 << 20 }).Open();
        var (quiet, busy) = (rig.Create(), rig.Create(new VolumeId(8)));
        for (var block = 0UL; block < quietBlocks; block++) StoreRig.AppendBlock(quiet, block, StoreRig.Bytes(block));
        if (!hasTail) quiet.Commit(quiet.LastSequence);
        Assert.Equal(blocks, Fill(rig, busy, blocks, 0));
        rig.StopClean();
        rig.Open();
        (quiet, busy) = (rig.Find(), rig.Find(new VolumeId(8)));
        var first = rig.Store.Segments.All.Single(segment => segment.Number == 1);
        rig.Loop.Settle();
        rig.Disk.FullFor = CheckpointWriter.NewName;

        quiet.Commit(quiet.LastSequence);
        // Trimmed, it has nothing that the cleaner would move, and no record of its own behind this one.
        Assert.Equal(IoStatus.Ok, StoreRig.Append(quiet, StoreRig.Trim(StoreRig.Volume, quiet.LastSequence + 1, new BlockRange(0, quietBlocks), 1, quiet.CommitWatermark)));
        quiet.Commit(quiet.LastSequence);
        Assert.Equal(blocks, Fill(rig, busy, blocks, 1));
        // With one segment less there may be no more room.
        var again = Fill(rig, busy, 150, 2);
        Assert.InRange(again, hasTail ? 0 : 150, 150);
        Assert.Equal(0, rig.Store.CheckpointsWritten);
        Assert.True(rig.Store.SegmentsFreed > 3, $"{rig.Store.SegmentsFreed} segments were freed");
        Assert.Equal(hasTail, first.Number == 1);

        rig.Disk.FullFor = "";
        rig.Restart(PowerLoss.ProcessOnly);
        quiet = rig.Find();
        Assert.Null(quiet.Damage);
        Assert.Equal(quietBlocks + 1UL, quiet.CommitWatermark);
        for (var block = 0UL; block < quietBlocks; block++) Assert.Empty(rig.Read(quiet, block).Blocks[0].Bytes);
        busy = rig.Find(new VolumeId(8));
        Assert.Null(busy.Damage);
        busy.Commit(busy.LastSequence);
        for (var block = 0UL; block < blocks; block++) Assert.Equal(StoreRig.Bytes((block << 8) | (block < (ulong)again ? 2UL : 1)), rig.Read(busy, block).Blocks[0].Bytes);
    }

    /// <summary>Answers how many blocks were written before there was no room.</summary>
    private static int Fill(StoreRig rig, IVolumeStore volume, int blocks, ulong round)
    {
        for (var block = 0; block < blocks; block++)
        {
            var status = StoreRig.AppendBlock(volume, (ulong)block, StoreRig.Bytes(((ulong)block << 8) | round), 1, volume.CommitWatermark);
            if (status == IoStatus.NoSpace) return block;
            Assert.Equal(IoStatus.Ok, status);
            volume.Commit(volume.LastSequence);
            rig.Loop.Settle();
        }
        return blocks;
    }
}
