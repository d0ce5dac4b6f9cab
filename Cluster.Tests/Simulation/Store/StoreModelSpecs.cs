namespace Cluster.Tests.Simulation.Store;

public sealed class StoreModelSpecs
{
    [Fact(DisplayName = "Over many seeds the store is its model: through crashes, power cuts, torn writes, clean stops, checkpoints and cleaning")]
    public void Random_runs()
    {
        var (cleaned, freed, checkpoints) = (0, 0, 0);
        for (var seed = 1; seed <= 20; seed++)
        {
            var run = new StoreModelRun(seed);
            run.Rig.Disk.ShortWrites = seed % 2 == 0;
            run.Rig.Disk.UncachedOneIn = seed % 3 == 0 ? 4 : 0;
            var random = new Random(-seed);
            for (var life = 0; life < 12; life++)
            {
                var goesOff = random.Next(2) == 0;
                if (goesOff) run.Rig.Disk.PowerOffAt = run.Rig.Disk.Operations + random.Next(1, 60);
                try
                {
                    run.Steps(random.Next(1, 400));
                    if (!run.Rig.Disk.IsOff) run.Rig.Disk.PowerOffAt = 0;
                    var store = run.Rig.Store;
                    (cleaned, freed, checkpoints) = (cleaned + store.SegmentsCleaned, freed + store.SegmentsFreed,
                        checkpoints + store.CheckpointsWritten);
                    if (!run.Rig.Disk.IsOff && random.Next(3) == 0) run.Compare();
                    if (!run.Rig.Disk.IsOff && random.Next(4) == 0) run.StopAndReopen();
                    else run.Crash((PowerLoss)(goesOff ? random.Next(1, 3) : random.Next(3)));
                    run.Compare();
                }
                catch (Exception error)
                {
                    throw new InvalidOperationException($"seed {seed}, life {life}: {error.Message}", error);
                }
            }
            run.CompareCopies();
        }
        Assert.True(cleaned > 10 && freed > 50 && checkpoints > 50,
            $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints");
    }
}
