using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Copies are in the log, and the maps are about to go over to them, with pages that are not in memory: what happens then waits for no page, and loses none.</summary>
public sealed class ColdMoveSpecs
{
    private const int Blocks = 900;
    private const ulong Apart = MapPage.Blocks / 4;
    private static readonly VolumeId Other = new(9);

    private readonly Random _random = new(4);
    private readonly Dictionary<(VolumeId, ulong), ulong> _expected = [];
    private ulong _contents;

    [Theory(DisplayName = "A stop in order while the maps are going over to what the cleaner has moved reads no page of theirs, whole or damaged, and opened anew all blocks are there")]
    [InlineData(false)]
    [InlineData(true)]
    public void Stops(bool damages)
    {
        var rig = UntilMoving();
        if (damages)
        {
            foreach (var page in Evicted(rig)) rig.Disk.FlipBit(MapPageFile.Name, page.Slot * (MapPageFile.SlotBytes * 8L));
        }
        var (loads, lost) = (rig.Store.Maps.LoadsInPlace, rig.Store.Maps.Facts.LostPages);
        rig.StopClean();
        // A thread that was reading one for the cleaner may have found it: then the stop is not in order, and nothing else is different.
        Assert.Equal(loads, rig.Store.Maps.LoadsInPlace);
        Assert.Equal(rig.Store.Maps.Facts.LostPages > lost, rig.Store.FailureReason is not null);
        rig.Open();
        Check(rig);
    }

    [Fact(DisplayName = "A volume is deleted, or its order begins anew, while the maps are going over to what the cleaner has moved: no page is read for that, the other volume's maps go on, and after a loss of power all is there")]
    public void Volume_goes()
    {
        foreach (var deletes in new[] { true, false })
        {
            _expected.Clear();
            var rig = UntilMoving();
            var volume = rig.Find(Other);
            rig.Sync(rig.Find());
            for (var count = 0; rig.Store.ColdMoving == 0; count++) OverwriteOne(rig, count);
            var (loads, moves) = (rig.Store.Maps.LoadsInPlace, rig.Store.ColdMoves);
            if (deletes) Assert.Equal(IoStatus.Ok, rig.Store.Delete(Other));
            else Assert.Equal(IoStatus.Ok, volume.SetPosition(volume.CommitWatermark, 1, discardAll: false));
            Assert.Equal((loads, moves), (rig.Store.Maps.LoadsInPlace, rig.Store.ColdMoves));
            Assert.True(rig.Store.ColdMoving > 0);
            rig.Loop.Settle();
            Assert.True(rig.Store.ColdMoves > moves && rig.Store.ColdMoving == 0, "the other volume's maps did not go on");
            if (deletes)
            {
                foreach (var key in _expected.Keys.Where(key => key.Item1 == Other).ToArray()) _expected.Remove(key);
            }
            Check(rig);
            rig.Sync(rig.Find());
            rig.Restart(PowerLoss.LoseAll);
            Check(rig);
            if (deletes) Assert.Null(rig.Store.Find(Other));
            // The cleaner goes on with what was left, and a checkpoint comes.
            for (var count = 0; count < 600; count++) OverwriteOne(rig, count, onlyFirst: deletes);
            rig.Sync(rig.Find());
            rig.Restart(PowerLoss.LoseAll);
            Check(rig);
        }
    }

    [Fact(DisplayName = "A page that could not be read back does not get into a checkpoint as an empty one")]
    public void Lost_page() => Assert.Throws<InvariantException>(() => PageImage.Of(new MapPage { IsLost = true }, 1));

    /// <summary>In the log, and before the turn in which the maps go over; a page that they want is not in memory.</summary>
    private StoreRig UntilMoving()
    {
        var rig = new StoreRig(3, new StoreOptions { CapacityBytes = 24L * StoreOptions.SegmentBytesMin, CleanBelowFreePercent = 34, CheckpointIntervalBytes = 1 << 20, MapCacheBytes = 40L * MapCache.PageBytes }).Open();
        rig.Disk.UncachedOneIn = 1;
        rig.Create();
        rig.Create(Other);
        for (var count = 0; count < Blocks; count++) Write(rig, count % 2 == 0 ? StoreRig.Volume : Other, (ulong)(count / 2) * Apart);
        for (var count = 0; rig.Store.ColdMoving == 0 || Evicted(rig).Count == 0; count++)
        {
            Assert.True(count < 20_000, "nothing was ever moved");
            OverwriteOne(rig, count);
        }
        return rig;
    }

    private static List<MapPage> Evicted(StoreRig rig)
    {
        var pages = new List<MapPage>();
        foreach (var volume in rig.Store.Volumes.Cast<VolumeStore>())
        {
            foreach (var number in volume.Map.PageNumbers())
            {
                if (!volume.Map.Peek(number).IsResident) pages.Add(volume.Map.Peek(number));
            }
        }
        return pages;
    }

    /// <summary>Half of the blocks are cold. Ends in the turn in which a segment went into the log, if one did.</summary>
    private void OverwriteOne(StoreRig rig, int count, bool onlyFirst = false)
    {
        Write(rig, onlyFirst || _random.Next(2) == 0 ? StoreRig.Volume : Other, (ulong)_random.Next(Blocks / 4) * 2 * Apart);
        if (rig.Store.ColdMoving > 0) return;
        if (count % 32 == 0) rig.Find().RequestSync();
        rig.Loop.Turn();
    }

    private void Write(StoreRig rig, VolumeId id, ulong block)
    {
        var (volume, content) = (rig.Find(id), ++_contents);
        var status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
        for (var waits = 0; status == IoStatus.NoSpace && waits < 100; waits++)
        {
            rig.Sync(volume);
            status = StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
        }
        Assert.True(status == IoStatus.Ok, $"{status}: {rig.Store.FailureReason}, {rig.Store.Usage}");
        volume.Commit(volume.LastSequence);
        _expected[(id, block)] = content;
    }

    private void Check(StoreRig rig)
    {
        foreach (var volume in rig.Store.Volumes)
        {
            Assert.True(volume.Damage is null, volume.Damage);
            volume.Commit(volume.LastSequence);
        }
        foreach (var ((id, block), content) in _expected)
        {
            var (status, read) = rig.Read(rig.Find(id), block);
            Assert.True(status == IoStatus.Ok && read[0].Bytes.AsSpan().SequenceEqual(StoreRig.Bytes(content)), $"block {block} of {id} is {status}, and not what was written");
        }
    }
}
