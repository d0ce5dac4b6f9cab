using Cluster.Messages.Model;

namespace Cluster.Csi.Nbd;

/// <summary>Bounds of the NBD server.</summary>
public static class NbdLimits
{
    /// <summary>Largest READ or WRITE, as advertised: what clients assume if they do not ask.</summary>
    public const uint PayloadBytesMax = 32u << 20;

    /// <summary>
    /// Advertised minimum block: every byte range is served, parts of blocks by read-modify-write (R15). A larger minimum would make
    /// clients refuse or
    /// widen such I/O themselves, without the sequence check that keeps two of them from undoing each other.
    /// </summary>
    public const uint BlockBytesMin = 1;

    public const uint BlockBytesPreferred = Limits.BlockBytes;

    /// <summary>I/O is handed to the device in pieces that end at multiples of this: one record of the session (256 KiB).</summary>
    public const int ChunkBytes = Limits.RecordBlocksMax * Limits.BlockBytes;

    /// <summary>Commands of one connection that may be unanswered; then it is not read until one is.</summary>
    public const int CommandsMax = 512;

    /// <summary>Payload bytes of the commands of one connection in flight, at least one command aside.</summary>
    public const long ConnectionBytesMax = 32L << 20;

    /// <summary>The same over all connections of the server.</summary>
    public const long ServerBytesMax = 256L << 20;

    /// <summary>What a connection of which nothing is on its way may always take in, so that none waits for ever for the others.</summary>
    public const int SpareChunkBytes = 64 << 10;

    /// <summary>Unsent replies of a connection up to which that holds.</summary>
    public const long SpareQueueBytesMax = 256 << 10;

    /// <summary>So long has a read that goes out as one to get its next piece from the device, before others have their turn to take memory beyond the bounds.</summary>
    public const int GatherTurnMs = 1000;

    /// <summary>How often connections that wait for memory look whether there is some.</summary>
    public const int StarvedLookMs = 5;

    /// <summary>
    /// No further command is taken from a client that leaves more bytes of replies unread. At least the bound of the loop's out queue,
    /// so that it tells
    /// when they are gone.
    /// </summary>
    public const long OutQueueBytesMax = 4L << 20;

    /// <summary>
    /// A payload above <see cref="PayloadBytesMax"/> is swallowed and answered with EINVAL up to here; above, the connection is closed.
    /// </summary>
    public const uint DiscardBytesMax = 128u << 20;

    /// <summary>
    /// Data of one option; up to the next bound it is swallowed and answered with ERR_TOO_BIG, above it the connection is closed.
    /// </summary>
    public const int OptionBytesMax = 16 << 10;

    public const int OptionDiscardBytesMax = 1 << 20;

    /// <summary>Options of one handshake.</summary>
    public const int OptionsMax = 1024;

    /// <summary>Bytes of a string (proto.md, "Conventions").</summary>
    public const int StringBytesMax = 4096;

    /// <summary>A client that sends no further option for this long during the handshake is disconnected.</summary>
    public const int HandshakeIdleMs = 30_000;

    /// <summary>Descriptors in one answer to BLOCK_STATUS.</summary>
    public const int ExtentsMax = 1024;

    /// <summary>Connections of one server.</summary>
    public const int ConnectionsMax = 1024;

    /// <summary>Receive buffer of a connection that has bytes to be read, unless memory is short; an idle one has none.</summary>
    public const int ReceiveBytes = 128 << 10;

    /// <summary>Receives of one connection in one turn, so that others get theirs.</summary>
    public const int ReceivesPerTurn = 8;

    /// <summary>TCP keep-alive: a client whose host is gone is noticed after idle + count × interval seconds.</summary>
    public const int KeepAliveIdleSeconds = 30;

    public const int KeepAliveIntervalSeconds = 10;

    public const int KeepAliveCount = 3;
}
