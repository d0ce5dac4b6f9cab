using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>A node's store over its disks. On its loop unless said otherwise.</summary>
public interface IBlockStore : ITurnPhase, IAsyncDisposable
{
    /// <summary>Random id of this store, on the disk (R5).</summary>
    Guid StoreId { get; }

    /// <summary>Counts and marks the opens; on media before the store is used (R5).</summary>
    StoreOpens Opens { get; }

    ulong OpenCount { get; }

    /// <summary>The last stop was not in order and this host has booted since, or an fdatasync had failed: bytes that were not flushed
    /// may be gone (R9).</summary>
    bool Suspect { get; }

    /// <summary>The newest open (as counted by <see cref="OpenCount"/>) that was <see cref="Suspect"/>; 0: none ever was.</summary>
    ulong SuspectSince { get; }

    IReadOnlyCollection<IVolumeStore> Volumes { get; }

    IVolumeStore? Find(VolumeId volume);

    /// <summary>A new, empty replica with this header; durable with the next sync.</summary>
    (IoStatus Status, IVolumeStore? Volume) Create(VolumeId volume, ReadOnlyMemory<byte> header);

    /// <summary>
    /// A new replica that begins as what another volume's snapshot holds, and shares its blocks; its order goes on from that snapshot's sequence. Takes the same time whatever the
    /// snapshot holds. Missing: this store does not have it, or has it as the last of too many clones of clones; Busy: it is about to, as soon as more of the other volume is committed.
    /// </summary>
    (IoStatus Status, IVolumeStore? Volume) CreateClone(VolumeId volume, ReadOnlyMemory<byte> header, VolumeId origin, ulong snapshot);

    /// <summary>Drops the replica: a delete record is staged, its space is given back once that is on media.</summary>
    IoStatus Delete(VolumeId volume);

    /// <summary>Bytes of the disks that the store may use, and bytes that it uses now. Any thread.</summary>
    StoreUsage Usage { get; }

    /// <summary>What it has written since the open. Any thread.</summary>
    StoreActivity Activity { get; }
}

/// <summary>Bytes. Capacity and what is available of it are those for data: the reserve for what frees space is excluded.</summary>
public readonly record struct StoreUsage(long CapacityBytes, long UsedBytes, long AvailableBytes, long LiveBytes, int Segments)
{
    /// <summary>What new data finds room for, in the end: the capacity less what lives, and less what disks that hang have free. Of it, <see cref="AvailableBytes"/> are there before anything is cleaned.</summary>
    public long RoomBytes { get; init; }
}

/// <summary>Since the open. Appended: all bytes that went into the log; moved: those of them that the cleaner copied; checkpoints are beside the log; cold segments hold nothing
/// but what was moved; the cleaner waits where it is ahead of what clients write. Backlog is of now: what is to be moved until as
/// much is free as the cleaner keeps free.</summary>
public readonly record struct StoreActivity(long AppendedBytes, long MovedBytes, long CheckpointBytes, long SegmentsCleaned, long SegmentsFreed, long ColdSegments, long CleanerWaits, long BacklogBytes);

/// <summary>How full a store is with what can't be cleaned away.</summary>
public enum SpaceLevel : byte
{
    Ample = 0,
    /// <summary>Cleaning costs more and more: time to add space.</summary>
    Low = 1,
    /// <summary>Soon writes are held.</summary>
    Critical = 2,
}

/// <summary>Levels by live bytes in percent of the capacity; a level is left two percent below where it begins, so that it does not flap.</summary>
public static class SpaceLevels
{
    public const int LowPercent = 85;
    public const int CriticalPercent = 95;
    private const int SlackPercent = 2;

    public static SpaceLevel Of(long liveBytes, long capacityBytes, SpaceLevel before)
    {
        if (capacityBytes <= 0) return SpaceLevel.Ample;
        var percent = 100.0 * liveBytes / capacityBytes;
        if (percent >= CriticalPercent - (before == SpaceLevel.Critical ? SlackPercent : 0)) return SpaceLevel.Critical;
        return percent >= LowPercent - (before == SpaceLevel.Ample ? 0 : SlackPercent) ? SpaceLevel.Low : SpaceLevel.Ample;
    }
}

public static class StoreLimits
{
    public const int HeaderBytesMax = 64 * 1024;
}
