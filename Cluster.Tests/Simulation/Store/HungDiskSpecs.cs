using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Calls on one disk of a store do not return: what the store does beside it goes on.</summary>
public sealed class HungDiskSpecs : IDisposable
{
    private const int Blocks = 200;
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    private readonly SlowClock _clock = new();
    private HangingScheduler? _scheduler;

    [Theory(DisplayName = "A read of a disk that is drained and hangs for good keeps neither the cleaner from making room nor another disk from being drained; once it answers, if only after errors, its drain goes on")]
    [InlineData(false)]
    [InlineData(true)]
    public void Hung_drain(bool endsInErrors)
    {
        var rig = Rig(4, segments: 24);
        rig.Directories[1].Hangs = SimulatedCalls.Reads;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        Pass(rig, 1);
        Assert.Equal(1, _scheduler!.Hanging);
        Pass(rig, 10);
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, at: "d2/").Status);
        UntilDrained(rig, "d2/");
        FillUp(rig);
        Assert.True(rig.Store.SegmentsCleaned > 0);
        Assert.Equal(1, _scheduler.Hanging);
        rig.Directories[1].Hangs = SimulatedCalls.None;
        rig.Directories[1].FailsReads = endsInErrors;
        _scheduler.Release();
        rig.Directories[1].FailsReads = false;
        UntilDrained(rig, "d1/");
        DiskPoolSpecs.CheckAll(rig, 4 * Blocks);
    }

    [Theory(DisplayName = "A read of a disk that is drained hangs, is left, and ends in errors although the disk answers again: what it was for is read anew, and nothing of it counts as bad; what fails so again is bad")]
    [InlineData(1)]
    [InlineData(3)]
    public void Late_errors(int hangs)
    {
        var rig = Rig(4, segments: 24);
        rig.Directories[1].Hangs = SimulatedCalls.Reads;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        for (var hang = 1; hang <= hangs; hang++)
        {
            rig.Directories[1].Hangs = SimulatedCalls.Reads;
            UntilHanging(rig);
            // It is left. What lies there is all still needed: nothing was written since.
            Pass(rig, 10);
            Assert.Equal(1, _scheduler!.Hanging);
            (rig.Directories[1].Hangs, rig.Directories[1].FailsReads) = (SimulatedCalls.None, true);
            _scheduler.Release();
            rig.Directories[1].FailsReads = false;
            if (hang < hangs) rig.Directories[1].Hangs = SimulatedCalls.Reads;
            rig.Loop.Settle();
            if (rig.Store.Segments.All.Any(segment => segment.IsStuck)) break;
        }
        Assert.Equal(hangs > 1, rig.Store.Segments.All.Any(segment => segment.IsStuck));
        if (hangs == 1) UntilDrained(rig, "d1/");
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "R21: neither free segments nor room of a disk that hangs are promised, and they are again once it answers; what has a segment elsewhere is not held up")]
    public void Promises()
    {
        var rig = Rig(3, segments: 0);
        for (var index = 0; index < 3; index++) rig.Directories[index].FreeLimit = 40 * SegmentBytes;
        // Some segments die on each disk, and are free there.
        DiskPoolSpecs.Fill(rig, 4 * Blocks);
        Overwrite(rig);
        Pass(rig, 2);
        var table = rig.Store.Segments;
        var (before, max) = (rig.Store.UnpromisedBytes, table.SegmentsMax);
        var free = table.FreeSegments.Count(segment => segment.Disk == DrainSpecs.Disk(rig).Id);
        Assert.True(free > 0, "nothing is free on the disk");
        rig.Directories[1].Hangs = SimulatedCalls.Reads;
        ScrubOf(rig, "d1/");
        Assert.Equal(1, _scheduler!.Hanging);
        Pass(rig, 8);
        var without = rig.Store.UnpromisedBytes;
        Assert.Equal((free, 0), table.Hung);
        Assert.True(table.SegmentsMax < max, $"{table.SegmentsMax} segments of {max}");
        Assert.InRange(before - without, (free + 1) * SegmentBytes * 9 / 10, before);
        // All that is promised goes elsewhere.
        var volume = rig.Find();
        var promised = volume.Grant();
        for (var left = promised; left >= Limits.CreditOf(Limits.RecordBytesMax); left -= Limits.CreditOf(5000))
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 7, StoreRig.Bytes(7), watermark: volume.CommitWatermark));
        rig.Sync(volume);
        volume.GiveBack();
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        Pass(rig, 2);
        Assert.Equal((0, 0), table.Hung);
        Assert.True(rig.Store.UnpromisedBytes > without, "it is not promised again");
        volume.Commit(volume.LastSequence);
        DiskPoolSpecs.CheckAll(rig, 4 * Blocks);
    }

    [Fact(DisplayName = "A disk on which a check or a probe hangs stays locked when the store has stopped, until that has ended; and a probe writes nothing then")]
    public void Locked_while_looked_at()
    {
        var rig = Rig(3);
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        UntilDrained(rig, "d1/");
        rig.Directories[2].DelayMs = 900;
        for (var second = 0; DrainSpecs.Disk(rig, "d2/").State != DiskState.Suspect; second++)
        {
            Assert.True(second < 600, "it does not become suspect");
            DiskPoolSpecs.Fill(rig, 20);
            Pass(rig, 1);
        }
        rig.Directories[2].DelayMs = 1;
        rig.Directories[1].Hangs = rig.Directories[2].Hangs = SimulatedCalls.Names;
        rig.Store.Drain(DrainSpecs.Disk(rig).Id, drains: false, _ => { });
        for (var second = 0; _scheduler!.Hanging < 2; second++)
        {
            Assert.True(second < 60, "no probe was begun");
            Pass(rig, 1);
        }
        if (rig.Disk.Names.Contains("d2/" + DiskProbe.FileName)) rig.Disk.Delete("d2/" + DiskProbe.FileName);
        StopBy(rig, 10);
        Assert.Equal([false, true, true], rig.Directories.Select(directory => directory.IsLocked));
        rig.Directories[1].Hangs = rig.Directories[2].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        rig.Loop.Settle();
        Assert.Equal([false, false, false], rig.Directories.Select(directory => directory.IsLocked));
        Assert.DoesNotContain("d2/" + DiskProbe.FileName, rig.Disk.Names);
    }

    [Fact(DisplayName = "A disk whose reads hang holds up no checkpoint: neither when the cleaner takes a segment there to make room, nor when a scrub reads it")]
    public void Checkpoints_go_on()
    {
        var rig = Rig(3, segments: 24);
        rig.Disk.UncachedOneIn = 1;
        rig.Directories[1].Hangs = SimulatedCalls.Reads;
        // The cleaner meets it before it is known that it hangs.
        FillUp(rig);
        Assert.True(_scheduler!.Hanging > 0, "no read of the disk was tried");
        Assert.True(rig.Store.SegmentsCleaned > 0);
        ScrubOf(rig, "d1/");
        var before = rig.Store.CheckpointsWritten;
        Overwrite(rig);
        Assert.True(rig.Store.CheckpointsWritten > before + 2, $"{rig.Store.CheckpointsWritten} checkpoints, before {before}");
        Assert.True(_scheduler.Hanging > 1, "the scrub does not hang");
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        DiskPoolSpecs.CheckAll(rig, 4 * Blocks);
    }

    [Theory(DisplayName = "A write of the cleaner beside the log that does not return holds up neither the cleaner nor a checkpoint: what it wrote is given up; once the disk answers, its segment is free, or if that write failed, not used any more")]
    [InlineData(false)]
    [InlineData(true)]
    public void Hung_write_beside_the_log(bool endsInAnError)
    {
        var rig = HangsBesideTheLog();
        var (checkpoints, cleaned, linked) = (rig.Store.CheckpointsWritten, rig.Store.SegmentsCleaned, rig.Store.ColdSegments);
        foreach (var stride in new[] { 211UL, 333UL, 57UL }) Overwrite(rig, stride);
        Assert.True(rig.Store.CheckpointsWritten > checkpoints + 6 && rig.Store.SegmentsCleaned > cleaned + 9 && rig.Store.ColdSegments > linked + 3,
            $"{rig.Store.CheckpointsWritten} checkpoints after {checkpoints}, {rig.Store.SegmentsCleaned} segments cleaned after {cleaned}, {rig.Store.ColdSegments} of the cleaner in the log after {linked}");
        Assert.Equal(1, _scheduler!.Hanging);
        rig.Directories[1].HangsWritesTo = null;
        if (endsInAnError) rig.Directories[1].FailsWritesOf = "segment-";
        _scheduler.Release();
        rig.Loop.Settle();
        rig.Directories[1].FailsWritesOf = "";
        Assert.Null(rig.Store.FailureReason);
        if (!endsInAnError) CheckSegments(rig);
        DiskPoolSpecs.CheckAll(rig, 4 * Blocks);
    }

    [Fact(DisplayName = "A stop does not wait for a write of the cleaner beside the log that does not return, and is in order; all is there")]
    public void Stops_beside_the_log()
    {
        var rig = HangsBesideTheLog();
        rig.Sync(rig.Find());
        rig.Directories[1].Hangs = SimulatedCalls.All;
        StopBy(rig, 8);
        Assert.Null(rig.Store.FailureReason);
        rig.Disk.Restart(PowerLoss.LoseAll);
        (rig.Directories[1].Hangs, rig.Directories[1].HangsWritesTo) = (SimulatedCalls.None, null);
        using var scheduler = new HangingScheduler(rig.Loop);
        rig.Scheduler = scheduler;
        DiskPoolSpecs.CheckAll(rig.Open(), 4 * Blocks);
    }

    /// <summary>A write beside the log on a further disk hangs, and that is known.</summary>
    private StoreRig HangsBesideTheLog()
    {
        var rig = Rig(3, segments: 24, cleanBelowPercent: 34);
        rig.Directories[1].HangsWritesTo = name => rig.Store.ColdBeside.Any(segment => segment.Name == name);
        FillUp(rig);
        for (var more = 0; _scheduler!.Hanging == 0; more++)
        {
            Assert.True(more < 10, "nothing was written beside the log on that disk");
            Overwrite(rig);
        }
        Pass(rig, 10);
        return rig;
    }

    [Fact(DisplayName = "A segment that is being made on a disk that hangs holds up neither checkpoints nor writes, and the disk is known to hang; once it answers, the segment is free there")]
    public void Hung_spare()
    {
        var rig = HangsMaking();
        var before = rig.Store.CheckpointsWritten;
        DiskPoolSpecs.Fill(rig, 4 * Blocks);
        Assert.True(rig.Store.CheckpointsWritten > before + 2, $"{rig.Store.CheckpointsWritten} checkpoints, before {before}");
        var made = DrainSpecs.Disk(rig).Segments;
        Pass(rig, 10);
        Assert.True(rig.Store.Segments.All.First(segment => segment.Disk == DrainSpecs.Disk(rig).Id).IsHung, "nobody knows that it hangs");
        Overwrite(rig);
        Assert.Equal((1, made), (_scheduler!.Hanging, DrainSpecs.Disk(rig).Segments));
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        rig.Loop.Settle();
        Assert.Equal(made + 1, DrainSpecs.Disk(rig).Segments);
        CheckSegments(rig);
        DiskPoolSpecs.CheckAll(rig, 4 * Blocks);
    }

    [Fact(DisplayName = "A drained disk on which a segment is still being made, for which nobody waits any more, is not called empty before that has ended")]
    public void Hung_spare_of_a_drained_disk()
    {
        var rig = HangsMaking();
        Pass(rig, 10);
        // Only that one call does not return.
        rig.Directories[1].Hangs = SimulatedCalls.None;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        Pass(rig, 60);
        Assert.Equal((1, DiskState.Draining), (_scheduler!.Hanging, DrainSpecs.Disk(rig).State));
        _scheduler.Release();
        UntilDrained(rig, "d1/");
        Assert.DoesNotContain(rig.Disk.Names, name => name.StartsWith("d1/segment-", StringComparison.Ordinal));
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "A stop does not wait for a segment that is being made on a disk that hangs, and is in order")]
    public void Stops_while_making()
    {
        var rig = HangsMaking();
        StopAndTakeAway(rig);
    }

    [Fact(DisplayName = "A stop leaves what hangs, and waits for what is under way on the other disks; a disk on which something is left stays locked until that has ended")]
    public void Locks()
    {
        var rig = Rig(3);
        rig.Directories[1].Hangs = SimulatedCalls.Names;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        UntilHanging(rig);
        Pass(rig, 10);
        rig.Directories[2].Hangs = SimulatedCalls.Names;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, at: "d2/").Status);
        for (var second = 0; _scheduler!.Hanging < 2; second++)
        {
            Assert.True(second < 60, "nothing hangs on d2/");
            Pass(rig, 1);
        }
        var isDone = false;
        rig.Store.Stop(() => isDone = true);
        Pass(rig, 2);
        Assert.False(isDone, "the stop did not wait for what is under way on d2/");
        rig.Directories[2].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        Pass(rig, 2);
        Assert.True(isDone, "the store did not stop");
        Assert.Equal([false, true, false], rig.Directories.Select(directory => directory.IsLocked));
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        rig.Loop.Settle();
        Assert.Equal((0, false), (_scheduler.Hanging, rig.Directories[1].IsLocked));
    }

    /// <summary>A segment is being made on a further disk, and that does not return.</summary>
    private StoreRig HangsMaking()
    {
        var rig = Rig(3);
        rig.Directories[1].Hangs = SimulatedCalls.Names;
        for (var more = 0; _scheduler!.Hanging == 0; more++)
        {
            Assert.True(more < 50, "no segment was made there");
            DiskPoolSpecs.Fill(rig, 20);
        }
        return rig;
    }

    [Theory(DisplayName = "A stop waits for no disk that hangs while it is drained: it is in order all the same, and a start without the disk takes it so")]
    [InlineData(SimulatedCalls.Reads)]
    [InlineData(SimulatedCalls.Names)]
    [InlineData(SimulatedCalls.Closes)]
    public void Stops(SimulatedCalls hangs)
    {
        var rig = Rig(3);
        rig.Directories[1].Hangs = hangs;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        UntilHanging(rig);
        StopAndTakeAway(rig);
        if (hangs != SimulatedCalls.Reads) DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "A disk whose deletions hang keeps no other one from becoming empty; what is left on it is said not to answer")]
    public void Hung_deletions()
    {
        var rig = Rig(3);
        rig.Directories[1].Hangs = SimulatedCalls.Names;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        UntilHanging(rig);
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, at: "d2/").Status);
        UntilDrained(rig, "d2/");
        Pass(rig, 6);
        Assert.Contains("does not answer", DrainSpecs.Disk(rig).Problem, StringComparison.Ordinal);
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler!.Release();
        UntilDrained(rig, "d1/");
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "Free segments of a disk that hangs are not in the way of those of another disk that is drained")]
    public void Hung_free_segments()
    {
        var rig = Rig(3);
        rig.Directories[1].Hangs = SimulatedCalls.Reads;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        UntilHanging(rig);
        // Nothing lives on it any more.
        DiskPoolSpecs.Fill(rig, Blocks);
        Pass(rig, 10);
        Assert.True(rig.Store.Segments.AvoidedCount > 0, "none is free");
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, at: "d2/").Status);
        UntilDrained(rig, "d2/");
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler!.Release();
        UntilDrained(rig, "d1/");
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "An order to use a disk again that hangs is answered with just that after some seconds, and one for another disk at once; a stop answers all")]
    public void Hung_orders()
    {
        var rig = Rig(3);
        foreach (var at in new[] { "d1/", "d2/" })
        {
            Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, at: at).Status);
            UntilDrained(rig, at);
        }
        rig.Directories[1].Hangs = SimulatedCalls.Names;
        DrainAnswer? answer = null;
        rig.Store.Drain(DrainSpecs.Disk(rig).Id, drains: false, given => answer = given);
        Pass(rig, 1);
        Assert.Equal((null, 1), (answer, _scheduler!.Hanging));
        Assert.Equal(DiskState.InUse, DrainSpecs.Drain(rig, drains: false, at: "d2/").Disk!.State);
        Pass(rig, 7);
        Assert.Equal(IoStatus.DeviceError, answer!.Status);
        Assert.Contains("d1/ does not answer", answer.Reason, StringComparison.Ordinal);
        Assert.Equal(DiskState.Drained, DrainSpecs.Disk(rig).State);
        answer = null;
        rig.Store.Drain(DrainSpecs.Disk(rig).Id, drains: false, given => answer = given);
        rig.StopClean();
        Assert.Equal((IoStatus.DeviceError, "the store stops"), (answer!.Status, answer.Reason));
    }

    [Fact(DisplayName = "A probe that hangs keeps no other suspect disk from becoming well")]
    public void Hung_probe()
    {
        var rig = Rig(4);
        rig.Directories[1].DelayMs = rig.Directories[2].DelayMs = 900;
        for (var second = 0; DrainSpecs.Disk(rig).State != DiskState.Suspect || DrainSpecs.Disk(rig, "d2/").State != DiskState.Suspect; second++)
        {
            Assert.True(second < 600, "they do not become suspect");
            DiskPoolSpecs.Fill(rig, 20);
            Pass(rig, 1);
        }
        rig.Directories[1].DelayMs = rig.Directories[2].DelayMs = 1;
        rig.Directories[1].Hangs = SimulatedCalls.Names;
        for (var second = 0; DrainSpecs.Disk(rig, "d2/").State != DiskState.InUse; second++)
        {
            Assert.True(second < 3 * DiskHealthPolicy.WellMs / 1000, $"it is never used again: {DrainSpecs.Disk(rig, "d2/")}");
            Pass(rig, 1);
        }
        Assert.Equal(DiskState.Suspect, DrainSpecs.Disk(rig).State);
    }

    public void Dispose() => _scheduler?.Dispose();

    private StoreRig Rig(int disks, int segments = 64, int blocks = Blocks, int cleanBelowPercent = 1)
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = segments * SegmentBytes, CheckpointIntervalBytes = 600_000, CleanBelowFreePercent = cleanBelowPercent, Clock = _clock }, disks: disks);
        foreach (var directory in rig.Directories) directory.Clock = _clock;
        rig.Scheduler = _scheduler = new HangingScheduler(rig.Loop);
        return DiskPoolSpecs.Fill(rig.Open(), blocks);
    }

    /// <summary>Blocks of more and more segments are overwritten one by one, so that hardly any dies as a whole: without the cleaner the room ends.</summary>
    private void FillUp(StoreRig rig)
    {
        DiskPoolSpecs.Fill(rig, 4 * Blocks);
        Overwrite(rig);
    }

    /// <param name="stride">In the order of an earlier call segments die one after another, with no work for the cleaner: another one goes through all of them at once.</param>
    private void Overwrite(StoreRig rig, ulong stride = 37)
    {
        var volume = rig.Find();
        for (var write = 0UL; write < 20 * Blocks; write++)
        {
            var block = write * stride % (4 * Blocks);
            for (var wait = 0; StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), watermark: volume.CommitWatermark) is not IoStatus.Ok and var status; wait++)
            {
                Assert.Equal(IoStatus.NoSpace, status);
                Assert.True(wait < 60, $"no room is made: {string.Join("; ", rig.Store.Disks)}");
                Pass(rig, 1);
            }
            volume.Commit(volume.LastSequence);
            if (write % 20 == 19) rig.Sync(volume);
        }
    }

    /// <summary>Reads in the background a block that lies there.</summary>
    private static void ScrubOf(StoreRig rig, string at)
    {
        var map = ((VolumeStore)rig.Find()).Map;
        var block = Enumerable.Range(0, Blocks).First(block => map.Find((ulong)block, out var found, out _) && rig.Store.Segments[found.Segment].Disk == DrainSpecs.Disk(rig, at).Id);
        rig.Find().ReadEach(new BlockRange((ulong)block, 1), 0, background: true, new IgnoredReads(), 0);
        rig.Loop.Settle();
    }

    private void Pass(StoreRig rig, int seconds)
    {
        for (var second = 0; second < seconds; second++)
        {
            _clock.Pass(1000);
            rig.Loop.Advance(1000);
        }
    }

    private void StopBy(StoreRig rig, int seconds)
    {
        var isDone = false;
        rig.Store.Stop(() => isDone = true);
        Pass(rig, seconds);
        Assert.True(isDone, "the store did not stop");
    }

    /// <summary>Nothing on the disk answers any more, and it is not there at the next start.</summary>
    private void StopAndTakeAway(StoreRig rig)
    {
        rig.Directories[1].Hangs = SimulatedCalls.All;
        StopBy(rig, 8);
        rig.Disk.Restart(PowerLoss.LoseAll);
        (rig.Directories[1].Hangs, rig.Directories[1].IsGone, rig.Directories[1].IsStillNamed) = (SimulatedCalls.None, true, true);
        rig.Open();
        Assert.Null(rig.Find().Damage);
    }

    /// <summary>Each is in the log, or beside it, or free.</summary>
    private static void CheckSegments(StoreRig rig)
    {
        var table = rig.Store.Segments;
        Assert.Equal(table.Count, table.All.Count(segment => segment is { Number: > 0, IsMissing: false }) + table.FreeCount + table.AvoidedCount + rig.Store.ColdBeside.Count());
    }

    private void UntilHanging(StoreRig rig)
    {
        for (var second = 0; _scheduler!.Hanging == 0; second++)
        {
            Assert.True(second < 60, "nothing hangs");
            Pass(rig, 1);
        }
    }

    private void UntilDrained(StoreRig rig, string at)
    {
        for (var second = 0; DrainSpecs.Disk(rig, at).State != DiskState.Drained; second++)
        {
            Assert.True(second < 200, $"it is not drained: {DrainSpecs.Disk(rig, at)}");
            Pass(rig, 1);
        }
    }

    private sealed class IgnoredReads : IEachReadCompletion
    {
        public void OnReadEach(ulong token, IoStatus status, ulong bad, Cluster.Messages.Wire.IoBuffer? reply) => reply?.Release();
    }
}
