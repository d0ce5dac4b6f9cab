using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Segments that the cleaner fills beside the log: at no moment may a copy count that is not there, or a source be used anew that is still needed.</summary>
public sealed class ColdSegmentSpecs
{
    [Theory(DisplayName = "The power goes at each write, sync and name while the cleaner fills segments beside the log: what was synced is there, and nothing is torn")]
    [InlineData(PowerLoss.LoseAll, 1)]
    [InlineData(PowerLoss.Torn, 2)]
    [InlineData(PowerLoss.ProcessOnly, 3)]
    public void Cut_at_every_operation(PowerLoss loss, int step)
    {
        var whole = new ColdSegmentLife(0);
        whole.Overwrite();
        Assert.True(whole.Rig.Store.ColdSegments >= 3, $"{whole.Rig.Store.ColdSegments} segments were kept apart: that tests little");
        var last = whole.Rig.Disk.Operations;
        for (var operation = whole.Started + 1; operation <= last; operation += step)
        {
            var life = new ColdSegmentLife(operation);
            life.Overwrite();
            life.Rig.Disk.PowerOffAt = 0;
            life.Rig.Restart(loss);
            life.Check($"{loss} at operation {operation}");
            // It goes on, and what it has then survives too.
            life.Overwrite();
            life.Rig.Restart(PowerLoss.LoseAll);
            life.Check($"{loss} at operation {operation}, and once more");
        }
    }

    [Fact(DisplayName = "Over many seeds no block is lost or old, whenever the process or the power ends")]
    public void Random_runs()
    {
        var kept = 0L;
        for (var seed = 1; seed <= 20; seed++) kept += ColdSegmentRun.Run(seed);
        Assert.True(kept > 60, $"the runs are too tame: {kept} segments were kept apart");
    }

    [Fact(DisplayName = "A volume whose order began anew while its blocks were beside the log: they stay where they are, and no watermark from before commits anything")]
    public void Order_begins_anew()
    {
        var life = new ColdSegmentLife(0);
        life.UntilOneWaits();
        life.BeginAnew();
    }

    [Fact(DisplayName = "A segment beside the log that the log goes past before it is full is given back, and nothing of it counts")]
    public void Given_up()
    {
        var life = new ColdSegmentLife(0, cleanBelowPercent: 50);
        var volume = life.Rig.Find();
        for (var count = 0; life.Rig.Store.ColdFilling == 0; count++)
        {
            Assert.True(count < 100_000, "no segment was begun beside the log");
            life.OverwriteOne();
        }
        var reserved = life.Rig.Store.Segments.All.Max(segment => segment.Number) + 1 + 256;
        life.Trim(0, ColdSegmentLife.Blocks / 2);
        // With so much room the cleaner has nothing to do; the few that are written die by themselves.
        for (var count = 0; life.Rig.Store.ColdFilling > 0; count++)
        {
            Assert.True(count < 40_000, "it was kept for ever");
            life.Write(count % 16, sync: count % 512 == 0);
        }
        life.Rig.Sync(volume);
        var table = life.Rig.Store.Segments;
        Assert.Equal(table.All.Count, table.All.Count(segment => segment.Number > 0) + table.FreeCount);
        Assert.DoesNotContain(table.All, segment => segment.IsMoving);
        // Its number goes with it: what was written under that must not be taken for what the log writes.
        Assert.Equal(reserved + 1, table.All.Max(segment => segment.Number));
        Assert.DoesNotContain(table.All, segment => segment.Number == reserved);
        life.Rig.Restart(PowerLoss.LoseAll);
        life.Check("after it was given up");
    }

