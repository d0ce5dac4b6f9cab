using System.Globalization;
using Cluster.Node.Chaos;

namespace Cluster.Node.Cli.Chaos;

/// <summary>What a run found, as a table and as sentences. Every number was measured in it.</summary>
internal static class ChaosReport
{
    public static readonly string[] Columns =
        ["FAULT", "TIMES", "GAP MEDIAN", "GAP MAX", "OWN NODE HIT", "MAX", "WRITES ACKNOWLEDGED", "WRONG READS"];

    /// <summary>
    /// One row per kind of fault, in alphabetical order, and one for all. A gap is the longest of any
    /// client in its repetition; those of clients whose own node was hit are counted apart.
    /// </summary>
    public static IEnumerable<string[]> Rows(FaultLog log)
    {
        var windows = log.Windows;
        foreach (var kind in windows.GroupBy(window => window.Fault).OrderBy(kind => kind.Key, StringComparer.Ordinal)) yield return Row(
            kind.Key, [.. kind]);
        yield return Row("all", [.. windows.Where(window => window.Fault != FaultLog.Calm)]);
    }

    public static IEnumerable<string> Sentences(ChaosRun run)
    {
        var histories = run.Volumes.Select(volume => volume.History).ToArray();
        yield return string.Create(CultureInfo.InvariantCulture,
            $"{run.Elapsed:hh\\:mm\\:ss}: {histories.Sum(history => history.WritesAcknowledged)} writes acknowledged, "
            + $"{histories.Sum(history => history.WritesUnknown)} never answered, {histories.Sum(history => history.ReadsChecked)} reads checked, "
            + $"{run.Tally.Flushes} flushes.");
        yield return string.Create(CultureInfo.InvariantCulture,
            $"Clients connected anew {run.Tally.Reconnects} times, {run.Tally.GivenUp} of them because they did not want to wait; "
            + $"nodes were taken out and started anew {run.Tally.Rebirths} times.");
        yield return $"Blocks with acknowledged writes lost: {run.Count(ViolationKind.LostWrite)}. "
            + $"Stale reads: {run.Count(ViolationKind.StaleRead)}. Torn blocks: {run.Count(ViolationKind.TornBlock)}. "
            + $"Foreign data: {run.Count(ViolationKind.ForeignData)}.";
        yield return $"Read back {run.Verify.Readings} times whole volumes, through every node and from every copy: "
            + $"{run.Verify.BlocksThatDiffer} blocks differ.";
        foreach (var (node, memory) in run.Watch.Memory())
        {
            yield return $"Memory of {node}, mean of each third of the run: {Size(memory.MeanBytes(0))}, {Size(memory.MeanBytes(1))}, "
                + $"{Size(memory.MeanBytes(2))}; {Size(memory.MostBytes)} at most, {Size(memory.LastBytes)} at the end.";
        }
        var given = histories.Sum(history => history.BlocksGivenUp);
        if (given > 0) yield return $"{given} blocks could not be followed to the end: too much was uncertain at one time.";
        yield return run.IsGood ? "Nothing was violated." : run.Tally.FailureCount == 0 ? "NOT EVERYTHING COULD BE CHECKED."
            : $"VIOLATED {run.Tally.FailureCount} TIMES, the first ones:";
        foreach (var failure in run.Tally.Failures) yield return $"  {failure}";
    }

    private static string[] Row(string fault, IReadOnlyList<FaultWindow> windows)
    {
        var gaps = windows.Select(window => window.Gap).OfType<TimeSpan>().Order().ToArray();
        var own = windows.Select(window => window.OwnNodeGap).OfType<TimeSpan>().Order().ToArray();
        return [fault, Number(windows.Count), Median(gaps), Max(gaps), Median(own), Max(own),
            Number(windows.Sum(window => window.WritesAcknowledged)), Number(windows.Sum(window => window.WrongReads))];
    }

    private static string Median(TimeSpan[] sorted) => sorted.Length == 0 ? "-" : Text(sorted[sorted.Length / 2]);

    private static string Max(TimeSpan[] sorted) => sorted.Length == 0 ? "-" : Text(sorted[^1]);

    private static string Text(TimeSpan gap) => string.Create(CultureInfo.InvariantCulture, $"{gap.TotalSeconds:0.00} s");

    private static string Size(long bytes) => SizeText.Format((ulong)bytes);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}
