using System.Globalization;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;

namespace Cluster.Node.Cli.Bench;

/// <summary>What `myrmidon bench -o json` prints.</summary>
/// <param name="FrontEnd">The node whose NBD port was used.</param>
/// <param name="Owner">The node that served the volume when the bench began.</param>
internal sealed record BenchReport(string Volume, ulong SizeBytes, string FrontEnd, string Owner, int Copies, IReadOnlyList<BenchJobReport> Jobs);

/// <summary>One job. Latencies and CPU in microseconds, CPU per I/O.</summary>
/// <param name="Operations">I/Os in the measured time; a write with its flush is one.</param>
/// <param name="NodeReads">Reads that the node of the front end counted in that time, from any client.</param>
/// <param name="Owner">The node that served the volume at the end of that time.</param>
/// <param name="CpuByStage">Over all nodes; "runtime" is what is not I/O (actors, journal, API), "client" this process.</param>
internal sealed record BenchJobReport(string Job, int Depth, int BlockBytes, double Seconds, long Operations, long Reads, long Writes, long Flushes, long NodeReads, long NodeWrites,
    long NodeFlushes, double PerSecond, double MegabytesPerSecond, double MeanUs, double P50Us, double P99Us, double P999Us, double MaxUs, IReadOnlyDictionary<string, double> CpuByStage,
    double CpuUs, string Owner, string Bottleneck, string Evidence, IReadOnlyList<BenchNodeReport> Nodes)
{
    private const double MicrosecondsPerSecond = 1e6;
    private const double NanosecondsPerMicrosecond = 1e3;

    public static readonly string[] Columns = ["JOB", "DEPTH", "BLOCK", "IOPS", "MB/S", "P50 US", "P99 US", "P99.9 US", "MAX US", "P99/P50", "CPU US/IO", "BOTTLENECK"];

    public static BenchJobReport Of(BenchJob job, BenchLoadResult load, BenchFigures figures)
    {
        var verdict = Bench.Bottleneck.Of(figures);
        var cpu = CpuOf(load, figures);
        var front = figures.Nodes.First(node => node.Node == figures.FrontEnd);
        double Latency(double share) => load.Latencies.Percentile(share) / NanosecondsPerMicrosecond;
        return new BenchJobReport(job.Name, job.Depth, job.BlockBytes, load.Seconds, load.Operations, load.Reads, load.Writes, load.Flushes,
            front.Commands["read"], front.Commands["write"], front.Commands["flush"], load.Operations / load.Seconds, load.Operations / load.Seconds * job.BlockBytes / 1e6,
            load.Latencies.MeanNs / NanosecondsPerMicrosecond, Latency(0.5), Latency(0.99), Latency(0.999), load.Latencies.MaxNs / NanosecondsPerMicrosecond,
            cpu, cpu.Values.Sum(), figures.Owner, verdict.Stage, verdict.Evidence, [.. figures.Nodes.Select(BenchNodeReport.Of)]);
    }

    public string[] Row() =>
    [
        Job, Depth.ToString(CultureInfo.InvariantCulture), SizeText.Format((ulong)BlockBytes), Whole(PerSecond), MegabytesPerSecond.ToString("N1", CultureInfo.InvariantCulture), Whole(P50Us), Whole(P99Us),
        Whole(P999Us), Whole(MaxUs), P50Us > 0 ? (P99Us / P50Us).ToString("F1", CultureInfo.InvariantCulture) : "-", Whole(CpuUs), Bottleneck,
    ];

    /// <summary>CPU by stage.</summary>
    public string[] CpuRow() => [Job, .. CpuByStage.Values.Select(value => value.ToString("F1", CultureInfo.InvariantCulture))];

    private static Dictionary<string, double> CpuOf(BenchLoadResult load, BenchFigures figures)
    {
        double PerIo(double seconds) => load.Operations == 0 ? 0 : seconds * MicrosecondsPerSecond / load.Operations;
        var cpu = Enum.GetValues<LoopStage>().OrderBy(stage => stage == LoopStage.Other)
            .ToDictionary(StageMetrics.NameOf, stage => PerIo(figures.Nodes.Sum(node => node.CpuSecondsOf(stage))));
        cpu.Add("runtime", PerIo(figures.Nodes.Sum(node => node.RestCpuSeconds)));
        cpu.Add("client", PerIo(load.ClientCpuSeconds));
        return cpu;
    }

    private static string Whole(double value) => value.ToString("N0", CultureInfo.InvariantCulture);
}

/// <summary>One node while a job ran. Shares of the time, from 0 to 1.</summary>
/// <param name="LoopNoCore">The I/O loop could have run and no core was free.</param>
/// <param name="Fdatasync">One was under way.</param>
/// <param name="StageShares">Of the loop's busy time.</param>
/// <param name="WaitUs">Means of the I/Os that were timed, by wait, in microseconds; those of which none was are left out.</param>
internal sealed record BenchNodeReport(string Node, double LoopBusy, double LoopNoCore, double Fdatasync, double CpuCores, IReadOnlyDictionary<string, double> StageShares,
    IReadOnlyDictionary<string, double> WaitUs)
{
    public static BenchNodeReport Of(NodeFigures node) => new(node.Node, node.BusyShare, node.DelayShare, node.SyncShare, node.LoopSeconds > 0 ? node.ProcessCpuSeconds / node.LoopSeconds : 0,
        Enum.GetValues<LoopStage>().ToDictionary(StageMetrics.NameOf, node.ShareOf),
        node.WaitSeconds.Where(wait => wait.Value > 0).ToDictionary(wait => StageMetrics.NameOf(wait.Key), wait => wait.Value * 1e6));
}
