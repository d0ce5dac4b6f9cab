using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What was free before a crash, and what the checkpoint from before that names: both can't be used, and the store must go on.</summary>
public sealed class FullLivesSpecs
{
    private const int Segments = 24;
    private const ulong Blocks = 60;

    /// <summary>More than were free when the store was full.</summary>
    private const int SegmentsOfLife = 6;
    private static readonly VolumeId Filler = new(8);

    [Theory(DisplayName = "Filled, emptied, reclaimed without a checkpoint and killed: the open has its reserve, headers and writes go on, also if it is cut at any of its steps")]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.Torn)]
    public void Reserve_is_whole(PowerLoss loss)
    {
        for (var operation = 0; operation <= 16; operation++)
        {
            var (rig, round) = Emptied();
            rig.Disk.Restart(loss);
            if (operation > 0)
            {
                rig.Disk.PowerOffAt = rig.Disk.Operations + operation;
                rig.TryOpen();
                rig.Disk.Restart(loss);
            }
            rig.Open();
            Assert.True(rig.Store.Segments.UsableCount > rig.Store.Segments.Reserve(SpaceClass.Data), $"cut at {operation}: {rig.Store.Segments.UsableCount} segments are usable");
            Holds(rig, round);
            // Right behind the open, and its checkpoint, once more.
            rig.Restart(loss);
            Holds(rig, round);
            rig.Find().SaveHeader(new byte[1024]);
            for (; round < 40; round++) Overwrite(rig, round + 1);
            Assert.Null(rig.Store.FailureReason);
            rig.Restart(loss);
            Holds(rig, round);
        }
    }

    [Fact(DisplayName = "A store that has its reserve writes no checkpoint when it opens after a crash")]
    public void Not_full()
    {
        var rig = Rig();
        rig.Create();
        for (var round = 1UL; round < 6; round++) Overwrite(rig, round);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal(0, rig.Store.CheckpointsWritten);
        Assert.True(rig.Store.Recovered.ReplayedBytes > StoreOptions.SegmentBytesMin);
    }

    [Fact(DisplayName = "With no room for that checkpoint the store opens all the same, is read, and frees its space once there is room")]
    public void No_room_for_it()
    {
        var (rig, round) = Emptied();
        rig.Disk.Restart(PowerLoss.ProcessOnly);
        rig.Disk.FullFor = CheckpointWriter.NewName;
        rig.Open();
        Assert.Equal(0, rig.Store.CheckpointsWritten);
        Holds(rig, round);
        rig.Disk.FullFor = "";
        rig.Loop.Advance(2000);
        rig.Find().SaveHeader(new byte[1024]);
        Overwrite(rig, round + 1);
        Assert.Null(rig.Store.FailureReason);
    }

    [Fact(DisplayName = "Over many seeds a store that is filled, emptied and cut in many lives never fails by itself, and has what was written")]
    public void Random_lives()
    {
        var (freed, filled) = (0, 0);
        for (var seed = 1; seed <= 40; seed++)
        {
            var run = new FullLivesRun(seed);
            run.Execute();
            (freed, filled) = (freed + run.FreedAtOpen, filled + run.Filled);
        }
        Assert.True(freed > 20 && filled > 100, $"the runs are too tame: {freed} opens freed segments, {filled} times full");
    }

    [Theory(DisplayName = "Full of what lives and killed again and again, soon after each open: the store never fails, and a volume can be deleted, which gives its room back")]
    [InlineData(PowerLoss.ProcessOnly, 1)]
    [InlineData(PowerLoss.LoseAll, 2)]
    [InlineData(PowerLoss.Torn, 3)]
    public void Killed_while_full(PowerLoss loss, int seed)
    {
        var random = new Random(seed);
        var rig = Rig();
        rig.Create();
        Overwrite(rig, 1);
        Fill(rig, rig.Create(Filler));
        for (var life = 0; life < 60; life++)
        {
            rig.Restart(loss);
            foreach (var volume in rig.Store.Volumes.ToArray()) volume.SaveHeader(new byte[1024]);
            rig.Disk.PowerOffAt = rig.Disk.Operations + random.Next(1, 60);
            var filler = rig.Find(Filler);
            filler.Commit(filler.LastSequence);
            for (var step = 0; step < 40 && !rig.Disk.IsOff; step++)
            {
                // Over all of it, so that no segment dies by itself.
                if (StoreRig.AppendBlock(filler, (ulong)random.Next(800), StoreRig.Bytes((ulong)step), 1, filler.CommitWatermark) == IoStatus.Ok) filler.Commit(filler.LastSequence);
                rig.Loop.Turn();
                if (step % 8 == 0) rig.Loop.Settle();
            }
            Assert.True(rig.Disk.IsOff || rig.Store.FailureReason is null, $"life {life}: {rig.Store.FailureReason}, {rig.Store.Usage}");
        }
        rig.Restart(loss);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(Filler));
        rig.Sync(rig.Find());
        for (var round = 2UL; round < 20; round++) Overwrite(rig, round);
        Assert.Null(rig.Store.FailureReason);
    }

    private static StoreRig Rig() => new StoreRig(1, new StoreOptions { CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 64 << 20 }).Open();

    /// <summary>The checkpoint on media names nearly all segments, nothing lives in most of them, and those that were free have the log behind it.</summary>
    private static (StoreRig Rig, ulong Round) Emptied()
    {
        var rig = Rig();
        rig.Create();
        Overwrite(rig, 1);
        Fill(rig, rig.Create(Filler));
        rig.StopClean();
        rig.Open();
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(Filler));
        rig.Sync(rig.Find());
        var round = 1UL;
        while (rig.Store.SegmentsFreed == 0 || rig.Store.Segments.All.Count(segment => segment.Number > rig.Store.Recovered.End.Number) < SegmentsOfLife) Overwrite(rig, ++round);
        Assert.Equal(0, rig.Store.CheckpointsWritten);
        return (rig, round);
    }

    private static void Fill(StoreRig rig, IVolumeStore volume)
    {
        while (StoreRig.AppendBlock(volume, volume.LastSequence, StoreRig.Bytes(volume.LastSequence), 1, volume.CommitWatermark) == IoStatus.Ok)
        {
            volume.Commit(volume.LastSequence);
            rig.Loop.Settle();
        }
        rig.Sync(volume);
    }

    private static void Overwrite(StoreRig rig, ulong round)
    {
        var volume = rig.Find();
        for (var block = 0UL; block < Blocks; block++)
        {
            var status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes((round << 8) | block), 1, volume.CommitWatermark);
            Assert.True(status == IoStatus.Ok, $"round {round}, block {block}: {status}, {rig.Store.FailureReason}, {rig.Store.Usage}");
            volume.Commit(volume.LastSequence);
            if (block % 8 == 0) rig.Loop.Settle();
        }
        rig.Sync(volume);
        rig.Loop.Advance(100);
    }

    private static void Holds(StoreRig rig, ulong round)
    {
        var volume = rig.Find();
        Assert.Null(volume.Damage);
        volume.Commit(volume.LastSequence);
        for (var block = 0UL; block < Blocks; block++) Assert.Equal(StoreRig.Bytes((round << 8) | block), rig.Read(volume, block).Blocks[0].Bytes);
    }
}
