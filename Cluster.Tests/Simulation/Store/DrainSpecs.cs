using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A disk that an operator wants empty: what becomes of what is on it, through crashes too.</summary>
public sealed class DrainSpecs
{
    private const int Blocks = 300;
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    [Fact(DisplayName = "A drained disk is empty after a while, all data is still there, a restart remembers it, and without the disk even a kill costs nothing: the store does not know it any more")]
    public void Emptied_and_taken_away()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(3);
        Assert.True(Disk(rig).Segments > 2);
        var answer = Drain(rig);
        Assert.Equal((IoStatus.Ok, DiskState.Draining), (answer.Status, answer.Disk!.State));
        Assert.Contains("are left on it", answer.Disk.Problem, StringComparison.Ordinal);
        UntilDrained(rig);
        Assert.Contains("can be taken away", Disk(rig).Problem, StringComparison.Ordinal);
        Assert.DoesNotContain(rig.Disk.Names, name => name.StartsWith("d1/segment-", StringComparison.Ordinal));
        DiskPoolSpecs.CheckAll(rig);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal((DiskState.Drained, 0), (Disk(rig).State, Disk(rig).Segments));
        DiskPoolSpecs.CheckAll(DiskPoolSpecs.Fill(rig, Blocks));
        rig.Disk.Restart(PowerLoss.LoseAll);
        rig.Directories = [rig.Directories[0], rig.Directories[2]];
        rig.Open();
        Assert.Null(rig.Find().Damage);
        Assert.Equal(["home", "d2/"], rig.Store.Disks.Select(disk => disk.Path));
        Assert.Equal(0, rig.Store.MissingBytes);
        rig.Find().Commit(rig.Find().LastSequence);
        DiskPoolSpecs.CheckAll(rig);
    }

    [Fact(DisplayName = "While a disk is drained no segment is made there, and writes go on; overwrites and trims meanwhile are what is read at the end")]
    public void Writes_go_on()
    {
        var rig = DiskPoolSpecs.Filled(2);
        Assert.Equal(IoStatus.Ok, Drain(rig).Status);
        var before = Names(rig);
        var volume = rig.Find();
        for (var round = 0UL; round < 200; round++)
        {
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, round, StoreRig.Bytes(1000 + round), watermark: volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
            rig.Loop.Advance(20);
            Assert.Subset(before, Names(rig));
        }
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(250, 50), 1, volume.CommitWatermark)));
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        UntilDrained(rig);
        for (var block = 0UL; block < Blocks; block++)
            Assert.Equal(block < 200 ? StoreRig.Bytes(1000 + block) : block < 250 ? StoreRig.Bytes(block) : [], rig.Read(volume, block).Blocks[0].Bytes);
        Assert.True(rig.Store.DrainedBytes > 0);
    }

    [Fact(DisplayName = "An idle store too leaves the disk: the log goes on elsewhere, and what is uncommitted there waits for its commit")]
    public void Idle_log()
    {
        var rig = DiskPoolSpecs.Filled(2);
        var volume = rig.Find();
        for (var block = 0UL; rig.Store.Segments.All.MaxBy(segment => segment.Number)!.Disk != Disk(rig).Id; block++)
        {
            StoreRig.AppendBlock(volume, block % Blocks, StoreRig.Bytes(block % Blocks), watermark: volume.CommitWatermark);
            rig.Loop.Settle();
        }
        StoreRig.AppendBlock(volume, 5, StoreRig.Bytes(5), watermark: volume.CommitWatermark);
        rig.Sync(volume);
        Drain(rig);
        for (var second = 0; second < 60; second++) rig.Loop.Advance(1000);
        Assert.Equal(DiskState.Draining, Disk(rig).State);
        var tails = rig.Store.Segments.All.Where(segment => segment is { IsRetired: false, IsAvoided: true }).ToArray();
        Assert.NotEmpty(tails);
        Assert.All(tails, segment => Assert.True(segment.TailRecords > 0));
        volume.Commit(volume.LastSequence);
        UntilDrained(rig);
        DiskPoolSpecs.CheckAll(rig);
    }

    [Fact(DisplayName = "A drain that is called off leaves what is there, and new segments go there again; also of a disk that was empty already")]
    public void Called_off()
    {
        foreach (var isEmptied in new[] { false, true })
        {
            var rig = DiskPoolSpecs.Filled(2);
            Drain(rig);
            if (isEmptied) UntilDrained(rig);
            Assert.Equal((IoStatus.Ok, DiskState.InUse), (Drain(rig, drains: false).Status, Disk(rig).State));
            Assert.Equal("", Disk(rig).Problem);
            var before = Disk(rig).Segments;
            DiskPoolSpecs.Fill(rig, 1000);
            Assert.True(Disk(rig).Segments > before + 2, $"{Disk(rig).Segments} segments, before {before}");
            rig.Restart(PowerLoss.LoseAll);
            Assert.Equal(DiskState.InUse, Disk(rig).State);
            rig.Find().Commit(rig.Find().LastSequence);
            DiskPoolSpecs.CheckAll(rig, 1000);
        }
    }

    [Fact(DisplayName = "The home can't be drained, nor a disk that is missing or that the store does not have; each answer says which and why")]
    public void Refusals()
    {
        var rig = DiskPoolSpecs.Filled(3);
        rig.StopClean();
        rig.Directories[2].IsGone = true;
        rig.Open();
        AssertRefused(Drain(rig, at: "home"), IoStatus.Conflict, "store's home");
        AssertRefused(Drain(rig, at: "d2/"), IoStatus.Conflict, "is not in use");
        var unknown = Guid.NewGuid();
        DrainAnswer? answer = null;
        rig.Store.Drain(unknown, drains: true, given => answer = given);
        AssertRefused(answer!, IoStatus.Missing, unknown.ToString("N"));
        Assert.Equal(IoStatus.Ok, Drain(rig).Status);
        UntilDrained(rig);
    }

    [Fact(DisplayName = "When the list of disks can't be written, a drain is refused with the reason, and the disk is used as before")]
    public void Not_noted()
    {
        var rig = DiskPoolSpecs.Filled(2);
        rig.Disk.FullFor = DiskRosterFile.Name;
        AssertRefused(Drain(rig), IoStatus.DeviceError, "no space");
        Assert.Equal(DiskState.InUse, Disk(rig).State);
        rig.Disk.FullFor = "";
        rig.Restart(PowerLoss.ProcessOnly);
        Assert.Equal(DiskState.InUse, Disk(rig).State);
    }

    [Fact(DisplayName = "Where the other disks have no room, what is left stays, is told, and writes are taken as before; with room the drain goes on")]
    public void No_room()
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 64 * SegmentBytes }, disks: 2);
        rig.Directories[0].FreeLimit = 10 * SegmentBytes;
        DiskPoolSpecs.Fill(rig.Open(), 1500);
        Assert.Equal(IoStatus.Ok, Drain(rig).Status);
        for (var step = 0; step < 300; step++) rig.Loop.Advance(100);
        Assert.Equal(DiskState.Draining, Disk(rig).State);
        Assert.Contains("have no room", Disk(rig).Problem, StringComparison.Ordinal);
        Assert.Null(rig.Store.FailureReason);
        DiskPoolSpecs.CheckAll(DiskPoolSpecs.Fill(rig, 100), 1500);
        rig.Directories[0].FreeLimit = 1L << 40;
        UntilDrained(rig);
        DiskPoolSpecs.CheckAll(rig, 1500);
    }

    [Fact(DisplayName = "Bad blocks stay on a drained disk, with everything else moved, until they are mended from other copies; then it is empty")]
    public void Bad_blocks()
    {
        var rig = DiskPoolSpecs.Filled(2);
        var bad = SpoilOneBlock(rig);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(rig.Find(), bad).Status);
        Drain(rig);
        for (var step = 0; step < 300; step++) rig.Loop.Advance(100);
        Assert.Equal(DiskState.Draining, Disk(rig).State);
        Assert.Contains("a scrub mends them", Disk(rig).Problem, StringComparison.Ordinal);
        Assert.Equal(1, rig.Store.Segments.All.Where(segment => segment.IsAvoided).Sum(segment => segment.LiveBlocks));
        var record = StoreRig.Write(StoreRig.Volume, bad + 1, bad, [StoreRig.Bytes(bad)], 1, 0, RecordFlags.Resync);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
        Assert.Equal((IoStatus.Ok, 1), rig.Find().Repair(record, in header));
        record.Release();
        rig.Sync(rig.Find());
        UntilDrained(rig);
        DiskPoolSpecs.CheckAll(rig);
    }

    [Fact(DisplayName = "A drain moves no more bytes a second than it may")]
    public void Pace()
    {
        const int perSecond = 100_000;
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 64 * SegmentBytes, DrainBytesPerSecond = perSecond }, disks: 2);
        DiskPoolSpecs.Fill(rig.Open(), Blocks);
        Drain(rig);
        var began = rig.Loop.NowMs;
        for (var step = 0; step < 1000 && Disk(rig).State != DiskState.Drained; step++)
        {
            rig.Loop.Advance(100);
            // One window is moved at once.
            Assert.InRange(rig.Store.DrainedBytes, 0, ((rig.Loop.NowMs - began) * perSecond / 1000) + (2 * SegmentBytes));
        }
        Assert.Equal(DiskState.Drained, Disk(rig).State);
        Assert.True(rig.Loop.NowMs - began > 3000, $"it took {rig.Loop.NowMs - began} ms");
    }

    [Theory(DisplayName = "The power goes at each write, sync, deletion and rename of a drain in turn: what was flushed is there, and the drain goes on to its end, or was never ordered")]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.Torn)]
    [InlineData(PowerLoss.ProcessOnly)]
    public void Through_crashes(PowerLoss loss)
    {
        var (drained, steps) = (0, 0);
        for (var operation = 1L; ; operation++, steps++)
        {
            var rig = DiskPoolSpecs.FilledBehindCheckpoint(3, 180);
            var answer = (DrainAnswer?)null;
            rig.Disk.PowerOffAt = rig.Disk.Operations + operation;
            rig.Store.Drain(Disk(rig).Id, drains: true, given => answer = given);
            rig.Loop.Settle();
            var volume = rig.Find();
            for (var step = 0UL; step < 60 && !rig.Disk.IsOff && Disk(rig).State != DiskState.Drained; step++)
            {
                // Clients write all the while, and some of it is flushed.
                StoreRig.AppendBlock(volume, 200 + step, StoreRig.Bytes(200 + step), watermark: volume.CommitWatermark);
                volume.Commit(volume.LastSequence);
                if (step % 3 == 0) volume.RequestSync();
                rig.Loop.Advance(250);
            }
            var durable = volume.DurableSequence;
            var isOver = !rig.Disk.IsOff;
            rig.Restart(loss);
            Assert.Null(rig.Find().Damage);
            Assert.True(rig.Find().LastSequence >= durable);
            rig.Find().Commit(rig.Find().LastSequence);
            DiskPoolSpecs.CheckAll(rig, 180);
            for (var sequence = 181UL; sequence <= durable; sequence++) Assert.Equal(StoreRig.Bytes(sequence + 19), rig.Read(rig.Find(), sequence + 19).Blocks[0].Bytes);
            if (answer is { Status: IoStatus.Ok }) Assert.NotEqual(DiskState.InUse, Disk(rig).State);
            if (Disk(rig).State == DiskState.InUse) continue;
            UntilDrained(rig);
            drained++;
            // It can be taken away, whatever happens then.
            rig.Disk.Restart(PowerLoss.LoseAll);
            rig.Directories[1].IsGone = true;
            rig.Open();
            Assert.Null(rig.Find().Damage);
            rig.Find().Commit(rig.Find().LastSequence);
            DiskPoolSpecs.CheckAll(rig, 180);
            if (isOver) break;
        }
        Assert.True(steps is > 30 and < 2000 && drained > steps * 3 / 4, $"{steps} steps, {drained} drained");
    }

    [Fact(DisplayName = "A drained disk whose place is named and empty is not taken for a new one, until it is forgotten; that costs nothing")]
    public void Replaced()
    {
        var rig = DiskPoolSpecs.Filled(2);
        Drain(rig);
        UntilDrained(rig);
        rig.StopClean();
        var id = Disk(rig).Id;
        foreach (var name in rig.Disk.Names.Where(name => name.StartsWith("d1/", StringComparison.Ordinal)).ToArray()) rig.Disk.Delete(name);
        rig.Disk.SyncDirectory();
        rig.Open();
        Assert.Equal(DiskState.Missing, Disk(rig).State);
        Assert.Contains("drained before", Disk(rig).Problem, StringComparison.Ordinal);
        Assert.Null(rig.Find().Damage);
        rig.StopClean();
        Assert.Null(DiskRosterFile.Forget(rig.Directories[0], id));
        rig.Open();
        Assert.Equal(DiskState.InUse, Disk(rig).State);
        Assert.NotEqual(id, Disk(rig).Id);
        DiskPoolSpecs.CheckAll(rig);
    }

    internal static StoreDiskFacts Disk(StoreRig rig, string at = "d1/") => rig.Store.Disks.Single(disk => disk.Path == at);

    internal static DrainAnswer Drain(StoreRig rig, bool drains = true, string at = "d1/")
    {
        DrainAnswer? answer = null;
        // As the disk is then, and not once the drain has gone on.
        rig.Store.Drain(Disk(rig, at).Id, drains, given => answer = given.Disk is { } disk ? given with { Facts = () => disk } : given);
        rig.Loop.Settle();
        Assert.NotNull(answer);
        return answer;
    }

    internal static void UntilDrained(StoreRig rig)
    {
        for (var step = 0; Disk(rig).State != DiskState.Drained; step++)
        {
            Assert.True(step < 500, $"it is not drained: {Disk(rig)}");
            rig.Loop.Advance(200);
        }
    }

    private static HashSet<string> Names(StoreRig rig) => [.. rig.Disk.Names.Where(name => name.StartsWith("d1/segment-", StringComparison.Ordinal))];

    private static void AssertRefused(DrainAnswer answer, IoStatus status, string part)
    {
        Assert.Equal(status, answer.Status);
        Assert.Contains(part, answer.Reason, StringComparison.Ordinal);
    }

    /// <summary>A block in a segment of the disk, whose record is otherwise good.</summary>
    private static ulong SpoilOneBlock(StoreRig rig)
    {
        for (var block = 20UL; ; block++)
        {
            Assert.True(((VolumeStore)rig.Find()).Map.Find(block, out var entry, out _));
            var segment = rig.Store.Segments[entry.Segment];
            if (segment.Disk != Disk(rig).Id || segment.Number >= rig.Store.Segments.All.Max(each => each.Number)) continue;
            rig.Disk.FlipBit($"d1/{segment.Name}", 8L * (entry.OffsetBytes + 100));
            return block;
        }
    }
}
