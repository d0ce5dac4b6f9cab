using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>R19: what a part of a restore touches, and how large the store makes one.</summary>
public sealed class RestorePartSpecs
{
    private const ulong PageBlocks = MapPage.Blocks;
    private const ulong PartPages = 32;

    [Theory(DisplayName = "A volume goes back part by part, each of a bounded number of pages that changed, also when the store starts anew between two of them")]
    [InlineData(false)]
    [InlineData(true)]
    public void Part_by_part(bool restarts)
    {
        const ulong Pages = 100;
        var rig = new StoreRig(1, Options()).Open();
        var volume = rig.Create();
        for (var page = 0UL; page < Pages; page++) rig.WriteBlock(volume, page * PageBlocks, page);
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        // A third is overwritten, a third trimmed, a third as it was; and as many are new.
        for (var page = 0UL; page < Pages; page++)
        {
            if (page % 3 == 0) rig.WriteBlock(volume, page * PageBlocks, page + 1000);
            else if (page % 3 == 1) Trim(volume, page * PageBlocks);
            rig.WriteBlock(volume, (page * PageBlocks) + 7, page + 2000);
        }
        var parts = new List<BlockSpan>();
        for (var next = 0UL; next != ulong.MaxValue;)
        {
            var part = new BlockSpan(next, volume.RestoreEnd(snapshot, next));
            StoreRig.Mark(volume, new SnapshotMarker(false, snapshot, part, [snapshot]));
            parts.Add(part);
            next = part.End;
            for (var page = 0UL; page < Pages; page++) AssertPage(rig, volume, page, isBack: page * PageBlocks < next);
            if (restarts) volume = rig.RestartSynced(volume);
        }
        Assert.Equal([PartPages, 2 * PartPages, 3 * PartPages, ulong.MaxValue], parts.Select(part => part.End == ulong.MaxValue ? part.End : part.End / PageBlocks));
        // Also once the snapshot is gone.
        StoreRig.Mark(volume, new SnapshotMarker(false, 0, []));
        rig.Loop.Settle();
        for (var page = 0UL; page < Pages; page++) AssertPage(rig, volume, page, isBack: true);
    }

    [Fact(DisplayName = "Pages in which nothing changed count for no part, however many they are, and nor do those behind the last change")]
    public void Nothing_changed()
    {
        const ulong Pages = 200;
        var rig = new StoreRig(1, Options()).Open();
        var volume = rig.Create();
        for (var page = 0UL; page < Pages; page++) rig.WriteBlock(volume, page * PageBlocks, page);
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        Assert.Equal(ulong.MaxValue, volume.RestoreEnd(snapshot, 0));
        for (var page = 0UL; page < PartPages; page++) rig.WriteBlock(volume, 2 * page * PageBlocks, page + 1000);
        Assert.Equal(((2 * PartPages) - 1) * PageBlocks, volume.RestoreEnd(snapshot, 0));
        Assert.Equal(ulong.MaxValue, volume.RestoreEnd(snapshot, 2 * PageBlocks));
        // What only a newer snapshot keeps has changed too.
        Trim(volume, 150 * PageBlocks);
        Assert.Equal(151 * PageBlocks, volume.RestoreEnd(snapshot, 2 * PageBlocks));
    }

    [Fact(DisplayName = "The look for the end of a part passes over a bounded number of pages in which nothing changed: the part ends there, and the next ones come to what has changed")]
    public void Bounded_look()
    {
        const ulong Pages = 100, Changed = 90;
        const int Looks = 10;
        var rig = new StoreRig(1, Options() with { MapCacheBytes = (long)Pages * 2 * MapCache.PageBytes }).Open();
        var volume = rig.Create();
        for (var page = 0UL; page < Pages; page++) rig.WriteBlock(volume, page * PageBlocks, page);
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        rig.WriteBlock(volume, Changed * PageBlocks, 1000);
        var ends = new List<ulong>();
        for (var next = 0UL; next != ulong.MaxValue; next = ends[^1])
        {
            ends.Add(((VolumeStore)volume).Map.RestoreEnd(snapshot, next, Looks));
            Assert.True(ends[^1] > next, $"no part ends behind block {next}");
            StoreRig.Mark(volume, new SnapshotMarker(false, snapshot, new BlockSpan(next, ends[^1]), [snapshot]));
            AssertBlock(rig, volume, Changed * PageBlocks, ends[^1] > Changed * PageBlocks ? Changed : 1000);
        }
        Assert.InRange(ends.Count, (int)Changed / Looks, (int)Pages);
        Assert.All(ends.Zip(ends.Skip(1)), pair => Assert.True(pair.Second == ulong.MaxValue || (pair.Second - pair.First) / PageBlocks <= Looks));
    }

