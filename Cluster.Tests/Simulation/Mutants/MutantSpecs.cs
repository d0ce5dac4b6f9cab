using System.Reflection;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Mutants;

/// <summary>Shows that the simulator's checkers bite: each planted bug breaks a promise that they look at. SIM_MUTANT=TEXT runs just those whose name has it.</summary>
[Collection("Cluster simulation")]
public sealed class MutantSpecs(ITestOutputHelper output)
{
    private const int HealthySeeds = 20;

    [Fact(DisplayName = "Each planted bug is caught by the simulator, and without one nothing is")]
    public void Each_planted_bug_is_caught()
    {
        var compiler = new MutantCompiler();
        Assert.Null(FirstCaught(compiler.Healthy(), HealthySeeds));
        var asked = Environment.GetEnvironmentVariable("SIM_MUTANT") ?? "";
        var survivors = new List<string>();
        foreach (var mutant in Mutants.All.Where(mutant => mutant.ToString().Contains(asked, StringComparison.OrdinalIgnoreCase)))
        {
            var caught = FirstCaught(compiler.Compile(mutant), mutant.Seeds);
            output.WriteLine(caught is null ? $"{mutant}: SURVIVED {mutant.Seeds} seeds" : $"{mutant}: {caught}");
            if (caught is null) survivors.Add(mutant.ToString());
        }
        Assert.True(survivors.Count == 0, $"these planted bugs were not caught: {string.Join("; ", survivors)}");
    }

    /// <summary>The first seed that breaks a promise, and which; a leaked buffer is no promise.</summary>
    private static string? FirstCaught(Assembly assembly, int seeds)
    {
        var run = assembly.GetType("Cluster.Tests.Simulation.Volumes.SimRun", throwOnError: true)!.GetMethod("Run", [typeof(ulong)])!;
        for (ulong seed = 1; seed <= (ulong)seeds; seed++)
        {
            try
            {
                run.Invoke(null, [seed]);
            }
            catch (TargetInvocationException e) when (e.InnerException!.GetType().Name == "BrokenPromiseException")
            {
                var what = e.InnerException.Message.Split('\n')[0];
                if (!what.Contains("of buffers were not given back", StringComparison.Ordinal)) return what;
            }
        }
        return null;
    }
}
