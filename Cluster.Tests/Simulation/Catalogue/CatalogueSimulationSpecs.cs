using System.Globalization;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Catalogues;

/// <summary>Changes of the catalogue that are told again, over hundreds of seeds. CHAOS_SEED=N: that one only; SIM_CATALOGUE_SEEDS=N: so many.</summary>
public sealed class CatalogueSimulationSpecs(ITestOutputHelper output)
{
    private const int SeedsDefault = 300;

    [Fact(DisplayName = "A change of the catalogue that was answered stays done, once, whatever is lost, told again or comes late; one that was refused was not done")]
    public void Told_again()
    {
        var only = Environment.GetEnvironmentVariable("SIM_SEED") ?? Environment.GetEnvironmentVariable("CHAOS_SEED");
        var count = int.Parse(Environment.GetEnvironmentVariable("SIM_CATALOGUE_SEEDS") ?? $"{SeedsDefault}", CultureInfo.InvariantCulture);
        if (only is { Length: > 0 })
        {
            output.WriteLine($"{CatalogueRun.Run(ulong.Parse(only, CultureInfo.InvariantCulture))}");
            return;
        }
        var results = Enumerable.Range(1, count).Select(seed => CatalogueRun.Run((ulong)seed)).ToArray();
        // All that may happen did: it can't pass for want of it.
        Assert.All((int[])[results.Sum(one => one.Done), results.Sum(one => one.Refused), results.Sum(one => one.Undecided), results.Sum(one => one.Silent),
            results.Sum(one => one.ToldAgain), results.Sum(one => one.LostSets)], sum => Assert.True(sum > count / 10));
        output.WriteLine($"{count} seeds: {results.Sum(one => one.Done)} done, {results.Sum(one => one.Refused)} refused, {results.Sum(one => one.Undecided)} undecided, {results.Sum(one => one.Silent)} without an answer, "
            + $"{results.Sum(one => one.ToldAgain)} told again, {results.Sum(one => one.Moves)} moves, {results.Sum(one => one.LostSets)} compare and sets lost");
    }

    [Fact(DisplayName = "A seed comes to the same each time")]
    public void Same_again() => Assert.Equal(CatalogueRun.Run(7), CatalogueRun.Run(7));
}
