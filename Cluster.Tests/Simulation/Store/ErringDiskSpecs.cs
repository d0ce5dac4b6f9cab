using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A disk that can't read some of what is on it, and does not get better: what else is on it is moved, and no more is blamed on it than there is.</summary>
public sealed class ErringDiskSpecs
{
    private const int Blocks = 300;
    private const int PageBytes = 4096;

    [Theory(DisplayName = "A page of a drained disk that can't be read stays unread: all other blocks are moved, those in the page are mended from other copies, and the disk is empty")]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Unreadable_page(int place)
    {
        var rig = DiskPoolSpecs.Filled(2);
        var (name, at) = place switch { 0 => Somewhere(rig, middle: true), 1 => Somewhere(rig, middle: false), _ => (Somewhere(rig, middle: true).Name, 0L) };
        rig.Directories[1].Unreadable.Add((name, at / PageBytes * PageBytes, (at / PageBytes * PageBytes) + PageBytes));
        // Of a read before it was drained.
        foreach (var segment in rig.Store.Segments.All) segment.IsStuck = segment.Disk == DrainSpecs.Disk(rig).Id;
        DrainSpecs.Drain(rig);
        for (var step = 0; step < 300; step++) rig.Loop.Advance(100);
        var bad = Enumerable.Range(0, Blocks).Where(block => rig.Read(rig.Find(), (ulong)block).Status != IoStatus.Ok).Select(block => (ulong)block).ToArray();
        Assert.InRange(bad.Length, 1, 2);
        Assert.Equal(DiskState.Draining, DrainSpecs.Disk(rig).State);
        Assert.Equal(bad.Length, rig.Store.Segments.All.Where(segment => segment.IsAvoided).Sum(segment => segment.LiveBlocks));
        foreach (var block in bad) Mend(rig, block);
        DrainSpecs.UntilDrained(rig);
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "A drained disk that takes longer for each page that it can't read than anybody waits becomes empty all the same: what such a read has brought is taken when it comes")]
    public void Slow_errors()
    {
        var clock = new SlowClock();
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = 64 * StoreOptions.SegmentBytesMin, Clock = clock }, disks: 2);
        foreach (var directory in rig.Directories) directory.Clock = clock;
        using var scheduler = new HangingScheduler(rig.Loop);
        rig.Scheduler = scheduler;
        DiskPoolSpecs.Fill(rig.Open(), Blocks);
        var (name, at) = Somewhere(rig, middle: true);
        rig.Directories[1].Unreadable.Add((name, at / PageBytes * PageBytes, (at / PageBytes * PageBytes) + PageBytes));
        rig.Directories[1].ErrsSlowly = true;
        DrainSpecs.Drain(rig);
        var slow = 0;
        for (var second = 0; second < 200; second++)
        {
            clock.Pass(1000);
            rig.Loop.Advance(1000);
            if (scheduler.Hanging > 0 && second % 8 == 7)
            {
                slow++;
                scheduler.Release();
            }
        }
        while (scheduler.Hanging > 0) scheduler.Release();
        rig.Directories[1].ErrsSlowly = false;
        rig.Loop.Settle();
        var bad = Enumerable.Range(0, Blocks).Where(block => rig.Read(rig.Find(), (ulong)block).Status != IoStatus.Ok).Select(block => (ulong)block).ToArray();
        Assert.InRange(bad.Length, 1, 2);
        Assert.Equal(bad.Length, rig.Store.Segments.All.Where(segment => segment.IsAvoided).Sum(segment => segment.LiveBlocks));
        // The window, and its page: not again and again.
        Assert.InRange(slow, 2, 6);
        foreach (var block in bad) Mend(rig, block);
        DrainSpecs.UntilDrained(rig);
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    [Fact(DisplayName = "A disk is not blamed for one bad place that is read again and again, by clients or by a scrub")]
    public void One_place()
    {
        var rig = DiskPoolSpecs.Filled(2);
        var (name, at) = Somewhere(rig, middle: true);
        rig.Directories[1].Unreadable.Add((name, at, at + 1));
        var bad = Enumerable.Range(0, Blocks).Select(block => (ulong)block).Single(block => rig.Read(rig.Find(), block).Status != IoStatus.Ok);
        for (var read = 0; read < 10 * DiskHealthPolicy.ErrorsMax; read++)
        {
            Assert.Equal(IoStatus.DeviceError, rig.Read(rig.Find(), bad).Status);
            rig.Find().ReadEach(new BlockRange(bad, 1), 0, background: true, new IgnoredReads(), 0);
            rig.Loop.Advance(100);
        }
        rig.Loop.Advance(1000);
        Assert.Equal(DiskState.InUse, DrainSpecs.Disk(rig).State);
        Assert.True(DrainSpecs.Disk(rig).Errors > DiskHealthPolicy.ErrorsMax);
    }

    [Fact(DisplayName = "A segment of a drained disk that can't be deleted since the disk errs is tried again: the disk does not count as failing, and is empty once that works")]
    public void Failed_deletion()
    {
        var rig = DiskPoolSpecs.Filled(2);
        (rig.Directories[1].FailDeletes, rig.Directories[1].FailDeletesWith) = (1000, IoStatus.DeviceError);
        DrainSpecs.Drain(rig);
        for (var step = 0; step < 200; step++) rig.Loop.Advance(200);
        Assert.Equal(DiskState.Draining, DrainSpecs.Disk(rig).State);
        Assert.True(rig.Directories[1].FailDeletes is > 500 and < 998, "it is tried never, or all the time");
        rig.Directories[1].FailDeletes = 0;
        DrainSpecs.UntilDrained(rig);
        DiskPoolSpecs.CheckAll(rig, Blocks);
    }

    /// <summary>In a segment of the disk that the log has left: in the bytes of a block, or in what is before them in its record.</summary>
    private static (string Name, long At) Somewhere(StoreRig rig, bool middle)
    {
        for (var block = 20UL; ; block++)
        {
            Assert.True(((VolumeStore)rig.Find()).Map.Find(block, out var entry, out _));
            var segment = rig.Store.Segments[entry.Segment];
            if (segment.Disk != DrainSpecs.Disk(rig).Id || segment.Number >= rig.Store.Segments.All.Max(each => each.Number)) continue;
            // The page that is bad then has bytes of a block, and not the header of another's alone.
            if (middle ? (entry.OffsetBytes + 2000) % PageBytes is > 2400 and < 3000 : entry.OffsetBytes % PageBytes is > 400 and < 3000) return (segment.Name, entry.OffsetBytes + (middle ? 2000 : -100));
        }
    }

    private static void Mend(StoreRig rig, ulong block)
    {
        var record = StoreRig.Write(StoreRig.Volume, block + 1, block, [StoreRig.Bytes(block)], 1, 0, RecordFlags.Resync);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
        Assert.Equal((IoStatus.Ok, 1), rig.Find().Repair(record, in header));
        record.Release();
        rig.Sync(rig.Find());
    }

    private sealed class IgnoredReads : IEachReadCompletion
    {
        public void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply) => reply?.Release();
    }
}
