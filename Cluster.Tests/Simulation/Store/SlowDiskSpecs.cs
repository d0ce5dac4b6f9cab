using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A disk that is much slower than the others of its store, or errs: it is told, gets nothing new, is emptied, and is used again when it was well for long.</summary>
public sealed class SlowDiskSpecs
{
    private const int Blocks = 200;
    private const int SlowMs = 900;
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    private readonly SlowClock _clock = new();

    [Fact(DisplayName = "A disk that is slow for half a minute is suspect: it gets no new segments, is emptied, and stays so through a restart; quick again for long enough it is used again")]
    public void Slow_and_well_again()
    {
        var rig = Rig(3);
        rig.Directories[1].DelayMs = SlowMs;
        Work(rig, 20);
        Assert.Equal(DiskState.InUse, DrainSpecs.Disk(rig).State);
        UntilSuspect(rig);
        Assert.Contains("900 ms in most of the last seconds", DrainSpecs.Disk(rig).Problem, StringComparison.Ordinal);
        Assert.All(rig.Store.Disks.Where(disk => disk.Path != "d1/"), disk => Assert.Equal((DiskState.InUse, ""), (disk.State, disk.Problem)));
        var names = Names(rig);
        for (var second = 0; second < 30; second++)
        {
            Work(rig, 1);
            Assert.Subset(names, Names(rig));
        }
        UntilEmpty(rig);
        DiskPoolSpecs.CheckAll(rig, Blocks);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal((DiskState.Suspect, 0), (DrainSpecs.Disk(rig).State, DrainSpecs.Disk(rig).Segments));
        Work(rig, 30);
        Assert.Equal(0, DrainSpecs.Disk(rig).Segments);

        rig.Directories[1].DelayMs = 1;
        var began = rig.Loop.NowMs;
        while (DrainSpecs.Disk(rig).State != DiskState.InUse)
        {
            Work(rig, 1, blocks: 2);
            Assert.True(rig.Loop.NowMs - began < 3 * DiskHealthPolicy.WellMs, $"it is never used again: {DrainSpecs.Disk(rig)}");
        }
        // It was last asked, and slow, some seconds before it became quick.
        Assert.True(rig.Loop.NowMs - began >= DiskHealthPolicy.WellMs - 10_000, $"it was used again after {rig.Loop.NowMs - began} ms");
        DiskPoolSpecs.Fill(rig, 1500);
        Assert.True(DrainSpecs.Disk(rig).Segments > 2);
        rig.Restart(PowerLoss.LoseAll);
        Assert.Equal((DiskState.InUse, ""), (DrainSpecs.Disk(rig).State, DrainSpecs.Disk(rig).Problem));
    }

    [Fact(DisplayName = "A suspect disk that an operator drains stays out also when it is well again, until the operator says otherwise")]
    public void Suspect_and_drained()
    {
        var rig = Rig(3);
        rig.Directories[1].DelayMs = SlowMs;
        UntilSuspect(rig);
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        rig.Directories[1].DelayMs = 1;
        Work(rig, 2 * DiskHealthPolicy.WellMs / 1000);
        Assert.Equal(DiskState.Drained, DrainSpecs.Disk(rig).State);
        Assert.Equal(DiskState.InUse, DrainSpecs.Drain(rig, drains: false).Disk!.State);
    }

    [Fact(DisplayName = "A suspect disk whose file system was unmounted is not used again, however quick the bare directory in its place is; nothing is written there; mounted again, and well, it is")]
    public void Unmounted()
    {
        var rig = Rig(3);
        rig.Directories[1].DelayMs = SlowMs;
        UntilSuspect(rig);
        UntilEmpty(rig);
        rig.Directories[1].DelayMs = 1;
        foreach (var name in rig.Disk.Names.Where(name => name.StartsWith("d1/", StringComparison.Ordinal)).ToArray()) rig.Disk.Rename(name, "away/" + name[3..]);
        Work(rig, 3 * DiskHealthPolicy.WellMs / 1000, blocks: 1);
        Assert.Equal(DiskState.Suspect, DrainSpecs.Disk(rig).State);
        Assert.DoesNotContain(rig.Disk.Names, name => name.StartsWith("d1/", StringComparison.Ordinal));
        foreach (var name in rig.Disk.Names.Where(name => name.StartsWith("away/", StringComparison.Ordinal)).ToArray()) rig.Disk.Rename(name, "d1/" + name[5..]);
        for (var second = 0; DrainSpecs.Disk(rig).State != DiskState.InUse; second++)
        {
            Assert.True(second < 4 * DiskHealthPolicy.ErrorsRefillMs / 1000, $"it is never used again: {DrainSpecs.Disk(rig)}");
            Work(rig, 1, blocks: 1);
        }
    }

