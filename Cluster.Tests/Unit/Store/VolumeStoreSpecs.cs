using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class VolumeStoreSpecs
{
    [Fact(DisplayName = "Reads see committed blocks only; a truncated tail never was; the sequence with the tail is that of the tail")]
    public void Tail()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1), epoch: 1);
        volume.Commit(1);
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(2), epoch: 2);
        rig.Loop.Settle();
        Assert.Equal(StoreRig.Bytes(1), rig.Read(volume, 1).Blocks[0].Bytes);
        Assert.Equal((1UL, 2UL), (volume.SequenceOf(1, false), volume.SequenceOf(1, true)));
        Assert.Equal((1UL, 2UL), (volume.TailFrom, volume.LastRecordEpoch));
        Assert.Equal(IoStatus.Ok, volume.Truncate(1));
        Assert.Equal((1UL, 1UL, 1UL), (volume.LastSequence, volume.LastRecordEpoch, volume.AppendedSequence));
        Assert.Equal(IoStatus.OutOfRange, volume.ReadTail(2).Status);
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(3), epoch: 3);
        volume.Commit(2);
        Assert.Equal(StoreRig.Bytes(3), rig.Read(volume, 1).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "One flush answers everybody who waits, and a flush that is asked for while one runs is covered by the next")]
    public void Group_commit()
    {
        var rig = new StoreRig().Open();
        var (first, second) = (rig.Create(), rig.Create(new VolumeId(8)));
        var (firstEvents, secondEvents) = (new RecordingEvents(), new RecordingEvents());
        (first.Events, second.Events) = (firstEvents, secondEvents);
        rig.Sync(first);
        var before = rig.Disk.Operations;
        StoreRig.AppendBlock(first, 1, StoreRig.Bytes(1));
        StoreRig.AppendBlock(second, 1, StoreRig.Bytes(1));
        first.RequestSync();
        second.RequestSync();
        first.RequestSync();
        rig.Loop.Turn();
        StoreRig.AppendBlock(first, 2, StoreRig.Bytes(1));
        first.RequestSync();
        rig.Loop.Settle();
        Assert.Equal((2UL, 1UL), (first.DurableSequence, second.DurableSequence));
        Assert.Equal([1UL, 2UL], firstEvents.Durable.Select(each => each.Sequence).Where(each => each > 0).Distinct());
        // Two writes and two syncs; the rest made a segment ready.
        Assert.InRange(rig.Disk.Operations - before, 4, 24);
        first.RequestSync();
        rig.Loop.Settle();
        Assert.Equal((2UL, 1UL), firstEvents.Durable[^1]);
    }

    [Fact(DisplayName = "Headers have rising numbers, and their flush names the newest on media, across reopens")]
    public void Headers()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        Assert.Equal(2UL, volume.SaveHeader(new byte[] { 2 }));
        Assert.Equal(3UL, volume.SaveHeader(new byte[] { 3 }));
        rig.Sync(volume);
        Assert.Equal(3UL, rig.Events.Durable[^1].Header);
        volume.SaveHeader(new byte[] { 4 });
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal(new byte[] { 3 }, rig.Find().Header.ToArray());
        Assert.Equal(4UL, rig.Find().SaveHeader(new byte[] { 5 }));
    }

    [Fact(DisplayName = "Session windows follow the commits, are replaced by a catch-up, and survive crash and checkpoint")]
    public void Windows()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        Assert.False(volume.Windows.Contains(StoreRig.Session, 1));
        volume.Commit(1);
        Assert.True(volume.Windows.Contains(StoreRig.Session, 1));
        var other = new SessionId(4, 4);
        var windows = new SessionWindows();
        windows.Apply(other, 77, 70, 1);
        Assert.Equal(IoStatus.Ok, volume.SetWindows(windows));
        rig.Sync(volume);
        rig.Restart(PowerLoss.LoseAll);
        Assert.True(rig.Find().Windows.Contains(other, 77));
        Assert.False(rig.Find().Windows.Contains(StoreRig.Session, 1));
        rig.StopClean();
        rig.Open();
        Assert.True(rig.Find().Windows.Contains(other, 77));
    }

    [Fact(DisplayName = "Allocated gives the runs of a range across pages, and stops at its bound")]
    public void Allocated()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        foreach (var block in new ulong[] { 3, 4, 511, 512, 5000 }) StoreRig.AppendBlock(volume, block, StoreRig.Bytes(1));
        StoreRig.AppendBlock(volume, 600, []);
        volume.Commit(volume.LastSequence);
        var extents = new List<(BlockRange Range, bool Allocated)>();
        Assert.Equal(6000UL, volume.Allocated(new BlockRange(0, 6000), 100, extents));
        Assert.Equal(
            [
                (new BlockRange(0, 3), false), (new BlockRange(3, 2), true), (new BlockRange(5, 506), false),
                (new BlockRange(511, 2), true),
                (new BlockRange(513, 4487), false), (new BlockRange(5000, 1), true), (new BlockRange(5001, 999), false),
            ], extents);
        extents.Clear();
        Assert.Equal(511UL, volume.Allocated(new BlockRange(0, 6000), 3, extents));
        Assert.Equal(3, extents.Count);
    }

    [Fact(DisplayName = "A delta names only what changed since, tombstones first, with the original sequences")]
    public void Delta()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        StoreRig.Append(volume, StoreRig.Write(volume.Volume, 2, 10, [StoreRig.Bytes(2), StoreRig.Bytes(3)]));
        StoreRig.Append(volume, StoreRig.Trim(volume.Volume, 3, new BlockRange(1, 1)));
        StoreRig.AppendBlock(volume, 700, StoreRig.Bytes(4));
        volume.Commit(4);
        var records = new List<IoBuffer>();
        Assert.Equal((IoStatus.Ok, null), volume.ReadChanges(1, 3, null, 1 << 20, records));
        var headers = records.Select(record =>
        {
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
            record.Release();
            return (header.Kind, header.Sequence, header.Range, header.Flags, header.Epoch);
        });
        Assert.Equal(
            [
                (RecordKind.Trim, 3UL, new BlockRange(1, 1), RecordFlags.Resync, 0UL),
                (RecordKind.Write, 2UL, new BlockRange(10, 2), RecordFlags.Resync, 0UL),
            ], headers);
        Assert.True(volume.EstimateChanges(1, 3) >= 128 + (2 * 4096));
        Assert.Equal(0, volume.EstimateChanges(4, 9));
    }

    [Fact(DisplayName = "Reads that miss the page cache answer later, and their segments are not used anew meanwhile")]
    public void Uncached()
    {
        var rig = new StoreRig(3, new StoreOptions
        {
            CapacityBytes = 12L * StoreOptions.SegmentBytesMin,
            CheckpointIntervalBytes = 1 << 19,
        });
        rig.Disk.UncachedOneIn = 1;
        rig.Open();
        var volume = rig.Create();
        for (var round = 0UL; round < 900; round++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, round % 20, StoreRig.Bytes(round), 1, volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
            if (round % 30 == 29) Assert.Equal(StoreRig.Bytes(round), rig.Read(volume, round % 20).Blocks[0].Bytes);
        }
        Assert.True(rig.Store.SegmentsFreed > 3);
        Assert.All(rig.Store.Segments.All, segment => Assert.Equal(0, segment.Readers));
    }
}
