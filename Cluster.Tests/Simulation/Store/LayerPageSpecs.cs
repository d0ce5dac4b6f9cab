using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What only snapshots keep lies in pages of the map cache: within its budget, read back by whom it should be, and lost as those of the maps are.</summary>
public sealed class LayerPageSpecs
{
    private const int Budget = 4;
    private const ulong PageBlocks = MapPage.Blocks;
    private static readonly VolumeId Clone = new(8);

    [Fact(DisplayName = "Over many seeds layers with hardly any memory are what sorted lists are, and a checkpoint finds what there was when it began")]
    public void Random_runs()
    {
        var evictions = 0L;
        for (var seed = 1; seed <= 40; seed++) evictions += LayerRun.Run(seed);
        Assert.True(evictions > 1000, $"the runs are too tame: {evictions} evicted");
    }

    [Fact(DisplayName = "A million overwritten blocks under twenty snapshots stay within a budget of 64 pages; each snapshot sees what it saw, before and after a restart and after every second one is deleted")]
    public void A_million_blocks()
    {
        const int pages = 64, rounds = 20, records = 800;
        var rig = new StoreRig(3, new StoreOptions { CapacityBytes = 400L * StoreOptions.SegmentBytesMin, MapCacheBytes = pages * MapCache.PageBytes, CheckpointIntervalBytes = 1 << 30 }).Open();
        var volume = rig.Create();
        var zeroes = new byte[Limits.RecordBlocksMax][];
        Array.Fill(zeroes, []);
        List<(ulong Snapshot, ulong First)> taken = [];
        for (var round = 0; round <= rounds; round++)
        {
            var first = volume.LastSequence + 1;
            // In an order that is none, over 10 GiB.
            for (var at = 0UL; at < records; at++)
            {
                Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Write(volume.Volume, volume.LastSequence + 1, BlockOf(at), zeroes, 1, volume.CommitWatermark)));
                volume.Commit(volume.LastSequence);
                rig.Loop.Turn();
                Assert.InRange(rig.Store.Maps.ResidentPages, 1, (2 * pages) + 2);
            }
            rig.Loop.Settle();
            Assert.InRange(rig.Store.Maps.ResidentPages, 1, pages);
            if (round < rounds) taken.Add((StoreRig.Mark(volume, new SnapshotMarker(true, 0, [.. taken.Select(each => each.Snapshot)])), first));
        }
        Assert.Equal(1_024_000, ((VolumeStore)volume).Map.Layers.Sum(layer => layer.Blocks));
        var facts = rig.Store.Maps.Facts;
        // In no order pages are half full at least.
        Assert.InRange(facts.ResidentLayerPages + facts.EvictedLayerPages, 2000, 4020);
        rig.Sync(volume);
        Check(rig, taken, records);
        rig.StopClean();
        rig.Open();
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, pages);
        Check(rig, taken, records);
        volume = rig.Find();
        StoreRig.Mark(volume, new SnapshotMarker(false, 0, [.. taken.Where((_, index) => index % 2 == 0).Select(each => each.Snapshot)]));
        for (var slices = 0; rig.Store.Maps.IsHandingDown; slices++)
        {
            Assert.True(slices < 5000, "it does not come to an end");
            var before = rig.Store.Maps.LoadsInPlace;
            rig.Loop.Advance(10);
            Assert.InRange(rig.Store.Maps.LoadsInPlace - before, 0, 40);
            Assert.InRange(rig.Store.Maps.ResidentPages, 1, (2 * pages) + 2);
        }
        Check(rig, [.. taken.Where((_, index) => index % 2 == 0)], records);
        // What every second one kept is seen by nobody any more.
        Assert.Equal(512_000, ((VolumeStore)volume).Map.Layers.Sum(layer => layer.Blocks));
    }

    /// <summary>Records of 64 blocks, 64 apart.</summary>
    private static ulong BlockOf(ulong at) => at * 389 % 800 * 128 * 25;

    private static void Check(StoreRig rig, List<(ulong Snapshot, ulong First)> taken, int records)
    {
        var map = ((VolumeStore)rig.Find()).Map;
        foreach (var (snapshot, first) in taken)
        {
            for (var at = 0UL; at < (ulong)records; at += 97)
            {
                Assert.True(map.FindAt(snapshot, BlockOf(at) + (at % 64), out var entry, out _) && entry.Sequence == first + at, $"snapshot {snapshot}, record {at}: {entry.Sequence}, not {first + at}");
                Assert.False(map.FindAt(snapshot, BlockOf(at) + 64, out _, out _));
                rig.Loop.Settle();
            }
        }
    }

    [Fact(DisplayName = "A checkpoint takes no more than was reserved for it, and an open from it has each version, however the versions of neighbouring blocks lie in pages")]
    public void Checkpoints()
    {
        for (var seed = 1; seed <= 10; seed++)
        {
            var (rig, random) = (Rig(), new Random(seed));
            var volume = rig.Create();
            var expected = new Dictionary<ulong, ulong>();
            for (var round = 0; round < 2; round++)
            {
                for (var at = 0; at < 1200; at++)
                {
                    var block = random.Next(4) == 0 ? (ulong)random.Next(60_000) : 1500UL + (ulong)random.Next(3000);
                    Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, [], watermark: volume.CommitWatermark));
                    volume.Commit(volume.LastSequence);
                    if (round == 0) expected[block] = volume.LastSequence;
                    rig.Loop.Turn();
                }
                if (round == 0) StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
            }
            var snapshot = volume.Snapshots[0];
            rig.Sync(volume);
            var reserved = CheckpointRoom.OfSegments(rig.Store.Segments.All.Count) + CheckpointRoom.Of(((VolumeStore)volume).Map) + CheckpointRoom.OfState((VolumeStore)volume);
            rig.StopClean();
            Assert.True(rig.Disk.Open(CheckpointWriter.Name, create: false, out var file).IsOk);
            Assert.InRange(file!.LengthBytes, 1, reserved);
            file.Dispose();
            rig.Open();
            var map = ((VolumeStore)rig.Find()).Map;
            Assert.All(expected, pair => Assert.True(map.FindAt(snapshot, pair.Key, out var entry, out _) && entry.Sequence == pair.Value));
        }
    }

    [Fact(DisplayName = "A clone's read waits for pages of its origin's snapshots on a disk thread; pages that do not have the block are not read for it")]
    public void Clone_reads_by_thread()
    {
        const int layers = 10;
        var (rig, _, clone) = Cloned(layers);
        rig.Disk.UncachedOneIn = 1;
        var (before, inPlace) = (rig.Store.Maps.Facts, rig.Store.Maps.LoadsInPlace);
        for (var page = 0UL; page < 40; page += 3) Assert.Equal(StoreRig.Bytes(page), rig.Read(clone, page * PageBlocks).Blocks[0].Bytes);
        Assert.Equal(inPlace, rig.Store.Maps.LoadsInPlace);
        Assert.True(rig.Store.Maps.Facts.LoadsByThread > before.LoadsByThread, $"{layers}: {rig.Store.Maps.Facts}");
        // What is in none of the many layers between: each page's filter, or range, says so.
        var (reads, loads) = (0, rig.Store.Maps.Facts.LoadsByThread);
        for (var block = 1UL; block < 40 * PageBlocks; block += 97, reads++) Assert.Equal(IoStatus.Ok, rig.Read(clone, block).Status);
        Assert.InRange(rig.Store.Maps.Facts.LoadsByThread - loads, 0, reads * layers / 4);
    }

    [Theory(DisplayName = "A page of what a snapshot keeps that can't be read back fails the store in that very call, for the volume and its clone; opened anew, all is there")]
    [InlineData("clone")]
    [InlineData("digest")]
    [InlineData("each")]
    [InlineData("changes")]
    [InlineData("changed")]
    [InlineData("data")]
    [InlineData("delete")]
    [InlineData("trim")]
    [InlineData("checkpoint")]
    public void Lost(string how)
    {
        var (rig, volume, clone) = Cloned();
        rig.Sync(volume);
        var map = ((VolumeStore)volume).Map;
        var oldest = map.Layers[0];
        // Those of the map itself, and of other layers, stay good.
        for (var other = 0UL; oldest.Peek(0).IsResident; other++) rig.Read(rig.Find(new VolumeId(9)), other % 40 * PageBlocks);
        rig.Disk.FlipBit(MapPageFile.Name, (oldest.Peek(0).Slot * (MapPageFile.SlotBytes * 8L)) + 77);
        var (snapshot, range) = (oldest.Sequence, new BlockRange(0, 1));
        switch (how)
        {
            case "clone": Assert.Equal(IoStatus.BadChecksum, rig.Read(clone, 0).Status); break;
            case "digest": volume.Digest(range, snapshot, withChecksums: true); break;
            case "each":
                var each = new EachReader();
                volume.ReadEach(range, snapshot, background: false, each, 1);
                rig.Loop.Settle();
                Assert.Equal(IoStatus.BadChecksum, each.Status);
                break;
            case "changes":
                ChangeCursor? cursor = null;
                var status = IoStatus.Ok;
                do
                {
                    var records = new List<IoBuffer>();
                    (status, cursor) = volume.ReadChanges(0, ulong.MaxValue, cursor, 1 << 24, records);
                    foreach (var record in records) record.Release();
                }
                while (cursor is not null);
                Assert.Equal(IoStatus.BadChecksum, status);
                break;
            case "changed":
                var runs = new List<BlockRange>();
                volume.Changed(snapshot, 0, new BlockRange(0, 4), 10, runs);
                Assert.Equal([new BlockRange(0, 4)], runs);
                break;
            // Where the volume itself has nothing.
            case "data": Assert.Equal(102UL, volume.NextData(102, 300)); break;
            case "delete": KeepOnly(rig, volume, clone); break;
            case "trim":
                Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, 1, new BlockRange(0, 64), 0, 0, RecordFlags.Resync)));
                break;
            default:
                rig.Store.Maps.OnUnreadable(PageImage.Of(oldest.Peek(0), oldest.Peek(0).First), "it was not there");
                break;
        }
        rig.Loop.Settle();
        Assert.Contains($"of the map of volume {volume.Volume}, of what snapshot {snapshot} keeps", rig.Store.FailureReason, StringComparison.Ordinal);
        Assert.NotNull(volume.Damage);
        Assert.Equal(1, rig.Store.Maps.Facts.LostPages);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Find().Damage);
        foreach (var found in rig.Store.Volumes) found.Commit(found.LastSequence);
        if (how == "delete") return;
        for (var page = 0UL; page < 40; page++) Assert.Equal(StoreRig.Bytes(page), rig.Read(rig.Find(Clone), page * PageBlocks).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "Snapshots that come back while they leave are made anew, however many of their pages have to be read for that to be over")]
    public void Come_back()
    {
        var (rig, volume, snapshots) = Kept();
        StoreRig.Mark(volume, new SnapshotMarker(false, 0, []));
        rig.Loop.Advance(10);
        Assert.True(rig.Store.Maps.IsHandingDown);
        var map = ((VolumeStore)volume).Map;
        Assert.All(map.Layers, layer => Assert.True(layer.IsLeaving && layer.PageCount > 50));
        Assert.Equal(IoStatus.Ok, volume.SetSnapshots(snapshots));
        Assert.All(map.Layers, layer => Assert.Equal((false, false, 0), (layer.IsLeaving, layer.IsHidden, layer.Blocks)));
        Assert.Equal(snapshots, map.Layers.Select(layer => layer.Sequence));
        rig.Loop.Advance(1000);
        Assert.Equal(snapshots, volume.Snapshots);
    }

    [Fact(DisplayName = "A snapshot with few versions that go to many pages of the next older one leaves in slices, each of which reads no more than some of these")]
    public void Few_to_many()
    {
        var (rig, volume, snapshots) = Kept(slice: 5000);
        var newest = StoreRig.Mark(volume, new SnapshotMarker(true, 0, [.. snapshots]));
        // Not overwritten so far: all three see them.
        for (var record = 1UL; record < 2 * KeptRecords; record += 2) rig.WriteBlock(volume, record * Limits.RecordBlocksMax, record);
        rig.Loop.Settle();
        var map = ((VolumeStore)volume).Map;
        Assert.Equal(KeptRecords, map.Layer(newest)!.Blocks);
        var (before, slices) = (rig.Store.Maps.LoadsInPlace, 0);
        StoreRig.Mark(volume, new SnapshotMarker(false, 0, [.. snapshots]));
        do
        {
            Assert.InRange(rig.Store.Maps.LoadsInPlace - before, 0, 40);
            before = rig.Store.Maps.LoadsInPlace;
            rig.Loop.Advance(10);
        }
        while (rig.Store.Maps.IsHandingDown && slices++ < 100);
        Assert.InRange(slices, 1, 20);
        Assert.Equal((KeptRecords * (Limits.RecordBlocksMax + 1L), true), (map.Layer(snapshots[1])!.Blocks, map.Layer(newest) is null));
    }

    [Fact(DisplayName = "A write asks ahead for the page in which the newest snapshot will keep what it overwrites, unless that surely has it; a digest of the volume reads nothing that only snapshots keep")]
    public void Asked_for_ahead()
    {
        var (rig, volume, _) = Kept();
        var (map, records) = (((VolumeStore)volume).Map, (ulong)Limits.RecordBlocksMax);
        var layer = map.Layers[^1];
        int AdvisedBy(ulong block)
        {
            // The volume's own page is there.
            rig.Read(volume, block);
            Assert.False(layer.Peek(layer.PageFrom(block)).IsResident);
            var before = rig.Disk.Advised;
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(1), watermark: volume.CommitWatermark));
            return rig.Disk.Advised - before;
        }
        Assert.Equal((1, 0), (AdvisedBy((101 * records) + 7), AdvisedBy((200 * records) + 7)));
        volume.Commit(volume.LastSequence);
        rig.Loop.Settle();
        var loads = rig.Store.Maps.LoadsInPlace;
        volume.Digest(new BlockRange(400 * records, Limits.RecordBlocksMax), 0, withChecksums: true);
        Assert.InRange(rig.Store.Maps.LoadsInPlace - loads, 0, 1);
        volume.Digest(new BlockRange(400 * records, Limits.RecordBlocksMax), layer.Sequence, withChecksums: true);
        Assert.InRange(rig.Store.Maps.LoadsInPlace - loads, 2, 4);
    }

    [Fact(DisplayName = "A clone's read that wants more pages of its origin's snapshots than one job reads waits for them all on disk threads")]
    public void More_than_a_job()
    {
        var (rig, volume, clone) = Cloned(layers: 100, budget: 150);
        rig.Disk.UncachedOneIn = 1;
        var range = new BlockRange(20 * PageBlocks, Limits.RecordBlocksMax);
        var absent = new List<MapPage>();
        ((VolumeStore)clone).Map.FindAbsent(range, absent);
        Assert.InRange(absent.Count, MapCache.LoadJob.PagesMax + 1, 150);
        var (before, loads) = (rig.Store.Maps.Facts.LoadsByThread, rig.Store.Maps.LoadsInPlace);
        Assert.Equal(StoreRig.Bytes(20), rig.Read(clone, range.First, (uint)range.Count).Blocks[0].Bytes);
        Assert.Equal((0, absent.Count), (rig.Store.Maps.LoadsInPlace - loads, rig.Store.Maps.Facts.LoadsByThread - before));
        Assert.Null(volume.Damage);
    }

    [Fact(DisplayName = "A copy of a clone whose origin has more snapshots than there is memory for gets all that the clone has, and it ends")]
    public void Clone_of_many()
    {
        var (_, _, clone) = Cloned(layers: 70);
        ChangeCursor? cursor = null;
        var (steps, blocks) = (0, new HashSet<ulong>());
        do
        {
            var records = new List<IoBuffer>();
            (var status, cursor) = clone.ReadChanges(0, ulong.MaxValue, cursor, 1 << 24, records);
            Assert.Equal(IoStatus.Ok, status);
            foreach (var record in records)
            {
                Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
                blocks.Add(header.Range.First);
                record.Release();
            }
            Assert.True(steps++ < 200, $"at {cursor} it does not go on");
        }
        while (cursor is not null);
        Assert.Equal(Enumerable.Range(0, 40).Select(page => (ulong)page * PageBlocks), blocks.Order());
    }

    [Fact(DisplayName = "What a clone's snapshot keeps is found as data also where it only names the bytes of the base")]
    public void Names_of_the_base()
    {
        var (rig, _, clone) = Cloned();
        var first = StoreRig.Mark(clone, new SnapshotMarker(true, 0, [.. clone.Snapshots]));
        rig.WriteBlock(clone, 0, 77);
        // The block is again what the base has, under a sequence of the clone's own; and then only the next snapshot sees that.
        StoreRig.Mark(clone, new SnapshotMarker(false, first, [.. clone.Snapshots]));
        var second = StoreRig.Mark(clone, new SnapshotMarker(true, 0, [.. clone.Snapshots]));
        Assert.Equal(IoStatus.Ok, StoreRig.Append(clone, StoreRig.Trim(clone.Volume, clone.LastSequence + 1, new BlockRange(0, 1), 1, clone.CommitWatermark)));
        clone.Commit(clone.LastSequence);
        var map = ((VolumeStore)clone).Map;
        Assert.True(map.Layer(second)!.TryGet(0, out var entry) && entry.Segment == MapEntry.BaseSegment, $"{entry.Segment}");
        Assert.Equal(0, map.Layer(second)!.StoredBytes);
        Assert.Equal(0UL, clone.NextData(0, PageBlocks));
    }

    private const int KeptRecords = 500;

    /// <summary>Two snapshots, each of which keeps every other record of a thousand in a row, in some sixty pages that are not in memory, and both see the records between.</summary>
    private static (StoreRig Rig, IVolumeStore Volume, ulong[] Snapshots) Kept(int slice = 8)
    {
        var rig = Rig(slice);
        var volume = rig.Create();
        var zeroes = new byte[Limits.RecordBlocksMax][];
        Array.Fill(zeroes, []);
        void WriteRecords(ulong step)
        {
            for (var record = 0UL; record < 2 * KeptRecords; record += step)
            {
                Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Write(volume.Volume, volume.LastSequence + 1, record * Limits.RecordBlocksMax, zeroes, 1, volume.CommitWatermark)));
                volume.Commit(volume.LastSequence);
                rig.Loop.Turn();
            }
        }
        WriteRecords(1);
        var older = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        WriteRecords(2);
        var newer = StoreRig.Mark(volume, new SnapshotMarker(true, 0, [older]));
        WriteRecords(2);
        rig.Loop.Settle();
        return (rig, volume, [older, newer]);
    }

    /// <summary>The clone goes, and then the snapshots: what they keep is handed down.</summary>
    private static void KeepOnly(StoreRig rig, IVolumeStore volume, IVolumeStore clone)
    {
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(clone.Volume));
        StoreRig.Mark(volume, new SnapshotMarker(false, 0, []));
        for (var slices = 0; rig.Store.Maps.IsHandingDown && rig.Store.FailureReason is null; slices++)
        {
            Assert.True(slices < 5000, "it does not come to an end");
            rig.Loop.Advance(10);
        }
    }

    [Fact(DisplayName = "A page file that can't be written keeps layers in memory, and right; once it can, memory is within its budget again")]
    public void No_room()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) rig.WriteBlock(volume, page * PageBlocks, page);
        StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        rig.Loop.Settle();
        rig.Store.Maps.File.ReserveBytes = 1L << 60;
        for (var block = 0UL; block < 20 * PageBlocks; block += 7) rig.WriteBlock(volume, block, block);
        StoreRig.Mark(volume, new SnapshotMarker(true, 0, [.. volume.Snapshots]));
        for (var block = 0UL; block < 20 * PageBlocks; block += 7) rig.WriteBlock(volume, block, block + 1);
        rig.Loop.Settle();
        Assert.True(rig.Store.Maps.ResidentPages > Budget && rig.Store.Maps.Facts.WriteFailures > 0, $"{rig.Store.Maps.Facts}");
        rig.Store.Maps.File.ReserveBytes = 0;
        rig.Loop.Advance(6000);
        rig.WriteBlock(volume, 0, 1);
        rig.Loop.Settle();
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, Budget);
        var map = ((VolumeStore)volume).Map;
        Assert.Equal((3, 1463), (map.Layers[0].Blocks, map.Layers[1].Blocks));
    }

    [Fact(DisplayName = "The deletion of a volume reads no page of what its snapshots keep in place; the space is free once they were read in the background")]
    public void Deleted_unread()
    {
        var (rig, volume, clone) = Cloned();
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(clone.Volume));
        rig.Loop.Settle();
        var loads = rig.Store.Maps.LoadsInPlace;
        Assert.True(rig.Store.Maps.Facts.EvictedLayerPages > 0);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
        rig.Loop.Settle();
        Assert.Equal(loads, rig.Store.Maps.LoadsInPlace);
        Assert.Equal(0, rig.Store.Maps.Facts.EvictedLayerPages);
        Assert.Equal(rig.Find(new VolumeId(9)).Usage.StoredBytes, rig.Store.Segments.LiveBytes);
    }

    /// <summary>A volume of 40 pages under ten snapshots, all of whose layers are out of memory, with a clone of the oldest one, and a volume beside it.</summary>
    private static (StoreRig Rig, IVolumeStore Volume, IVolumeStore Clone) Cloned(int layers = 10, int budget = Budget)
    {
        var rig = Rig(budget: budget);
        var (volume, other) = (rig.Create(), rig.Create(new VolumeId(9)));
        for (var page = 0UL; page < 40; page++) rig.WriteBlock(volume, page * PageBlocks, page);
        for (var layer = 0; layer < layers; layer++)
        {
            // Scattered, and others in each.
            var offset = layer == 0 ? 0 : 2 + ((ulong)layer * 11 % 62);
            for (var page = 0UL; page < 40 && layer > 0; page++) rig.WriteBlock(volume, (page * PageBlocks) + offset, (ulong)layer);
            StoreRig.Mark(volume, new SnapshotMarker(true, 0, [.. volume.Snapshots]));
            for (var page = 0UL; page < 40; page++) rig.WriteBlock(volume, (page * PageBlocks) + offset, 1000 + page);
        }
        StoreRig.Mark(volume, new SnapshotMarker(true, 0, [.. volume.Snapshots]));
        for (var page = 0UL; page < 40; page++) rig.WriteBlock(volume, (page * PageBlocks) + 5, page);
        var (status, made) = rig.Store.CreateClone(Clone, new byte[] { 1 }, volume.Volume, volume.Snapshots[0]);
        Assert.Equal(IoStatus.Ok, status);
        made!.Events = rig.Events;
        for (var page = 0UL; page < 40UL + (4 * (ulong)budget); page++) rig.WriteBlock(other, page * PageBlocks, page);
        rig.Loop.Settle();
        return (rig, volume, made);
    }

    private static StoreRig Rig(int slice = 8, int budget = Budget) => new StoreRig(1, new StoreOptions
    {
        CapacityBytes = 200L * StoreOptions.SegmentBytesMin,
        CheckpointIntervalBytes = 1 << 30,
        MapCacheBytes = budget * MapCache.PageBytes,
        HandDownBlocks = slice,
    }).Open();

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
