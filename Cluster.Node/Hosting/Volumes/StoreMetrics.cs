using Cluster.Node.Api;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>Space and work of this node's store, for Prometheus.</summary>
internal static class StoreMetrics
{
    /// <param name="provisioned">As placement told it last.</param>
    public static void Expose(Metrics metrics, BlockStore store, ProvisionedBytes provisioned, int overCommitPercent)
    {
        metrics.AddGauge("myrmidon_store_provisioned_bytes", "Sizes of the volumes with a copy on this node, or one on its way.", () => provisioned.Value);
        metrics.AddGauge("myrmidon_store_over_commit_limit_percent", "What those may come to, in percent of the capacity; 0: no limit.", () => overCommitPercent);
        metrics.AddGauge("myrmidon_store_capacity_bytes", "Bytes that data may use on the disk, the reserve for what frees space excluded.", () => store.Usage.CapacityBytes);
        metrics.AddGauge("myrmidon_store_used_bytes", "Bytes of the segments in use: live data, and what is superseded and not cleaned away yet.", () => store.Usage.UsedBytes);
        metrics.AddGauge("myrmidon_store_available_bytes", "Bytes that can be written before anything is cleaned, the reserve excluded.", () => store.Usage.AvailableBytes);
        metrics.AddGauge("myrmidon_store_live_bytes", "Encoded bytes of all blocks that volumes and snapshots have here.", () => store.Usage.LiveBytes);
        metrics.AddGauge("myrmidon_store_live_ratio", "Live bytes by those of the segments in use; what is missing to 1 is the cleaner's debt.",
            () => store.Usage is { UsedBytes: > 0 } usage ? (double)usage.LiveBytes / usage.UsedBytes : 1);
        metrics.AddGauge("myrmidon_cleaner_debt_bytes", "Bytes of the segments in use that are not live: superseded blocks, headers, and the end of the log that is not written yet.",
            () => Math.Max(0, store.Usage.UsedBytes - store.Usage.LiveBytes));
        metrics.AddGauge("myrmidon_store_space_level", "0 ample, 1 low, 2 critical: live bytes by capacity.",
            () => (double)SpaceLevels.Of(store.Usage.LiveBytes, store.Usage.CapacityBytes, SpaceLevel.Ample));
        metrics.AddGauge("myrmidon_store_segments", "Segment files, free ones included.", () => store.Usage.Segments);
        metrics.AddCounter("myrmidon_store_read_bytes_total", "Encoded bytes of blocks that were read for front ends.", () => store.ReadBytes);
        metrics.AddCounter("myrmidon_store_appended_bytes_total", "Bytes written to the log.", () => store.Activity.AppendedBytes);
        metrics.AddCounter("myrmidon_store_checkpoint_bytes_total", "Bytes of checkpoints written beside the log.", () => store.Activity.CheckpointBytes);
        metrics.AddCounter("myrmidon_cleaner_moved_bytes_total", "Encoded bytes that the cleaner copied to the end of the log.", () => store.Activity.MovedBytes);
        metrics.AddCounter("myrmidon_cleaner_segments_total", "Segments that the cleaner emptied.", () => store.Activity.SegmentsCleaned);
        metrics.AddCounter("myrmidon_cleaner_cold_segments_total", "Segments that hold nothing but what the cleaner moved.", () => store.Activity.ColdSegments);
        metrics.AddCounter("myrmidon_cleaner_waits_total", "Times that the cleaner was ahead of what clients write, and waited for them.", () => store.Activity.CleanerWaits);
        metrics.AddGauge("myrmidon_cleaner_backlog_bytes", "Bytes that the cleaner has to move until as much is free as it keeps free; while it grows, clients write faster than it cleans.", () => store.Activity.BacklogBytes);
        metrics.AddGauge("myrmidon_store_write_amplification", "Bytes written to log and checkpoints by those that were not copies of the cleaner, since the store was opened.",
            () => Amplification(store.Activity));
        metrics.AddGauge("myrmidon_store_missing_bytes", "Encoded bytes of blocks that lie on a disk that is missing, and are not mended from other copies yet.", () => store.MissingBytes);
        metrics.AddCounter("myrmidon_store_drained_bytes_total", "Encoded bytes of blocks that were moved from disks that are suspect or drained.", () => store.DrainedBytes);
        metrics.AddGauge("myrmidon_store_checkpoint_room_bytes", "What the next checkpoint may need of the store's own directory.", () => store.CheckpointReserve.Bytes);
        metrics.AddGauge("myrmidon_store_checkpoint_room_missing_bytes", "What of that is not reserved: something else, or the page file of the maps, fills the file system, or it can't reserve space.",
            () => store.CheckpointReserve.Bytes - store.CheckpointReserve.ReservedBytes);
        ExposeMaps(metrics, store);
        ExposeDisks(metrics, store);
    }

