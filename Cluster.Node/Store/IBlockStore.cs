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

    /// <summary>Drops the replica: a delete record is staged, its space is given back once that is on media.</summary>
    IoStatus Delete(VolumeId volume);

    /// <summary>Bytes of the disks that the store may use, and bytes that it uses now. Any thread.</summary>
    StoreUsage Usage { get; }
}

/// <summary>Bytes. Available counts what could be written now, the reserve excluded.</summary>
public readonly record struct StoreUsage(long CapacityBytes, long UsedBytes, long AvailableBytes, long LiveBytes, int Segments);

public static class StoreLimits
{
    public const int HeaderBytesMax = 64 * 1024;
}
