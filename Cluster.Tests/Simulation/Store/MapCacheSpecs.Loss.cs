using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Pages that can't be read back, or not be written.</summary>
public sealed partial class MapCacheSpecs
{
    [Fact(DisplayName = "Any bit of the page file that flips is found when its page is wanted: of the volume and its clone nothing is answered any more, the store has failed, and opened anew it has all")]
    public void Bad_frames()
    {
        for (var bit = 0; bit < MapPageFile.SlotBytes * 8; bit += 4099)
        {
            var rig = Rig();
            var (volume, clone, other) = (rig.Create(), new VolumeId(8), rig.Create(new VolumeId(9)));
            for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
            var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
            var (_, made) = rig.Store.CreateClone(clone, new byte[] { 1 }, rig.Find().Volume, snapshot);
            made!.Events = rig.Events;
            for (var page = 0UL; page < 20; page++) Write(rig, other, page, page);
            rig.Sync(volume);
            var told = new List<string>();
            rig.Store.StartsAnew = told.Add;
            var (victim, lost) = Evicted(rig, volume);
            rig.Disk.FlipBit(MapPageFile.Name, (victim.Slot * (MapPageFile.SlotBytes * 8L)) + bit);
            var status = rig.Read(bit % 2 == 0 ? volume : made, lost * PageBlocks).Status;
            Assert.Equal(IoStatus.BadChecksum, status);
            Assert.Contains($"page {lost} of the map of volume {volume.Volume}", volume.Damage, StringComparison.Ordinal);
            Assert.NotNull(made.Damage);
            Assert.Equal(volume.Damage, rig.Store.FailureReason);
            rig.Loop.Settle();
            Assert.Equal([(IoStatus.DeviceError, volume.Damage!), (IoStatus.DeviceError, volume.Damage!), (IoStatus.DeviceError, volume.Damage!)], rig.Events.Failed);
            Assert.Contains(volume.Damage!, Assert.Single(told), StringComparison.Ordinal);
            Assert.Equal(1, rig.Store.Maps.Facts.LostPages);
            Assert.Equal(IoStatus.DeviceError, StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1)));
            Assert.Equal(IoStatus.DeviceError, StoreRig.AppendBlock(other, 1, StoreRig.Bytes(1)));
            Assert.Equal(IoStatus.BadChecksum, volume.ReadChanges(0, ulong.MaxValue, null, 1 << 20, []).Status);
            var extents = new List<(BlockRange Range, bool Allocated)>();
            volume.Allocated(new BlockRange(0, 20 * (uint)PageBlocks), 1000, extents);
            Assert.Equal([(new BlockRange(0, 20 * (uint)PageBlocks), true)], extents);
            // What is known of others is still told.
            Assert.Null(other.Damage);
            CheckAll(rig, other, 20, 0);
            CheckReopened(rig, 20, volume.Volume, clone, other.Volume);
        }
    }

    [Theory(DisplayName = "A page that can't be read back when its map is asked in any other way damages the volume in that very call, and nothing is said that leaves something out")]
    [InlineData("allocated")]
    [InlineData("changed")]
    [InlineData("changes")]
    [InlineData("sequence")]
    [InlineData("each")]
    [InlineData("repair")]
    [InlineData("digest")]
    [InlineData("data")]
    [InlineData("commit")]
    [InlineData("trim")]
    [InlineData("resync")]
    public void Bad_frames_elsewhere(string how)
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        var other = rig.Create(new VolumeId(9));
        Write(rig, other, 0, 0);
        rig.Sync(volume);
        var (victim, lost) = Evicted(rig, volume);
        var digest = volume.Digest(new BlockRange(lost * PageBlocks, 1));
        if (victim.IsResident) for (var page = 0UL; victim.IsResident; page++) CheckOne(rig, volume, page % 20 == lost ? lost + 1 : page % 20);
        rig.Disk.FlipBit(MapPageFile.Name, victim.Slot * (MapPageFile.SlotBytes * 8L));
        var appended = rig.Events.Appended.Count;
        var range = new BlockRange(lost * PageBlocks, 1);
        if (how is "allocated" or "changed" or "changes" or "sequence" or "each" or "digest" or "data") Look(rig, volume, how, range, digest);
        else Change(volume, how, range);
        Assert.NotNull(volume.Damage);
        rig.Loop.Settle();
        Assert.NotNull(rig.Store.FailureReason);
        Assert.Equal(2, rig.Events.Failed.Count);
        Assert.Equal(appended, rig.Events.Appended.Count);
        CheckReopened(rig, 20, volume.Volume);
    }

    /// <summary>Asks for what the page has.</summary>
    private static void Look(StoreRig rig, IVolumeStore volume, string how, BlockRange range, ulong digest)
    {
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
            case "digest":
                Assert.NotEqual(digest, volume.Digest(range));
                break;
            default:
                Assert.Equal(range.First, volume.NextData(range.First, range.First + (2 * PageBlocks)));
                break;
        }
    }

    /// <summary>Changes a block of the page, or mends one.</summary>
    private static void Change(IVolumeStore volume, string how, BlockRange range)
    {
        switch (how)
        {
            case "commit":
                // It is in the log if it is written at all; nobody is told that it is.
                Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, range.First + 1, StoreRig.Bytes(1), watermark: volume.CommitWatermark));
                volume.Commit(volume.LastSequence);
                break;
            case "trim":
                Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, range with { First = range.First + 1 }, watermark: volume.CommitWatermark)));
                volume.Commit(volume.LastSequence);
                break;
            case "resync":
                var copy = StoreRig.Write(volume.Volume, 1, range.First + 1, [StoreRig.Bytes(1)], flags: RecordFlags.Resync);
                Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(copy.Span, out var copied));
                _ = volume.AppendResync(copy, in copied);
                copy.Release();
                break;
            default:
                var record = StoreRig.Write(volume.Volume, 1, range.First, [StoreRig.Bytes(1)], flags: RecordFlags.Resync);
                Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
                Assert.Equal((IoStatus.DeviceError, 0), volume.Repair(record, in header));
                record.Release();
                break;
        }
    }

    [Fact(DisplayName = "A page that can't be read back while the store is opened refuses that open, and the next one has all")]
    public void Lost_in_an_open()
    {
        var rig = Rig();
        var volume = rig.Create();
        // Behind the checkpoint, round after round: an open brings pages back all the time.
        for (var round = 0UL; round < 3; round++)
        {
            for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        }
        rig.Sync(volume);
        rig.Disk.Restart(PowerLoss.LoseAll);
        (rig.Disk.FaultsOnly, rig.Disk.FailReads) = (MapPageFile.Name, 2);
        var refused = rig.TryOpen();
        Assert.Null(refused.Store);
        Assert.Equal(IoStatus.DeviceError, refused.Status);
        Assert.Contains("of the map of volume", refused.Reason, StringComparison.Ordinal);
        Assert.Equal(0, rig.Disk.FailReads);
        CheckReopened(rig, 20, volume.Volume);
        // One error of the moment is none.
        rig.Disk.Restart(PowerLoss.LoseAll);
        rig.Disk.FailReads = 1;
        rig.Open();
        Assert.Equal(0, rig.Disk.FailReads);
    }

    [Fact(DisplayName = "An error of the page file is no failure of the disk: a page that can't be written stays in memory and is written later")]
    public void Page_write_fails()
    {
        var rig = Rig();
        var volume = rig.Create();
        (rig.Disk.FaultsOnly, rig.Disk.FailWrites) = (MapPageFile.Name, 1);
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        Assert.Equal(0, rig.Disk.FailWrites);
        Assert.Equal(1, rig.Store.Maps.Facts.WriteFailures);
        Assert.InRange(rig.Store.Maps.ResidentPages, Budget + 1, 20);
        Assert.Null(rig.Store.FailureReason);
        Assert.Equal((DiskState.InUse, 0L), (rig.Store.Disks[0].State, rig.Store.Disks[0].Errors));
        CheckAll(rig, volume, 20, 0);
        rig.Loop.Advance(6000);
        Write(rig, volume, 0, 0);
        rig.Loop.Settle();
        Assert.InRange(rig.Store.Maps.ResidentPages, 1, Budget);
        CheckAll(rig, volume, 20, 0);
        rig.Disk.FailReads = 3;
        var (_, lost) = Evicted(rig, volume);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, lost * PageBlocks).Status);
        Assert.Equal((DiskState.InUse, 0L), (rig.Store.Disks[0].State, rig.Store.Disks[0].Errors));
    }

    [Theory(DisplayName = "What is lost while the store runs never gets into a checkpoint, frees nothing, and nothing is written behind it: opened anew, all volumes are whole")]
    [InlineData(false)]
    [InlineData(true)]
    public void Not_laundered(bool foundByCheckpoint)
    {
        var rig = Rig(new StoreOptions { CapacityBytes = 60L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 2_000_000 });
        var (volume, other) = (rig.Create(), rig.Create(new VolumeId(9)));
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Sync(volume);
        var (victim, lost) = Evicted(rig, volume);
        rig.Disk.FlipBit(MapPageFile.Name, victim.Slot * (MapPageFile.SlotBytes * 8L));
        if (!foundByCheckpoint) Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, lost * PageBlocks).Status);
        var (checkpoints, freed) = (rig.Store.CheckpointsWritten, rig.Store.SegmentsFreed);
        var written = 0UL;
        for (var at = 0UL; rig.Store.FailureReason is null; at++)
        {
            Assert.True(at < 5000, "no checkpoint was ever begun");
            Write(rig, other, at % 2, at);
            rig.Sync(other);
            rig.Loop.Advance(300);
            written = other.DurableSequence;
        }
        // As much as makes several checkpoints due.
        for (var at = 0UL; at < 2000; at++)
        {
            Assert.Equal(IoStatus.DeviceError, StoreRig.AppendBlock(other, at % 2, StoreRig.Bytes(at)));
            rig.Loop.Advance(10);
        }
        Assert.Contains($"page {lost} of the map", rig.Store.FailureReason, StringComparison.Ordinal);
        Assert.Equal(2, rig.Events.Failed.Count);
        Assert.Equal((checkpoints, freed), (rig.Store.CheckpointsWritten, rig.Store.SegmentsFreed));
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Find(new VolumeId(9)).Damage);
        Assert.True(rig.Find(new VolumeId(9)).LastSequence >= written);
        Assert.Null(rig.Find().Damage);
        rig.Find().Commit(rig.Find().LastSequence);
        CheckAll(rig, rig.Find(), 20, 0);
    }

    [Fact(DisplayName = "A read whose page the disk refuses to give back twice fails; if it does the second time, nothing has happened")]
    public void Unreadable()
    {
        var rig = Rig();
        var volume = rig.Create();
        for (var page = 0UL; page < 20; page++) Write(rig, volume, page, page);
        rig.Loop.Settle();
        var (_, lost) = Evicted(rig, volume);
        // The first try is one that does not wait.
        rig.Disk.FailReads = 2;
        Assert.Equal(IoStatus.Ok, rig.Read(volume, lost * PageBlocks).Status);
        Assert.Equal((0, null), (rig.Disk.FailReads, rig.Store.FailureReason));
        (_, lost) = Evicted(rig, volume);
        rig.Disk.FailReads = 3;
        Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, lost * PageBlocks).Status);
        Assert.NotNull(volume.Damage);
    }

    [Fact(DisplayName = "Bits of the page file flip while volumes are written, trimmed, read and checkpointed: each block that is answered is what was written, and each time that the store fails it is whole when it is opened anew")]
    public void Flips_while_running()
    {
        var (failed, whole) = (0, 0);
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
                var before = new Dictionary<ulong, ulong>(expected[volume.Volume]);
                Change(rig, volume, page, step, random, expected[volume.Volume]);
                if (rig.Store.FailureReason is null) Check(rig, volume, (ulong)random.Next(12), expected[volume.Volume]);
                if (random.Next(60) == 0 && rig.Disk.Names.Contains(MapPageFile.Name)) rig.Disk.FlipBit(MapPageFile.Name, random.NextInt64(rig.Store.Maps.Facts.FileBytes * 8));
                if (rig.Store.FailureReason is not { } reason) continue;
                failed++;
                Assert.Contains("of the map of volume", reason, StringComparison.Ordinal);
                rig.Loop.Settle();
                Assert.Equal(ids.Length, rig.Events.Failed.Count);
                var last = volume.LastSequence;
                rig.Restart(random.Next(2) == 0 ? PowerLoss.ProcessOnly : PowerLoss.Torn);
                // The change of this very step may not be in the log: nobody was told that it is.
                var found = rig.Find(volume.Volume).LastSequence;
                Assert.InRange(found, last - 1, last);
                if (found < last) expected[volume.Volume] = before;
                CheckEach(rig, ids, expected, $"seed {seed}, step {step}");
            }
            if (rig.Store.FailureReason is not null) continue;
            foreach (var id in ids) rig.Sync(rig.Find(id));
            rig.Restart(PowerLoss.LoseAll);
            CheckEach(rig, ids, expected, $"seed {seed}");
            whole++;
        }
        Assert.True(failed > 60 && whole > 30, $"the runs are too tame, or too wild: {failed} failures, {whole} whole at the end");
    }

    private static void CheckEach(StoreRig rig, VolumeId[] ids, Dictionary<VolumeId, Dictionary<ulong, ulong>> expected, string when)
    {
        foreach (var volume in ids.Select(id => rig.Find(id)))
        {
            Assert.True(volume.Damage is null, $"{when}: {volume.Volume} is damaged: {volume.Damage}");
            volume.Commit(volume.LastSequence);
            for (var page = 0UL; page < 12; page++) Check(rig, volume, page, expected[volume.Volume]);
        }
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
        rig.Sync(volume);
    }

    private static void Check(StoreRig rig, IVolumeStore volume, ulong page, Dictionary<ulong, ulong> expected)
    {
        var (status, blocks) = rig.Read(volume, page * PageBlocks);
        if (status == IoStatus.Ok) Assert.True(blocks[0].Bytes.AsSpan().SequenceEqual(expected.TryGetValue(page, out var content) ? StoreRig.Bytes(content) : []), $"page {page} has other bytes");
        else Assert.True(status == IoStatus.BadChecksum && volume.Damage is not null, $"page {page}: {status}, {volume.Damage ?? "not damaged"}");
    }

    /// <summary>The power goes, and all is there that was synced: the first block of each page as it was written first.</summary>
    private static void CheckReopened(StoreRig rig, ulong pages, params VolumeId[] ids)
    {
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Store.FailureReason);
        foreach (var volume in ids.Select(id => rig.Find(id)))
        {
            Assert.Null(volume.Damage);
            volume.Commit(volume.LastSequence);
            CheckAll(rig, volume, pages, 0);
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
