namespace Cluster.Messages.Model;

/// <summary>
/// How an I/O ended, as it travels on the wire. Frozen: add, never renumber. 0 is no status, so zeroed memory never reads as Ok.
/// </summary>
public enum IoStatus : byte
{
    Unset = 0,
    Ok = 1,
    /// <summary>A bound was reached; the same request may be sent again later.</summary>
    Busy = 2,
    /// <summary>The sender's epoch is lower than one that the receiver has promised (P4).</summary>
    StaleEpoch = 3,
    Unaligned = 4,
    OutOfRange = 5,
    BadChecksum = 6,
    DeviceError = 7,
    /// <summary>The volume can't serve now (too few in-sync replicas, takeover under way); hold and send again.</summary>
    Offline = 8,
    /// <summary>The receiver does not own the volume, or does not serve it yet, and has begun nothing; locate the owner again.</summary>
    NotOwner = 9,
    /// <summary>A newer session or attachment has replaced the sender's (R11). Final for that session.</summary>
    StaleSession = 10,
    /// <summary>The block changed since it was read (R15); read, merge and write again.</summary>
    Conflict = 11,
    NoSpace = 12,
    /// <summary>A record's sequence is not the next one; the answer names the one expected.</summary>
    Gap = 13,
    /// <summary>The node has no header for this replica: it is lost, not empty (R5).</summary>
    Missing = 14,
    Unsupported = 15,
    Malformed = 16,
    ReadOnly = 17,
    /// <summary>The volume was deleted. Final.</summary>
    Deleted = 18,
    /// <summary>The hold time of the volume's policy ran out (P5).</summary>
    HoldExpired = 19,
    /// <summary>
    /// Writes that were acknowledged to this session and not flushed are gone: every in-sync copy lost them with its host's power (R13). Final for that session, so
    /// that nobody goes on as if they were there.
    /// </summary>
    DataLost = 20,
}
