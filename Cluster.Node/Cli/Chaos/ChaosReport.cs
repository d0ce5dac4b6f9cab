using System.Globalization;

namespace Cluster.Node.Cli.Chaos;

/// <summary>A run's result as a table and as sentences.</summary>
internal static class ChaosReport
{
    public static readonly string[] Columns =
        ["FAULT", "TIMES", "GAP MEDIAN", "GAP MAX", "OWN NODE HIT", "MAX", "WRITES ACKNOWLEDGED", "STALE OR LOST", "TORN OR FOREIGN"];

    /// <summary>
    /// One row per kind of fault, in alphabetical order, and one for all. A gap is the longest of any
    /// client in its repetition; those of clients whose own node was hit are counted apart.
    /// </summary>
    public static IEnumerable<string[]> Rows(ChaosResult result) => result.Faults.Select(Row);

    public static IEnumerable<string> Sentences(ChaosResult result)
    {
        yield return string.Create(CultureInfo.InvariantCulture,
            $"{TimeSpan.FromSeconds(result.Seconds):hh\\:mm\\:ss}: {result.WritesAcknowledged} writes acknowledged, "
            + $"{result.WritesNeverAnswered} never answered, {result.ReadsChecked} reads checked, {result.Flushes} flushes.");
        yield return string.Create(CultureInfo.InvariantCulture,
            $"Clients connected anew {result.Reconnects} times, {result.GivenUp} of them because they did not want to wait; "
            + $"nodes were taken out and started anew {result.StartsAnew} times.");
        yield return string.Create(CultureInfo.InvariantCulture,
            $"Blocks with acknowledged writes lost: {result.LostWrites}. Stale reads: {result.StaleReads}. Torn blocks: {result.TornBlocks}. "
            + $"Foreign data: {result.ForeignBlocks}.");
        yield return string.Create(CultureInfo.InvariantCulture,
            $"Read back {result.Readings} times whole volumes, through every node and from every copy: {result.BlocksThatDiffer} blocks differ.");
        foreach (var node in result.Memory)
        {
            yield return $"Memory of {node.Node}, mean of each third of the run: {string.Join(", ", node.MeanBytes.Select(Size))}; "
                + $"{Size(node.MostBytes)} at most, {Size(node.LastBytes)} at the end.";
        }
        if (result.BlocksGivenUp > 0) yield return string.Create(CultureInfo.InvariantCulture,
            $"{result.BlocksGivenUp} blocks could not be followed to the end: too much was uncertain at one time.");
        yield return result.Good ? "Nothing was violated." : result.ViolationCount == 0 ? "NOT EVERYTHING COULD BE CHECKED."
            : string.Create(CultureInfo.InvariantCulture, $"VIOLATED {result.ViolationCount} TIMES, the first ones:");
        foreach (var violation in result.Violations) yield return $"  {violation}";
    }

    /// <summary>Table and sentences for a document.</summary>
    public static string Markdown(ChaosResult result)
    {
        string[] lines =
        [
            Line(Columns), Line(Columns.Select((_, column) => column == 0 ? "---" : "---:")), .. Rows(result).Select(Line), "",
            .. Sentences(result).Select(sentence => $"- {sentence.Trim()}"),
        ];
        return string.Join('\n', lines) + "\n";
    }

    private static string Line(IEnumerable<string> cells) => $"| {string.Join(" | ", cells)} |";

    private static string[] Row(FaultResult fault) =>
    [
        fault.Fault, Number(fault.Times), Gap(fault.GapMedianSeconds), Gap(fault.GapMaxSeconds), Gap(fault.OwnNodeGapMedianSeconds),
        Gap(fault.OwnNodeGapMaxSeconds), Number(fault.WritesAcknowledged), Number(fault.StaleOrLost), Number(fault.TornOrForeign),
    ];

    private static string Gap(double? seconds) => seconds is { } gap ? string.Create(CultureInfo.InvariantCulture, $"{gap:0.00} s") : "-";

    private static string Size(long bytes) => SizeText.Format((ulong)bytes);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}
