using System.Collections.Immutable;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>A store and its disks in the words of health, REST and placement.</summary>
internal static class StoreHealth
{
    /// <summary>A store without one of its disks works: the node stays ready.</summary>
    public static (HealthState State, string Reason) Of(BlockStore store)
    {
        if (store.FailureReason is { } reason) return (HealthState.Unhealthy, $"The store takes no more writes until the node is started anew: {reason}.");
        var wrong = store.Disks.Where(disk => disk.State != DiskState.InUse).ToArray();
        return wrong.Length == 0 ? (HealthState.Healthy, "")
            : (HealthState.Degraded, string.Join(' ', wrong.Select(disk => $"Disk {disk.Id} at {disk.Path} is {TextOf(disk.State)}: {disk.Problem}.")));
    }

    public static string TextOf(DiskState state) => state switch
    {
        DiskState.InUse => "in-use",
        DiskState.Failing => "failing",
        DiskState.Missing => "missing",
        _ => "failed",
    };

    public static ImmutableArray<DiskReport> Report(BlockStore store) =>
    [
        .. store.Disks.Select(disk => new DiskReport(disk.Id, disk.Path, TextOf(disk.State), disk.FreeBytes, disk.Segments * disk.SegmentBytes, disk.WriteMs, disk.SyncMs, disk.Errors, disk.Problem)),
    ];
}
