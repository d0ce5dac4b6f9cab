using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Calls on one disk of a store do not return: what the store does beside it goes on.</summary>
public sealed class HungDiskSpecs : IDisposable
{
    private const int Blocks = 200;
    private const long SegmentBytes = StoreOptions.SegmentBytesMin;

    private readonly SlowClock _clock = new();
    private HangingScheduler? _scheduler;

    [Fact(DisplayName = "A read of a disk that is drained and hangs for good keeps neither the cleaner from making room nor another disk from being drained; once it answers, its drain goes on")]
    public void Hung_drain()
    {
        var rig = Rig(4, segments: 24);
        rig.Directories[1].Hangs = SimulatedCalls.Reads;
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig).Status);
        Pass(rig, 1);
        Assert.Equal(1, _scheduler!.Hanging);
        Pass(rig, 10);
        Assert.Equal(IoStatus.Ok, DrainSpecs.Drain(rig, at: "d2/").Status);
        UntilDrained(rig, "d2/");
        FillUp(rig);
        Assert.True(rig.Store.SegmentsCleaned > 0);
        Assert.Equal(1, _scheduler.Hanging);
        rig.Directories[1].Hangs = SimulatedCalls.None;
        _scheduler.Release();
        UntilDrained(rig, "d1/");
        DiskPoolSpecs.CheckAll(rig, 4 * Blocks);
    }

    public void Dispose() => _scheduler?.Dispose();

    private StoreRig Rig(int disks, int segments = 64, int blocks = Blocks)
    {
        var rig = new StoreRig(2, new StoreOptions { CapacityBytes = segments * SegmentBytes, CheckpointIntervalBytes = 600_000, Clock = _clock }, disks: disks);
        foreach (var directory in rig.Directories) directory.Clock = _clock;
        rig.Scheduler = _scheduler = new HangingScheduler(rig.Loop);
        return DiskPoolSpecs.Fill(rig.Open(), blocks);
    }

    /// <summary>Blocks of more and more segments are overwritten one by one, so that hardly any dies as a whole: without the cleaner the room ends.</summary>
    private void FillUp(StoreRig rig)
    {
        DiskPoolSpecs.Fill(rig, 4 * Blocks);
        var volume = rig.Find();
        for (var write = 0UL; write < 20 * Blocks; write++)
        {
            var block = write * 37 % (4 * Blocks);
            for (var wait = 0; StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block), watermark: volume.CommitWatermark) is not IoStatus.Ok and var status; wait++)
            {
                Assert.Equal(IoStatus.NoSpace, status);
                Assert.True(wait < 60, $"no room is made: {string.Join("; ", rig.Store.Disks)}");
                Pass(rig, 1);
            }
            volume.Commit(volume.LastSequence);
            if (write % 20 == 19) rig.Sync(volume);
        }
    }

    private void Pass(StoreRig rig, int seconds)
    {
        for (var second = 0; second < seconds; second++)
        {
            _clock.Pass(1000);
            rig.Loop.Advance(1000);
        }
    }

    private void UntilDrained(StoreRig rig, string at)
    {
        for (var second = 0; DrainSpecs.Disk(rig, at).State != DiskState.Drained; second++)
        {
            Assert.True(second < 200, $"it is not drained: {DrainSpecs.Disk(rig, at)}");
            Pass(rig, 1);
        }
    }
}