    [Fact(DisplayName = "A part begins and ends at any block, and leaves those beside it as they are")]
    public void Any_border()
    {
        var rig = new StoreRig(1, Options()).Open();
        var volume = rig.Create();
        for (var block = 500UL; block < 530; block++) rig.WriteBlock(volume, block, block);
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        for (var block = 490UL; block < 540; block++) rig.WriteBlock(volume, block, block + 1000);
        StoreRig.Mark(volume, new SnapshotMarker(false, snapshot, new BlockSpan(495, 515), [snapshot]));
        for (var block = 490UL; block < 540; block++)
        {
            var isBack = block is >= 495 and < 515;
            AssertBlock(rig, volume, block, !isBack ? block + 1000 : block >= 500 ? block : null);
        }
    }

    [Fact(DisplayName = "What a snapshot keeps of blocks that lie far apart, in pages that are not in memory, makes no part longer to find")]
    public void Far_apart()
    {
        const ulong Far = 1UL << 36;
        var rig = new StoreRig(1, Options() with { MapCacheBytes = MapCache.PageBytes }).Open();
        var volume = rig.Create();
        foreach (var block in new[] { 0UL, Far }) rig.WriteBlock(volume, block, block);
        var snapshot = StoreRig.Mark(volume, new SnapshotMarker(true, 0, []));
        foreach (var block in new[] { 0UL, Far }) rig.WriteBlock(volume, block, block + 1000);
        for (var page = 1UL; page < 40; page++) rig.WriteBlock(volume, page * PageBlocks, page);
        rig.Loop.Settle();
        Assert.True(rig.Store.Maps.Facts.EvictedLayerPages > 0, $"{rig.Store.Maps.Facts}");
        Assert.Equal(PartPages * PageBlocks, volume.RestoreEnd(snapshot, 0));
        StoreRig.Mark(volume, new SnapshotMarker(false, snapshot, BlockSpan.All, [snapshot]));
        foreach (var block in new[] { 0UL, Far }) AssertBlock(rig, volume, block, block);
        AssertBlock(rig, volume, PageBlocks, null);
    }

    private static StoreOptions Options() => new() { CapacityBytes = 60L * StoreOptions.SegmentBytesMin, MapCacheBytes = 16 * MapCache.PageBytes };

    private static void Trim(IVolumeStore volume, ulong block)
    {
        Assert.Equal(IoStatus.Ok, StoreRig.Append(volume, StoreRig.Trim(volume.Volume, volume.LastSequence + 1, new BlockRange(block, 1), watermark: volume.CommitWatermark)));
        volume.Commit(volume.LastSequence);
    }

    private static void AssertPage(StoreRig rig, IVolumeStore volume, ulong page, bool isBack)
    {
        ulong? first = isBack || page % 3 == 2 ? page : page % 3 == 0 ? page + 1000 : null;
        AssertBlock(rig, volume, page * PageBlocks, first);
        AssertBlock(rig, volume, (page * PageBlocks) + 7, isBack ? null : page + 2000);
    }

    /// <param name="content">Null: nothing is there.</param>
    private static void AssertBlock(StoreRig rig, IVolumeStore volume, ulong block, ulong? content)
    {
        var (status, blocks) = rig.Read(volume, block);
        Assert.Equal(IoStatus.Ok, status);
        Assert.True(content is { } seed ? blocks[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(seed)) : blocks[0].Bytes.Length == 0, $"block {block} is not what it was");
    }
}
