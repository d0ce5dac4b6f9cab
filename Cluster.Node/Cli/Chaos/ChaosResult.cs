using Cluster.Node.Chaos;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// Everything that a run measured, as `-o json` prints it. Gaps are in seconds: the longest time between two answers to one client in each
/// repetition, of clients whose own node was not hit, and apart from them of those whose node was. Null where there was none.
/// </summary>
internal sealed record ChaosResult
{
    public required bool Good { get; init; }

    public required int Seed { get; init; }

    public required double Seconds { get; init; }

    public required int Clients { get; init; }

    public required int RequestsPerSecondAndClient { get; init; }

    public required long WritesAcknowledged { get; init; }

    public required long WritesNeverAnswered { get; init; }

    public required long ReadsChecked { get; init; }

    public required long Flushes { get; init; }

    /// <summary>Blocks with acknowledged writes that are gone.</summary>
    public required long LostWrites { get; init; }

    public required long StaleReads { get; init; }

    public required long TornBlocks { get; init; }

    public required long ForeignBlocks { get; init; }

    /// <summary>Readings of whole volumes at the end, through every node and from every copy.</summary>
    public required int Readings { get; init; }

    public required long BlocksThatDiffer { get; init; }

    /// <summary>Blocks that could not be followed to the end.</summary>
    public required long BlocksGivenUp { get; init; }

    public required long Reconnects { get; init; }

    /// <summary>Those of the reconnects for which the client did not want to wait longer.</summary>
    public required long GivenUp { get; init; }

    /// <summary>How often a node was taken out of the cluster and started anew.</summary>
    public required long StartsAnew { get; init; }

    public required IReadOnlyList<FaultResult> Faults { get; init; }

    public required IReadOnlyList<MemoryResult> Memory { get; init; }

    public required long ViolationCount { get; init; }

    /// <summary>The first ones.</summary>
    public required IReadOnlyList<string> Violations { get; init; }

    public static ChaosResult Of(ChaosRun run)
    {
        var histories = run.Volumes.Select(volume => volume.History).ToArray();
        return new ChaosResult
        {
            Good = run.IsGood,
            Seed = run.Settings.Seed,
            Seconds = Math.Round(run.Elapsed.TotalSeconds, 1),
            Clients = run.Settings.Clients,
            RequestsPerSecondAndClient = run.Settings.RatePerSecond,
            WritesAcknowledged = histories.Sum(history => history.WritesAcknowledged),
            WritesNeverAnswered = histories.Sum(history => history.WritesUnknown),
            ReadsChecked = histories.Sum(history => history.ReadsChecked),
            Flushes = run.Tally.Flushes,
            LostWrites = run.Count(ViolationKind.LostWrite),
            StaleReads = run.Count(ViolationKind.StaleRead),
            TornBlocks = run.Count(ViolationKind.TornBlock),
            ForeignBlocks = run.Count(ViolationKind.ForeignData),
            Readings = run.Verify.Readings,
            BlocksThatDiffer = run.Verify.BlocksThatDiffer,
            BlocksGivenUp = histories.Sum(history => history.BlocksGivenUp),
            Reconnects = run.Tally.Reconnects,
            GivenUp = run.Tally.GivenUp,
            StartsAnew = run.Tally.Rebirths,
            Faults = FaultResult.AllOf(run.Log),
            Memory = [.. run.Watch.Memory().Select(node => MemoryResult.Of(node.Node, node.Memory))],
            ViolationCount = run.Tally.FailureCount,
            Violations = run.Tally.Failures,
        };
    }
}

/// <summary>All repetitions of one kind of fault.</summary>
/// <param name="StaleOrLost">
/// Reads that were answered with older data than was acknowledged. That such data is lost, and not only late, shows at the end: the last row.
/// </param>
internal sealed record FaultResult(string Fault, int Times, double? GapMedianSeconds, double? GapMaxSeconds, double? OwnNodeGapMedianSeconds,
    double? OwnNodeGapMaxSeconds, long WritesAcknowledged, long StaleOrLost, long TornOrForeign)
{
    public const string All = "all";

    /// <summary>In alphabetical order, and one for all of them but the calm before and the end.</summary>
    public static IReadOnlyList<FaultResult> AllOf(FaultLog log)
    {
        var windows = log.Windows;
        var kinds = windows.GroupBy(window => window.Fault).OrderBy(kind => kind.Key, StringComparer.Ordinal).Select(kind => Of(kind.Key, [.. kind]));
        return [.. kinds, Of(All, [.. windows.Where(window => window.Fault is not (FaultLog.Calm or FaultLog.End))])];
    }

    private static FaultResult Of(string fault, IReadOnlyList<FaultWindow> windows)
    {
        var gaps = Sorted(windows.Select(window => window.Gap));
        var own = Sorted(windows.Select(window => window.OwnNodeGap));
        return new FaultResult(fault, windows.Count, Median(gaps), Max(gaps), Median(own), Max(own),
            windows.Sum(window => window.WritesAcknowledged),
            Count(windows, ViolationKind.LostWrite) + Count(windows, ViolationKind.StaleRead),
            Count(windows, ViolationKind.TornBlock) + Count(windows, ViolationKind.ForeignData));
    }

    private static long Count(IEnumerable<FaultWindow> windows, ViolationKind kind) => windows.Sum(window => window.Count(kind));

    private static double[] Sorted(IEnumerable<TimeSpan?> gaps) => [.. gaps.OfType<TimeSpan>().Select(gap => Math.Round(gap.TotalSeconds, 3)).Order()];

    private static double? Median(double[] sorted) => sorted.Length == 0 ? null : sorted[sorted.Length / 2];

    private static double? Max(double[] sorted) => sorted.Length == 0 ? null : sorted[^1];
}

/// <summary>Resident memory of a node in bytes: the mean of each third of the run, the most, and the last.</summary>
internal sealed record MemoryResult(string Node, IReadOnlyList<long> MeanBytes, long MostBytes, long LastBytes)
{
    public static MemoryResult Of(string node, MemoryMeter meter) =>
        new(node, [.. Enumerable.Range(0, MemoryMeter.Thirds).Select(meter.MeanBytes)], meter.MostBytes, meter.LastBytes);
}
