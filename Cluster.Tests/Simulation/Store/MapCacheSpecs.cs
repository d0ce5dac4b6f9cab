using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Maps beyond memory: pages that are not looked at lie in the page file, and come back, or are known to be lost.</summary>
public sealed partial class MapCacheSpecs
{
    private const int Budget = 4;
    private const ulong PageBlocks = MapPage.Blocks;

    [Theory(DisplayName = "Memory stays within the budget while sixty pages are written and read, and over restarts; all blocks are there")]
    [InlineData(false)]
    [InlineData(true)]
    public void Within_the_budget(bool isKilled)
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var round = 0UL; round < 2; round++)
        {
            for (var page = 0UL; page < 60; page++)
            {
                Write(rig, volume, page, page + (100 * round));
                rig.Loop.Settle();
                Assert.InRange(rig.Store.Maps.ResidentPages, 1, Budget);
            }
        }
        Assert.InRange(rig.Store.Maps.Facts.EvictedPages, 56, 59);
        Assert.Equal(60, volume.Usage.MappedBlocks);
        CheckAll(rig, volume, 60, 100);
        rig.Sync(volume);
        if (isKilled) rig.Restart(PowerLoss.LoseAll);
        else
        {
            rig.StopClean();
            Assert.DoesNotContain(MapPageFile.Name, rig.Disk.Names);
            rig.Open();
        }
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, Budget);
        rig.Find().Commit(rig.Find().LastSequence);
        CheckAll(rig, rig.Find(), 60, 100);
    }

    [Fact(DisplayName = "A single operation over many pages stays within twice the budget: a snapshot of sixty changed pages is restored")]
    public void Within_an_operation()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 60; page++) Write(rig, volume, page, page);
        var map = ((VolumeStore)volume).Map;
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        for (var page = 0UL; page < 60; page++) Write(rig, volume, page, page + 100);
        rig.Loop.Settle();
        StoreRig.Mark(volume, new SnapshotMarker(false, snapshot, [snapshot]));
        // Before any turn could have made it less.
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, (2 * Budget) + 1);
        Assert.Equal(60, map.PageCount);
        CheckAll(rig, volume, 60, 0);
    }

    [Fact(DisplayName = "A page that changes while it is written to the page file stays in memory, as it is now")]
    public void Changed_while_written()
    {
        var rig = Closed();
        var held = new HeldScheduler(rig.Loop, DiskLane.Map);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        held.IsHolding = true;
        for (var page = 0UL; page < 8; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        Assert.Equal(1, held.Waiting);
        held.Execute();
        for (var page = 0UL; page < 8; page++) Write(rig, volume, page, page + 100);
        held.Complete();
        held.IsHolding = false;
        rig.Loop.Settle();
        CheckAll(rig, volume, 8, 100);
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, Budget);
    }

    [Fact(DisplayName = "A checkpoint that is being written has the pages of its moment, though they come back, change, and go again meanwhile")]
    public void Checkpoint_of_its_moment()
    {
        var rig = Closed(new StoreOptions { CapacityBytes = 40L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 400_000 });
        var held = new HeldScheduler(rig.Loop, DiskLane.Background);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        // The second block of each page is written once, before the snapshot: after a restart it is what the checkpoint says.
        for (var page = 0UL; page < 20; page++)
        {
            Write(rig, volume, page, page);
            WriteSecond(rig, volume, page);
        }
        rig.Sync(volume);
        held.IsHolding = true;
        var other = 0UL;
        while (rig.Store.Segments.IsSnapshotHeld == false)
        {
            Write(rig, volume, 500, ++other);
            rig.Sync(volume);
        }
        // All of them twice, so that slots are given back and wanted again.
        for (var round = 1UL; round <= 2; round++)
        {
            for (var page = 0UL; page < 20; page++)
            {
                Write(rig, volume, page, page + (100 * round));
                rig.Loop.Settle();
            }
        }
        var before = rig.Store.CheckpointsWritten;
        held.Complete();
        held.IsHolding = false;
        rig.Loop.Settle();
        held.Complete();
        rig.Loop.Settle();
        Assert.True(rig.Store.CheckpointsWritten > before);
        Assert.Equal(0, rig.Store.Maps.Facts.LostPages);
        CheckAll(rig, volume, 20, 200);
        rig.Sync(volume);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Find().Damage);
        rig.Find().Commit(rig.Find().LastSequence);
        CheckAll(rig, rig.Find(), 20, 200);
        for (var page = 0UL; page < 20; page++)
        {
            var (status, blocks) = rig.Read(rig.Find(), (page * PageBlocks) + 1);
            Assert.Equal(IoStatus.Ok, status);
            Assert.True(blocks[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(1000 + page)), $"the second block of page {page} has other bytes");
        }
    }

    private static void WriteSecond(StoreRig rig, IVolumeStore volume, ulong page)
    {
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, (page * PageBlocks) + 1, StoreRig.Bytes(1000 + page), watermark: volume.CommitWatermark));
        volume.Commit(volume.LastSequence);
        rig.Loop.Turn();
    }

    [Fact(DisplayName = "An open leaves the page file no room that the next checkpoint needs")]
    public void Reserve_at_open()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 40; page++) Write(rig, volume, page, page);
        rig.Sync(volume);
        rig.StopClean();
        Assert.DoesNotContain(MapPageFile.Name, rig.Disk.Names);
        // Enough for a page file, but not for one and a checkpoint.
        rig.Disk.CapacityBytes = rig.Disk.UsedBytes + (16L * MapPageFile.SlotBytes) + 1000;
        rig.Open();
        Assert.Equal(0, rig.Store.Maps.Facts.FileBytes);
        Assert.Equal(40, rig.Store.Maps.ResidentPages);
        CheckAll(rig, rig.Find(), 40, 0);
    }

    [Fact(DisplayName = "The cleaner waits for no page on the loop: a disk thread reads those that the system does not have in memory")]
    public void Cleaner_waits_elsewhere()
    {
        const int pages = 32;
        var rig = new StoreRig(1, new StoreOptions { CapacityBytes = 12L * StoreOptions.SegmentBytesMin, MapCacheBytes = pages * MapCache.PageBytes }).Open();
        var volume = rig.Create();
        // One page that is written all the time, and between that others, once: what is live of each segment are their blocks.
        for (var at = 1UL; at <= 1000; at++)
        {
            Write(rig, volume, at % 5 == 0 ? at / 5 : 0, at);
            rig.Loop.Settle();
        }
        rig.Sync(volume);
        Assert.True(rig.Store.Maps.Facts.EvictedPages > 100);
        rig.Disk.UncachedOneIn = 1;
        var (before, cleaned) = (rig.Store.Maps.Facts, rig.Store.SegmentsCleaned);
        for (var at = 1001UL; rig.Store.SegmentsCleaned < cleaned + 3; at++)
        {
            Assert.True(at < 20_000, "nothing was cleaned");
            Write(rig, volume, 0, at);
            rig.Sync(volume);
        }
        var after = rig.Store.Maps.Facts;
        Assert.Equal(before.LoadsInPlace, after.LoadsInPlace);
        Assert.True(after.LoadsByThread > before.LoadsByThread + 10, $"{before}, {after}");
        rig.Disk.UncachedOneIn = 0;
        for (var page = 1UL; page <= 200; page++) Assert.Equal(StoreRig.Bytes(page * 5), rig.Read(volume, page * PageBlocks).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "A scan for changes brings back so many pages in one call, and goes on with the next; a look for data brings back none that holds no bytes")]
    public void Long_looks()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 150; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        var (found, calls) = (0, 0);
        for (ChangeCursor? cursor = null; calls == 0 || cursor is not null; calls++)
        {
            var records = new List<IoBuffer>();
            var before = rig.Store.Maps.Facts.LoadsInPlace;
            (var status, cursor) = volume.ReadChanges(0, ulong.MaxValue, cursor, 1 << 24, records);
            Assert.Equal(IoStatus.Ok, status);
            Assert.InRange(rig.Store.Maps.Facts.LoadsInPlace - before, 0, 64);
            found += records.Count;
            foreach (var record in records) record.Release();
        }
        Assert.Equal((150, 3), (found, calls));
        var zeroes = rig.Create(new VolumeId(9));
        for (var page = 0UL; page < 150; page++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(zeroes, page * PageBlocks, [], watermark: zeroes.CommitWatermark));
            zeroes.Commit(zeroes.LastSequence);
            rig.Loop.Turn();
        }
        rig.Loop.Settle();
        var loads = rig.Store.Maps.Facts.LoadsInPlace;
        Assert.Equal(150 * PageBlocks, zeroes.NextData(0, 150 * PageBlocks));
        Assert.Equal(loads, rig.Store.Maps.Facts.LoadsInPlace);
    }

    [Fact(DisplayName = "A restore and a checkpoint ask for the pages that they come to, each once, before they read them")]
    public void Asked_for_ahead()
    {
        var rig = Rig(new StoreOptions { CapacityBytes = 60L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 1 << 30 });
        var volume = rig.Create();
        for (var page = 0UL; page < 100; page++) Write(rig, volume, page, page);
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        for (var page = 0UL; page < 100; page++) Write(rig, volume, page, page + 100);
        rig.Loop.Settle();
        var (evicted, advised) = (rig.Store.Maps.Facts.EvictedPages, rig.Disk.Advised);
        StoreRig.Mark(volume, new SnapshotMarker(false, snapshot, [snapshot]));
        // While it goes on, pages that were still there at its beginning may have gone.
        Assert.InRange(rig.Disk.Advised - advised, evicted, 100);
        rig.Sync(volume);
        (evicted, advised) = (rig.Store.Maps.Facts.EvictedPages, rig.Disk.Advised);
        // The stop writes one.
        rig.StopClean();
        Assert.Equal(evicted, rig.Disk.Advised - advised);
        rig.Open();
        CheckAll(rig, rig.Find(), 100, 0);
    }

    [Fact(DisplayName = "A segment with bad bytes is left alone, whatever is given back of others")]
    public void Stuck_segments()
    {
        var table = new SegmentTable(new SimulatedDisk(1), StoreOptions.SegmentBytesMin);
        table.Allow(10);
        Assert.True(table.Take(Guid.NewGuid, SpaceClass.Last, out var bad).IsOk);
        (bad!.IsStuck, bad.AwaitsReleases) = (true, true);
        table.OnReleased();
        Assert.Equal((true, false), (bad.IsStuck, bad.AwaitsReleases));
        table.Free(bad);
        Assert.False(bad.IsStuck);
    }

    [Fact(DisplayName = "A page file that can't grow is used as far as it goes")]
    public void Full_but_used()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        // Of the checkpoint's room nothing may be taken.
        rig.Store.Maps.File.ReserveBytes = 1L << 60;
        for (var page = 0UL; page < 60; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        Assert.True(rig.Store.Maps.Facts.WriteFailures > 0);
        var slots = rig.Store.Maps.Facts.FileBytes / MapPageFile.SlotBytes;
        Assert.InRange(rig.Store.Maps.Facts.EvictedPages, slots - 1, slots);
        var before = rig.Store.Maps.Facts.Written;
        for (var page = 0UL; page < 60; page++)
        {
            Write(rig, volume, page, page + 100);
            rig.Loop.Settle();
        }
        Assert.True(rig.Store.Maps.Facts.Written > before, $"{before}: {rig.Store.Maps.Facts}");
        CheckAll(rig, volume, 60, 100);
    }

    [Fact(DisplayName = "While a checkpoint is written the page file grows to twice the maps at most, however often pages go meanwhile")]
    public void File_while_a_checkpoint_is_written()
    {
        var rig = Closed(new StoreOptions { CapacityBytes = 200L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 400_000 });
        var held = new HeldScheduler(rig.Loop, DiskLane.Background);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        held.IsHolding = true;
        for (var step = 0UL; step < 1500; step++)
        {
            Write(rig, volume, step % 40, step);
            rig.Loop.Settle();
            if (step == 40) rig.Sync(volume);
            if (step % 100 == 0) rig.Sync(volume);
        }
        Assert.True(rig.Store.Segments.IsSnapshotHeld);
        Assert.True(rig.Store.Maps.Facts.Written > 1000);
        // It grows by as much as it has.
        Assert.InRange(rig.Store.Maps.Facts.FileBytes / MapPageFile.SlotBytes, 40, 2 * 2 * 40);
    }

    [Fact(DisplayName = "A killed node's store is looked into, with its page file left as it is, and all its pages are right")]
    public void Inspected()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Sync(volume);
        rig.Disk.Restart(PowerLoss.ProcessOnly);
        Assert.Contains(MapPageFile.Name, rig.Disk.Names);
        var found = StoreInspection.Open(rig.Disk, new SimulatedLoop(), NullLogger.Instance);
        using (var inspection = found.Inspection!)
        {
            var read = 0;
            inspection.Check(problem => Assert.Fail(problem.What), count => read += count, default);
            Assert.Equal(19, read);
        }
        Assert.Contains(MapPageFile.Name, rig.Disk.Names);
        rig.Open().Find().Commit(20);
        CheckAll(rig, rig.Find(), 20, 0);
    }

    [Theory(DisplayName = "A trim of everything, and a deletion, read no page in place; the space is free once they were read in the background")]
    [InlineData(true)]
    [InlineData(false)]
    public void Dropped_unread(bool isTrim)
    {
        var rig = Rig();
        var (volume, other) = (rig.Create(), rig.Create(new VolumeId(9)));
        for (var page = 0UL; page < 60; page++) Write(rig, volume, page, page);
        Write(rig, other, 0, 1);
        rig.Loop.Settle();
        var loads = rig.Store.Maps.Facts.LoadsInPlace;
        if (isTrim)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(0, uint.MaxValue))));
            volume.Commit(volume.LastSequence);
            Assert.Equal((0, 0), (volume.Usage.MappedBlocks, volume.Usage.StoredBytes));
        }
        else Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
        Assert.True(rig.Store.Segments.LiveBytes > Limits.BlockBytes);
        rig.Loop.Settle();
        Assert.Equal(loads, rig.Store.Maps.Facts.LoadsInPlace);
        Assert.Equal(Limits.BlockBytes, rig.Store.Segments.LiveBytes);
        Assert.Equal(0, rig.Store.Maps.Facts.EvictedPages);
        rig.Sync(other);
        rig.Restart(PowerLoss.LoseAll);
        foreach (var found in rig.Store.Volumes) found.Commit(found.LastSequence);
        rig.Loop.Settle();
        Assert.Equal(Limits.BlockBytes, rig.Store.Segments.LiveBytes);
        if (isTrim) Assert.Equal(0, rig.Find().Usage.MappedBlocks);
    }

    [Fact(DisplayName = "With no room for the page file all stays in memory and right; once there is room, memory is within its budget again")]
    public void No_room()
    {
        var rig = Rig();
        var volume = rig.Create();
        Write(rig, volume, 0, 0);
        rig.Loop.Settle();
        rig.Disk.CapacityBytes = rig.Disk.UsedBytes;
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        Assert.Equal(20, rig.Store.Maps.ResidentPages);
        Assert.True(rig.Store.Maps.Facts.WriteFailures > 0);
        CheckAll(rig, volume, 20, 0);
        rig.Disk.CapacityBytes = long.MaxValue;
        rig.Loop.Advance(6000);
        Write(rig, volume, 0, 0);
        rig.Loop.Settle();
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, Budget);
        CheckAll(rig, volume, 20, 0);
    }

    [Fact(DisplayName = "A client's read whose page left memory does not wait behind reads of a disk that hangs: its page comes from the home, on a thread of its own")]
    public void Behind_no_hung_read()
    {
        var rig = Closed();
        var held = new HeldScheduler(rig.Loop, DiskLane.Read);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Sync(volume);
        var (_, wanted) = Evicted(rig, volume);
        (held.IsHolding, rig.Disk.UncachedOneIn) = (true, 1);
        var (hung, reader) = (new Reader(), new Reader());
        volume.Read(new BlockRange(19 * PageBlocks, 1), hung, 1);
        volume.Read(new BlockRange(wanted * PageBlocks, 1), reader, 1);
        Assert.Equal(1, held.Waiting);
        // The block itself is in the page cache.
        rig.Disk.UncachedOneIn = 0;
        rig.Loop.Settle();
        Assert.Equal([IoStatus.Ok], reader.Answers);
        Assert.Empty(hung.Answers);
        held.Complete();
        rig.Loop.Settle();
        Assert.Equal([IoStatus.Ok], hung.Answers);
    }

    [Fact(DisplayName = "The loop does not wait while a disk thread makes the page file longer: it writes no page to it then")]
    public async Task Growth_elsewhere()
    {
        using var inside = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var directory = new SimulatedDirectory(new SimulatedDisk(1), "")
        {
            BeforePreallocate = () =>
            {
                inside.Set();
                Assert.True(go.Wait(TimeSpan.FromSeconds(60)), "it was never let go");
            },
        };
        using var file = new MapPageFile(new DiskPool(directory, [], new StoreOptions()));
        var entries = new MapEntry[MapPage.Blocks];
        var thread = Task.Run(() => file.Write(0, entries));
        Assert.True(inside.Wait(TimeSpan.FromSeconds(60)), "the file was not made longer");
        Assert.Equal(IoStatus.Busy, file.TryWrite(1, entries).Status);
        go.Set();
        Assert.True((await thread).IsOk);
        Assert.True(file.TryWrite(1, entries).IsOk);
        var before = file.LengthBytes;
        // Of its own accord it grows by little.
        Assert.True(file.TryWrite((int)(before / MapPageFile.SlotBytes), entries).IsOk);
        Assert.Equal(16L * MapPageFile.SlotBytes, file.LengthBytes - before);
    }

    [Theory(DisplayName = "A read that waits for a page while the replica is set anew is not answered from what it then is")]
    [InlineData(true)]
    [InlineData(false)]
    public void Set_anew_while_reading(bool discards)
    {
        var rig = Closed();
        var held = new HeldScheduler(rig.Loop, DiskLane.Map);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Sync(volume);
        var (_, wanted) = Evicted(rig, volume);
        (held.IsHolding, rig.Disk.UncachedOneIn) = (true, 1);
        var reader = new Reader();
        volume.Read(new BlockRange(wanted * PageBlocks, 1), reader, 1);
        Assert.Equal(1, held.Waiting);
        Assert.Equal(IoStatus.Ok, volume.SetPosition(volume.LastSequence, 1, discards));
        held.Complete();
        (held.IsHolding, rig.Disk.UncachedOneIn) = (false, 0);
        rig.Loop.Settle();
        Assert.Equal([IoStatus.DeviceError], reader.Answers);
        Assert.Null(volume.Damage);
    }

    [Fact(DisplayName = "A thread that read a slot which was given to another page meanwhile proves nothing: the read is answered from the page as it is")]
    public void Slot_used_anew_while_reading()
    {
        var rig = Closed();
        var held = new HeldScheduler(rig.Loop, DiskLane.Map);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        var (known, wanted) = Evicted(rig, volume);
        var slot = known.Slot;
        (held.IsHolding, rig.Disk.UncachedOneIn) = (true, 1);
        var reader = new Reader();
        volume.Read(new BlockRange(wanted * PageBlocks, 1), reader, 1);
        Assert.Equal(1, held.Waiting);
        // Only that one: other pages go on leaving memory.
        held.IsHolding = false;
        Write(rig, volume, wanted, 100 + wanted);
        for (var page = 0UL; page < 20; page++)
        {
            Write(rig, volume, page, page + 100);
            rig.Loop.Settle();
        }
        var map = ((VolumeStore)volume).Map;
        Assert.Contains(map.PageNumbers().ToArray(), number => number != wanted && map.Peek(number).Slot == slot);
        held.Complete();
        (held.IsHolding, rig.Disk.UncachedOneIn) = (false, 0);
        rig.Loop.Settle();
        Assert.Equal([IoStatus.Ok], reader.Answers);
        Assert.Equal(0, rig.Store.Maps.Facts.LostPages);
        CheckAll(rig, volume, 20, 100);
    }

    private static StoreRig Rig(StoreOptions? options = null) => Closed(options).Open();

    private static StoreRig Closed(StoreOptions? options = null) =>
        new(1, (options ?? new StoreOptions { CapacityBytes = 60L * StoreOptions.SegmentBytesMin }) with { MapCacheBytes = Budget * MapCache.PageBytes });

    private static void Write(StoreRig rig, IVolumeStore volume, ulong page, ulong content) => rig.WriteBlock(volume, page * PageBlocks, content);

    private static void CheckOne(StoreRig rig, IVolumeStore volume, ulong page)
    {
        Assert.Equal(IoStatus.Ok, rig.Read(volume, page * PageBlocks).Status);
        rig.Loop.Settle();
    }

    private static void CheckAll(StoreRig rig, IVolumeStore volume, ulong pages, ulong more)
    {
        for (var page = 0UL; page < pages; page++)
        {
            var (status, blocks) = rig.Read(volume, page * PageBlocks);
            Assert.Equal(IoStatus.Ok, status);
            Assert.True(blocks[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(page + more)), $"page {page} has other bytes");
        }
    }

    /// <summary>One of the volume's pages that is not in memory.</summary>
    private static (MapPage Page, ulong Number) Evicted(StoreRig rig, IVolumeStore volume)
    {
        var map = ((VolumeStore)volume).Map;
        foreach (var number in map.PageNumbers())
        {
            if (!map.Peek(number).IsResident) return (map.Peek(number), number);
        }
        throw new InvalidOperationException($"all pages are in memory: {rig.Store.Maps.Facts}");
    }

    private sealed class Reader : IReadCompletion
    {
        public List<IoStatus> Answers { get; } = [];

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            Answers.Add(status);
            reply?.Release();
        }
    }
}
