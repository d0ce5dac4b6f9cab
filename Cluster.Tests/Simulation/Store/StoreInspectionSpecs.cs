using Cluster.Messages.Model;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A look into a store must tell what the next open finds, and leave no trace.</summary>
public sealed class StoreInspectionSpecs
{
    private const int Steps = 400;
    private const int BlocksMax = 60;
    private static readonly VolumeId[] Volumes = [new(7), new(8), new(9)];

    [Theory(DisplayName = "A look into a store finds what the next open finds, after a kill and after a loss of power, and changes not a byte")]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.Torn)]
    public void What_an_open_finds(PowerLoss loss)
    {
        var cuts = 0;
        for (var seed = 1UL; seed <= 25; seed++)
        {
            var disk = Worked(seed).Disk;
            disk.Restart(loss);
            var before = disk.Names.Order(StringComparer.Ordinal).Select(name => (name, Convert.ToHexString(disk.Content(name)))).ToArray();
            var operations = disk.Operations;
            using (var store = Inspect(disk))
            {
                var next = new StoreRig(seed, disk: disk.Copy(media: false)).Open();
                Assert.Equal(next.Store.Recovered, new RecoveredLog(store.Checkpoint, next.Store.Recovered.From, store.LogEnd, store.ReplayedBytes, store.WasCut));
                Assert.Equal(next.Store.Volumes.OrderBy(volume => volume.Volume.Value).Select(Facts), store.Volumes.Select(Facts));
                Assert.Equal(next.Store.OpenCount, store.Superblock.Opens.Count + 1);
                Assert.Empty(Problems(store, out var blocks));
                Assert.Equal(store.BlocksToRead, blocks);
                Assert.Equal(store.Segments.Sum(segment => segment.LiveBytes), store.Volumes.Sum(volume => volume.Usage.StoredBytes));
                if (store.WasCut) cuts++;
            }
            Assert.Equal(operations, disk.Operations);
            Assert.Equal(before, disk.Names.Order(StringComparer.Ordinal).Select(name => (name, Convert.ToHexString(disk.Content(name)))));
        }
        if (loss == PowerLoss.Torn) Assert.True(cuts > 0, "no log ended in a torn record");
    }

    [Fact(DisplayName = "A check finds just the blocks and volumes that can't be read after a bit has flipped anywhere in a segment, and names them")]
    public void Flips()
    {
        var rig = Worked(3);
        rig.StopClean();
        var (bad, damaged) = (0, 0);
        foreach (var name in rig.Disk.Names.Where(name => SegmentTable.IdOf(name) is not null && rig.Disk.Content(name)[0] != 0).ToArray())
        {
            for (var bit = 4099L; bit < rig.Disk.Content(name).Length * 8L; bit += 120_011)
            {
                rig.Disk.FlipBit(name, bit);
                using (var store = Inspect(rig.Disk.Copy(media: false)))
                {
                    var problems = Problems(store, out _);
                    var next = new StoreRig(1, disk: rig.Disk.Copy(media: false)).Open();
                    Assert.Equal(next.Store.Volumes.Where(volume => volume.Damage is not null).Select(volume => volume.Volume).Order(),
                        problems.Where(problem => problem.What.Contains("can't say what it holds", StringComparison.Ordinal)).Select(problem => problem.Volume!.Value).Order());
                    Assert.Equal(Unreadable(next), problems.Where(problem => problem.Block is not null).Select(problem => (problem.Volume!.Value, problem.Block!.Value)));
                    bad += problems.Count(problem => problem.Block is not null);
                    damaged += problems.Count(problem => problem.Block is null);
                }
                rig.Disk.FlipBit(name, bit);
            }
        }
        Assert.True(bad > 10 && damaged > 0, $"{bad} bad blocks and {damaged} damaged volumes are too few to tell");
    }

    [Theory(DisplayName = "A check names a slot of the superblock, or of the list of disks, that is bad while the other one counts; a slot that was never written is none")]
    [InlineData(SuperblockFile.Name, Superblock.SlotBytes, "superblock")]
    [InlineData(DiskRosterFile.Name, DiskRoster.SizeBytes, "list of disks")]
    public void Slots(string name, int slotBytes, string called)
    {
        var rig = Worked(3);
        rig.StopClean();
        var disk = rig.Disk.Copy(media: false);
        if (name == DiskRosterFile.Name)
        {
            Guid store;
            using (var looked = Inspect(disk)) store = looked.Superblock.StoreId;
            Assert.True(DiskRosterFile.Write(disk, new DiskRoster(store, 0, []), out var first).IsOk);
            using (var looked = Inspect(disk)) Assert.Empty(Problems(looked, out _));
            Assert.True(DiskRosterFile.Write(disk, first, out _).IsOk);
        }
        for (var slot = 0; slot < 2; slot++)
        {
            using (var looked = Inspect(disk)) Assert.Empty(Problems(looked, out _));
            disk.FlipBit(name, ((slot * slotBytes) + 9) * 8);
            using (var store = Inspect(disk))
            {
                var problem = Assert.Single(Problems(store, out _));
                Assert.StartsWith($"one of the two slots of the {called} is damaged", problem.What, StringComparison.Ordinal);
            }
            disk.FlipBit(name, ((slot * slotBytes) + 9) * 8);
        }
    }

    [Fact(DisplayName = "An overlay shows what was written, renamed and deleted, and the disk below does not")]
    public void Overlay()
    {
        var below = new SimulatedDisk(1);
        foreach (var name in (string[])["a", "b"])
        {
            Assert.True(Opened(below, name, create: true).WriteAll(0, StoreRig.Bytes(5)).IsOk);
        }
        var overlay = new OverlayDisk(below);
        var file = Opened(overlay, "a", create: false);
        Assert.True(file.WriteAll(4090, "twelve bytes"u8).IsOk);
        var read = new byte[20];
        Assert.Equal(16, file.Read(4086, read).Count);
        Assert.Equal([.. StoreRig.Bytes(5).AsSpan(4086, 4), .. "twelve bytes"u8], read[..16]);
        Assert.Equal(4102, file.LengthBytes);
        Assert.True(overlay.Rename("a", "c").IsOk);
        Assert.True(overlay.Delete("b").IsOk);
        Assert.Equal(IoStatus.Missing, overlay.Open("a", create: false, out _).Status);
        Assert.Equal(IoStatus.Missing, overlay.Open("b", create: false, out _).Status);
        var names = new List<string>();
        Assert.True(overlay.List(names).IsOk);
        Assert.Equal(["c"], names);
        Assert.Equal(0, Opened(overlay, "b", create: true).LengthBytes);
        Assert.Equal(StoreRig.Bytes(5), below.Content("a"));
        Assert.Equal(StoreRig.Bytes(5), below.Content("b"));
    }

    private static IDiskFile Opened(IDisk disk, string name, bool create)
    {
        Assert.True(disk.Open(name, create, out var file).IsOk);
        return file!;
    }

    private static StoreInspection Inspect(SimulatedDisk disk)
    {
        var result = StoreInspection.Open(disk, new SimulatedLoop(), NullLogger.Instance);
        Assert.True(result.Inspection is not null, result.Reason);
        return result.Inspection;
    }

    private static List<StoreProblem> Problems(StoreInspection store, out long blocks)
    {
        var (problems, read) = (new List<StoreProblem>(), 0L);
        store.Check(problems.Add, count => read += count, CancellationToken.None);
        blocks = read;
        return problems;
    }

    private static (VolumeId, ulong, ulong, ulong, VolumeUsage, string?, string) Facts(IVolumeStore volume) =>
        (volume.Volume, volume.LastSequence, volume.LastRecordEpoch, volume.CommitWatermark, volume.Usage, volume.Damage, Convert.ToHexString(volume.Header.Span));

    private static List<(VolumeId, ulong)> Unreadable(StoreRig rig)
    {
        var found = new List<(VolumeId, ulong)>();
        foreach (var volume in rig.Store.Volumes.Where(volume => volume.Damage is null).OrderBy(volume => volume.Volume.Value))
        {
            for (var block = 0UL; block < BlocksMax; block++)
            {
                if (rig.Read(volume, block).Status != IoStatus.Ok) found.Add((volume.Volume, block));
            }
        }
        return found;
    }

    /// <summary>A store in mid work: some is committed, some is not, some is flushed, some is trimmed, some was checkpointed and cleaned.</summary>
    private static StoreRig Worked(ulong seed)
    {
        var rig = new StoreRig(seed, new StoreOptions { CapacityBytes = 16L << 20, CheckpointIntervalBytes = 1 << 20, CleanBelowFreePercent = 70 }).Open();
        foreach (var id in Volumes) rig.Create(id);
        rig.Sync(rig.Find(Volumes[0]));
        for (var step = 0; step < Steps + (int)rig.Disk.Next(40); step++)
        {
            var volume = rig.Find(Volumes[rig.Disk.Next(3)]);
            switch (rig.Disk.Next(12))
            {
                case 0:
                    rig.Sync(volume);
                    break;
                case 1:
                    var range = new BlockRange(rig.Disk.Next(BlocksMax - 8), 1 + (uint)rig.Disk.Next(8));
                    Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, range, watermark: volume.CommitWatermark)));
                    break;
                case 2:
                    rig.Loop.Settle();
                    break;
                default:
                    Assert.Equal(IoStatus.Ok,
                        StoreRig.AppendBlock(volume, rig.Disk.Next(BlocksMax), StoreRig.Bytes(rig.Disk.Next(1000)), watermark: volume.CommitWatermark));
                    break;
            }
            if (rig.Disk.Next(3) == 0) volume.Commit(volume.LastSequence - rig.Disk.Next(Math.Min(4, volume.LastSequence - volume.CommitWatermark + 1)));
        }
        rig.Loop.Settle();
        return rig;
    }
}
