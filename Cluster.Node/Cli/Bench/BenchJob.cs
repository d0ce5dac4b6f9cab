namespace Cluster.Node.Cli.Bench;

/// <summary>One kind of load.</summary>
/// <param name="ReadPercent">Of the I/Os; the others are writes.</param>
/// <param name="Flushes">A flush follows each write, and both count as one I/O.</param>
internal sealed record BenchJob(string Name, int ReadPercent, bool Sequential, bool Flushes, int Depth, int BlockBytes)
{
    private const int RandomBytes = 4 << 10;
    private const int SequentialBytes = 128 << 10;

    /// <summary>In the order in which they run.</summary>
    public static readonly IReadOnlyList<BenchJob> All =
    [
        new("write", ReadPercent: 0, Sequential: false, Flushes: false, Depth: 32, RandomBytes),
        new("read", ReadPercent: 100, Sequential: false, Flushes: false, Depth: 32, RandomBytes),
        new("seqwrite", ReadPercent: 0, Sequential: true, Flushes: false, Depth: 8, SequentialBytes),
        new("seqread", ReadPercent: 100, Sequential: true, Flushes: false, Depth: 8, SequentialBytes),
        new("fsync", ReadPercent: 0, Sequential: false, Flushes: true, Depth: 1, RandomBytes),
        new("mix", ReadPercent: 70, Sequential: false, Flushes: false, Depth: 32, RandomBytes),
    ];

    public bool Writes => ReadPercent < 100;

    public static string Names => string.Join(',', All.Select(job => job.Name));
}

/// <summary>What the command line asked for.</summary>
/// <param name="Volume">Null: one of its own, deleted at the end.</param>
/// <param name="SizeBytes">Of the volume's beginning that the jobs work on.</param>
/// <param name="Node">Whose NBD port is used; null: the first that is up.</param>
internal sealed record BenchSettings(Api.VolumeName? Volume, bool Overwrite, int? Replicas, ulong SizeBytes, string? Node, IReadOnlyList<BenchJob> Jobs,
    TimeSpan Time, TimeSpan WarmUp);

/// <summary>A bench that can't go on: one sentence, and the exit code.</summary>
internal sealed class BenchException(string message, int code) : Exception(message)
{
    public int Code => code;
}
