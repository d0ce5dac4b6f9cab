using Cluster.Csi.Nbd;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>What clients do with each volume, at the node where they are, for Prometheus. A series comes into being with its first I/O, and goes when others need its place (<see cref="NbdVolumes"/>).</summary>
internal static class VolumeIoMetrics
{
    public static void Expose(Metrics metrics, NbdVolumes volumes)
    {
        IEnumerable<GaugeSample> Each(Func<NbdVolumeStatistics, NbdVolumeCommand, double> value) =>
            from volume in volumes.All.OrderBy(volume => volume.Key, StringComparer.Ordinal)
            from command in Enum.GetValues<NbdVolumeCommand>()
            where volume.Value.CountOf(command) > 0
            select new GaugeSample(value(volume.Value, command), ("volume", volume.Key), ("command", command.ToString().ToLowerInvariant()));
        metrics.AddCounters("myrmidon_volume_commands_total", "Commands on a volume that clients of this node, devices of its host among them, were answered.", () => Each((volume, command) => volume.CountOf(command)));
        metrics.AddCounters("myrmidon_volume_bytes_total", "Bytes that those without an error covered.", () => Each((volume, command) => volume.BytesOf(command)));
        metrics.AddCounters("myrmidon_volume_wait_seconds_total", "Time from parsed to answered of one in 31 of them.", () => Each((volume, command) => volume.WaitSecondsOf(command)));
        metrics.AddCounters("myrmidon_volume_wait_samples_total", "How many those are; the time by this is the mean.", () => Each((volume, command) => volume.WaitsOf(command)));
        metrics.AddCounters("myrmidon_volume_errors_total", "Commands on a volume that clients of this node were answered with an error.",
            () => volumes.All.OrderBy(volume => volume.Key, StringComparer.Ordinal).Select(volume => new GaugeSample(volume.Value.Failed, ("volume", volume.Key))));
    }
}
