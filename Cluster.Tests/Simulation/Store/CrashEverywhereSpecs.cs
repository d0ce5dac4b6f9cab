namespace Cluster.Tests.Simulation.Store;

public sealed class CrashEverywhereSpecs
{
    private const int Steps = 100;

    [Theory(DisplayName = "The power goes at each write, sync and rename of a workload in turn: what was flushed is there, and the store goes on")]
    [InlineData(3, PowerLoss.LoseAll, 1, 0, 0)]
    [InlineData(4, PowerLoss.Torn, 1, 0, 0)]
    [InlineData(5, PowerLoss.LoseAll, 2, 0, 0)]
    [InlineData(6, PowerLoss.Torn, 3, 0, 0)]
    [InlineData(7, PowerLoss.Torn, 1, 1, 0)]
    [InlineData(9, PowerLoss.LoseAll, 1, 2, 0)]
    [InlineData(4, PowerLoss.Torn, 1, 0, 8 << 10)]
    [InlineData(5, PowerLoss.LoseAll, 2, 0, 100 << 10)]
    [InlineData(6, PowerLoss.Torn, 3, 0, 1 << 20)]
    public void At_every_operation(int seed, PowerLoss loss, int disks, int mapPages, int aheadBytes)
    {
        var whole = new StoreModelRun(seed, disks: disks, mapPages: mapPages);
        whole.Rig.Disk.AheadBytes = aheadBytes;
        var first = whole.Rig.Disk.Operations;
        whole.Steps(Steps);
        whole.StopAndReopen();
        var last = whole.Rig.Disk.Operations;
        Assert.InRange(last - first, 30, 2000);
        for (var operation = first + 1; operation <= last; operation++)
        {
            var run = new StoreModelRun(seed, disks: disks, mapPages: mapPages);
            (run.Rig.Disk.AheadBytes, run.Rig.Disk.PowerOffAt) = (aheadBytes, operation);
            run.Steps(Steps);
            if (run.Rig.Disk.IsOff)
            {
                run.Crash(loss);
            }
            else
            {
                // It goes while the store stops.
                run.Rig.Store.Stop(() => { });
                run.Rig.Loop.Settle();
                run.Crash(loss);
            }
            run.Compare();
            run.Steps(20);
            run.Crash(PowerLoss.LoseAll);
            run.Compare();
        }
    }

    [Theory(DisplayName = "The power goes at each step of an open that follows a crash: the open after that finds the same")]
    [InlineData(1, 0)]
    [InlineData(2, 0)]
    [InlineData(1, 1)]
    public void During_recovery(int disks, int mapPages)
    {
        for (var seed = 1; seed <= 3; seed++)
        {
            for (var operation = 1; operation <= 12; operation++)
            {
                var run = new StoreModelRun(seed, disks: disks, mapPages: mapPages);
                run.Steps(200);
                run.Rig.Disk.Restart(PowerLoss.Torn);
                run.Rig.Disk.PowerOffAt = run.Rig.Disk.Operations + operation;
                var opened = run.Rig.TryOpen();
                if (opened.Store is null) Assert.NotEqual("", opened.Reason);
                run.Crash(PowerLoss.Torn);
                run.Compare();
            }
        }
    }
}
