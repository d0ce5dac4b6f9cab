namespace Cluster.Messages.Model;

public enum BlockOperation : byte
{
    Read = 1,
    Write = 2,
    Flush = 3,
    Trim = 4,
    WriteZeroes = 5,
    /// <summary>Which ranges hold data, in <see cref="BlockRequest.Extents"/>.</summary>
    Status = 6,
}

/// <summary>A run of bytes that does or does not hold data.</summary>
public readonly record struct AllocationExtent(ulong OffsetBytes, ulong LengthBytes, bool Allocated);

/// <summary>
/// One I/O of a front end, in bytes. Pooled by the front end that makes it; used on the loop that the device is pinned to; handed to
/// <see cref="IBlockDevice.Submit"/> and given back by exactly one call of <see cref="Complete"/>.
/// </summary>
public abstract class BlockRequest
{
    public BlockOperation Operation { get; set; }

    public ulong OffsetBytes { get; set; }

    public ulong LengthBytes { get; set; }

    /// <summary>Data must be on media before the answer (P3).</summary>
    public bool ForceUnitAccess { get; set; }

    /// <summary>WriteZeroes must keep the range allocated (NBD NO_HOLE).</summary>
    public bool NoHole { get; set; }

    /// <summary>
    /// Read: where the bytes go. Write: the bytes, unchanged until completion. Length is at least <see cref="LengthBytes"/>. The memory is native or pinned.
    /// </summary>
    public Memory<byte> Data { get; set; }

    /// <summary>Status: filled by the device, in ascending order, at most <see cref="ExtentsMax"/>; may end before the range does.</summary>
    public List<AllocationExtent>? Extents { get; set; }

    public int ExtentsMax { get; set; }

    /// <summary>
    /// Set by the front end when its client is gone: the request is not sent (again), since nobody was told that it is done, and the client, perhaps on
    /// another node by now, sends it anew before others that a late copy would undo. It is still completed.
    /// </summary>
    public bool Abandoned { get; set; }

    /// <summary>Called once, on the device's loop.</summary>
    public abstract void Complete(IoStatus status);
}

/// <summary>
/// A volume as its consumers see it; front ends, tests and benches all plug in here. All members on <see cref="Loop"/>'s thread.
/// </summary>
public interface IBlockDevice
{
    Wire.ILoop Loop { get; }

    ulong SizeBytes { get; }

    bool ReadOnly { get; }

    /// <summary>
    /// Takes the request. Requests are concurrent: order is only what the caller makes by waiting for completions. A transient loss of
    /// the owner is never an error (P5): the request is held and replayed, and fails only after the volume's hold time.
    /// </summary>
    void Submit(BlockRequest request);

    /// <summary>Ends the use; requests in flight are completed or dropped without an answer (R14), and Complete is still called for each.</summary>
    void Close();
}
