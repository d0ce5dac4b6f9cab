namespace Cluster.Node.Ingress;

/// <summary>Bounds of the I/O loop. Units are in the names.</summary>
public static class LoopLimits
{
    /// <summary>Events taken from the kernel in one turn; the rest stays with the kernel until the next.</summary>
    public const int EventsPerTurnMax = 256;

    /// <summary>
    /// Passes through the phases in one turn; what is left goes on in the next turn, after the sockets had theirs.
    /// </summary>
    public const int PhasePassesMax = 64;

    /// <summary>Bytes that one socket may be read in one turn, so that it can't starve the others.</summary>
    public const int ReadBytesPerTurnMax = 512 * 1024;

    /// <summary>Two volumes that were read in one turn share the next ones (<see cref="Cluster.Messages.Wire.LoopFlow"/>), so many.</summary>
    public const int SharedTurns = 32;

    /// <summary>Connections accepted by one listener in one turn.</summary>
    public const int AcceptsPerTurnMax = 16;

    /// <summary>Pause of a listener that found the process or the system out of descriptors.</summary>
    public const int AcceptPauseMs = 100;

    /// <summary>Connections that the kernel keeps for a listener.</summary>
    public const int ListenBacklog = 128;

    /// <summary>Pieces in one gathered send; the kernel allows 1,024.</summary>
    public const int VectorsPerSendMax = 128;

    /// <summary>Bytes of one chunk that small sends are copied into; a size class of the pool.</summary>
    public const int ChunkBytes = 20480;

    /// <summary>
    /// Out queue of a socket that counts as full: senders of bulk pause above it and go on at
    /// <see cref="Cluster.Messages.Wire.ISocketEvents.OnDrained"/>.
    /// </summary>
    public const long OutQueueBytesHigh = 4L << 20;

    /// <summary>
    /// Out queue at which a socket is closed: its peer does not read, and must not eat this process' memory.
    /// </summary>
    public const long OutQueueBytesMax = 256L << 20;

    /// <summary>Work posted and not yet run. Posts are control; reaching this is a fault of the program.</summary>
    public const int PostedMax = 1 << 20;

    /// <summary>Cancelled timers that may stay in the heap before it is rebuilt without them.</summary>
    public const int CancelledTimersMin = 1024;
}
