using System.Globalization;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Alone in the process while they run: they count the buffers of the whole process.</summary>
[CollectionDefinition("Cluster simulation", DisableParallelization = true)]
public sealed class ClusterSimulationCollection;

[Collection("Cluster simulation")]
public sealed class ClusterSimulationSpecs(ITestOutputHelper output)
{
    private const int SeedsDefault = 2000;

    [Fact(DisplayName = "No seed breaks a promise, and each ends with all copies in sync, the same, and everything answered")]
    public void No_seed_breaks_a_promise()
    {
        var results = new List<SimResult>();
        foreach (var seed in Seeds()) results.Add(SimRun.Run(seed));
        output.WriteLine($"{results.Count} seeds: {results.Sum(result => result.Asked)} requests, {results.Sum(result => result.Writes)} writes, "
            + $"{results.Sum(result => result.Reads)} reads, {results.Sum(result => result.Flushes)} flushes, {results.Sum(result => result.Conflicts)} conflicts, "
            + $"{results.Sum(result => result.Replays)} answered replays, {results.Sum(result => result.Faults)} faults, {results.Sum(result => result.Servings)} takeovers, "
            + $"{results.Sum(result => result.CatchUps)} catch-ups, {results.Sum(result => result.TailRecords)} tail records, "
            + $"{results.Sum(result => result.Depositions)} depositions, {results.Sum(result => result.Attachments)} attachments, "
            + $"{results.Sum(result => result.PowerLosses)} losses of power, {results.Sum(result => result.Losses)} sessions told of lost writes, {results.Sum(result => result.VirtualMs) / 1000} virtual seconds, {results.Sum(result => result.Frames)} frames");
        Assert.All(results, result => Assert.True(result.Asked >= 500 && result.Faults >= 10, $"seed {result.Seed} tested little: {result}"));
        if (results.Count < 20) return;
        Assert.True(results.Sum(result => result.Servings) > results.Count, "owners were hardly ever taken over");
        Assert.True(results.Sum(result => result.CatchUps) > results.Count, "hardly any copy was ever caught up");
        Assert.True(results.Sum(result => result.TailRecords) > results.Count, "hardly any tail was ever fetched");
        Assert.True(results.Sum(result => result.Depositions) > results.Count / 4, "hardly any owner was ever deposed while it served");
        Assert.True(results.Sum(result => result.Attachments) > results.Count / 4, "hardly anything was attached");
        Assert.True(results.Sum(result => result.PowerLosses) > results.Count / 4 && results.Sum(result => result.Losses) > 0, "hardly any power was lost");
        Assert.True(results.Sum(result => result.Conflicts) > results.Count && results.Sum(result => result.Replays) > results.Count, "hardly any refusals and replays");
    }

    [Fact(DisplayName = "The same seed gives the same run")]
    public void The_same_seed_gives_the_same_run() => Assert.Equal(SimRun.Run(4711), SimRun.Run(4711));

    private static IEnumerable<ulong> Seeds()
    {
        if (Environment.GetEnvironmentVariable("SIM_SEED") is { } one) return [ulong.Parse(one, CultureInfo.InvariantCulture)];
        var count = int.Parse(Environment.GetEnvironmentVariable("SIM_SEEDS") ?? $"{SeedsDefault}", CultureInfo.InvariantCulture);
        var first = ulong.Parse(Environment.GetEnvironmentVariable("SIM_FIRST") ?? "1", CultureInfo.InvariantCulture);
        return Enumerable.Range(0, count).Select(index => first + (ulong)index);
    }
}
