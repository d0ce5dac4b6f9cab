using Cluster.Messages.Model;

namespace Cluster.Node.Ingress;

/// <summary>
/// Bounds of the mesh. Units are in the names. Heartbeat, silence and lease stand in <see cref="Limits"/>.
/// </summary>
public static class MeshLimits
{
    /// <summary>Receive buffer of a connection: several frames per call; a size class of the pool holds it.</summary>
    public const int StagingBytes = 64 * 1024;

    /// <summary>From the start of a connect, or from an accept, until the handshake is done.</summary>
    public const int HandshakeMs = 2000;

    /// <summary>Accepted connections that have not finished their handshake; further ones are closed.</summary>
    public const int HandshakesMax = 64;

    /// <summary>First and longest pause between two attempts to reach a peer; half of it is random.</summary>
    public const int RetryMsMin = 20;

    public const int RetryMsMax = 1000;

    /// <summary>A doubted peer is only given up while another one was heard within this.</summary>
    public const int OthersHeardMs = 2 * Limits.HeartbeatMs;

    /// <summary>A doubted peer is looked at this long after the doubt at the soonest, so that it has had two heartbeats to be heard.</summary>
    public const int DoubtLookMs = 2 * Limits.HeartbeatMs;

    /// <summary>For so long it counts that a node said that it does not hear a doubted one, or that this one found so.</summary>
    public const int UnheardCountsMs = Limits.DoubtedSilenceMs;

    /// <summary>A look at a doubted peer that comes later than this says more of this node's own loop than of the peer, and so does a heartbeat.</summary>
    public const int LookLateMsMax = 300;

    /// <summary>
    /// Bytes queued on one link at which it is closed as stuck. Above what the owner's pending records and the catch-up
    /// windows of a node's volumes put there in good order.
    /// </summary>
    public const long QueuedBytesMax = 192L << 20;

    /// <summary>Lines about refused connections logged in one interval; the rest is counted.</summary>
    public const int RefusalLinesMax = 20;

    public const int RefusalIntervalMs = 10_000;
}
