using System.Diagnostics;
using System.Globalization;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// The seeds that a run of the simulator takes: so many from a first one, or, for a long run, as many as fit into its minutes. A run goes on behind a seed that fails, and tells of all of them
/// at its end.
/// </summary>
/// <remarks>SIM_SEED or CHAOS_SEED: that one only. SIM_FIRST: the first one. SIM_MINUTES: for that long, instead of a count. SIM_PROGRESS: a file that is told, once for a thousand seeds and for each that
/// fails.</remarks>
internal static class SeedRange
{
    /// <summary>With so many broken a run has said enough.</summary>
    private const int BrokenMax = 20;

    /// <summary>A message has the whole log of its seed: only that much of it is told.</summary>
    private const int MessageCharsMax = 200_000;

    private const int ProgressSeeds = 1000;

    public static List<SimResult> Run(string countVariable, int countDefault, Func<ulong, SimResult> run)
    {
        var results = new List<SimResult>();
        var broken = new List<string>();
        var watch = Stopwatch.StartNew();
        foreach (var seed in Seeds(countVariable, countDefault, watch))
        {
            try
            {
                results.Add(run(seed));
                if (results.Count % ProgressSeeds == 0) Tell($"{run.Method.Name}: {results.Count} seeds up to {seed} after {watch.Elapsed.TotalMinutes:F1} min, {broken.Count} broken");
            }
            catch (BrokenPromiseException e)
            {
                broken.Add(e.Message.Length > MessageCharsMax ? e.Message[..MessageCharsMax] : e.Message);
                Tell($"{run.Method.Name}: BROKEN {(e.Message.Length > 2000 ? e.Message[..2000] : e.Message)}");
                if (broken.Count == BrokenMax) break;
            }
        }
        Tell($"{run.Method.Name}: ended with {results.Count} seeds whole and {broken.Count} broken after {watch.Elapsed.TotalMinutes:F1} min");
        return broken.Count == 0 ? results : throw new BrokenPromiseException($"{broken.Count} of {results.Count + broken.Count} seeds broke a promise\n{string.Join("\n\n", broken)}");
    }

    private static IEnumerable<ulong> Seeds(string countVariable, int countDefault, Stopwatch watch)
    {
        if ((Environment.GetEnvironmentVariable("SIM_SEED") ?? Environment.GetEnvironmentVariable("CHAOS_SEED")) is { Length: > 0 } one)
        {
            yield return ulong.Parse(one, CultureInfo.InvariantCulture);
            yield break;
        }
        var first = ulong.Parse(Environment.GetEnvironmentVariable("SIM_FIRST") ?? "1", CultureInfo.InvariantCulture);
        if (Environment.GetEnvironmentVariable("SIM_MINUTES") is { Length: > 0 } minutes)
        {
            var limit = TimeSpan.FromMinutes(double.Parse(minutes, CultureInfo.InvariantCulture));
            for (var seed = first; watch.Elapsed < limit; seed++) yield return seed;
            yield break;
        }
        var count = ulong.Parse(Environment.GetEnvironmentVariable(countVariable) ?? $"{countDefault}", CultureInfo.InvariantCulture);
        for (ulong index = 0; index < count; index++) yield return first + index;
    }

    private static void Tell(string line)
    {
        if (Environment.GetEnvironmentVariable("SIM_PROGRESS") is { Length: > 0 } path) File.AppendAllText(path, $"{DateTime.UtcNow:HH:mm:ss} {line}\n");
    }
}
