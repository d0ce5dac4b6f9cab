using Cluster.Csi.Nbd;
using Cluster.Messages.Wire;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>Where the time of a node's I/O goes, for Prometheus and `myrmidon bench`: docs/operations.md tells what each is.</summary>
internal static class StageMetrics
{
    public static void Expose(Metrics metrics, LoopStages stages)
    {
        metrics.AddCounter("myrmidon_loop_busy_seconds_total", "Time in which the I/O loop did not wait for events.", () => stages.BusySeconds);
        metrics.AddCounter("myrmidon_loop_waiting_seconds_total", "Time in which the I/O loop waited for events.", () => stages.WaitingSeconds);
        metrics.AddCounter("myrmidon_loop_turns_total", "Turns of the I/O loop.", () => stages.Turns);
        foreach (var stage in Enum.GetValues<LoopStage>())
        {
            var name = NameOf(stage);
            metrics.AddCounter("myrmidon_stage_seconds_total", $"Busy time of the I/O loop by stage, estimated from one turn in {LoopStages.SampleTurns}.",
                () => stages.SecondsOf(stage), ("stage", name));
            metrics.AddCounter("myrmidon_stage_entries_total", "How often the I/O loop went over to the stage, estimated likewise.", () => stages.EntriesOf(stage), ("stage", name));
        }
        foreach (var wait in Enum.GetValues<LoopWait>())
        {
            var name = NameOf(wait);
            metrics.AddCounter("myrmidon_io_wait_seconds_total", "Summed time of the I/Os that were timed.", () => stages.SecondsOf(wait), ("wait", name));
            metrics.AddCounter("myrmidon_io_wait_samples_total", $"I/Os that were timed: one in {LoopStages.SampleIos}, but every sync and disk-read, and one replica at a time per node.",
                () => stages.CountOf(wait), ("wait", name));
        }
    }

    public static void Expose(Metrics metrics, NbdStatistics statistics)
    {
        foreach (var command in NbdStatistics.Commands)
        {
            metrics.AddCounter("myrmidon_nbd_commands_total", "NBD commands that were answered.", () => statistics.CountOf(command), ("command", command));
            metrics.AddCounter("myrmidon_nbd_bytes_total", "Bytes that NBD commands without an error covered.", () => statistics.BytesOf(command), ("command", command));
        }
        metrics.AddCounter("myrmidon_nbd_errors_total", "NBD commands that were answered with an error.", () => statistics.Failed);
    }

    internal static string NameOf(LoopStage stage) => stage == LoopStage.FrontEnd ? "front-end" : stage.ToString().ToLowerInvariant();

    internal static string NameOf(LoopWait wait) => wait switch
    {
        LoopWait.OwnerRead => "owner-read",
        LoopWait.OwnerWrite => "owner-write",
        LoopWait.OwnerFlush => "owner-flush",
        LoopWait.DiskRead => "disk-read",
        _ => wait.ToString().ToLowerInvariant(),
    };
}
