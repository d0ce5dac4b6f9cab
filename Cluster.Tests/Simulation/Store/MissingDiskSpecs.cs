using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A store whose disk is gone must say what it lacks (R5, R9), and never give anything else for it.</summary>
public sealed class MissingDiskSpecs
{
    private const int Blocks = 300;

    [Fact(DisplayName = "After a stop in order, a store without one of its disks has all its volumes; the blocks that were on it can't be read, and no other bytes come for them")]
    public void Clean_stop()
    {
        var rig = DiskPoolSpecs.Filled(3);
        rig.StopClean();
        Lose(rig, 2);
        rig.Open();
        Assert.Null(rig.Find().Damage);
        var bad = BadBlocks(rig);
        Assert.InRange(bad.Count, 30, 200);
        Assert.True(rig.Store.MissingBytes > 0);
        var missing = rig.Store.Disks.Single(disk => disk.State == DiskState.Missing);
        Assert.Equal("d2/", missing.Path);
        // And so again: it is not taken for something new.
        rig.StopClean();
        rig.Open();
        Assert.Null(rig.Find().Damage);
        Assert.Equal(bad, BadBlocks(rig));
    }

    [Fact(DisplayName = "A block of a disk that is gone is mended like one with bad bytes; when all are, nothing is missing any more, and the store takes writes all the while")]
    public void Mended()
    {
        var rig = WithoutOne();
        foreach (var block in BadBlocks(rig)) Mend(rig, block);
        var volume = rig.Find();
        Assert.Empty(BadBlocks(rig));
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 5, StoreRig.Bytes(1005)));
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        Assert.Equal(0, rig.Store.Segments.MissingBytes);
        rig.StopClean();
        rig.Open();
        Assert.Empty(BadBlocks(rig));
        Assert.Equal(StoreRig.Bytes(1005), rig.Read(rig.Find(), 5).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "A disk that returns gives back what was not mended meanwhile, and nothing that was written anew")]
    public void Returns()
    {
        var rig = WithoutOne(out var taken);
        var bad = BadBlocks(rig);
        var (mended, overwritten) = (bad[0], bad[1]);
        Mend(rig, mended);
        var volume = rig.Find();
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, overwritten, StoreRig.Bytes(5000)));
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        foreach (var stop in new[] { true, false })
        {
            if (stop) rig.StopClean();
            else rig.Disk.Restart(PowerLoss.LoseAll);
            taken.IsGone = false;
            rig.Open();
            Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
            Assert.Null(rig.Find().Damage);
            for (var block = 0UL; block < Blocks; block++)
                Assert.Equal(StoreRig.Bytes(block == overwritten ? 5000 : block), rig.Read(rig.Find(), block).Blocks[0].Bytes);
        }
    }

    [Theory(DisplayName = "After a kill or a loss of power the end of the log may be on the disk that is gone: every volume says that it is damaged, also to the opens after, and also when the disk is back")]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(PowerLoss.LoseAll)]
    public void Not_in_order(PowerLoss loss)
    {
        for (var at = 0; at < 3; at++)
        {
            for (var more = 1; more <= 80; more += 11)
            {
                var rig = DiskPoolSpecs.FilledBehindCheckpoint(3, 100 + more);
                rig.Disk.Restart(loss);
                Lose(rig, at == 0 ? 1 : 2);
                rig.Open();
                Assert.NotNull(rig.Find().Damage);
                Assert.Equal(IoStatus.BadChecksum, rig.Read(rig.Find(), 0).Status);
                rig.Restart(loss);
                Assert.NotNull(rig.Find().Damage);
                foreach (var directory in rig.Directories) directory.IsGone = false;
                rig.Restart(loss);
                Assert.NotNull(rig.Find().Damage);
                Assert.Equal(IoStatus.Ok, rig.Find().SetPosition(500, 3, discardAll: true));
                Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(rig.Find(), 0, StoreRig.Bytes(1), epoch: 3));
                rig.Sync(rig.Find());
                rig.Restart(loss);
                Assert.Equal((null, 501UL), (rig.Find().Damage, rig.Find().LastSequence));
            }
        }
    }

    [Fact(DisplayName = "After a kill, a store is not opened without a disk that it is told to use: nothing is given up, and it has all once the disk is there")]
    public void Named_and_missing()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(3);
        rig.Disk.Restart(PowerLoss.LoseAll);
        (rig.Directories[2].IsGone, rig.Directories[2].IsStillNamed) = (true, true);
        var opens = rig.Disk.Operations;
        for (var attempt = 0; attempt < 2; attempt++)
        {
            var refused = rig.TryOpen();
            Assert.Equal(IoStatus.Conflict, refused.Status);
            Assert.Contains("d2/ is missing", refused.Reason, StringComparison.Ordinal);
            Assert.Contains("myrmidon.disks", refused.Reason, StringComparison.Ordinal);
            rig.Disk.Dispose();
        }
        Assert.Equal(opens, rig.Disk.Operations);
        rig.Directories[2].IsGone = false;
        rig.Open();
        Assert.Null(rig.Find().Damage);
        Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
    }

    [Fact(DisplayName = "A volume whose making is in the part of the log that is gone is not there at all (R5): it is never an empty one")]
    public void Made_in_what_is_gone()
    {
        var (lost, damaged) = (0, 0);
        for (var index = 1; index <= 2; index++)
        {
            var rig = DiskPoolSpecs.Filled(3);
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            Lose(rig, index);
            rig.Open();
            if (rig.Store.Find(StoreRig.Volume) is not { } found) lost++;
            else if (found.Damage is not null) damaged++;
        }
        Assert.Equal((1, 1), (lost, damaged));
    }

    [Fact(DisplayName = "Wherever the power goes in the first open without a disk, after a kill: the next one still calls the volumes damaged")]
    public void Crash_in_the_first_open()
    {
        var steps = 0;
        for (var operation = 1L; ; operation++, steps++)
        {
            var rig = DiskPoolSpecs.FilledBehindCheckpoint(2);
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            Lose(rig, 1);
            rig.Disk.PowerOffAt = rig.Disk.Operations + operation;
            rig.TryOpen();
            if (!rig.Disk.IsOff) break;
            rig.Restart(PowerLoss.Torn);
            Assert.NotNull(rig.Find().Damage);
        }
        Assert.InRange(steps, 8, 100);
    }

    [Theory(DisplayName = "Wherever the power goes in the first open without a disk, after a kill, and the disk is back at the next: all that was flushed is there, or the volumes are damaged")]
    [InlineData(true)]
    [InlineData(false)]
    public void Back_after_a_crash(bool hasMore)
    {
        var (steps, whole) = (0, 0);
        for (var operation = 1L; ; operation++, steps++)
        {
            var rig = DiskPoolSpecs.FilledBehindCheckpoint(hasMore ? 3 : 2);
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            Lose(rig, 1);
            rig.Disk.PowerOffAt = rig.Disk.Operations + operation;
            rig.TryOpen();
            if (!rig.Disk.IsOff) break;
            rig.Directories[1].IsGone = false;
            rig.Restart(PowerLoss.Torn);
            if (rig.Find().Damage is not null) continue;
            rig.Find().Commit(rig.Find().LastSequence);
            Assert.Equal((operation, (ulong)Blocks), (operation, rig.Find().LastSequence));
            DiskPoolSpecs.CheckAll(rig);
            whole++;
        }
        Assert.InRange(steps, 8, 100);
        Assert.True(whole > 3, $"too tame: {whole}");
    }

    [Fact(DisplayName = "A disk that fails a write fails the store, and the next open goes on without it; it stays out though it answers again, until it is forgotten")]
    public void Fails_at_work()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2);
        rig.Directories[1].FailsWrites = true;
        Fail(rig);
        Assert.NotEmpty(rig.Events.Failed);
        rig.Restart(PowerLoss.ProcessOnly);
        Assert.Equal(DiskState.Failed, rig.Store.Disks.Single(disk => disk.Path == "d1/").State);
        Assert.NotNull(rig.Find().Damage);
        rig.Directories[1].FailsWrites = false;
        rig.StopClean();
        rig.Open();
        var failed = rig.Store.Disks.Single(disk => disk.State == DiskState.Failed);
        rig.StopClean();
        Assert.Null(DiskRosterFile.Forget(rig.Directories[0], failed.Id));
        rig.Open();
        Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
        Assert.NotNull(rig.Find().Damage);
    }

    [Theory(DisplayName = "A disk whose file system is unmounted under the store is used again when it is there, and needs not be forgotten: at once with all that it had, and the store is suspect; later like one that was missing")]
    [InlineData(true)]
    [InlineData(false)]
    public void Unmounted(bool isBackAtOnce)
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2);
        FailUnmounted(rig);
        if (isBackAtOnce) rig.Directories[1].IsUnmounted = false;
        rig.Restart(PowerLoss.ProcessOnly);
        if (isBackAtOnce)
        {
            Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
            Assert.Null(rig.Find().Damage);
            Assert.True(rig.Store.Suspect);
            return;
        }
        Assert.Equal("its directory is empty: is its file system mounted?", rig.Store.Disks.Single(disk => disk.State == DiskState.Missing).Problem);
        Assert.NotNull(rig.Find().Damage);
        rig.StopClean();
        rig.Directories[1].IsUnmounted = false;
        rig.Open();
        Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
        // What was given up without it stays so.
        Assert.NotNull(rig.Find().Damage);
        rig.StopClean();
        Assert.False(rig.Open().Store.Suspect);
    }

    [Fact(DisplayName = "A disk whose file system is unmounted and on which a sync failed as well has failed: it stays out until it is forgotten (R10)")]
    public void Unmounted_and_failed()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2);
        rig.Directories[1].FailsWrites = true;
        FailUnmounted(rig);
        (rig.Directories[1].IsUnmounted, rig.Directories[1].FailsWrites) = (false, false);
        rig.Restart(PowerLoss.ProcessOnly);
        Assert.Equal(DiskState.Failed, rig.Store.Disks.Single(disk => disk.Path == "d1/").State);
    }

    private static void FailUnmounted(StoreRig rig)
    {
        rig.Directories[1].IsUnmounted = true;
        Fail(rig);
    }

    /// <summary>Writes until the store has failed for its second disk, has noted that, and asks to be started anew.</summary>
    private static void Fail(StoreRig rig)
    {
        var told = new List<string>();
        rig.Store.StartsAnew = told.Add;
        for (var block = 0UL; rig.Store.FailureReason is null; block++)
        {
            Assert.True(block < 1000, "the store never wrote to the disk");
            StoreRig.AppendBlock(rig.Find(), block % 50, StoreRig.Bytes(block));
            rig.Find().RequestSync();
            rig.Loop.Settle();
        }
        rig.Loop.Settle();
        Assert.Contains("d1/", Assert.Single(told), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A disk that can't be read while the store is opened refuses that open, and the next one goes on without it; the stop before was in order for that one too")]
    public void Fails_at_open()
    {
        var rig = DiskPoolSpecs.Filled(2);
        rig.StopClean();
        rig.Directories[1].FailsReadsOf = SegmentTable.Prefix;
        var refused = rig.TryOpen();
        Assert.Equal(IoStatus.DeviceError, refused.Status);
        Assert.Contains("the next start goes on without that disk", refused.Reason, StringComparison.Ordinal);
        rig.Restart(PowerLoss.ProcessOnly);
        Assert.Equal(DiskState.Failed, rig.Store.Disks.Single(disk => disk.Path == "d1/").State);
        // All of the log is known: only the blocks that were there can't be read.
        Assert.Null(rig.Find().Damage);
        Assert.InRange(BadBlocks(rig).Count, 30, 200);
    }

    [Fact(DisplayName = "An empty directory where a disk was is not taken for a new one, until that disk is forgotten; only one that the store goes on without can be")]
    public void Not_mounted()
    {
        var rig = DiskPoolSpecs.Filled(3);
        rig.StopClean();
        var disk = rig.Store.Disks.Single(each => each.Path == "d2/").Id;
        Assert.Contains("is in use", DiskRosterFile.Forget(rig.Directories[0], disk), StringComparison.Ordinal);
        foreach (var name in rig.Disk.Names.Where(name => name.StartsWith("d2/", StringComparison.Ordinal)).ToArray()) rig.Disk.Delete(name);
        rig.Disk.SyncDirectory();
        rig.Open();
        var missing = rig.Store.Disks.Single(each => each.State == DiskState.Missing);
        Assert.Equal((disk, "its directory is empty: is its file system mounted?"), (missing.Id, missing.Problem));
        rig.StopClean();
        Assert.Contains("knows no disk", DiskRosterFile.Forget(rig.Directories[0], Guid.NewGuid()), StringComparison.Ordinal);
        Assert.Null(DiskRosterFile.Forget(rig.Directories[0], disk));
        rig.Open();
        Assert.Equal(3, rig.Store.Disks.Count(each => each.State == DiskState.InUse));
        // What was on it and was not mended before is nobody's any more: the volume says so.
        Assert.Contains("used anew", rig.Find().Damage, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Random work, random losses of a disk and its returns: what can be read is what was written, or the volume says that it is damaged")]
    public void At_random()
    {
        var (damaged, bad, whole) = (0, 0, 0);
        for (var seed = 1; seed <= 40; seed++)
        {
            var random = new Random(seed);
            var rig = new StoreRig((ulong)seed, new StoreOptions { CapacityBytes = 20L * StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 300_000, CleanBelowFreePercent = 60 }, disks: 3).Open();
            rig.Sync(rig.Create());
            rig.StopClean();
            rig.Open();
            var written = new Dictionary<ulong, ulong>();
            var history = "";
            for (var life = 0; life < 6; life++)
            {
                Work(rig, random, written, (seed * 1000) + (life * 100_000));
                var stops = random.Next(2) == 0;
                if (stops) rig.StopClean();
                else rig.Disk.Restart(PowerLoss.ProcessOnly);
                foreach (var directory in rig.Directories.Skip(1)) directory.IsGone = random.Next(3) == 0;
                rig.Open();
                history += $"; {(stops ? "stopped" : "killed")}, gone {string.Join(' ', rig.Directories.Where(each => each.IsGone).Select(each => each.Description))}, "
                    + $"{rig.Store.Recovered}, last {rig.Find().LastSequence}{(rig.Find().Damage is null ? "" : ", damaged")}";
                if (rig.Find().Damage is not null)
                {
                    damaged++;
                    Assert.Equal(IoStatus.Ok, rig.Find().SetPosition(rig.Find().LastSequence + 10_000, 1, discardAll: true));
                    written.Clear();
                    continue;
                }
                rig.Find().Commit(rig.Find().LastSequence);
                foreach (var (block, seedOf) in written)
                {
                    var (status, read) = rig.Read(rig.Find(), block);
                    if (status != IoStatus.Ok) bad++;
                    else
                    {
                        whole++;
                        Assert.True(StoreRig.Bytes(seedOf).AsSpan().SequenceEqual(read[0].Bytes), $"seed {seed}, life {life}: block {block} is {read[0].Sequence} and not what was written{history}");
                    }
                }
            }
        }
        Assert.True(damaged > 20 && bad > 200 && whole > 1000, $"too tame: {damaged} damaged, {bad} bad, {whole} whole");
    }

    private static void Work(StoreRig rig, Random random, Dictionary<ulong, ulong> written, int contents)
    {
        var volume = rig.Find();
        for (var step = 0; step < random.Next(20, 300); step++)
        {
            var block = (ulong)random.Next(60);
            if (StoreRig.AppendBlock(volume, block, StoreRig.Bytes((ulong)(contents + step)), watermark: volume.CommitWatermark) == IoStatus.Ok) written[block] = (ulong)(contents + step);
            if (random.Next(4) == 0) rig.Loop.Settle();
            volume.Commit(volume.LastSequence);
        }
        rig.Sync(volume);
    }

    private static StoreRig WithoutOne() => WithoutOne(out _);

    private static StoreRig WithoutOne(out SimulatedDirectory taken)
    {
        var rig = DiskPoolSpecs.Filled(3);
        rig.StopClean();
        taken = rig.Directories[1];
        Lose(rig, 1);
        return rig.Open();
    }

    private static void Lose(StoreRig rig, int index) => rig.Directories[index].IsGone = true;

    private static List<ulong> BadBlocks(StoreRig rig)
    {
        var bad = new List<ulong>();
        for (var block = 0UL; block < Blocks; block++)
        {
            var (status, read) = rig.Read(rig.Find(), block);
            if (status != IoStatus.Ok) bad.Add(block);
            else if (block != 5) Assert.Equal(StoreRig.Bytes(block), read[0].Bytes);
        }
        return bad;
    }

    /// <summary>With good bytes from another copy, under the sequence that the block has.</summary>
    private static void Mend(StoreRig rig, ulong block)
    {
        var record = StoreRig.Write(StoreRig.Volume, block + 1, block, [StoreRig.Bytes(block)], 1, 0, RecordFlags.Resync);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
        Assert.Equal((IoStatus.Ok, 1), rig.Find().Repair(record, in header));
        record.Release();
        rig.Sync(rig.Find());
    }
}