    [Fact(DisplayName = "What a disk has that is emptied waits beside the log, and nobody writes: the drain puts it into the log itself, and ends; all is there")]
    public void A_drain_waits_for_nobody()
    {
        var life = new ColdSegmentLife(0, cleanBelowPercent: 25, disks: 2);
        var store = life.Rig.Store;
        var disk = store.Disks.Single(each => each.Path != "home").Id;
        bool IsThere(Segment segment) => segment.Disk == disk;
        // The log is elsewhere, with room for what is trimmed: that does not put anything into it. So is what waits, or it would be given up.
        life.UntilOneWaits(() => store.ColdFilling == 0 && !store.ColdWhole.Any(IsThere) && store.Segments.All.Any(segment => segment.IsMoving && IsThere(segment)) && !IsThere(store.Segments.All.MaxBy(segment => segment.Number)!) && store.LogRoomBytes > 128 * 1024);
        var map = ((VolumeStore)life.Rig.Find()).Map;
        bool IsKept(int block) => map.Find((ulong)block, out var entry, out _) && store.Segments[entry.Segment] is { IsMoving: true } segment && IsThere(segment);
        for (var (block, first) = (0, 0); block <= ColdSegmentLife.Blocks; block++)
        {
            if (block < ColdSegmentLife.Blocks && !IsKept(block)) continue;
            if (block > first) life.Trim(first, block - first);
            first = block + 1;
        }
        Assert.Contains(store.Segments.All, segment => segment.IsMoving && IsThere(segment));
        Assert.True(store.ColdWaiting > 0, "nothing waits beside the log any more");
        DrainAnswer? answer = null;
        store.Drain(disk, drains: true, given => answer = given);
        for (var second = 0; second < 60 && store.Disks.Single(each => each.Id == disk).State != DiskState.Drained; second++) life.Rig.Loop.Advance(1000);
        Assert.Equal(IoStatus.Ok, answer!.Status);
        Assert.Equal((DiskState.Drained, 0), (store.Disks.Single(each => each.Id == disk).State, store.ColdWaiting));
        life.Rig.Restart(PowerLoss.LoseAll);
        life.Check("after the drain");
    }

    [Fact(DisplayName = "The log takes in several segments of the cleaner at once: the maps go over to them in turns of 512 blocks, no checkpoint is written meanwhile, and no turn waits for pages of the maps")]
    public void Turn_by_turn()
    {
        const int segmentBytes = 4 << 20;
        const int blocks = 20_000;
        // Every block has a page of the map of its own with 15 others: 1,250 pages, of which a third is in memory.
        const ulong apart = 16;
        var rig = new StoreRig(5, new StoreOptions { SegmentBytes = segmentBytes, CapacityBytes = 32L * segmentBytes, CleanBelowFreePercent = 25, CheckpointIntervalBytes = 8 << 20, MapCacheBytes = 420L * MapCache.PageBytes }).Open();
        rig.Disk.UncachedOneIn = 1;
        var (volume, random) = (rig.Create(), new Random(5));
        var (moves, linked, checkpoints, inPlace, most, together, read) = (0L, 0L, 0, 0L, 0L, 0L, 0L);
        rig.Loop.TurnBegins = () =>
        {
            together = Math.Max(together, rig.Store.ColdSegments - linked);
            (moves, linked, checkpoints, inPlace) = (rig.Store.ColdMoves, rig.Store.ColdSegments, rig.Store.CheckpointsWritten, rig.Store.Maps.LoadsInPlace);
        };
        rig.Loop.TurnEnds = () =>
        {
            var moved = rig.Store.ColdMoves - moves;
            most = Math.Max(most, moved);
            Assert.True(moved == 0 || rig.Store.CheckpointsWritten == checkpoints, "a checkpoint was written in the midst of the moves");
            if (moved > 0) read += rig.Store.Maps.LoadsInPlace - inPlace;
            Assert.InRange(rig.Store.ColdFilling + rig.Store.ColdWaiting + rig.Store.ColdMoving, 0, 4);
        };
        IoStatus Append(ulong block)
        {
            var (files, isBeside) = (rig.Store.Segments.Count, rig.Store.ColdFilling > 0);
            var status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), 1, volume.CommitWatermark);
            if (isBeside) Assert.True(rig.Store.Segments.Count == files, "the cleaner has taken the log's next segment: the loop had to make one");
            return status;
        }
        for (var count = 0; count < blocks * 3; count++)
        {
            var block = apart * (ulong)(count < blocks ? count : random.Next(blocks));
            var status = Append(block);
            for (var waits = 0; status == IoStatus.NoSpace && waits < 100; waits++)
            {
                rig.Sync(volume);
                status = Append(block);
            }
            Assert.True(status == IoStatus.Ok, $"{status}: {rig.Store.Usage}");
            volume.Commit(volume.LastSequence);
            if (count % 8 == 0) rig.Loop.Settle();
        }
        Assert.True(together > 1, $"{together} at once: that tests little; {rig.Store.Activity}");
        Assert.InRange(most, 100, 512);
        // What came back and was gone again before its turn.
        Assert.True(read < rig.Store.ColdMoves / 50, $"{read} pages were waited for, {rig.Store.ColdMoves} moves");
        Assert.True(rig.Store.Maps.Facts.LoadsByThread > 1000, $"{rig.Store.Maps.Facts}");
    }
}
