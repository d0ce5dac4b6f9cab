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
        if (store.FailureReason is { } reason) return (HealthState.Unhealthy, Failed(reason));
        // What an operator drains is as wanted.
        var wrong = store.Disks.Where(disk => disk.State is not (DiskState.InUse or DiskState.Draining or DiskState.Drained) || (disk.State == DiskState.InUse && disk.Problem.Length > 0)).ToArray();
        return wrong.Length == 0 ? (HealthState.Healthy, "")
            : (HealthState.Degraded, string.Join(' ', wrong.Select(disk => $"Disk {disk.Id:N} at {disk.Path} is {TextOf(disk.State)}: {disk.Problem}.")));
    }

    private static string Failed(string reason) => $"The store takes no more writes until the node is started anew: {reason}.";

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

    /// <summary>By what new data finds room for, nothing once the store has failed: what can be written before anything is cleaned stays little on a node that was full, until somebody needs more.</summary>
    /// <param name="bootId">The host's.</param>
    public static NodeReport Report(BlockStore store, Guid bootId, int overCommitPercent)
    {
        var usage = store.Usage;
        return new NodeReport(usage.CapacityBytes, usage.UsedBytes, store.FailureReason is null ? usage.RoomBytes : 0, store.OpenCount, bootId, Control.ControlPlane.Version, usage.LiveBytes, overCommitPercent)
        {
            Disks = Report(store),
            MissingBytes = store.MissingBytes,
        };
    }

    /// <summary>The store's home first. A store that has failed is told with that: `status` names it among the disks that need somebody.</summary>
    public static ImmutableArray<DiskReport> Report(BlockStore store)
    {
        ImmutableArray<DiskReport> disks = [.. store.Disks.Select(Report)];
        return store.FailureReason is { } reason ? disks.SetItem(0, disks[0] with { State = TextOf(DiskState.Failing), Problem = Failed(reason) }) : disks;
    }

    public static DiskReport Report(StoreDiskFacts disk) =>
        new(disk.Id, disk.Path, TextOf(disk.State), disk.FreeBytes, disk.Segments * disk.SegmentBytes, disk.WriteMs, disk.SyncMs, disk.Errors, disk.Problem);
}
