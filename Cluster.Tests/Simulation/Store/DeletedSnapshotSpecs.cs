using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A deleted snapshot is hidden at once and goes in slices; what older ones and clones see of what it kept stays, at each moment and after each restart.</summary>
public sealed class DeletedSnapshotSpecs
{
    private const int Pages = 24;
    private const int Slice = 4;

    [Fact]
    public void One_that_keeps_much_goes_page_by_page_and_its_space_comes_back()
    {
        var rig = Rig();
        var volume = rig.Create();
        Write(volume, 0);
        var old = Mark(volume, creates: true, []);
        Write(volume, 1, fromPage: Pages / 2);
        var deleted = Mark(volume, creates: true, [old]);
        Write(volume, 2);
        rig.Sync(volume);
        var kept = volume.Usage.SnapshotBytes;
        Mark(volume, creates: false, [old]);
        rig.Sync(volume);
        Assert.Equal([old], volume.Snapshots);
        Assert.Equal(kept, volume.Usage.SnapshotBytes);
        var slices = 0;
        for (; rig.Store.Maps.IsHandingDown; slices++)
        {
            Assert.True(slices < 10 * Pages, "it does not come to an end");
            AssertSees(volume, old, 0);
            rig.Loop.Advance(10);
        }
        // Two blocks a page.
        Assert.InRange(slices, Pages * 2 / Slice, (Pages * 2 / Slice) + 1);
        AssertSees(volume, old, 0);
        var unique = volume.UsageOf(old);
        Assert.Equal((volume.Usage.SnapshotBytes, 2L * Pages), (unique.UniqueBytes, unique.UniqueBlocks));
        Assert.Equal(volume.Usage.StoredBytes + volume.Usage.SnapshotBytes, rig.Store.Segments.LiveBytes);
        Assert.Null(((VolumeStore)volume).Map.Layer(deleted));
    }

