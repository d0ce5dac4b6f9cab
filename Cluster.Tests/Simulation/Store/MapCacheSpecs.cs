using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Maps beyond memory: pages that are not looked at lie in the page file, and come back, or are known to be lost.</summary>
public sealed class MapCacheSpecs
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
        var snapshot = Mark(volume, new SnapshotMarker(true, 0, []));
        for (var page = 0UL; page < 60; page++) Write(rig, volume, page, page + 100);
        rig.Loop.Settle();
        Mark(volume, new SnapshotMarker(false, snapshot, [snapshot]));
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
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
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
    }

    [Fact(DisplayName = "Any bit of the page file that flips is found when its page is wanted: the volume is damaged at once, its clone too, and nothing of it is answered; others go on")]
    public void Bad_frames()
    {
        for (var bit = 0; bit < MapPageFile.SlotBytes * 8; bit += 4099)
        {
            var rig = Rig();
            var (volume, clone, other) = (rig.Create(), new VolumeId(8), rig.Create(new VolumeId(9)));
            for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
            var snapshot = Mark(volume, new SnapshotMarker(true, 0, []));
            var (_, made) = rig.Store.CreateClone(clone, new byte[] { 1 }, rig.Find().Volume, snapshot);
            made!.Events = rig.Events;
            for (var page = 0UL; page < 20; page++) Write(rig, other, page, page);
            rig.Loop.Settle();
            var (victim, lost) = Evicted(rig, volume);
            rig.Disk.FlipBit(MapPageFile.Name, (victim.Slot * (MapPageFile.SlotBytes * 8L)) + bit);
            var status = rig.Read(bit % 2 == 0 ? volume : made, lost * PageBlocks).Status;
            Assert.Equal(IoStatus.BadChecksum, status);
            Assert.Contains($"page {lost} of its map", volume.Damage, StringComparison.Ordinal);
            Assert.NotNull(made.Damage);
            Assert.Equal(2, rig.Events.Failed.Count);
            Assert.Equal(1, rig.Store.Maps.Facts.LostPages);
            Assert.Equal(IoStatus.DeviceError, StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1)));
            Assert.Equal(IoStatus.BadChecksum, volume.ReadChanges(0, ulong.MaxValue, null, 1 << 20, []).Status);
            var extents = new List<(BlockRange Range, bool Allocated)>();
            volume.Allocated(new BlockRange(0, 20 * (uint)PageBlocks), 1000, extents);
            Assert.Equal([(new BlockRange(0, 20 * (uint)PageBlocks), true)], extents);
            Assert.Null(other.Damage);
            CheckAll(rig, other, 20, 0);
        }
    }

    [Theory(DisplayName = "A page that can't be read back when its map is asked in any other way damages the volume in that very call, and nothing is said that leaves something out")]
    [InlineData("allocated")]
    [InlineData("changed")]
    [InlineData("changes")]
    [InlineData("sequence")]
    [InlineData("each")]
    [InlineData("repair")]
    public void Bad_frames_elsewhere(string how)
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        var (victim, lost) = Evicted(rig, volume);
        rig.Disk.FlipBit(MapPageFile.Name, victim.Slot * (MapPageFile.SlotBytes * 8L));
        var range = new BlockRange(lost * PageBlocks, 1);
        switch (how)
        {
            case "allocated":
                var extents = new List<(BlockRange Range, bool Allocated)>();
                Assert.Equal(range.End, volume.Allocated(range, 10, extents));
                Assert.Equal([(range, true)], extents);
                break;
            case "changed":
                var runs = new List<BlockRange>();
                Assert.Equal(range.End, volume.Changed(0, 0, range, 10, runs));
                Assert.Equal([range], runs);
                break;
            case "changes":
                Assert.Equal(IoStatus.BadChecksum, volume.ReadChanges(0, ulong.MaxValue, null, 1 << 20, []).Status);
                break;
            case "sequence":
                Assert.Equal(ulong.MaxValue, volume.SequenceOf(range.First, withTail: false));
                break;
            case "each":
                var each = new EachReader();
                volume.ReadEach(range, 0, background: false, each, 1);
                rig.Loop.Settle();
                Assert.Equal(IoStatus.BadChecksum, each.Status);
                break;
            default:
                var record = StoreRig.Write(volume.Volume, 1, range.First, [StoreRig.Bytes(1)], flags: RecordFlags.Resync);
                Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
                Assert.Equal((IoStatus.DeviceError, 0), volume.Repair(record, in header));
                record.Release();
                break;
        }
        Assert.NotNull(volume.Damage);
    }

    [Theory(DisplayName = "What is lost while the store runs is not laundered: with a checkpoint since, the volume comes back damaged; without one, whole")]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void Not_laundered(bool withCheckpoint, bool foundByCheckpoint)
    {
        var rig = Rig(new StoreOptions { CapacityBytes = 60L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = withCheckpoint ? 2_000_000 : 1 << 30 });
        var (volume, other) = (rig.Create(), rig.Create(new VolumeId(9)));
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Sync(volume);
        var (victim, lost) = Evicted(rig, volume);
        rig.Disk.FlipBit(MapPageFile.Name, victim.Slot * (MapPageFile.SlotBytes * 8L));
        if (!foundByCheckpoint) Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, lost * PageBlocks).Status);
        var before = rig.Store.CheckpointsWritten;
        for (var at = 0UL; withCheckpoint ? rig.Store.CheckpointsWritten == before : at < 20; at++)
        {
            Write(rig, other, at % 2, at);
            rig.Sync(other);
            rig.Loop.Advance(300);
        }
        Assert.Contains($"page {lost} of its map", volume.Damage, StringComparison.Ordinal);
        Assert.Single(rig.Events.Failed);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Find(new VolumeId(9)).Damage);
        if (withCheckpoint)
        {
            Assert.Contains($"page {lost} of its map", rig.Find().Damage, StringComparison.Ordinal);
            Assert.Equal(IoStatus.BadChecksum, rig.Read(rig.Find(), 0).Status);
            Assert.Equal(IoStatus.Ok, rig.Find().SetPosition(3, 1, discardAll: true));
            Assert.Null(rig.Find().Damage);
            return;
        }
        Assert.Null(rig.Find().Damage);
        rig.Find().Commit(rig.Find().LastSequence);
        CheckAll(rig, rig.Find(), 20, 0);
    }

    [Fact(DisplayName = "A read whose page the disk refuses to give back fails, and damages the volume")]
    public void Unreadable()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        var (_, lost) = Evicted(rig, volume);
        // The first try is one that does not wait.
        rig.Disk.FailReads = 2;
        Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, lost * PageBlocks).Status);
        Assert.NotNull(volume.Damage);
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

    [Fact(DisplayName = "Bits of the page file flip while volumes are written, trimmed, read and checkpointed: each block is what was written or the volume is damaged, also after a restart")]
    public void Flips_while_running()
    {
        var (damaged, whole, healed) = (0, 0, 0);
        for (var seed = 1; seed <= 60; seed++)
        {
            var random = new Random(seed);
            var rig = Rig(new StoreOptions { CapacityBytes = 40L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 300_000 });
            VolumeId[] ids = [new(7), new(8), new(9)];
            var expected = ids.ToDictionary(id => id, _ => new Dictionary<ulong, ulong>());
            foreach (var id in ids) rig.Create(id);
            for (var step = 0UL; step < 400; step++)
            {
                var volume = rig.Find(ids[random.Next(ids.Length)]);
                var page = (ulong)random.Next(12);
                if (volume.Damage is null) Change(rig, volume, page, step, random, expected[volume.Volume]);
                if (volume.Damage is null) Check(rig, volume, (ulong)random.Next(12), expected[volume.Volume]);
                if (random.Next(300) == 0 && rig.Disk.Names.Contains(MapPageFile.Name)) rig.Disk.FlipBit(MapPageFile.Name, random.NextInt64(rig.Store.Maps.Facts.FileBytes * 8));
            }
            foreach (var id in ids) rig.Sync(rig.Find(id));
            var before = ids.Where(id => rig.Find(id).Damage is not null).ToHashSet();
            Assert.Equal(before.Count, rig.Events.Failed.Count);
            rig.Restart(PowerLoss.LoseAll);
            foreach (var volume in ids.Select(id => rig.Find(id)))
            {
                Assert.True(volume.Damage is null || before.Contains(volume.Volume), $"seed {seed}: {volume.Volume} is damaged by a restart: {volume.Damage}");
                volume.Commit(volume.LastSequence);
                for (var page = 0UL; page < 12 && volume.Damage is null; page++) Check(rig, volume, page, expected[volume.Volume]);
                if (volume.Damage is not null) damaged++;
                else if (before.Contains(volume.Volume)) healed++;
                else whole++;
            }
        }
        Assert.True(damaged > 5 && whole > 60, $"the runs are too tame: {damaged} damaged, {whole} whole, {healed} whole again");
    }

    private static void Change(StoreRig rig, IVolumeStore volume, ulong page, ulong step, Random random, Dictionary<ulong, ulong> expected)
    {
        var isTrim = random.Next(5) == 0;
        var status = isTrim
            ? StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(page * PageBlocks, (uint)PageBlocks), watermark: volume.CommitWatermark))
            : StoreRig.AppendBlock(volume, page * PageBlocks, StoreRig.Bytes(step), watermark: volume.CommitWatermark);
        Assert.Equal(IoStatus.Ok, status);
        if (isTrim) expected.Remove(page);
        else expected[page] = step;
        volume.Commit(volume.LastSequence);
        rig.Loop.Settle();
    }

    private static void Check(StoreRig rig, IVolumeStore volume, ulong page, Dictionary<ulong, ulong> expected)
    {
        var (status, blocks) = rig.Read(volume, page * PageBlocks);
        if (status == IoStatus.Ok) Assert.True(blocks[0].Bytes.AsSpan().SequenceEqual(expected.TryGetValue(page, out var content) ? StoreRig.Bytes(content) : []), $"page {page} has other bytes");
        else Assert.True(status == IoStatus.BadChecksum && volume.Damage is not null, $"page {page}: {status}, {volume.Damage ?? "not damaged"}");
    }

    [Theory(DisplayName = "A read that waits for a page while the replica is set anew is not answered from what it then is")]
    [InlineData(true)]
    [InlineData(false)]
    public void Set_anew_while_reading(bool discards)
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
        var held = new HeldScheduler(rig.Loop, DiskLane.Read);
        rig.Scheduler = held;
        rig.Open();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        var (_, wanted) = Evicted(rig, volume);
        (held.IsHolding, rig.Disk.UncachedOneIn) = (true, 1);
        var reader = new Reader();
        volume.Read(new BlockRange(wanted * PageBlocks, 1), reader, 1);
        Write(rig, volume, wanted, 100 + wanted);
        for (var page = 0UL; page < 20; page++)
        {
            Write(rig, volume, page, page + 100);
            rig.Loop.Settle();
        }
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

    private static void Write(StoreRig rig, IVolumeStore volume, ulong page, ulong content)
    {
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, page * PageBlocks, StoreRig.Bytes(content), watermark: volume.CommitWatermark));
        volume.Commit(volume.LastSequence);
        rig.Loop.Turn();
    }

    private static ulong Mark(IVolumeStore volume, SnapshotMarker marker)
    {
        var buffer = marker.Build(volume.Volume, out var header);
        (header.Sequence, header.Epoch, header.CommitWatermark) = (volume.LastSequence + 1, 1, volume.CommitWatermark);
        header.Encode(buffer.Span);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, buffer));
        volume.Commit(volume.LastSequence);
        return volume.LastSequence;
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

    private sealed class EachReader : IEachReadCompletion
    {
        public IoStatus? Status { get; private set; }

        public void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply)
        {
            Status = status;
            reply?.Release();
        }
    }
}
