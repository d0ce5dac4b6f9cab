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
        // What an operator drains is as wanted.
        var wrong = store.Disks.Where(disk => disk.State is not (DiskState.InUse or DiskState.Draining or DiskState.Drained) || (disk.State == DiskState.InUse && disk.Problem.Length > 0)).ToArray();
        return wrong.Length == 0 ? (HealthState.Healthy, "")
            : (HealthState.Degraded, string.Join(' ', wrong.Select(disk => $"Disk {disk.Id:N} at {disk.Path} is {TextOf(disk.State)}: {disk.Problem}.")));
    }

    public static string TextOf(DiskState state) => state switch
    {
        DiskState.InUse => "in-use",
        DiskState.Failing => "failing",
        DiskState.Missing => "missing",
        DiskState.Suspect => "suspect",
        DiskState.Draining => "draining",
        DiskState.Drained => "drained",
        _ => "failed",
    };

    /// <summary>By what new data finds room for: what can be written before anything is cleaned stays little on a node that was full, until somebody needs more.</summary>
    /// <param name="bootId">The host's.</param>
    public static NodeReport Report(BlockStore store, Guid bootId, int overCommitPercent)
    {
        var usage = store.Usage;
        return new NodeReport(usage.CapacityBytes, usage.UsedBytes, usage.RoomBytes, store.OpenCount, bootId, Control.ControlPlane.Version, usage.LiveBytes, overCommitPercent)
        {
            Disks = Report(store),
            MissingBytes = store.MissingBytes,
        };
    }

    public static ImmutableArray<DiskReport> Report(BlockStore store) => [.. store.Disks.Select(Report)];

    public static DiskReport Report(StoreDiskFacts disk) =>
        new(disk.Id, disk.Path, TextOf(disk.State), disk.FreeBytes, disk.Segments * disk.SegmentBytes, disk.WriteMs, disk.SyncMs, disk.Errors, disk.Problem);
}
