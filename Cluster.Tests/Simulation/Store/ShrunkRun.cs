using System.Globalization;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// A run of <see cref="StoreModelRun"/> that is told, where it fails, with few steps that still do: parts of them are left out, smaller ones each time, for as long as what is left fails in the same
/// way (delta debugging). As text it stands for itself: a line for the setup, and one for each step.
/// </summary>
public static class ShrunkRun
{
    /// <summary>Replays that a failure is looked at with: some seconds, for one is over at its first failure.</summary>
    private const int TriesMax = 800;

    public static StoreModelFacts Run(int seed, int disks = 1, int mapPages = StoreModelRun.BySeed, bool losesPages = false, int devices = 0, bool isLong = false, int aheadBytes = 0)
    {
        try
        {
            return StoreModelRun.Run(seed, disks, mapPages, losesPages, devices, isLong, aheadBytes);
        }
        catch (StoreModelException e)
        {
            var text = Shrink(e);
            throw new InvalidOperationException($"{e.Message}\nOf its {e.Steps.Count} steps these still fail ({nameof(ShrunkRun)}.{nameof(Replay)} takes them as they are):\n{text}", e);
        }
    }

    /// <summary>Few steps that fail, as text; null: the seed does not.</summary>
    public static string? Find(int seed)
    {
        try
        {
            StoreModelRun.Run(seed);
            return null;
        }
        catch (StoreModelException e)
        {
            return Shrink(e);
        }
    }

    /// <summary>How the steps fail; null: they don't.</summary>
    public static string? Replay(string text)
    {
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var failure = FailureOf(SetupOf(lines[0]), [.. lines.Skip(1).Select(StoreStep.Parse)]);
        return failure?.Message;
    }

    private static string Shrink(StoreModelException failed)
    {
        var kind = failed.GetBaseException().GetType();
        var steps = Shrink(failed.Steps, some => FailureOf(failed.Setup, some)?.GetBaseException().GetType() == kind, TriesMax);
        return string.Join('\n', [TextOf(failed.Setup), .. steps.Select(step => step.ToString())]);
    }

    /// <summary>Answers all of them where leaving nothing out does not fail again either.</summary>
    public static IReadOnlyList<T> Shrink<T>(IReadOnlyList<T> steps, Func<IReadOnlyList<T>, bool> fails, int triesMax)
    {
        var (left, tries) = (steps.ToList(), 1);
        if (!fails(left)) return steps;
        for (var part = (left.Count + 1) / 2; part > 0;)
        {
            var wasLeftOut = false;
            // From the end: what failed last is there, and much of what came before it only took time.
            for (var end = left.Count; end > 0 && tries < triesMax; end -= part)
            {
                var from = Math.Max(0, end - part);
                List<T> some = [.. left.Take(from), .. left.Skip(end)];
                tries++;
                if (!fails(some)) continue;
                (left, wasLeftOut) = (some, true);
            }
            if (tries >= triesMax || (part == 1 && !wasLeftOut)) break;
            part = part == 1 ? 1 : Math.Max(1, Math.Min(part, left.Count) / 2);
        }
        return left;
    }

    private static Exception? FailureOf(StoreModelSetup setup, IReadOnlyList<StoreStep> steps)
    {
        try
        {
            StoreModelRun.Replay(setup, steps);
            return null;
        }
        catch (Exception failure)
        {
            return failure;
        }
    }

    private static string TextOf(StoreModelSetup setup) => string.Create(CultureInfo.InvariantCulture,
        $"Setup {setup.Seed} {setup.Disks} {setup.MapPages} {setup.LosesPages} {setup.Devices} {setup.IsLong} {setup.AheadBytes}");

    private static StoreModelSetup SetupOf(string line)
    {
        var words = line.Split(' ');
        int Number(int at) => int.Parse(words[at], CultureInfo.InvariantCulture);
        return new StoreModelSetup(Number(1), Number(2), Number(3), bool.Parse(words[4]), Number(5), bool.Parse(words[6]), words.Length > 7 ? Number(7) : 0);
    }
}
