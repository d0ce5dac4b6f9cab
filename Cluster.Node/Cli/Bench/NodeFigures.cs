using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;

namespace Cluster.Node.Cli.Bench;

/// <summary>What one node did while a job ran, from its metrics before and after.</summary>
/// <param name="LoopSeconds">Time that passed on its I/O loop.</param>
/// <param name="BusySeconds">Of it, not waiting for events.</param>
/// <param name="DelaySeconds">Of that, ready to run and without a core.</param>
/// <param name="StageSeconds">Busy seconds by stage.</param>
/// <param name="WaitSeconds">Mean time of those I/Os that were timed, by wait; 0: none was.</param>
/// <param name="SyncSeconds">Summed time in fdatasync.</param>
/// <param name="DiskReadSeconds">Summed time of reads that the page cache did not have.</param>
/// <param name="Commands">NBD commands that it answered.</param>
internal sealed record NodeFigures(string Node, double LoopSeconds, double BusySeconds, double DelaySeconds, IReadOnlyDictionary<LoopStage, double> StageSeconds,
    IReadOnlyDictionary<LoopWait, double> WaitSeconds, double SyncSeconds, double DiskReadSeconds, double LoopCpuSeconds, double DiskCpuSeconds, double ProcessCpuSeconds,
    IReadOnlyDictionary<string, long> Commands)
{
    /// <summary>Requests that waited here, at the owner, for the limits of the volume, and how long all of them together.</summary>
    public long ThrottledIos { get; init; }

    public double ThrottledSeconds { get; init; }

    private const string LoopThread = "io-loop";
    private const double MillisecondsPerSecond = 1e3;
    private static readonly string[] DiskThreads = ["disk Sync", "disk Read", "disk Background"];
    private static readonly string[] Counted = ["read", "write", "flush"];

    public double BusyShare => LoopSeconds > 0 ? BusySeconds / LoopSeconds : 0;

    public double DelayShare => LoopSeconds > 0 ? DelaySeconds / LoopSeconds : 0;

    public double SyncShare => LoopSeconds > 0 ? SyncSeconds / LoopSeconds : 0;

    /// <summary>The stage that has most of the loop's time.</summary>
    public LoopStage Busiest => StageSeconds.MaxBy(stage => stage.Value).Key;

    public double ShareOf(LoopStage stage) => StageSeconds.Values.Sum() is > 0 and var all ? StageSeconds[stage] / all : 0;

    /// <summary>CPU of the stage: its share of the loop's; the disk's threads are the disk's.</summary>
    public double CpuSecondsOf(LoopStage stage) => (ShareOf(stage) * LoopCpuSeconds) + (stage == LoopStage.Disk ? DiskCpuSeconds : 0);

    /// <summary>What neither loop nor disk threads used: actors, journal, API, the runtime itself.</summary>
    public double RestCpuSeconds => Math.Max(0, ProcessCpuSeconds - LoopCpuSeconds - DiskCpuSeconds);

    /// <param name="volume">Its full name.</param>
    /// <param name="loopThread">Name of the thread of the node's I/O loop.</param>
    public static NodeFigures Between(string node, string volume, MetricsPage before, MetricsPage after, string loopThread = LoopThread)
    {
        double Rise(string name) => after[name] - before[name];
        double RiseOf(string name, string label, string value) => after[name, label, value] - before[name, label, value];
        double MeanOf(string wait) => RiseOf("myrmidon_io_wait_samples_total", "wait", wait) is > 0 and var count ? RiseOf("myrmidon_io_wait_seconds_total", "wait", wait) / count : 0;
        double ThreadCpu(string thread) => RiseOf("myrmidon_thread_cpu_seconds_total", "thread", thread);
        var busy = Rise("myrmidon_loop_busy_seconds_total");
        return new NodeFigures(node, busy + Rise("myrmidon_loop_waiting_seconds_total"), busy, RiseOf("myrmidon_thread_run_delay_seconds_total", "thread", loopThread),
            Enum.GetValues<LoopStage>().ToDictionary(stage => stage, stage => RiseOf("myrmidon_stage_seconds_total", "stage", StageMetrics.NameOf(stage))),
            Enum.GetValues<LoopWait>().ToDictionary(wait => wait, wait => MeanOf(StageMetrics.NameOf(wait))),
            RiseOf("myrmidon_io_wait_seconds_total", "wait", StageMetrics.NameOf(LoopWait.Sync)), RiseOf("myrmidon_io_wait_seconds_total", "wait", StageMetrics.NameOf(LoopWait.DiskRead)),
            ThreadCpu(loopThread), DiskThreads.Sum(ThreadCpu), Rise("myrmidon_process_cpu_seconds_total"),
            Counted.ToDictionary(command => command, command => (long)RiseOf("myrmidon_nbd_commands_total", "command", command)))
        {
            ThrottledIos = (long)RiseOf("myrmidon_throttled_ios_total", "volume", volume),
            ThrottledSeconds = RiseOf("myrmidon_throttled_milliseconds_total", "volume", volume) / MillisecondsPerSecond,
        };
    }
}
