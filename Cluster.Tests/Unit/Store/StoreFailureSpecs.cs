using Cluster.Messages.Model;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class StoreFailureSpecs
{
    [Fact(DisplayName = "A failed fdatasync is told once to every replica, nothing is acknowledged as durable, nothing is retried")]
    public void Failed_sync()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        rig.Sync(volume);
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        rig.Disk.FailSyncs = 1;
        rig.Sync(volume);
        Assert.Equal(IoStatus.DeviceError, Assert.Single(rig.Events.Failed).Status);
        Assert.Contains("fdatasync", rig.Events.Failed[0].Reason, StringComparison.Ordinal);
        Assert.Equal(0UL, volume.DurableSequence);
        rig.Sync(volume);
        Assert.Equal(0UL, volume.DurableSequence);
        Assert.Single(rig.Events.Failed);
        Assert.Equal(IoStatus.DeviceError, StoreRig.AppendBlock(volume, 2, StoreRig.Bytes(1)));
        Assert.Null(rig.Restart(PowerLoss.LoseAll).Find().Damage);
        Assert.Equal(0UL, rig.Find().LastSequence);
    }

    [Fact(DisplayName = "A failed write is told to every replica and acknowledges nothing")]
    public void Failed_write()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        rig.Sync(volume);
        rig.Disk.FailWrites = 1;
        StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
        rig.Loop.Settle();
        Assert.Single(rig.Events.Failed);
        Assert.Empty(rig.Events.Appended);
        Assert.Equal(IoStatus.DeviceError, volume.Truncate(0));
        Assert.Equal(IoStatus.DeviceError, rig.Store.Create(new VolumeId(3), new byte[] { 1 }).Status);
    }

    [Fact(DisplayName = "A read that the disk fails is DeviceError, bytes that changed under it are BadChecksum, cached or not")]
    public void Failed_read()
    {
        foreach (var uncached in new[] { 0, 1 })
        {
            var rig = new StoreRig().Open();
            rig.Disk.UncachedOneIn = uncached;
            var volume = rig.Create();
            StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
            volume.Commit(1);
            rig.Loop.Settle();
            rig.Disk.FailReads = 2;
            Assert.Equal(IoStatus.DeviceError, rig.Read(volume, 1).Status);
            rig.Disk.FailReads = 0;
            Assert.Equal(IoStatus.Ok, rig.Read(volume, 1).Status);
            rig.Disk.FlipBit(rig.Store.Segments.All[0].Name, (rig.Store.Segments.All[0].WrittenBytes - 100) * 8L);
            Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, 1).Status);
            Assert.Equal(IoStatus.BadChecksum, volume.ReadChanges(0, 9, null, 1000, []).Status);
        }
    }

    [Fact(DisplayName = "A record whose block does not match its descriptor is refused and leaves no trace")]
    public void Bad_record()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        var record = StoreRig.Write(volume.Volume, 1, 5, [StoreRig.Bytes(1), StoreRig.Bytes(2)]);
        record.Span[^1] ^= 1;
        Assert.Equal(IoStatus.BadChecksum, StoreRig.Append(volume, record));
        Assert.Equal(0UL, volume.LastSequence);
        rig.Sync(volume);
        Assert.Equal(0UL, rig.Restart(PowerLoss.ProcessOnly).Find().LastSequence);
    }

    [Fact(DisplayName = "A host that booted since an unclean stop makes the store suspect; the same boot or a clean stop does not")]
    public void Suspect()
    {
        var rig = new StoreRig().Open();
        Assert.False(rig.Store.Suspect);
        Assert.False(rig.Restart(PowerLoss.ProcessOnly).Store.Suspect);
        rig.StopClean();
        rig.Options = rig.Options with { BootId = Guid.NewGuid() };
        Assert.False(rig.Open().Store.Suspect);
        rig.Options = rig.Options with { BootId = Guid.NewGuid() };
        Assert.True(rig.Restart(PowerLoss.LoseAll).Store.Suspect);
        Assert.Equal((4UL, 4UL), (rig.Store.OpenCount, rig.Store.SuspectSince));
    }

    [Fact(DisplayName = "R5: an open marks itself and keeps the marks of those before; a copy of the disk that is opened as often has others from there on")]
    public void Marks_of_opens()
    {
        var rig = new StoreRig().Open();
        var copy = new StoreRig(disk: rig.Disk.Copy(media: false)).Open();
        Assert.Equal(rig.Store.StoreId, copy.Store.StoreId);
        for (var open = 0; open < StoreOpens.MarksMax + 2; open++) rig.Restart(PowerLoss.ProcessOnly);
        while (copy.Store.OpenCount < rig.Store.OpenCount) copy.Restart(PowerLoss.ProcessOnly);
        Assert.Equal(StoreOpens.MarksMax, rig.Store.Opens.Marks.Distinct().Count());
        Assert.Empty(rig.Store.Opens.Marks.Intersect(copy.Store.Opens.Marks));
        Assert.Equal(StoreDescent.Foreign, copy.Store.Opens.DescentFrom(rig.Store.OpenCount, rig.Store.Opens.Mark, default));
        Assert.Equal(StoreDescent.Unknown, rig.Store.Opens.DescentFrom(2, 1, default));
        Assert.Equal(StoreDescent.Proven, rig.Store.Opens.DescentFrom(2, 1, new StoreOpenStamp(2, 1)));
    }

    [Fact(DisplayName = "A lost slot of the superblock gives out no open count twice and believes no clean stop; two lost slots refuse the open")]
    public void Superblock_slots()
    {
        for (var slot = 0; slot < 2; slot++)
        {
            var rig = new StoreRig().Open();
            rig.Restart(PowerLoss.ProcessOnly);
            var (id, count) = (rig.Store.StoreId, rig.Store.OpenCount);
            rig.Disk.FlipBit(SuperblockFile.Name, ((slot * Superblock.SlotBytes) + 50) * 8);
            rig.Options = rig.Options with { BootId = Guid.NewGuid() };
            rig.Restart(PowerLoss.LoseAll);
            Assert.Equal(id, rig.Store.StoreId);
            Assert.True(rig.Store.OpenCount > count && rig.Store.Suspect);
            // Of the open that may have been in the lost slot nothing is claimed (R5).
            Assert.Equal(0UL, rig.Store.Opens.MarkOf(rig.Store.OpenCount - 1));
            Assert.NotEqual(0UL, rig.Store.Opens.Mark);
            for (var each = 0; each < 2; each++) rig.Disk.FlipBit(SuperblockFile.Name, ((each * Superblock.SlotBytes) + 51) * 8);
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            Assert.Equal(IoStatus.BadChecksum, rig.TryOpen().Status);
        }
    }

    [Fact(DisplayName = "A superblock whose very first write a kill has torn is made anew: no open was ever counted there")]
    public void Superblock_never_completed()
    {
        for (var seed = 1UL; seed <= 20; seed++)
        {
            var rig = new StoreRig(seed);
            // Name, space, first write.
            rig.Disk.PowerOffAt = 3;
            Assert.NotEqual(IoStatus.Ok, rig.TryOpen().Status);
            rig.Restart(PowerLoss.ProcessOnly);
            Assert.Equal(1UL, rig.Store.OpenCount);
        }
    }

    [Fact(DisplayName = "The cluster id is written once")]
    public void Cluster_id()
    {
        var rig = new StoreRig().Open();
        var cluster = Guid.NewGuid();
        Assert.Equal(IoStatus.Ok, rig.Store.SetClusterId(cluster));
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal(cluster, rig.Store.ClusterId);
        Assert.Equal(IoStatus.Ok, rig.Store.SetClusterId(cluster));
        Assert.Equal(IoStatus.Conflict, rig.Store.SetClusterId(Guid.NewGuid()));
    }

    [Fact(DisplayName = "A store without its superblock is refused, not made anew")]
    public void Superblock_gone()
    {
        var rig = new StoreRig().Open();
        rig.Sync(rig.Create());
        rig.Disk.Delete(SuperblockFile.Name);
        rig.Disk.Restart(PowerLoss.ProcessOnly);
        var result = rig.TryOpen();
        Assert.Equal(IoStatus.BadChecksum, result.Status);
        Assert.Contains("missing", result.Reason, StringComparison.Ordinal);
    }
}
