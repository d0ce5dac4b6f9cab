using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What the log writes ahead of itself. That nothing is lost by it is in <see cref="StoreModelSpecs"/> and <see cref="CrashEverywhereSpecs"/>.</summary>
public sealed class LogAheadSpecs
{
    private const int Segments = 12;
    private const int AheadBytes = 64 << 10;

    /// <summary>Of a record of one block.</summary>
    private const int EntryBytes = EntryPrefix.SizeBytes + Messages.Wire.RecordHeader.SizeBytes + Messages.Wire.BlockDescriptor.SizeBytes + Messages.Model.Limits.BlockBytes;

    [Theory(DisplayName = "Behind the end of the log lie zeroes up to the next stretch, also in a segment that is used anew; on a disk that has no use for it what was there stays")]
    [InlineData(0)]
    [InlineData(AheadBytes)]
    public void Zeroes(int aheadBytes)
    {
        var rig = new StoreRig(1, new StoreOptions { CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 1 << 20 });
        rig.Disk.AheadBytes = aheadBytes;
        rig.Open();
        var (volume, random, block, dirty) = (rig.Create(), new Random(1), new byte[4096], 0);
        for (var round = 0; round < 2_000; round++)
        {
            random.NextBytes(block);
            Assert.Equal(Messages.Model.IoStatus.Ok, StoreRig.AppendBlock(volume, (ulong)(round % 8), block, watermark: volume.CommitWatermark));
            volume.Commit(volume.LastSequence);
            rig.Loop.Settle();
            var active = rig.Store.Segments.All.MaxBy(segment => segment.Number)!;
            var to = Math.Min((active.WrittenBytes + AheadBytes - 1) / AheadBytes * AheadBytes, StoreOptions.SegmentBytesMin);
            if (rig.Disk.Content(active.Name).AsSpan((int)active.WrittenBytes..(int)to).ContainsAnyExcept((byte)0)) dirty++;
        }
        Assert.True(rig.Store.Segments.All.Max(segment => segment.Number) > 2 * Segments, "no segment was used anew");
        if (aheadBytes > 0) Assert.Equal(0, dirty);
        else Assert.True(dirty > 500, $"in {dirty} rounds only something lay behind the end");
    }

    [Fact(DisplayName = "Zeroes that can't be written fail the store as data would (R10), and the next open has all that was flushed")]
    public void Zeroes_fail()
    {
        var rig = new StoreRig(1);
        rig.Disk.AheadBytes = AheadBytes;
        rig.Open();
        var volume = rig.Create();
        rig.WriteBlock(volume, 1, 11);
        volume.RequestSync();
        rig.Loop.Settle();
        // Up to the write that needs zeroes first.
        var stretch = rig.Store.Segments.All.Max(segment => segment.ZeroedBytes);
        for (var block = 2UL; rig.Store.FailureReason is null; block++)
        {
            Assert.True(block < 100, "no zeroes were written");
            var log = rig.Store.Segments.All.MaxBy(segment => segment.Number)!;
            if (log.WrittenBytes + EntryBytes > stretch) rig.Disk.FailWrites = 1;
            StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), watermark: volume.CommitWatermark);
            rig.Loop.Settle();
        }
        Assert.Equal(stretch, rig.Store.Segments.All.Max(segment => segment.ZeroedBytes));
        rig.Restart(PowerLoss.LoseAll);
        rig.Find().Commit(rig.Find().LastSequence);
        Assert.Equal(StoreRig.Bytes(11), rig.Read(rig.Find(), 1).Blocks[0].Bytes);
    }
}
