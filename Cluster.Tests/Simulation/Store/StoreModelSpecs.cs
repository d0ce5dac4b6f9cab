namespace Cluster.Tests.Simulation.Store;

public sealed class StoreModelSpecs
{
    [Fact(DisplayName = "Over many seeds the store is its model: through crashes, power cuts, torn writes, clean stops, checkpoints and cleaning")]
    public void Random_runs()
    {
        var (cleaned, freed, checkpoints, slices) = (0, 0, 0, 0);
        for (var seed = 1; seed <= 30; seed++)
        {
            var did = ShrunkRun.Run(seed);
            (cleaned, freed, checkpoints, slices) = (cleaned + did.Cleaned, freed + did.Freed, checkpoints + did.Checkpoints, slices + did.HandDownSlices);
        }
        Assert.True(cleaned > 10 && freed > 50 && checkpoints > 50, $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints");
        Assert.True(slices > 100, $"deleted snapshots were handed down in {slices} slices only");
    }

    [Theory(DisplayName = "The same where the log writes zeroes ahead of itself, over whatever an earlier use of a segment has left there, for a short stretch and for more than a segment, over one disk and two")]
    [InlineData(12 << 10)]
    [InlineData(100 << 10)]
    [InlineData(1 << 20)]
    public void Zeroes_ahead(int aheadBytes)
    {
        var (cleaned, freed, checkpoints, cold) = (0, 0, 0, 0L);
        for (var seed = 1; seed <= 30; seed++)
        {
            var did = ShrunkRun.Run(seed, disks: 1 + (seed % 2), isLong: seed % 3 == 0, aheadBytes: aheadBytes);
            (cleaned, freed, checkpoints, cold) = (cleaned + did.Cleaned, freed + did.Freed, checkpoints + did.Checkpoints, cold + did.Cold);
        }
        Assert.True(cleaned > 50 && freed > 50 && checkpoints > 50 && cold > 10, $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints, {cold} segments kept apart");
    }

    [Theory(DisplayName = "The same with memory for hardly any page of the maps: pages come and go all the time, and nothing else is different")]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Hardly_any_memory(int pages)
    {
        var (evictions, written, inPlace, byThread, checkpoints) = (0L, 0L, 0L, 0L, 0);
        for (var seed = 1; seed <= 30; seed++)
        {
            var did = ShrunkRun.Run(seed, disks: 1 + (seed % 2), mapPages: pages);
            Assert.Equal(0, did.Maps.LostPages);
            (evictions, written, checkpoints) = (evictions + did.Maps.Evictions, written + did.Maps.Written, checkpoints + did.Checkpoints);
            (inPlace, byThread) = (inPlace + did.Maps.LoadsInPlace, byThread + did.Maps.LoadsByThread);
        }
        Assert.True(Math.Min(evictions, inPlace) > 3000 && written > 1000 && checkpoints > 50, $"the runs are too tame: {evictions} evicted, {written} written, {inPlace} and {byThread} read, {checkpoints} checkpoints");
    }

    [Theory(DisplayName = "The same while bits of the page file flip: whatever needs a page that is lost fails the store, and the next open has all that was flushed")]
    [InlineData(1)]
    [InlineData(3)]
    public void Pages_are_lost(int pages)
    {
        var (lost, freed, checkpoints) = (0L, 0, 0);
        for (var seed = 1; seed <= 40; seed++)
        {
            var did = ShrunkRun.Run(seed, mapPages: pages, losesPages: true);
            (lost, freed, checkpoints) = (lost + did.Maps.LostPages, freed + did.Freed, checkpoints + did.Checkpoints);
        }
        Assert.True(lost > 100 && freed > 10 && checkpoints > 10, $"the runs are too tame: {lost} lost, {freed} freed, {checkpoints} checkpoints");
    }

    [Theory(DisplayName = "The same over a directory and one or two block devices without a file system, that lose their power together")]
    [InlineData(1)]
    [InlineData(2)]
    public void Block_devices(int devices)
    {
        var (cleaned, freed, checkpoints) = (0, 0, 0);
        for (var seed = 1; seed <= 20; seed++)
        {
            var did = ShrunkRun.Run(seed, devices: devices);
            (cleaned, freed, checkpoints) = (cleaned + did.Cleaned, freed + did.Freed, checkpoints + did.Checkpoints);
        }
        Assert.True(cleaned > 5 && freed > 25 && checkpoints > 25, $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints");
    }

    [Theory(DisplayName = "The same over two and three disks that lose their power together")]
    [InlineData(2)]
    [InlineData(3)]
    public void Several_disks(int disks)
    {
        var (cleaned, freed, checkpoints) = (0, 0, 0);
        for (var seed = 1; seed <= 15; seed++)
        {
            var did = ShrunkRun.Run(seed, disks);
            (cleaned, freed, checkpoints) = (cleaned + did.Cleaned, freed + did.Freed, checkpoints + did.Checkpoints);
        }
        Assert.True(cleaned > 5 && freed > 25 && checkpoints > 25, $"the runs are too tame: {cleaned} cleaned, {freed} freed, {checkpoints} checkpoints");
    }

    [Fact(DisplayName = "The same for so long that the cleaner fills segments beside the log, over one disk and two, with all of the maps in memory and hardly any")]
    public void Beside_the_log()
    {
        var (cleaned, cold, byThread) = (0, 0L, 0L);
        for (var seed = 1; seed <= 20; seed++)
        {
            var did = ShrunkRun.Run(seed, 1 + (seed % 2), seed % 3, isLong: true);
            (cleaned, cold, byThread) = (cleaned + did.Cleaned, cold + did.Cold, byThread + did.Maps.LoadsByThread);
        }
        Assert.True(cleaned > 100 && cold > 20 && byThread > 1000, $"the runs are too tame: {cleaned} cleaned, {cold} segments kept apart, {byThread} pages read back");
    }
}