    [Theory]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(null)]
    public void What_a_stop_finds_half_way_is_gone_after_the_next_open(PowerLoss? loss)
    {
        var rig = Rig();
        var volume = rig.Create();
        Write(volume, 0);
        var old = Mark(volume, creates: true, []);
        Write(volume, 1);
        Mark(volume, creates: true, [old]);
        Write(volume, 2);
        var newer = Mark(volume, creates: true, [.. volume.Snapshots]);
        Write(volume, 3);
        Mark(volume, creates: false, [old, newer]);
        rig.Sync(volume);
        rig.Loop.Advance(10);
        Assert.True(rig.Store.Maps.IsHandingDown);
        // What changes meanwhile goes where it would.
        Write(volume, 4, fromPage: Pages - 2);
        rig.Sync(volume);
        rig.Loop.Advance(600);
        if (loss is { } cut) rig.Restart(cut);
        else
        {
            rig.StopClean();
            rig.Open();
        }
        volume = rig.Find();
        Assert.Null(volume.Damage);
        Assert.Equal([old, newer], volume.Snapshots);
        Assert.Equal(2, ((VolumeStore)volume).Map.Layers.Count);
        AssertSees(volume, old, 0);
        AssertSees(volume, newer, 2);
        Assert.Equal(volume.Usage.StoredBytes + volume.Usage.SnapshotBytes, rig.Store.Segments.LiveBytes);
    }

    [Fact]
    public void The_volume_can_be_deleted_meanwhile()
    {
        var rig = Rig();
        var volume = rig.Create();
        Write(volume, 0);
        Mark(volume, creates: true, []);
        Write(volume, 1);
        Mark(volume, creates: false, []);
        rig.Sync(volume);
        rig.Loop.Advance(10);
        Assert.True(rig.Store.Maps.IsHandingDown);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(volume.Volume));
        rig.Loop.Advance(20);
        rig.Loop.Advance(20);
        Assert.False(rig.Store.Maps.IsHandingDown);
        Assert.Equal(0, rig.Store.Segments.LiveBytes);
    }

    /// <summary>The last clone of a deleted snapshot goes: so does what was kept for it, likewise.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_was_kept_for_a_clone_goes_likewise(bool isOriginDeleted)
    {
        var (rig, clone) = (Rig(), new VolumeId(9));
        var origin = rig.Create();
        Write(origin, 0);
        var snapshot = Mark(origin, creates: true, []);
        Write(origin, 1);
        var (status, made) = rig.Store.CreateClone(clone, new byte[] { 4, 5 }, origin.Volume, snapshot);
        Assert.Equal(IoStatus.Ok, status);
        made!.Events = rig.Events;
        Mark(origin, creates: false, []);
        rig.Sync(origin);
        rig.Loop.Advance(100);
        Assert.False(rig.Store.Maps.IsHandingDown);
        if (isOriginDeleted) Assert.Equal(IoStatus.Ok, rig.Store.Delete(origin.Volume));
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(clone));
        Assert.Equal(!isOriginDeleted, rig.Store.Maps.IsHandingDown);
        for (var slices = 0; rig.Store.Maps.IsHandingDown; slices++)
        {
            Assert.True(slices < 10 * Pages, "it does not come to an end");
            rig.Loop.Advance(10);
        }
        Assert.Equal(isOriginDeleted ? 0 : origin.Usage.StoredBytes, rig.Store.Segments.LiveBytes);
        Assert.Equal(0, isOriginDeleted ? 0 : origin.Usage.SnapshotBytes);
    }

    /// <summary>The volume is deleted while a clone stands on its older snapshot: once the newer one is gone nothing is left that only that saw, also when a stop comes between.</summary>
    [Theory]
    [InlineData(PowerLoss.LoseAll)]
    [InlineData(PowerLoss.ProcessOnly)]
    [InlineData(null)]
    public void What_only_a_newer_snapshot_saw_does_not_stay_for_a_clone(PowerLoss? loss)
    {
        var (rig, clone) = (Rig(), new VolumeId(9));
        var origin = rig.Create();
        Write(origin, 0);
        var snapshot = Mark(origin, creates: true, []);
        Write(origin, 1);
        Mark(origin, creates: true, [snapshot]);
        Write(origin, 2, fromPage: 1);
        var (status, made) = rig.Store.CreateClone(clone, new byte[] { 4, 5 }, origin.Volume, snapshot);
        Assert.Equal(IoStatus.Ok, status);
        made!.Events = rig.Events;
        rig.Sync(origin);
        Assert.Equal(IoStatus.Ok, rig.Store.Delete(origin.Volume));
        rig.Sync(made);
        rig.Loop.Advance(10);
        Assert.True(rig.Store.Maps.IsHandingDown);
        if (loss is { } cut) rig.Restart(cut);
        else
        {
            rig.StopClean();
            rig.Open();
        }
        Assert.False(rig.Store.Maps.IsHandingDown);
        made = rig.Find(clone);
        Assert.Null(made.Damage);
        for (var block = 0UL; block < Pages * MapPage.Blocks; block += MapPage.Blocks) Assert.Equal(StoreRig.Bytes(block * 8), rig.Read(made, block).Blocks[0].Bytes);
        Assert.Equal(2L * Pages * Limits.BlockBytes, rig.Store.Segments.LiveBytes);
    }

    private static StoreRig Rig() => new StoreRig(options: new StoreOptions { CapacityBytes = 60L * StoreOptions.SegmentBytesMin, HandDownBlocks = Slice }).Open();

    /// <summary>Two blocks of each page from that one on.</summary>
    private static void Write(IVolumeStore volume, ulong salt, int fromPage = 0)
    {
        for (var page = (ulong)fromPage; page < Pages; page++)
        {
            for (var block = page * MapPage.Blocks; block < (page * MapPage.Blocks) + 2; block++)
                Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes((block * 8) + salt), 1, volume.CommitWatermark));
        }
        volume.Commit(volume.LastSequence);
    }

    private static ulong Mark(IVolumeStore volume, bool creates, ImmutableArray<ulong> kept) =>
        StoreRig.Mark(volume, new SnapshotMarker(creates, 0, kept));

    private static void AssertSees(IVolumeStore volume, ulong snapshot, ulong salt)
    {
        var store = (VolumeStore)volume;
        for (var block = 0UL; block < Pages * MapPage.Blocks; block += MapPage.Blocks)
        {
            Assert.True(store.Map.FindAt(snapshot, block, out var entry, out _), $"block {block} is not in snapshot {snapshot}");
            var bytes = new byte[entry.LengthBytes];
            Assert.Equal(IoStatus.Ok, store.ReadBlock(volume.Volume, in entry, block, bytes));
            Assert.Equal(StoreRig.Bytes((block * 8) + salt), bytes);
        }
    }
}