    [Fact(DisplayName = "When all disks are slow none is suspect")]
    public void All_slow()
    {
        var rig = Rig(3);
        foreach (var directory in rig.Directories) directory.DelayMs = SlowMs;
        Work(rig, 120);
        Assert.All(rig.Store.Disks, disk => Assert.Equal(DiskState.InUse, disk.State));
    }

    [Fact(DisplayName = "A slow home is told of and goes on as before: it can't be drained")]
    public void Slow_home()
    {
        var rig = Rig(3);
        rig.Directories[0].DelayMs = SlowMs;
        UntilSuspect(rig, "home");
        var home = DrainSpecs.Disk(rig, "home");
        Assert.Contains("store's home, which can't be drained", home.Problem, StringComparison.Ordinal);
        rig.Directories[1].FreeLimit = rig.Directories[2].FreeLimit = 0;
        DiskPoolSpecs.Fill(rig, 600);
        Assert.True(DrainSpecs.Disk(rig, "home").Segments > home.Segments);
        DiskPoolSpecs.CheckAll(rig, 600);
    }

    [Fact(DisplayName = "A disk whose reads fail more often than it may is suspect, and emptied of what can be read")]
    public void Erring()
    {
        var rig = Rig(3);
        rig.Disk.UncachedOneIn = 1;
        rig.Directories[1].FailsReads = true;
        // Each place counts once.
        var (failed, block) = (0, 0UL);
        for (; failed < DiskHealthPolicy.ErrorsMax - 1; block++)
        {
            Assert.True(block < Blocks, "too little of it lies there");
            if (rig.Read(rig.Find(), block).Status != IoStatus.Ok) failed++;
        }
        rig.Loop.Advance(1000);
        Assert.Equal(DiskState.InUse, DrainSpecs.Disk(rig).State);
        for (; failed < DiskHealthPolicy.ErrorsMax + 1; block++)
        {
            Assert.True(block < Blocks, "too little of it lies there");
            if (rig.Read(rig.Find(), block).Status != IoStatus.Ok) failed++;
        }
        rig.Directories[1].FailsReads = false;
        rig.Loop.Advance(1000);
        Assert.Equal(DiskState.Suspect, DrainSpecs.Disk(rig).State);
        Assert.Contains("of its reads failed", DrainSpecs.Disk(rig).Problem, StringComparison.Ordinal);
        UntilEmpty(rig);
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "Bad bytes that a read for repair finds count as errors of the disk where they lie")]
    public void Bad_bytes()
    {
        var rig = Rig(2);
        var map = ((VolumeStore)rig.Find()).Map;
        var at = Enumerable.Range(0, Blocks).First(block => map.Find((ulong)block, out var found, out _) && rig.Store.Segments[found.Segment].Disk == DrainSpecs.Disk(rig).Id);
        Assert.True(map.Find((ulong)at, out var entry, out _));
        rig.Disk.FlipBit($"d1/{rig.Store.Segments[entry.Segment].Name}", 8L * (entry.OffsetBytes + 7));
        rig.Find().ReadEach(new BlockRange((ulong)at, 1), 0, background: false, new IgnoredReads(), 0);
        rig.Loop.Settle();
        Assert.Equal((1L, 0L), (DrainSpecs.Disk(rig).Errors, DrainSpecs.Disk(rig, "home").Errors));
    }

    [Fact(DisplayName = "New segments go less often to a disk that answers slowly: to one ten times slower about a tenth; once it is quick again, and was asked, it gets its share again")]
    public void By_latency()
    {
        var rig = Rig(3);
        foreach (var directory in rig.Directories) directory.DelayMs = 8;
        Work(rig, 50);
        rig.Directories[1].DelayMs = 98;
        Work(rig, 200, blocks: 0);
        var before = SegmentsOf(rig);
        // Over the whole pool a share counts what is there already: it is much that comes.
        DiskPoolSpecs.Fill(rig, 5000);
        var slow = SegmentsOf(rig);
        Assert.InRange((double)slow[1] / slow[2], 0, 0.35);
        Assert.InRange(slow[0], slow[2] - 5, slow[2] + 5);
        rig.Directories[1].DelayMs = 8;
        Work(rig, 800, blocks: 0);
        DiskPoolSpecs.Fill(rig, 9000);
        var well = SegmentsOf(rig);
        Assert.True(well[1] - slow[1] > 2 * (well[2] - slow[2]), $"{string.Join(' ', before)}; {string.Join(' ', slow)}; {string.Join(' ', well)}");
    }

    [Fact(DisplayName = "Where all segments are made already, free ones of a slow disk are used anew less often too; when no others are free they are used")]
    public void Free_ones_by_latency()
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 24 * SegmentBytes, Clock = _clock, CheckpointIntervalBytes = 64 << 20 }, disks: 3);
        foreach (var directory in rig.Directories) (directory.Clock, directory.DelayMs) = (_clock, 8);
        DiskPoolSpecs.Fill(rig.Open(), Blocks);
        for (var tenths = 0; rig.Store.Segments.CanCreate; tenths++)
        {
            Assert.True(tenths < 100, "segments are still made");
            Work(rig, 10);
        }
        // From here on what dies is free soon.
        rig.StopClean();
        rig.Options = rig.Options with { CheckpointIntervalBytes = 300_000 };
        rig.Open();
        Assert.False(rig.Store.Segments.CanCreate);
        rig.Directories[1].DelayMs = 98;
        Work(rig, 100);
        var used = new Dictionary<ulong, Guid>();
        for (var second = 0; second < 600; second++)
        {
            Work(rig, 1);
            var active = rig.Store.Segments.All.MaxBy(segment => segment.Number)!;
            used[active.Number] = active.Disk;
        }
        var counts = rig.Store.Disks.Select(disk => used.Values.Count(each => each == disk.Id)).ToArray();
        Assert.True(counts[1] > 0 && counts[1] * 4 < counts[0] && counts[1] * 4 < counts[2], string.Join(' ', counts));
    }

    private StoreRig Rig(int disks)
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 256 * SegmentBytes, Clock = _clock }, disks: disks);
        foreach (var directory in rig.Directories) (directory.Clock, directory.DelayMs) = (_clock, 1);
        return DiskPoolSpecs.Fill(rig.Open(), Blocks);
    }

    /// <summary>Some seconds in each of which some blocks are written and flushed, with the bytes that they had.</summary>
    private static void Work(StoreRig rig, int seconds, int blocks = 30)
    {
        var volume = rig.Find();
        for (var second = 0; second < seconds; second++)
        {
            for (var write = 0; write < blocks; write++)
            {
                var block = (volume.LastSequence + 1) % Blocks;
                Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), watermark: volume.CommitWatermark));
                volume.Commit(volume.LastSequence);
            }
            rig.Sync(volume);
            rig.Loop.Advance(1000);
        }
    }

    private static void UntilSuspect(StoreRig rig, string at = "d1/")
    {
        for (var second = 0; DrainSpecs.Disk(rig, at).State != DiskState.Suspect; second++)
        {
            Assert.True(second < 600, $"it is not suspect: {DrainSpecs.Disk(rig, at)}");
            Work(rig, 1, blocks: 10);
        }
    }

    private static void UntilEmpty(StoreRig rig)
    {
        for (var second = 0; DrainSpecs.Disk(rig).Segments > 0; second++)
        {
            Assert.True(second < 300, $"it is not empty: {DrainSpecs.Disk(rig)}");
            rig.Loop.Advance(1000);
        }
        rig.Loop.Advance(1000);
        // What is only suspect is used again by itself.
        Assert.Contains("drain it before it is taken away", DrainSpecs.Disk(rig).Problem, StringComparison.Ordinal);
        Assert.DoesNotContain("can be taken away", DrainSpecs.Disk(rig).Problem, StringComparison.Ordinal);
    }

    private static int[] SegmentsOf(StoreRig rig) => [.. rig.Store.Disks.Select(disk => disk.Segments)];

    private static HashSet<string> Names(StoreRig rig) => [.. rig.Disk.Names.Where(name => name.StartsWith("d1/segment-", StringComparison.Ordinal))];

    private sealed class IgnoredReads : IEachReadCompletion
    {
        public void OnReadEach(ulong token, IoStatus status, ulong bad, Cluster.Messages.Wire.IoBuffer? reply) => reply?.Release();
    }
}
