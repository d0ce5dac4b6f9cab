using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

public sealed class CorruptionSpecs
{
    private const int Blocks = 24;
    private static readonly VolumeId Other = new(8);

    [Fact(DisplayName = "A bit that flips anywhere in a flushed segment is found: the volume says it is damaged or the block can't be read, never wrong bytes")]
    public void Flips_in_segments()
    {
        var rig = Filled(checkpoint: false);
        var name = rig.Disk.Names.Single(each => each.StartsWith(SegmentTable.Prefix, StringComparison.Ordinal)
            && rig.Disk.Content(each)[0] != 0);
        var end = (int)rig.Store.Segments.All.Max(segment => segment.WrittenBytes);
        var outcomes = Flip(rig, name, end, stride: 2731);
        Assert.True(outcomes is { Damaged: > 10, Unreadable: > 100 }, outcomes.ToString());
    }

    [Fact(DisplayName = "A bit that flips anywhere in the checkpoint refuses the open, or damages just one volume")]
    public void Flips_in_checkpoints()
    {
        var rig = Filled(checkpoint: true);
        var outcomes = Flip(rig, CheckpointWriter.Name, rig.Disk.Content(CheckpointWriter.Name).Length, stride: 29);
        Assert.True(outcomes is { Damaged: > 20, Refused: > 20, Unreadable: 0 }, outcomes.ToString());
    }

    [Fact(DisplayName = "A damaged volume stays damaged through reopens and checkpoints, refuses I/O, and is healed by starting anew")]
    public void Damage_is_kept()
    {
        var rig = Filled(checkpoint: false);
        var name = rig.Disk.Names.Single(each => each.StartsWith(SegmentTable.Prefix, StringComparison.Ordinal)
            && rig.Disk.Content(each)[0] != 0);
        // The sequence in the header of the second record; the first is the replica's header, of 3 bytes.
        var second = SegmentHeader.SizeBytes + (int)EntryPrefix.Align(EntryPrefix.SizeBytes + 128 + 16 + 3);
        rig.Disk.FlipBit(name, (second + EntryPrefix.SizeBytes + 40) * 8);
        rig.Restart(PowerLoss.ProcessOnly);
        rig.StopClean();
        rig.Open();
        var volume = rig.Store.Volumes.Single(each => each.Damage is not null);
        Assert.Contains("flushed, are bad", volume.Damage, StringComparison.Ordinal);
        Assert.Equal(IoStatus.BadChecksum, rig.Read(volume, 0).Status);
        Assert.Equal(IoStatus.DeviceError, StoreRig.AppendBlock(volume, 0, StoreRig.Bytes(1)));
        Assert.Equal(IoStatus.Ok, volume.SetPosition(10, 3, discardAll: true));
        Assert.Null(volume.Damage);
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 0, StoreRig.Bytes(1), epoch: 3));
        volume.SaveHeader(new byte[] { 9 });
        rig.Sync(volume);
        rig.Restart(PowerLoss.LoseAll);
        volume = rig.Find(volume.Volume);
        Assert.Equal((null, 11UL), (volume.Damage, volume.LastSequence));
    }

    [Fact(DisplayName = "A segment of the flushed log that is gone, or whose header is bad, damages the volumes and never shortens them silently")]
    public void Missing_segment()
    {
        foreach (var delete in new[] { true, false })
        {
            var rig = new StoreRig(1, new StoreOptions { CapacityBytes = 64L << 20 }).Open();
            var volume = rig.Create();
            for (var index = 0UL; index < 300; index++) StoreRig.AppendBlock(volume, index % 50, StoreRig.Bytes(index));
            rig.Sync(volume);
            StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
            rig.Sync(volume);
            var middle = rig.Store.Segments.All.Single(segment => segment.Number == 3);
            if (delete)
            {
                rig.Disk.Delete(middle.Name);
                rig.Disk.SyncDirectory();
            }
            else rig.Disk.FlipBit(middle.Name, 600);
            rig.Restart(PowerLoss.ProcessOnly);
            Assert.NotNull(rig.Find().Damage);
        }
    }

    private sealed record Outcomes(int Damaged, int Unreadable, int Refused, int Harmless);

    private static StoreRig Filled(bool checkpoint)
    {
        var rig = new StoreRig().Open();
        foreach (var id in new[] { StoreRig.Volume, Other })
        {
            var volume = rig.Create(id);
            for (var index = 0UL; index < Blocks; index++) StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index));
            volume.Commit(Blocks);
            StoreRig.Append(volume, StoreRig.Trim(id, Blocks + 1, new BlockRange(3, 2), watermark: Blocks));
            volume.Commit(Blocks + 1);
            rig.Sync(volume);
        }
        // The watermark of the last flush is noted, as by an idle store, and then flushed itself.
        rig.Loop.Advance(rig.Options.WatermarkDelayMs);
        rig.Sync(rig.Find());
        rig.Loop.Advance(rig.Options.WatermarkDelayMs);
        if (checkpoint)
        {
            rig.StopClean();
            rig.Open();
        }
        return rig;
    }

    private static Outcomes Flip(StoreRig rig, string name, int end, int stride)
    {
        var (damaged, unreadable, refused, harmless) = (0, 0, 0, 0);
        for (long bit = 0; bit < end * 8L; bit += stride)
        {
            rig.Disk.FlipBit(name, bit);
            rig.Disk.Restart(PowerLoss.ProcessOnly);
            var opened = rig.TryOpen();
            if (opened.Store is null)
            {
                Assert.NotEqual("", opened.Reason);
                refused++;
            }
            else
            {
                var bad = Check(rig);
                damaged += bad.Damaged;
                unreadable += bad.Unreadable;
                if (bad is { Damaged: 0, Unreadable: 0 }) harmless++;
            }
            rig.Disk.FlipBit(name, bit);
        }
        return new Outcomes(damaged, unreadable, refused, harmless);
    }

    private static (int Damaged, int Unreadable) Check(StoreRig rig)
    {
        var (damaged, unreadable) = (0, 0);
        foreach (var id in new[] { StoreRig.Volume, Other })
        {
            // Without its header a replica is lost: the machine says so, and that is no silence.
            if (rig.Store.Find(id) is not { Damage: null } volume)
            {
                damaged++;
                continue;
            }
            Assert.Equal((ulong)Blocks + 1, volume.LastSequence);
            volume.Commit(Blocks + 1);
            for (var block = 0UL; block < Blocks; block++)
            {
                var (status, blocks) = rig.Read(volume, block);
                if (status == IoStatus.BadChecksum)
                {
                    unreadable++;
                    continue;
                }
                Assert.Equal(IoStatus.Ok, status);
                if (block is 3 or 4) Assert.Empty(blocks[0].Bytes);
                else Assert.Equal(StoreRig.Bytes(block), blocks[0].Bytes);
            }
        }
        return (damaged, unreadable);
    }
}
