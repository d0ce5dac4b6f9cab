using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>
/// Makes volumes block devices of this host, over the NBD server of this node. Every call is idempotent and may be made again after a crash
/// at any point: what is attached is read from the kernel, never from what this process remembers. A device outlives the node's process; its
/// I/O is held while that is away. Calls for one volume wait for each other; any thread.
/// </summary>
public interface IAttacher
{
    AttacherKind Kind { get; }

    /// <summary>NotSupported, and what to install or load, if this host can't attach this way. Looks each time.</summary>
    AttachResult<Done> Supported();

    /// <summary>
    /// The device of the target; the one that is there if it is attached. An unused device of an older generation of the volume is taken
    /// away first; a used one is InUse. Refused when the attachment has moved on. After cancellation the same call, or a detach, goes on.
    /// </summary>
    Task<AttachResult<AttachedDevice>> AttachAsync(AttachTarget target, CancellationToken cancellation);

    /// <summary>
    /// Takes away every device of the volume, of all generations, and what is behind it. Ok if there is none. InUse while one is mounted or
    /// open, unless nothing serves it or <paramref name="force"/>: then its I/O fails from now on, and it goes when its last user does.
    /// </summary>
    Task<AttachResult<Done>> DetachAsync(VolumeId volume, bool force, CancellationToken cancellation);

    /// <summary>
    /// Takes away what an attach or a detach that was cut off has left of that volume's devices without there being a device: <see cref="ListAsync"/> does not show it, and nobody can use it. Ok if there is nothing.
    /// </summary>
    Task<AttachResult<Done>> DetachPartsAsync(string fullName, CancellationToken cancellation);

    /// <summary>All devices of this node's volumes on this host, as the kernel knows them.</summary>
    Task<AttachResult<IReadOnlyList<AttachedDevice>>> ListAsync(CancellationToken cancellation);

    /// <summary>The volume's device of the newest generation here, or NotFound.</summary>
    Task<AttachResult<AttachedDevice>> FindAsync(VolumeId volume, CancellationToken cancellation);

    /// <summary>
    /// Makes the device show the volume's new size, in use or not; I/O goes on. Ok if it does already. Answers the device with the size that
    /// it has then. A device never shrinks.
    /// </summary>
    Task<AttachResult<AttachedDevice>> ResizeAsync(VolumeId volume, ulong sizeBytes, CancellationToken cancellation);

    /// <summary>Whether any byte of the device is not zero, looking only where the volume has something stored. May read all of that.</summary>
    Task<AttachResult<bool>> HoldsDataAsync(AttachedDevice device, CancellationToken cancellation);

    /// <summary>
    /// After the start of a node: connects what the kernel still has to this process again, and takes away what nothing serves and nobody uses.
    /// </summary>
    Task<AttachResult<Done>> RecoverAsync(CancellationToken cancellation);

    /// <summary>Keeps the devices served until it is cancelled, which ends it without an exception; one that needs nothing for that ends at once.</summary>
    Task WatchAsync(CancellationToken cancellation);
}

/// <summary>This node's NBD server, as far as devices look at its connections. Any thread.</summary>
public interface IDeviceLinks
{
    /// <summary>Whether some client uses that export with simple replies, as the kernel does.</summary>
    Task<bool> IsServedAsync(string export);

    /// <summary>
    /// Ends every connection of the export. When the task ends, nothing that came by one of them and was not read yet will ever be: a client that sends the same
    /// again by a new connection is not overtaken by what it sent before.
    /// </summary>
    Task DropAsync(string export);
}
