namespace Cluster.Tests.Simulation.Store;

/// <summary>One seed of a store whose cleaner fills segments beside the log. Throws where a block is not what was written.</summary>
public static class ColdSegmentRun
{
    private const int Lives = 6;

    /// <summary>How many segments were kept apart.</summary>
    public static long Run(int seed)
    {
        var random = new Random(-seed);
        var life = new ColdSegmentLife(0, seed: seed);
        var kept = 0L;
        for (var count = 0; count < Lives; count++)
        {
            if (random.Next(3) > 0) life.Rig.Disk.PowerOffAt = life.Rig.Disk.Operations + random.Next(20, 900);
            life.Overwrite();
            life.Rig.Disk.PowerOffAt = 0;
            kept += life.Rig.Store.ColdSegments;
            var loss = (PowerLoss)random.Next(3);
            life.Rig.Restart(loss);
            life.Check($"seed {seed}, {loss} at the end of life {count}");
        }
        life.UntilOneWaits();
        life.BeginAnew();
        return kept;
    }
}