    private static void ExposeMaps(Metrics metrics, BlockStore store)
    {
        var maps = store.Maps;
        metrics.AddGauge("myrmidon_map_cache_budget_bytes", "Memory that pages of the maps may take (map-cache).", () => maps.Facts.BudgetBytes);
        metrics.AddGauge("myrmidon_map_cache_resident_bytes", "Memory that pages of the maps take; more than the budget while they can't be written fast enough, or at all.",
            () => maps.Facts.ResidentPages * MapCache.PageBytes);
        metrics.AddGauge("myrmidon_map_cache_resident_pages", "Pages of the maps in memory, of up to 512 blocks each, and of what only snapshots keep.", () => maps.Facts.ResidentPages);
        metrics.AddGauge("myrmidon_map_cache_resident_snapshot_pages", "Of the pages in memory, those of what only snapshots keep.", () => maps.Facts.ResidentLayerPages);
        metrics.AddGauge("myrmidon_map_cache_evicted_pages", "Pages that are only in the page file.", () => maps.Facts.EvictedPages);
        metrics.AddGauge("myrmidon_map_cache_evicted_snapshot_pages", "Of the pages that are only in the page file, those of what only snapshots keep.", () => maps.Facts.EvictedLayerPages);
        metrics.AddGauge("myrmidon_map_cache_file_bytes", "Size of the page file.", () => maps.Facts.FileBytes);
        metrics.AddCounter("myrmidon_map_cache_evictions_total", "Pages that left memory.", () => maps.Facts.Evictions);
        metrics.AddCounter("myrmidon_map_cache_written_pages_total", "Pages written to the page file; the others that left memory had not changed.", () => maps.Facts.Written);
        metrics.AddCounter("myrmidon_map_cache_write_failures_total", "Times that the page file could not be written: memory then takes what it needs.", () => maps.Facts.WriteFailures);
        (string, string)[] inPlace = [("where", "loop")], byThread = [("where", "read-thread")];
        metrics.AddCounter("myrmidon_map_cache_loads_total", "Pages read back, by who read them: the loop itself, or a disk thread for a client's read or the cleaner.", () => maps.Facts.LoadsInPlace, inPlace);
        metrics.AddCounter("myrmidon_map_cache_loads_total", "Pages read back, by who read them: the loop itself, or a disk thread for a client's read or the cleaner.", () => maps.Facts.LoadsByThread, byThread);
        metrics.AddCounter("myrmidon_map_cache_load_seconds_total", "What that took; the loop does nothing else meanwhile.", () => maps.Facts.LoadSecondsInPlace, inPlace);
        metrics.AddCounter("myrmidon_map_cache_load_seconds_total", "What that took; the loop does nothing else meanwhile.", () => maps.Facts.LoadSecondsByThread, byThread);
        metrics.AddCounter("myrmidon_map_cache_lost_pages_total", "Pages that could not be read back: the whole store has failed, and the node starts anew.", () => maps.Facts.LostPages);
    }

    /// <summary>Which disks there are is settled at the open.</summary>
    private static void ExposeDisks(Metrics metrics, BlockStore store)
    {
        var disks = store.Disks;
        for (var index = 0; index < disks.Count; index++)
        {
            var at = index;
            (string, string)[] labels = [("disk", disks[index].Id.ToString("N")), ("path", disks[index].Path)];
            metrics.AddGauge("myrmidon_disk_state", "1 in use, 2 failing (no new data goes there), 3 missing, 4 failed (the store goes on without those), 5 suspect, 6 draining, 7 drained (empty).", () => (double)store.DiskAt(at).State, labels);
            metrics.AddGauge("myrmidon_disk_free_bytes", "Bytes that the file system of the disk has free.", () => store.DiskAt(at).FreeBytes, labels);
            metrics.AddGauge("myrmidon_disk_segments", "Segment files on the disk, free ones included.", () => store.DiskAt(at).Segments, labels);
            metrics.AddGauge("myrmidon_disk_write_seconds", "Running mean of what a write to the disk took lately.", () => store.DiskAt(at).WriteMs / 1000, labels);
            metrics.AddGauge("myrmidon_disk_sync_seconds", "Running mean of what an fdatasync of the disk took lately.", () => store.DiskAt(at).SyncMs / 1000, labels);
            metrics.AddGauge("myrmidon_disk_read_seconds", "Running mean of what a read from the disk took lately that the page cache did not have.", () => store.DiskAt(at).ReadMs / 1000, labels);
            metrics.AddCounter("myrmidon_disk_errors_total", "Calls on the disk that failed, and blocks with bad bytes, since the node started.", () => store.DiskAt(at).Errors, labels);
        }
    }

    private static double Amplification(StoreActivity activity)
    {
        var first = activity.AppendedBytes - activity.MovedBytes;
        return first > 0 ? (double)(activity.AppendedBytes + activity.CheckpointBytes) / first : 1;
    }
}

/// <summary>A number that one thread sets and others read.</summary>
internal sealed class ProvisionedBytes
{
    private ulong _value;

    public ulong Value
    {
        get => Volatile.Read(ref _value);
        set => Volatile.Write(ref _value, value);
    }
}
