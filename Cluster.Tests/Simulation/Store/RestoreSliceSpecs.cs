using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A restore of many pages goes in slices; nobody sees half of it, and a loss of power at any moment of it loses nothing.</summary>
public sealed class RestoreSliceSpecs
{
    private const int Pages = 24;

    [Fact]
    public void It_goes_on_by_itself_and_what_comes_behind_it_waits()
    {
        var (rig, volume, marker) = Restoring();
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 0, StoreRig.Bytes(9), 1, marker));
        volume.Commit(volume.LastSequence);
        Assert.True(volume.IsRestoring);
        Assert.Equal((marker - 1, marker - 1), (volume.CommitWatermark, volume.TailFrom));
        var slices = 0;
        for (; volume.IsRestoring; slices++)
        {
            Assert.True(slices <= Pages, "it does not come to an end");
            rig.Loop.Advance(10);
        }
        Assert.InRange(slices, Pages, Pages + 1);
        Assert.Equal(volume.LastSequence, volume.CommitWatermark);
        AssertHolds(rig, volume, from: 1);
        Assert.Equal(StoreRig.Bytes(9), rig.Read(volume, 0).Blocks[0].Bytes);
    }

    [Fact]
    public void Whoever_looks_has_it_done_at_once()
    {
        foreach (var look in new Action<StoreRig, IVolumeStore>[]
        {
            (rig, volume) => AssertHolds(rig, volume, from: 0),
            (_, volume) => Assert.Equal(volume.LastSequence, volume.SequenceOf((Pages - 1) * MapPage.Blocks, withTail: false)),
            (_, volume) => Assert.NotNull(volume.Windows),
            (_, volume) => volume.Digest(new BlockRange(0, 8)),
            (_, volume) => Assert.Equal(IoStatus.Ok, volume.ReadChanges(0, ulong.MaxValue, null, 4096, []).Status),
            (_, volume) => Assert.Equal(IoStatus.Ok, volume.Truncate(volume.LastSequence)),
            (_, volume) => volume.Settle(),
        })
        {
            var (rig, volume, marker) = Restoring();
            rig.Loop.Advance(10);
            Assert.True(volume.IsRestoring);
            look(rig, volume);
            Assert.False(volume.IsRestoring);
            Assert.Equal(marker, volume.CommitWatermark);
            AssertHolds(rig, volume, from: 0);
        }
    }

    /// <summary>With a checkpoint of the half of it, and without.</summary>
    [Theory]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(null)]
    public void A_stop_half_way_loses_nothing(PowerLoss? loss)
    {
        for (var slices = 1; slices < Pages; slices += 3)
        {
            var (rig, volume, marker) = Restoring();
            rig.Sync(volume);
            for (var slice = 0; slice < slices; slice++) rig.Loop.Advance(10);
            Assert.True(volume.IsRestoring);
            if (loss is { } cut) rig.Restart(cut);
            else
            {
                rig.StopClean();
                rig.Open();
            }
            volume = rig.Find();
            Assert.Null(volume.Damage);
            Assert.Equal(marker, volume.LastSequence);
            volume.Commit(marker);
            while (volume.IsRestoring) rig.Loop.Advance(10);
            Assert.Equal(marker, volume.CommitWatermark);
            AssertHolds(rig, volume, from: 0);
            var usage = volume.Usage;
            Assert.Equal(usage.StoredBytes + usage.SnapshotBytes, rig.Store.Segments.LiveBytes);
        }
    }

    [Fact]
    public void The_volume_can_be_deleted_meanwhile()
    {
        var (rig, volume, _) = Restoring();
        rig.Loop.Advance(10);
        Assert.True(volume.IsRestoring);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
        rig.Loop.Advance(10);
        rig.Loop.Advance(10);
        Assert.False(volume.IsRestoring);
        Assert.Equal(0, rig.Store.Segments.LiveBytes);
    }

    /// <summary>All pages were written, marked, and written again or trimmed; the restore of that was committed.</summary>
    private static (StoreRig Rig, IVolumeStore Volume, ulong Marker) Restoring()
    {
        var rig = new StoreRig(options: new StoreOptions { CapacityBytes = 60L * StoreOptions.SegmentBytesMin, SliceBlocks = MapPage.Blocks, CheckpointIntervalBytes = 64 << 20 }).Open();
        var volume = rig.Create();
        Write(volume, 0);
        var snapshot = Mark(volume, true, 0, []);
        Write(volume, 1);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(0, 4 * MapPage.Blocks))));
        volume.Commit(volume.LastSequence);
        rig.Sync(volume);
        var marker = Mark(volume, false, snapshot, [snapshot]);
        Assert.True(volume.IsRestoring);
        return (rig, volume, marker);
    }

    private static void Write(IVolumeStore volume, ulong salt)
    {
        for (var block = 0UL; block < Pages * MapPage.Blocks; block += MapPage.Blocks)
            Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes((block * 8) + salt), 1, volume.CommitWatermark));
        volume.Commit(volume.LastSequence);
    }

    private static ulong Mark(IVolumeStore volume, bool creates, ulong restores, ImmutableArray<ulong> kept)
    {
        var buffer = new SnapshotMarker(creates, restores, kept).Build(volume.Volume, out var header);
        (header.Sequence, header.Epoch, header.CommitWatermark) = (volume.LastSequence + 1, 1, volume.CommitWatermark);
        header.Encode(buffer.Span);
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, buffer));
        volume.Commit(volume.LastSequence);
        return volume.LastSequence;
    }

    private static void AssertHolds(StoreRig rig, IVolumeStore volume, ulong from)
    {
        for (var page = from; page < Pages; page++)
        {
            var (status, blocks) = rig.Read(volume, page * MapPage.Blocks);
            Assert.Equal(IoStatus.Ok, status);
            Assert.Equal(StoreRig.Bytes(page * MapPage.Blocks * 8), blocks[0].Bytes);
        }
    }
}
