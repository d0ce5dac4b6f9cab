using Cluster.Messages.Model;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

public sealed class SpaceSpecs
{
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    [Fact(DisplayName = "Random overwrites for many times the capacity never fill the disk with garbage, beside data that stays")]
    public void Sustained_overwrites()
    {
        var rig = new StoreRig(5, new StoreOptions { CapacityBytes = 16 * SegmentBytes, CheckpointIntervalBytes = 1 << 20 }).Open();
        var volume = rig.Create();
        var random = new Random(5);
        var last = new Dictionary<ulong, ulong>();
        for (var round = 0UL; round < 4000; round++)
        {
            // Every 40th block is cold: written once, it keeps its segment from dying by itself.
            var block = round % 40 == 0 ? 1000 + (round / 40) : (ulong)random.Next(200);
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(round), 1, volume.CommitWatermark));
            last[block] = round;
            if (round % 8 == 0) rig.Loop.Settle();
            volume.Commit(volume.LastSequence);
            if (round % 64 == 0) rig.Sync(volume);
        }
        Assert.True(rig.Store.SegmentsCleaned > 10, $"{rig.Store.SegmentsCleaned} segments were cleaned");
        Assert.InRange(rig.Disk.UsedBytes, 0, 17 * SegmentBytes);
        rig.Sync(volume);
        rig.Restart(PowerLoss.LoseAll);
        volume = rig.Find();
        volume.Commit(volume.LastSequence);
        foreach (var (block, round) in last) Assert.Equal(StoreRig.Bytes(round), rig.Read(volume, block).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "A full store refuses data before it is staged, still takes headers, trims and truncations, and has room again after them")]
    public void Full()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 12 * SegmentBytes }).Open();
        var volume = rig.Create();
        var status = Fill(rig, volume, 0);
        Assert.Equal(IoStatus.NoSpace, status);
        Assert.Null(rig.Store.FailureReason);
        Assert.Equal(0, rig.Store.Usage.AvailableBytes);
        var last = volume.LastSequence;
        Assert.True(last > 300);
        volume.SaveHeader(new byte[5000]);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, last + 1, new BlockRange(0, 300))));
        Assert.Equal(IoStatus.Ok, volume.Truncate(last));
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, last + 1, new BlockRange(0, 250))));
        volume.Commit(last + 1);
        rig.Sync(volume);
        rig.Loop.Settle();
        Assert.True(rig.Store.Usage.AvailableBytes > 0);
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1)));
    }

    [Fact(DisplayName = "A node that was nearly full and was emptied tells placement its room at once, though nothing is cleaned before somebody needs it")]
    public void Emptied()
    {
        const int segments = 24, left = 4;
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = segments * SegmentBytes, CheckpointIntervalBytes = 64 << 20 }).Open();
        var volume = rig.Create();
        for (var block = 0UL; rig.Store.Usage.AvailableBytes > left * SegmentBytes; block++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), 1, volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
            rig.Sync(volume);
        }
        var full = StoreHealth.Report(rig.Store, Guid.Empty, 0);
        Assert.InRange(full.AvailableBytes, 1, (left + 2) * SegmentBytes);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
        rig.Loop.Settle();
        Assert.InRange(rig.Store.Usage.AvailableBytes, 1, left * SegmentBytes);
        var emptied = StoreHealth.Report(rig.Store, Guid.Empty, 0);
        Assert.Equal((0, emptied.CapacityBytes), (emptied.LiveBytes, emptied.AvailableBytes));
        // It is true.
        volume = rig.Create();
        for (var block = 0UL; block < (ulong)(emptied.AvailableBytes / Limits.BlockBytes * 9 / 10); block++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), 1, volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
            rig.Sync(volume);
        }
    }

    [Fact(DisplayName = "A store that has failed has no room for anybody, and its home is told with what ended it and what helps")]
    public void Failed()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 24 * SegmentBytes }).Open();
        var volume = rig.Create();
        Assert.Equal(("in-use", ""), (StoreHealth.Report(rig.Store)[0].State, StoreHealth.Report(rig.Store)[0].Problem));
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1)));
        rig.Disk.FailSyncs = 1;
        rig.Sync(volume);
        rig.Loop.Settle();
        var report = StoreHealth.Report(rig.Store, Guid.Empty, 0);
        Assert.Equal((0, "failing"), (report.AvailableBytes, report.Disks[0].State));
        Assert.Equal($"The store takes no more writes until the node is started anew: {rig.Store.FailureReason}.", report.Disks[0].Problem);
        Assert.Equal(report.Disks[0].Problem, StoreHealth.Of(rig.Store).Reason);
    }

    [Fact(DisplayName = "A file system that is full before the capacity is reached is NoSpace, and nothing fails; deleting a volume helps")]
    public void File_system_full()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 64 * SegmentBytes });
        rig.Disk.CapacityBytes = 12 * SegmentBytes;
        rig.Open();
        var (first, second) = (rig.Create(), rig.Create(new VolumeId(9)));
        Fill(rig, second, 100);
        Assert.Equal(IoStatus.NoSpace, Fill(rig, first, 0));
        Assert.Null(rig.Store.FailureReason);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(new VolumeId(9)));
    }

    [Fact(DisplayName = "Creating a replica on a full file system is refused, leaves nothing behind, and the store goes on")]
    public void Create_on_a_full_file_system()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 64 * SegmentBytes });
        rig.Open();
        rig.Disk.CapacityBytes = rig.Disk.UsedBytes;
        Assert.Equal(IoStatus.NoSpace, rig.Store.Create(StoreRig.Volume, new byte[] { 1, 2, 3 }).Status);
        Assert.Null(rig.Store.FailureReason);
        Assert.Empty(rig.Store.Volumes);
        rig.Disk.CapacityBytes = long.MaxValue;
        rig.Loop.Settle();
        rig.Loop.Advance(6000);
        rig.Sync(rig.Create());
        Assert.Single(rig.Restart(PowerLoss.LoseAll).Store.Volumes);
    }

    [Theory(DisplayName = "A store that was full for a moment takes a new replica once there is room, though nothing was appended since")]
    [InlineData(0L)]
    [InlineData(64 * SegmentBytes)]
    public void Full_for_a_moment(long capacityBytes)
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = capacityBytes });
        rig.Disk.CapacityBytes = 12 * SegmentBytes;
        rig.Open();
        Assert.Equal(IoStatus.NoSpace, Fill(rig, rig.Create(), 0));
        for (var id = 100UL; rig.Store.Create(new VolumeId(id), new byte[60_000]).Status == IoStatus.Ok; id++) rig.Loop.Settle();
        rig.Loop.Settle();
        Assert.Null(rig.Store.FailureReason);
        rig.Disk.CapacityBytes = 64 * SegmentBytes;
        rig.Loop.Advance(6000);
        Assert.Equal(IoStatus.Ok, rig.Store.Create(new VolumeId(9), new byte[] { 1 }).Status);
        Assert.True(rig.Store.Usage.AvailableBytes > 0);
    }

    [Fact(DisplayName = "A 250 TiB volume costs a header; trimming all of it one record per 16 TiB, and no memory")]
    public void Thin()
    {
        var rig = new StoreRig().Open();
        var volume = (VolumeStore)rig.Create();
        rig.Loop.Settle();
        var before = rig.Store.Segments.All.Sum(segment => segment.WrittenBytes);
        Assert.InRange(before, 1, 2048);
        const ulong blocks = (250UL << 40) / Limits.BlockBytes;
        for (var first = 0UL; first < blocks; first += uint.MaxValue)
        {
            var range = new BlockRange(first, (uint)Math.Min(uint.MaxValue, blocks - first));
            Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, range)));
        }
        volume.Commit(volume.LastSequence);
        Assert.Equal(0, volume.Map.PageCount);
        Assert.Equal((int)volume.LastSequence, volume.Map.Tombstones.Count);
        var extents = new List<(BlockRange Range, bool Allocated)>();
        Assert.Equal(uint.MaxValue, volume.Allocated(new BlockRange(0, uint.MaxValue), 10, extents));
        Assert.Equal([(new BlockRange(0, uint.MaxValue), false)], extents);
        StoreRig.AppendBlock(volume, blocks - 1, StoreRig.Bytes(1));
        volume.Commit(volume.LastSequence);
        Assert.Equal(StoreRig.Bytes(1), rig.Read(volume, blocks - 1).Blocks[0].Bytes);
        Assert.Equal((1, 1L), (volume.Map.PageCount, volume.Usage.MappedBlocks));
    }

    [Fact(DisplayName = "Deleted volumes give their space back, also across a reopen")]
    public void Delete()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 12 * SegmentBytes }).Open();
        for (var round = 0; round < 6; round++)
        {
            var volume = rig.Create();
            for (var index = 0UL; index < 300; index++)
            {
                Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index), 1, index));
                volume.Commit(volume.LastSequence);
                if (index % 16 == 0) rig.Loop.Settle();
            }
            rig.Sync(volume);
            Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
            Assert.Equal(IoStatus.Deleted, StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1)));
            Assert.Null(rig.Store.Find(volume.Volume));
            rig.Loop.Settle();
            if (round % 2 == 0) rig.StopClean();
            if (round % 2 == 0) rig.Open();
            Assert.Empty(rig.Store.Volumes);
        }
    }

    [Fact(DisplayName = "A segment that the checkpoint on media names is not used anew, though the log behind it has newer blocks")]
    public void Named_by_the_checkpoint()
    {
        var rig = new StoreRig(7, new StoreOptions { CapacityBytes = 64 * SegmentBytes }).Open();
        var volume = rig.Create();
        Overwrite(volume, 0);
        // A few of these are in the first segment still; the checkpoint's position is in the second.
        Overwrite(volume, 50);
        rig.StopClean();
        volume = rig.Open().Find();
        Overwrite(volume, 100);
        // It carries the commit of those before, so that the replay too finds nothing alive in the first segment.
        StoreRig.AppendBlock(volume, 400, StoreRig.Bytes(1), 1, volume.CommitWatermark);
        rig.Sync(volume);
        volume = rig.Restart(PowerLoss.LoseAll).Find();
        for (var round = 2UL; round < 12; round++)
        {
            Overwrite(volume, round * 100);
            rig.Sync(volume);
        }
        Assert.Equal(0, rig.Store.CheckpointsWritten);
        volume = rig.Restart(PowerLoss.LoseAll).Find();
        Assert.Null(volume.Damage);
        volume.Commit(volume.LastSequence);
        for (var block = 0UL; block < 70; block++) Assert.Equal(StoreRig.Bytes(1100 + block), rig.Read(volume, block).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "A segment that dies while a checkpoint that names it is being written is not used anew after it")]
    public void Dies_during_a_checkpoint()
    {
        var rig = new StoreRig(8, new StoreOptions { CapacityBytes = 64 * SegmentBytes, CheckpointIntervalBytes = 1_200_000 }).Open();
        var volume = rig.Create();
        // Zeroes are more in a checkpoint than in the log: the next one is then far away.
        var zeroes = Enumerable.Range(0, 64).Select(_ => Array.Empty<byte>()).ToArray();
        for (var index = 0UL; index < 900; index++)
        {
            StoreRig.Append(volume, StoreRig.Write(volume.Volume, volume.LastSequence + 1, 1000 + (index * 64), zeroes, 1, volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
        }
        Overwrite(volume, 0);
        rig.Loop.Turn();
        Overwrite(volume, 100);
        rig.Loop.Settle();
        Assert.Equal(1, rig.Store.CheckpointsWritten);
        for (var round = 2UL; round < 12; round++)
        {
            Overwrite(volume, round * 100);
            rig.Sync(volume);
        }
        Assert.Equal(1, rig.Store.CheckpointsWritten);
        volume = rig.Restart(PowerLoss.LoseAll).Find();
        Assert.Null(volume.Damage);
        volume.Commit(volume.LastSequence);
        for (var block = 0UL; block < 70; block++) Assert.Equal(StoreRig.Bytes(1100 + block), rig.Read(volume, block).Blocks[0].Bytes);
    }

    private static void Overwrite(IVolumeStore volume, ulong content)
    {
        for (var block = 0UL; block < 70; block++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content + block), 1, volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
        }
    }

    private static IoStatus Fill(StoreRig rig, IVolumeStore volume, ulong countMax)
    {
        for (var index = 0UL; countMax == 0 || index < countMax; index++)
        {
            var status = StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index), 1, volume.CommitWatermark);
            if (status != IoStatus.Ok) return status;
            if (index % 16 == 0) rig.Loop.Settle();
            volume.Commit(volume.LastSequence);
        }
        return IoStatus.Ok;
    }
}
