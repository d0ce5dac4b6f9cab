using Cluster.Messages.Model;
using Cluster.Node.Store;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What the cleaner costs at 85 % full, counted and not timed: bytes written by bytes that clients wrote.</summary>
public sealed class WriteAmplificationSpecs(ITestOutputHelper output)
{
    private const int Segments = 512;
    private const int FullPercent = 85;
    private const int HotWritesPercent = 80;

    /// <summary>Times that the whole is overwritten before it is counted, and while it is.</summary>
    private const int PassesBefore = 2;
    private const int PassesCounted = 2;

    [Theory(DisplayName = "85 % full, overwritten at random, the same blocks all the time or 80 % of the writes to 20 % of the blocks: the store writes at most so many times what clients wrote")]
    [InlineData(0, 3.8)]
    [InlineData(20, 3.4)]
    public void Bounded(int hotPercent, double most)
    {
        var rig = new StoreRig(3, new StoreOptions { CapacityBytes = Segments * (long)StoreOptions.SegmentBytesMin, CheckpointIntervalBytes = 16 << 20 }).Open();
        var volume = rig.Create();
        rig.Loop.Settle();
        var blocks = (int)(rig.Store.Usage.CapacityBytes / 100 * FullPercent / Limits.BlockBytes);
        var random = new Random(3);
        for (var block = 0; block < blocks; block++) Write(rig, volume, (ulong)block);
        var before = default(StoreActivity);
        for (var count = 0; count < blocks * (PassesBefore + PassesCounted); count++)
        {
            if (count == blocks * PassesBefore) before = rig.Store.Activity;
            Write(rig, volume, Pick(random, blocks, hotPercent));
        }
        var (now, client) = (rig.Store.Activity, (double)blocks * PassesCounted * Limits.BlockBytes);
        var (moved, checkpoints) = ((now.MovedBytes - before.MovedBytes) / client, (now.CheckpointBytes - before.CheckpointBytes) / client);
        var amplification = ((now.AppendedBytes - before.AppendedBytes) / client) + checkpoints;
        output.WriteLine($"{blocks} blocks: {amplification:0.00}, moved {moved:0.00}, checkpoints {checkpoints:0.00}; {now}, {rig.Store.Usage}");
        Assert.InRange(amplification, 1.5, most);
        Assert.True(now.ColdSegments > before.ColdSegments, "nothing was kept apart");
    }

    private static void Write(StoreRig rig, IVolumeStore volume, ulong block)
    {
        var status = StoreRig.AppendBlock(volume, block, Content, 1, volume.CommitWatermark);
        Assert.True(status == IoStatus.Ok, $"{status}, {rig.Store.FailureReason}, {rig.Store.Usage}");
        volume.Commit(volume.LastSequence);
        if (volume.LastSequence % 8 == 0) rig.Loop.Settle();
    }

    private static readonly byte[] Content = StoreRig.Bytes(1);

    private static ulong Pick(Random random, int blocks, int hotPercent)
    {
        var hot = blocks * hotPercent / 100;
        return (ulong)(hot == 0 ? random.Next(blocks) : random.Next(100) < HotWritesPercent ? random.Next(hot) : random.Next(hot, blocks));
    }
}
