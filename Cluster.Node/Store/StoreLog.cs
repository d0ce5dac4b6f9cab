using Microsoft.Extensions.Logging;

namespace Cluster.Node.Store;

/// <summary>What the store tells the operator.</summary>
internal static partial class StoreLog
{
    [LoggerMessage(1, LogLevel.Error, "The store at {Disk} failed and takes no more writes until it is opened anew: {Reason}")]
    public static partial void Failed(ILogger logger, string disk, string reason);

    [LoggerMessage(2, LogLevel.Information,
        "The store at {Disk} is open: {Volumes} volumes, {Segments} segments, log ends at {End}, open {OpenCount}; {ReplayedMib} MiB of the log were read again, all took {Ms} ms")]
    public static partial void Opened(ILogger logger, string disk, int volumes, int segments, LogPosition end, ulong openCount, long replayedMib, long ms);

    [LoggerMessage(3, LogLevel.Warning, "Volume {Volume} is damaged at {Disk}: {Reason}")]
    public static partial void Damaged(ILogger logger, Cluster.Messages.Model.VolumeId volume, string disk, string reason);

    [LoggerMessage(4, LogLevel.Information, "The log at {Disk} was cut at {Position}: what follows was never flushed")]
    public static partial void Cut(ILogger logger, string disk, LogPosition position);

    [LoggerMessage(5, LogLevel.Warning, "The checkpoint at {Disk} could not be written, the log is kept instead: {Reason}")]
    public static partial void CheckpointFailed(ILogger logger, string disk, string reason);

    [LoggerMessage(28, LogLevel.Information, "The store at {Disk} had {Usable} free segments after a crash, not more than its reserve: a checkpoint freed {Freed} more")]
    public static partial void FreedAtOpen(ILogger logger, string disk, int freed, long usable);

    [LoggerMessage(7, LogLevel.Error, "The store at {Disk} could not note that an fdatasync failed, it tries again: {Reason}")]
    public static partial void NoteFailed(ILogger logger, string disk, string reason);

    [LoggerMessage(6, LogLevel.Warning, "The cleaner at {Disk} left segment {Segment} alone: {Reason}")]
    public static partial void CleanerSkipped(ILogger logger, string disk, string segment, string reason);

    [LoggerMessage(25, LogLevel.Warning, "The stop of the store at {Store} does not wait for {Jobs} reads, deletions, new segments, or writes of the cleaner, on disks that do not answer: {Paths}")]
    public static partial void StopLeaves(ILogger logger, string store, string paths, int jobs);

    [LoggerMessage(24, LogLevel.Warning, "The cleaner of the store at {Store} left segment {Segment} alone: disk {Disk:N}, at {Path}, does not answer. It goes on there once that does")]
    public static partial void CleanerLeft(ILogger logger, string store, string segment, Guid disk, string path);

    [LoggerMessage(27, LogLevel.Warning, "The store at {Store} does not wait any more for the segment that is being made on disk {Disk:N}, at {Path}, which does not answer. New ones are made on the other disks until it does")]
    public static partial void SpareLeft(ILogger logger, string store, Guid disk, string path);

    [LoggerMessage(26, LogLevel.Warning, "The cleaner of the store at {Store} gave up what it wrote beside the log: disk {Disk:N}, at {Path}, does not answer. It is copied again, elsewhere")]
    public static partial void ColdLeft(ILogger logger, string store, Guid disk, string path);

    [LoggerMessage(8, LogLevel.Warning, "The store at {Disk} holds {LiveMiB} MiB of data, of {CapacityMiB} MiB: {Consequence}; trim or delete data, or add disk space")]
    public static partial void SpaceLow(ILogger logger, string disk, long liveMiB, long capacityMiB, string consequence);

    [LoggerMessage(10, LogLevel.Error,
        "The store at {Store} goes on without its disk {Disk:N}, last seen at {Path}: {Problem}. Blocks that are only there are read from other copies, and made anew here")]
    public static partial void DiskAbsent(ILogger logger, string store, Guid disk, string path, string problem);

    [LoggerMessage(11, LogLevel.Error, "Disk {Disk:N} of the store at {Store}, at {Path}, has failed: {Reason}. The next open goes on without it")]
    public static partial void DiskFailed(ILogger logger, string store, Guid disk, string path, string reason);

    [LoggerMessage(12, LogLevel.Error, "The store at {Store} could not note that a disk failed: {Reason}")]
    public static partial void DiskNoteFailed(ILogger logger, string store, string reason);

    [LoggerMessage(9, LogLevel.Information, "The store at {Disk} has ample space again: it holds {LiveMiB} MiB of data, of {CapacityMiB} MiB")]
    public static partial void SpaceAgain(ILogger logger, string disk, long liveMiB, long capacityMiB);

    [LoggerMessage(13, LogLevel.Warning, "Disk {Disk:N} of the store at {Store}, at {Path}, is suspect: {Reason}. {Consequence}")]
    public static partial void DiskSuspect(ILogger logger, Guid disk, string store, string path, string reason, string consequence);

    [LoggerMessage(14, LogLevel.Information, "Disk {Disk:N} of the store at {Store}, at {Path}, was well for long: it is not suspect any more")]
    public static partial void DiskWell(ILogger logger, Guid disk, string store, string path);

    [LoggerMessage(15, LogLevel.Information, "Disk {Disk:N} of the store at {Store}, at {Path}, is drained from now on: {Segments} segments are there")]
    public static partial void DrainBegins(ILogger logger, Guid disk, string store, string path, int segments);

    [LoggerMessage(16, LogLevel.Information, "Disk {Disk:N} of the store at {Store}, at {Path}, is not to be drained any more")]
    public static partial void DrainEnds(ILogger logger, Guid disk, string store, string path);

    [LoggerMessage(17, LogLevel.Information, "Nothing of the store at {Store} is on its disk {Disk:N}, at {Path}, any more: it can be taken away")]
    public static partial void DiskEmpty(ILogger logger, string store, Guid disk, string path);

    [LoggerMessage(18, LogLevel.Error, "The store at {Store} could not note how its disk {Disk:N} is, it tries again: {Reason}")]
    public static partial void MarkFailed(ILogger logger, string store, Guid disk, string reason);

    [LoggerMessage(19, LogLevel.Warning, "The store at {Store} could not delete a segment of a disk that is drained: {Reason}")]
    public static partial void RetireFailed(ILogger logger, string store, string reason);

    [LoggerMessage(20, LogLevel.Warning,
        "The file system of the store at {Store} has no room for its next checkpoint, of {NeededKiB} KiB with {FreeKiB} KiB free ({Reason}): {What}; make room, or the log is kept and grows")]
    public static partial void NoCheckpointRoom(ILogger logger, string store, long neededKiB, long freeKiB, string reason, string what);

    [LoggerMessage(21, LogLevel.Information, "The file system of the store at {Store} has room for the next checkpoint again")]
    public static partial void CheckpointRoomAgain(ILogger logger, string store);

    [LoggerMessage(22, LogLevel.Warning, "The store at {Disk} keeps {Pages} pages of its maps in memory, more than the {Budget} of map-cache: they can't be written to the page file ({Reason}); it tries again")]
    public static partial void MapPagesKept(ILogger logger, string disk, int pages, int budget, string reason);

    [LoggerMessage(23, LogLevel.Warning, "The store at {Disk} can't tell what a trimmed or deleted page of a map had ({Reason}): its space is free after the next start")]
    public static partial void MapPageLeaked(ILogger logger, string disk, string reason);
}
