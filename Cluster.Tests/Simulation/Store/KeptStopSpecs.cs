using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A stop in order counts until a store is in use after it: whatever becomes of the opens before, no copy is given up.</summary>
public sealed class KeptStopSpecs
{
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    [Theory(DisplayName = "Wherever an open without a disk is killed, after a stop in order: the next one damages nothing and refuses nothing, with that disk still gone, back, or another one gone besides or in its place")]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.Torn)]
    public void Killed_at_any_step(PowerLoss loss)
    {
        var (steps, whole) = (0, 0);
        for (var operation = 1L; ; operation++, steps++)
        {
            var isOver = false;
            for (var gone = 0; gone < 4; gone++)
            {
                var rig = DiskPoolSpecs.FilledBehindCheckpoint(3, 100 + (11 * (int)(operation % 8)));
                rig.StopClean();
                (rig.Directories[1].IsGone, rig.Directories[1].IsStillNamed) = (true, operation % 2 == 0);
                rig.Disk.PowerOffAt = rig.Disk.Operations + operation;
                rig.TryOpen();
                isOver |= !rig.Disk.IsOff;
                rig.Disk.Restart(loss);
                // A half of the superblock may be of an older time then: nothing is known of the stop.
                if (IsTorn(rig)) continue;
                // The open has ended: for all that is known the store was in use.
                if (!SuperblockOf(rig).CleanStop && (gone & 2) != 0) continue;
                foreach (var index in new[] { 1, 2 })
                {
                    rig.Directories[index].IsGone = (gone & index) != 0;
                    rig.Directories[index].IsStillNamed = !isOver && operation % 2 == 0;
                }
                for (var kill = 0; kill < 2; kill++)
                {
                    var opened = rig.TryOpen();
                    Assert.True(opened.Store is not null, $"operation {operation}, {gone}: {opened.Reason}");
                    var damage = rig.Find().Damage;
                    Assert.True(damage is null, $"operation {operation}, {gone}: {damage}");
                    rig.Disk.Restart(loss);
                }
                foreach (var directory in rig.Directories) directory.IsGone = false;
                DiskPoolSpecs.CheckAll(rig.Open(), 100);
                whole++;
            }
            if (isOver) break;
        }
        Assert.InRange(steps, 10, 100);
        Assert.True(whole > 2 * steps, $"too tame: {whole}");
    }

    [Theory(DisplayName = "An open without a disk that finds no room for its checkpoint, or can't write it, is refused, and the stop in order before it still counts")]
    [InlineData(true)]
    [InlineData(false)]
    public void No_checkpoint(bool isFull)
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(3);
        rig.StopClean();
        rig.Directories[1].IsGone = true;
        for (var attempt = 0; attempt < 2; attempt++)
        {
            if (isFull) rig.Disk.FullFor = CheckpointWriter.NewName;
            else rig.Directories[0].FailsWritesOf = CheckpointWriter.NewName;
            var refused = rig.TryOpen();
            Assert.Equal(isFull ? IoStatus.NoSpace : IoStatus.DeviceError, refused.Status);
            Assert.Contains("a checkpoint without the missing disks could not be written", refused.Reason, StringComparison.Ordinal);
        }
        (rig.Disk.FullFor, rig.Directories[0].FailsWritesOf) = ("", "");
        rig.Open();
        Assert.Null(rig.Find().Damage);
    }

    [Fact(DisplayName = "A disk that fails an open after a stop in order, once the open was counted, is gone without by the next one: no volume is damaged")]
    public void Fails_once_counted()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2);
        rig.StopClean();
        var counted = SuperblockOf(rig).Opens.Count;
        rig.Directories[1].FailsWrites = true;
        Assert.Equal(IoStatus.DeviceError, rig.TryOpen().Status);
        Assert.Equal(counted + 1, SuperblockOf(rig).Opens.Count);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal(DiskState.Failed, rig.Store.Disks.Single(disk => disk.Path == "d1/").State);
        Assert.Null(rig.Find().Damage);
    }

    [Fact(DisplayName = "Once a store is in use the stop before it counts no more: it is on media before the first entry of the log")]
    public void Used_up()
    {
        var rig = DiskPoolSpecs.FilledBehindCheckpoint(2, 100);
        rig.StopClean();
        Assert.True(SuperblockOf(rig).CleanStop);
        rig.Open();
        Assert.False(SuperblockOf(rig).CleanStop);
        StoreRig.AppendBlock(rig.Find(), 0, StoreRig.Bytes(1));
        rig.Sync(rig.Find());
        rig.Disk.Restart(PowerLoss.LoseAll);
        rig.Directories[1].IsGone = true;
        rig.Open();
        Assert.NotNull(rig.Find().Damage);
    }

    [Fact(DisplayName = "An open without a disk leaves the room for its checkpoint, and goes on where there is none for a segment besides; killed before it wrote anything it damages nothing, and what it writes once there is room is there after a kill")]
    public void No_room_for_the_log()
    {
        var rig = EndsOnFurther();
        var used = rig.Disk.Names.Where(name => SimulatedDirectory.IsIn("", name)).Sum(rig.Disk.RoomOf);
        // A segment would fit, and then no checkpoint.
        rig.Directories[0].FreeLimit = used + SegmentBytes + 512;
        rig.Disk.CapacityBytes = rig.Disk.UsedBytes + SegmentBytes + 512;
        rig.Options = rig.Options with { CapacityBytes = 0, FileSystemReservePercent = 0 };
        rig.Directories[1].IsGone = true;
        for (var kill = 0; kill < 4; kill++)
        {
            rig.Open();
            Assert.Equal((null, 0), (rig.Find().Damage, rig.Store.Segments.FreeCount));
            Assert.Equal(IoStatus.NoSpace, StoreRig.AppendBlock(rig.Find(), 0, StoreRig.Bytes(1)));
            rig.Disk.Restart(PowerLoss.LoseAll);
        }
        (rig.Directories[0].FreeLimit, rig.Disk.CapacityBytes) = (1L << 40, long.MaxValue);
        rig.Options = rig.Options with { CapacityBytes = 64 * SegmentBytes };
        rig.Open();
        Assert.Null(rig.Find().Damage);
        rig.Loop.Settle();
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(rig.Find(), 0, StoreRig.Bytes(7777)));
        Assert.False(SuperblockOf(rig).CleanStop);
        rig.Find().Commit(rig.Find().LastSequence);
        rig.Sync(rig.Find());
        rig.Restart(PowerLoss.LoseAll);
        Assert.Null(rig.Find().Damage);
        rig.Find().Commit(rig.Find().LastSequence);
        Assert.Equal(StoreRig.Bytes(7777), rig.Read(rig.Find(), 0).Blocks[0].Bytes);
    }

    [Theory(DisplayName = "What must be on media before the log has its first segment is so too when that is one of the cleaner's, and is asked for once; if it can't be had, nothing is written")]
    [InlineData(false)]
    [InlineData(true)]
    public void First_is_the_cleaners(bool fails)
    {
        var (disk, asked) = (new SimulatedDisk(1), 0);
        var table = new SegmentTable(disk, (int)SegmentBytes);
        table.Allow(8);
        var identity = new StoreIdentity(Guid.NewGuid(), 1, Guid.NewGuid);
        Assert.True(table.Take(identity.NewId, SpaceClass.Data, out var segment).IsOk);
        using var writer = new LogWriter(table, identity, default, 1);
        writer.BeforeFirst = () =>
        {
            asked++;
            return fails ? DiskResult.Failed(IoStatus.DeviceError, "it can't be written") : DiskResult.Done();
        };
        var (cold, pack) = (new ColdSegment(segment!, writer.ReserveNumber(), (uint)SegmentBytes), new PackBuilder());
        pack.Begin(StoreRig.Volume, cold.RoomBytes);
        pack.Add(3, 5, BlockDescriptor.Of(BlockEncoding.Raw, StoreRig.Volume, 0, 3, StoreRig.Bytes(1)), StoreRig.Bytes(1));
        cold.Add(pack, null, default);
        cold.Close();
        cold.OnWriteBegins();
        cold.WriteStaged();
        Assert.True(cold.OnWritten().IsOk);
        var operations = disk.Operations;
        Assert.Equal(!fails, writer.Link(cold));
        Assert.Equal((1, !fails), (asked, disk.Operations > operations));
        Assert.Equal(fails ? IoStatus.DeviceError : IoStatus.Ok, writer.StageWatermark());
        Assert.Equal(1, asked);
    }

    /// <summary>Stopped in order, with the end of the log on the further of two disks and no free segment in the home.</summary>
    private static StoreRig EndsOnFurther()
    {
        for (var more = 1; more < 200; more += 11)
        {
            var rig = DiskPoolSpecs.FilledBehindCheckpoint(2, 100 + more);
            var (further, home) = (DrainSpecs.Disk(rig).Id, rig.Store.Disks[0].Id);
            rig.StopClean();
            if (rig.Store.Segments.All.MaxBy(segment => segment.Number)!.Disk != further) continue;
            foreach (var free in rig.Store.Segments.All.Where(segment => segment.Number == 0 && segment.Disk == home)) rig.Disk.Delete(free.Name);
            rig.Disk.SyncDirectory();
            return rig;
        }
        throw new InvalidOperationException("the log never ended on the further disk");
    }

    private static bool IsTorn(StoreRig rig)
    {
        var status = SuperblockFile.TryOpen(rig.Disk, out var file, out _);
        return status != IoStatus.Ok || file!.MayBeOld;
    }

    private static Superblock SuperblockOf(StoreRig rig)
    {
        Assert.Equal(IoStatus.Ok, SuperblockFile.TryOpen(rig.Disk, out var file, out _));
        return file!.Current;
    }
}
