namespace Cluster.Tests.Simulation.Store;

public sealed class StoreModelSpecs
{
    [Fact(DisplayName = "Over many seeds the store is its model: through crashes, power cuts, torn writes, clean stops, checkpoints and cleaning")]
    public void Random_runs()
    {
        var (cleaned, freed, checkpoints, cold) = (0, 0, 0, 0L);
        for (var seed = 1; seed <= 30; seed++)
        {
            var did = StoreModelRun.Run(seed);
            (cleaned, freed, checkpoints, cold) = (cleaned + did.Cleaned, freed + did.Freed, checkpoints + did.Checkpoints, cold + did.Cold);
        }
        Assert.True(cleaned > 10 && freed > 50 && checkpoints > 50 && cold > 3,
            $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints, {cold} segments kept apart");
    }

    [Theory(DisplayName = "The same over two and three disks that lose their power together")]
    [InlineData(2)]
    [InlineData(3)]
    public void Several_disks(int disks)
    {
        var (cleaned, freed, checkpoints, cold) = (0, 0, 0, 0L);
        for (var seed = 1; seed <= 15; seed++)
        {
            var did = StoreModelRun.Run(seed, disks);
            (cleaned, freed, checkpoints, cold) = (cleaned + did.Cleaned, freed + did.Freed, checkpoints + did.Checkpoints, cold + did.Cold);
        }
        Assert.True(cleaned > 5 && freed > 25 && checkpoints > 25 && cold > 1,
            $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints, {cold} segments kept apart");
    }
}
