using System.Globalization;
using System.Reflection;
using Cluster.Tests.Architecture;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Mutants;

/// <summary>Shows that the simulator's checkers bite: each planted bug breaks a promise that they look at. SIM_MUTANT=TEXT runs just those whose name has it, SIM_FIRST=N begins at seed N: how often a bug is caught decides its number of seeds.</summary>
[Collection("Cluster simulation")]
public sealed class MutantSpecs(ITestOutputHelper output)
{
    private const int HealthySeeds = 20;

    /// <summary>What a seed of the store alone is.</summary>
    private static readonly string[] StoreRuns = ["StoreModelRun", "ReclaimRun", "SnapshotCatchUpRun", "DrainRun", "ColdSegmentRun", "LostPagesRun", "LayerRun", "FullLivesRun"];

    private static readonly Lazy<MutantCompiler> Compiler = new(() => new MutantCompiler());

    public static TheoryData<string> Names
    {
        get
        {
            var asked = Environment.GetEnvironmentVariable("SIM_MUTANT") ?? "";
            var names = new TheoryData<string>();
            foreach (var mutant in Planted.Where(mutant => mutant.ToString().Contains(asked, StringComparison.OrdinalIgnoreCase))) names.Add(mutant.ToString());
            return names;
        }
    }

    private static IEnumerable<Mutant> Planted => Mutants.All.Concat(StoreMutants.All).Concat(StoreMutants.Pages);

    [Fact(DisplayName = "What the planted bugs are compared with breaks no promise when compiled in the same way")]
    public void Without_one_nothing_is_caught()
    {
        foreach (var runs in Enum.GetValues<MutantRuns>()) Assert.Null(FirstCaught(Compiler.Value.Healthy(), HealthySeeds, runs));
    }

    [Fact(DisplayName = "The text that a bug is planted in is in its source, once: found here at once, and not only when its turn comes")]
    public void Each_text_is_there()
    {
        foreach (var mutant in Planted) Assert.True(Repository.Read(mutant.File).Split(mutant.Text).Length == 2, $"{mutant}: '{mutant.Text}' is not there exactly once in {mutant.File}");
    }

    [Theory(DisplayName = "Each planted bug is caught by the simulator")]
    [MemberData(nameof(Names))]
    public void Each_planted_bug_is_caught(string name)
    {
        var mutant = Planted.Single(planted => planted.ToString() == name);
        var caught = FirstCaught(Compiler.Value.Compile(mutant), mutant.Seeds, mutant.Runs);
        output.WriteLine($"{name}: {caught}");
        Assert.True(caught is not null, $"{name}: not caught by {mutant.Seeds} seeds");
    }

    /// <summary>The first seed that breaks a promise, and which; a leaked buffer is no promise.</summary>
    private static string? FirstCaught(Assembly assembly, int seeds, MutantRuns runs)
    {
        var first = int.Parse(Environment.GetEnvironmentVariable("SIM_FIRST") ?? "1", CultureInfo.InvariantCulture);
        for (var seed = first; seed < first + seeds; seed++)
        {
            try
            {
                RunOne(assembly, seed, runs);
            }
            catch (TargetInvocationException e) when (e.InnerException!.GetType().Name == "BrokenPromiseException" || runs == MutantRuns.StoreAlone)
            {
                var what = e.InnerException!.Message.Split('\n')[0];
                if (!what.Contains("of buffers were not given back", StringComparison.Ordinal)) return $"seed {seed}: {what}";
            }
        }
        return null;
    }

    private static void RunOne(Assembly assembly, int seed, MutantRuns runs)
    {
        const string tests = "Cluster.Tests.Simulation";
        if (runs == MutantRuns.StoreAlone)
        {
            foreach (var run in StoreRuns) RunStore(assembly.GetType($"{tests}.Store.{run}", throwOnError: true)!, seed);
            return;
        }
        if (runs == MutantRuns.Catalogue)
        {
            assembly.GetType($"{tests}.Catalogues.CatalogueRun", throwOnError: true)!.GetMethod("Run", [typeof(ulong)])!.Invoke(null, [(ulong)seed]);
            return;
        }
        var method = runs switch { MutantRuns.OverStore => "RunOverStore", MutantRuns.Resizing => "RunResizing", MutantRuns.Limited => "RunLimited", MutantRuns.Cloning => "RunCloning", MutantRuns.Caching => "RunCaching", _ => "Run" };
        assembly.GetType($"{tests}.Volumes.SimRun", throwOnError: true)!.GetMethod(method, [typeof(ulong)])!.Invoke(null, [(ulong)seed]);
    }

    /// <summary>What a run takes beside its seed has a default.</summary>
    private static void RunStore(Type run, int seed)
    {
        var method = run.GetMethod("Run", BindingFlags.Public | BindingFlags.Static)!;
        method.Invoke(null, [seed, .. method.GetParameters().Skip(1).Select(_ => Type.Missing)]);
    }
}
