using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>The next checkpoint has its room before it is written, whoever fills the disk.</summary>
public sealed class CheckpointRoomSpecs
{
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    [Fact(DisplayName = "A disk that something else fills to the last byte still takes the next checkpoint, and the one after it: its room was reserved")]
    public void Reserved()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 20 * SegmentBytes, CheckpointIntervalBytes = 1 << 20 });
        rig.Disk.CapacityBytes = 64 * SegmentBytes;
        DiskPoolSpecs.Fill(rig.Open(), 1000);
        rig.Loop.Advance(1000);
        Assert.Equal(rig.Store.CheckpointReserve.Bytes, rig.Store.CheckpointReserve.ReservedBytes);
        var written = rig.Store.CheckpointsWritten;
        // All that is free, and what each checkpoint gives back by replacing the one before, is taken at once.
        for (var round = 0UL; rig.Store.CheckpointsWritten < written + 3; round++)
        {
            rig.Disk.CapacityBytes = rig.Disk.UsedBytes;
            Overwrite(rig, round);
            Assert.True(round < 200, $"{rig.Store.CheckpointsWritten - written} checkpoints were written");
        }
        Assert.Null(rig.Store.FailureReason);
        Assert.Equal("", rig.Store.Disks[0].Problem);
        Assert.True(rig.Disk.Content(CheckpointWriter.Name).Length > 16 * 1024);
        rig.StopClean();
        rig.Open();
        Assert.True(rig.Store.Recovered.ReplayedBytes < 1024, "the last stop wrote no checkpoint");
    }

    [Fact(DisplayName = "The store's own segments leave the room: they fill a disk up to what the next checkpoint needs")]
    public void Own_segments()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 64 * SegmentBytes });
        rig.Disk.CapacityBytes = 12 * SegmentBytes;
        rig.Open();
        var volume = rig.Create();
        for (var block = 0UL; StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), watermark: volume.CommitWatermark) == IoStatus.Ok; block++)
        {
            volume.Commit(volume.LastSequence);
            if (block % 20 == 0) rig.Loop.Advance(1000);
        }
        rig.Sync(volume);
        var (need, kept) = rig.Store.CheckpointReserve;
        Assert.True(rig.Disk.FreeBytes + kept >= need, $"{rig.Disk.FreeBytes} bytes are free, {kept} are reserved, a checkpoint may need {need}");
        var before = rig.Store.Volumes.Single().CommitWatermark;
        rig.StopClean();
        rig.Open();
        Assert.True(rig.Store.Recovered.ReplayedBytes < 1024, "there was no room for the checkpoint at the stop");
        Assert.Equal(before, rig.Find().CommitWatermark);
    }

    [Fact(DisplayName = "Where the file system can't reserve space nothing counts as reserved, nothing is reported as wrong, and the store's own segments leave the room")]
    public void Not_supported()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 20 * SegmentBytes });
        rig.Disk.CannotKeep = true;
        DiskPoolSpecs.Fill(rig.Open(), 500);
        rig.Loop.Advance(3000);
        Assert.True(rig.Store.CheckpointReserve.Bytes > 0);
        Assert.Equal((0L, ""), (rig.Store.CheckpointReserve.ReservedBytes, rig.Store.Disks[0].Problem));
    }

    [Fact(DisplayName = "When others take what the next checkpoint needs, that is told, with how much it is; when there is room again it is reserved and told no more")]
    public void Taken_by_others()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 20 * SegmentBytes }, disks: 2);
        rig.Disk.FullFor = CheckpointWriter.NewName;
        DiskPoolSpecs.Fill(rig.Open(), 500);
        rig.Loop.Advance(1000);
        Assert.Contains($"no room for the store's next checkpoint ({rig.Store.CheckpointReserve.Bytes >> 10} KiB)", rig.Store.Disks[0].Problem, StringComparison.Ordinal);
        Assert.Equal((DiskState.InUse, ""), (rig.Store.Disks[0].State, rig.Store.Disks[1].Problem));
        rig.Disk.FullFor = "";
        rig.Loop.Advance(6000);
        Assert.Equal("", rig.Store.Disks[0].Problem);
        Assert.Equal(rig.Store.CheckpointReserve.Bytes, rig.Store.CheckpointReserve.ReservedBytes);
    }

    [Fact(DisplayName = "Where pages of the maps have a part of the disk that has no room for a checkpoint, that is told with how much it is, and the page file leaves free what the checkpoint needs")]
    public void Taken_by_pages()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 60 * SegmentBytes, MapCacheBytes = 4 * MapCache.PageBytes });
        rig.Open();
        var volume = rig.Create();
        var zeroes = Enumerable.Range(0, 64).Select(_ => Array.Empty<byte>()).ToArray();
        for (var index = 0UL; index < 400; index++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Write(StoreRig.Volume, volume.LastSequence + 1, index * 64, zeroes, 1, volume.CommitWatermark)));
            volume.Commit(volume.LastSequence);
            rig.Loop.Settle();
        }
        rig.Disk.FullFor = CheckpointWriter.NewName;
        rig.Loop.Advance(6000);
        var pages = rig.Store.Maps.Facts.FileBytes;
        Assert.True(pages > 0);
        Assert.Contains($"its file system is full, {pages >> 10} KiB of it with pages of the store's maps ({MapPageFile.Name})", rig.Store.Disks[0].Problem, StringComparison.Ordinal);
        Assert.Equal(0, rig.Store.CheckpointsWritten);
        Assert.True(rig.Store.CheckpointReserve.Bytes > 500_000);
        Assert.True(rig.Store.Maps.File.ReserveBytes > rig.Store.CheckpointReserve.Bytes, $"{rig.Store.Maps.File.ReserveBytes} bytes are left free, the next checkpoint may need {rig.Store.CheckpointReserve.Bytes}");
    }

    [Fact(DisplayName = "A free segment of the store gives way to the next checkpoint when the maps have grown and others have taken the rest of the disk; never one of the reserve")]
    public void Own_segments_give_way()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 20 * SegmentBytes, CheckpointIntervalBytes = 300_000 });
        DiskPoolSpecs.Fill(rig.Open(), 100);
        for (var round = 0UL; rig.Store.Segments.FreeCount <= rig.Store.Segments.Reserve(SpaceClass.Data) + 1; round++)
        {
            Assert.True(round < 500, "no segment gets free");
            for (var block = 0UL; block < 40; block++)
            {
                StoreRig.AppendBlock(rig.Find(), block, StoreRig.Bytes(round), watermark: rig.Find().CommitWatermark);
                rig.Find().Commit(rig.Find().LastSequence);
            }
            rig.Sync(rig.Find());
        }
        rig.Loop.Advance(1000);
        var (need, kept) = rig.Store.CheckpointReserve;
        Assert.Equal(need, kept);
        rig.Disk.CapacityBytes = rig.Disk.UsedBytes;
        var (segments, free) = (rig.Store.Segments.Count, rig.Store.Segments.FreeCount);
        // Zeroes are more in a checkpoint than in the log.
        var zeroes = Enumerable.Range(0, 64).Select(_ => Array.Empty<byte>()).ToArray();
        for (var index = 0UL; index < 60; index++)
        {
            StoreRig.Append(rig.Find(), StoreRig.Write(StoreRig.Volume, rig.Find().LastSequence + 1, 1000 + (index * 64), zeroes, 1, rig.Find().CommitWatermark));
            rig.Find().Commit(rig.Find().LastSequence);
        }
        rig.Sync(rig.Find());
        rig.Loop.Advance(1000);
        Assert.True(rig.Store.CheckpointReserve.Bytes > need);
        Assert.NotEqual("", rig.Store.Disks[0].Problem);
        rig.Loop.Advance(6000);
        Assert.Equal(("", rig.Store.CheckpointReserve.Bytes), (rig.Store.Disks[0].Problem, rig.Store.CheckpointReserve.ReservedBytes));
        Assert.Equal((segments - 1, true), (rig.Store.Segments.Count, free - 1 > rig.Store.Segments.Reserve(SpaceClass.Data)));
        rig.StopClean();
        DiskPoolSpecs.CheckAll(rig.Open(), 0);
    }

    [Fact(DisplayName = "A checkpoint is no longer than what was reserved for it: with snapshots, clones, trims and uncommitted records")]
    public void Estimate()
    {
        for (var seed = 1; seed <= 10; seed++)
        {
            var run = new StoreModelRun(seed);
            for (var round = 0; round < 10; round++)
            {
                run.Steps(40);
                run.Rig.Loop.Advance(1000);
                var need = run.Rig.Store.CheckpointReserve.Bytes;
                var written = run.Rig.Disk.Names.Contains(CheckpointWriter.Name) ? run.Rig.Disk.Content(CheckpointWriter.Name).Length : 0;
                Assert.True(written <= need, $"seed {seed}: a checkpoint of {written} bytes, {need} were reserved");
                run.StopAndReopen();
                Assert.True(run.Rig.Disk.Content(CheckpointWriter.Name).Length <= need, $"seed {seed}: the checkpoint at the stop is of {run.Rig.Disk.Content(CheckpointWriter.Name).Length} bytes, {need} were reserved");
            }
        }
    }

    private static void Overwrite(StoreRig rig, ulong round)
    {
        var volume = rig.Find();
        for (var block = 0UL; block < 40; block++)
        {
            // Full for a moment: the cleaner goes on.
            if (StoreRig.AppendBlock(volume, ((round * 40) + block) % 1000, StoreRig.Bytes(round), watermark: volume.CommitWatermark) != IoStatus.Ok) break;
            volume.Commit(volume.LastSequence);
        }
        rig.Sync(volume);
        rig.Loop.Advance(1000);
    }
}
