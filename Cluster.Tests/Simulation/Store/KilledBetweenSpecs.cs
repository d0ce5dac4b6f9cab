using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>The process is killed between two calls of which only the second makes the first durable; later the power goes.</summary>
public sealed class KilledBetweenSpecs
{
    private const int Steps = 100;
    private const ulong Blocks = 40;

    [Theory(DisplayName = "The process is killed at each write, sync and rename of a workload in turn, works on, and then the power goes: what was flushed is there")]
    [InlineData(3)]
    [InlineData(6)]
    public void Kill_then_power(int seed)
    {
        var whole = new StoreModelRun(seed);
        var first = whole.Rig.Disk.Operations;
        whole.Steps(Steps);
        var last = whole.Rig.Disk.Operations;
        for (var operation = first + 1; operation <= last; operation++)
        {
            var run = new StoreModelRun(seed);
            run.Rig.Disk.PowerOffAt = operation;
            run.Steps(Steps);
            run.Crash(PowerLoss.ProcessOnly);
            run.Compare();
            run.Steps(60);
            run.Crash(PowerLoss.LoseAll);
            run.Compare();
        }
    }

    [Fact(DisplayName = "A checkpoint whose name a killed process left unsynced is on media before anything that only the older one names is used anew")]
    public void Checkpoint_name()
    {
        var rig = FewSegments();
        var volume = rig.Create();
        for (var round = 0UL; rig.Store.CheckpointsWritten < 2 || rig.Store.Segments.CanCreate; round++) Overwrite(rig, volume, round * 100);
        // The next checkpoint's rename is done, its directory sync is not.
        rig.Disk.DiesAtDirectorySync = true;
        for (var round = 500UL; !rig.Disk.IsOff; round++) Overwrite(rig, volume, round * 100);
        volume = rig.Restart(PowerLoss.ProcessOnly).Find();
        Overwrite(rig, volume, 90000);
        Assert.Equal(volume.LastSequence, volume.DurableSequence);
        volume = rig.Restart(PowerLoss.LoseAll).Find();
        Assert.Null(volume.Damage);
        volume.Commit(volume.LastSequence);
        for (var block = 0UL; block < Blocks; block++) Assert.Equal(StoreRig.Bytes(90000 + block), rig.Read(volume, block).Blocks[0].Bytes);
    }

    [Fact(DisplayName = "A segment whose name a killed process left unsynced is on media before the log uses it")]
    public void Segment_name()
    {
        var rig = FewSegments();
        var volume = rig.Create();
        for (var block = 0UL; rig.Store.Segments.All.Count < StoreOptions.SegmentsMin - 1; block++) Append(rig, volume, block);
        // The last segment that the capacity allows is made, but for its directory sync. Nothing is committed any more: the cleaner, whose
        // checkpoint would sync the directory, leaves a tail alone.
        rig.Disk.DiesAtDirectorySync = true;
        for (var block = 1000UL; !rig.Disk.IsOff; block++) Append(rig, volume, block, commits: false);
        volume = rig.Restart(PowerLoss.ProcessOnly).Find();
        Append(rig, volume, 1, commits: false);
        rig.Sync(volume);
        var last = volume.DurableSequence;
        Assert.Equal(last, volume.LastSequence);
        Assert.Equal(last, rig.Restart(PowerLoss.LoseAll).Find().LastSequence);
    }

    [Fact(DisplayName = "A segment that a kill or a loss of power left short is no reserve: it is removed, and the reserve is made anew")]
    public void Short_segment()
    {
        var rig = new StoreRig(6, new StoreOptions { CapacityBytes = 12L * StoreOptions.SegmentBytesMin }).Open();
        rig.Disk.DiesAtPreallocate = true;
        Assert.NotEqual(IoStatus.Ok, rig.Store.Create(StoreRig.Volume, new byte[] { 1 }).Status);
        Assert.True(rig.Disk.IsOff);
        Assert.Contains(rig.Disk.Names, name => SegmentTable.IdOf(name) is not null && rig.Disk.Content(name).Length == 0);
        rig.Restart(PowerLoss.ProcessOnly);
        Assert.Empty(rig.Store.Segments.All);
        Assert.DoesNotContain(rig.Disk.Names, name => SegmentTable.IdOf(name) is not null);
        rig.Create();
        Assert.All(rig.Store.Segments.All, segment => Assert.Equal(StoreOptions.SegmentBytesMin, segment.File.LengthBytes));
    }

    /// <summary>Later segments come first by name, so that a new process uses them first.</summary>
    private static StoreRig FewSegments()
    {
        var rig = new StoreRig(7, new StoreOptions { CapacityBytes = (long)StoreOptions.SegmentsMin * StoreOptions.SegmentBytesMin });
        var ids = 1000;
        rig.Options = rig.Options with { NewId = () => new Guid(ids--, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1) };
        return rig.Open();
    }

    private static void Overwrite(StoreRig rig, IVolumeStore volume, ulong content)
    {
        for (var block = 0UL; block < Blocks && !rig.Disk.IsOff; block++) Append(rig, volume, block, content + block);
        rig.Sync(volume);
    }

    private static void Append(StoreRig rig, IVolumeStore volume, ulong block, ulong content = 0, bool commits = true)
    {
        StoreRig.AppendBlock(volume, block, StoreRig.Bytes(content), 1, volume.CommitWatermark);
        rig.Loop.Settle();
        if (commits) volume.Commit(volume.AppendedSequence);
    }
}
