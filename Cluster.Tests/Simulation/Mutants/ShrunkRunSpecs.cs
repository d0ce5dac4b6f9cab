using System.Reflection;
using Cluster.Tests.Simulation.Store;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Mutants;

/// <summary>A failure of the store's model-based runs is told with few steps. Shown with a planted bug: without it they pass.</summary>
[Collection("Cluster simulation")]
public sealed class ShrunkRunSpecs(ITestOutputHelper output)
{
    /// <summary>A run has some thousand.</summary>
    private const int StepsMax = 12;

    /// <summary>Seeds that are asked for one that the bug fails.</summary>
    private const int Seeds = 10;

    /// <summary>Lists that failed once, by what they failed with: pasted from a report.</summary>
    public static TheoryData<string, string> Kept => new()
    {
        {
            "planted: a truncation is not in the log",
            """
            Setup 1 1 1 False 0 False
            Create 78 5151 4
            Append 78 0 7 0 4096
            Create 2 2666 7
            Truncate 78 0
            Append 78 1 519 90 4096 91 1897 0 0
            Flush 2
            Crash 0 0
            """
        },
        {
            "planted: what began with a deleted snapshot is not handed on",
            """
            Setup 1 1 1 False 0 False
            Create 79 2767 5
            Append 79 1 68719476747 7 13 0 0
            Mark 79 0 1 0 0 0
            Mark 79 1 1 0 0 0
            Commit 79 9
            Mark 79 1 1 0 0 0 0
            Commit 79 1
            """
        },
    };

    [Fact(DisplayName = "Of the steps of a run that fails by a planted bug a short list is left, which fails too, and passes without the bug")]
    public void A_planted_bug()
    {
        const string name = "a truncation is not in the log";
        var compiler = new MutantCompiler();
        var planted = ShrinkerOf(compiler.Compile(StoreMutants.All.Single(mutant => mutant.Name == name)));
        string? text = null;
        for (var seed = 1; seed <= Seeds && text is null; seed++) text = Call(planted, nameof(ShrunkRun.Find), seed);
        Assert.True(text is not null, $"no seed of {Seeds} fails");
        output.WriteLine(text);
        Assert.InRange(text.Split('\n').Length - 1, 1, StepsMax);
        Assert.NotNull(Call(planted, nameof(ShrunkRun.Replay), text));
        Assert.Null(Call(ShrinkerOf(compiler.Healthy()), nameof(ShrunkRun.Replay), text));
        Assert.Null(ShrunkRun.Replay(text));
    }

    [Theory(DisplayName = "What failed once passes")]
    [MemberData(nameof(Kept))]
    public void Kept_lists(string what, string steps) => Assert.True(ShrunkRun.Replay(steps) is null, $"{what}: {ShrunkRun.Replay(steps)}");

    [Fact(DisplayName = "Shrinking leaves what is needed together, within its tries, and all where nothing fails again")]
    public void Shrinking()
    {
        int[] all = [.. Enumerable.Range(0, 1000)];
        var tries = 0;
        bool Fails(IReadOnlyList<int> some)
        {
            tries++;
            return some.Contains(17) && some.Contains(500) && some.Contains(999);
        }
        Assert.Equal([17, 500, 999], ShrunkRun.Shrink(all, Fails, 1000));
        tries = 0;
        Assert.InRange(ShrunkRun.Shrink(all, Fails, 10).Count, 3, 999);
        Assert.Equal(10, tries);
        Assert.Equal(all, ShrunkRun.Shrink(all, _ => false, 1000));
    }

    [Fact(DisplayName = "A step is the same after it was written as text and read again")]
    public void Text()
    {
        var step = new StoreStep(StoreStepKind.Append, 7, 1, 1UL << 40, 3, 4096);
        Assert.Equal("Append 7 1 1099511627776 3 4096", step.ToString());
        Assert.Equal(step.ToString(), StoreStep.Parse(step.ToString()).ToString());
    }

    private static Type ShrinkerOf(Assembly assembly) => assembly.GetType(typeof(ShrunkRun).FullName!, throwOnError: true)!;

    private static string? Call(Type shrinker, string method, object argument) => (string?)shrinker.GetMethod(method)!.Invoke(null, [argument]);
}
