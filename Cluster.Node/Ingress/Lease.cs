using Cluster.Messages.Model;

namespace Cluster.Node.Ingress;

/// <summary>
/// The two ends of a lease (R17), each on its own CLOCK_BOOTTIME in milliseconds. The holder counts from when it sent
/// the Ping, the grantor from when it sent the Pong, which was later; each takes the drift bound against itself. So the
/// holder has stopped before the grantor has waited enough.
/// </summary>
public static class Lease
{
    private const int DriftMs = Limits.LeaseMs * Limits.ClockDriftPercent / 100;

    /// <summary>Up to when the sender of a Ping that was answered may rely on it.</summary>
    public static long HeldUntilMs(long pingSentMs) => pingSentMs + Limits.LeaseMs - DriftMs;

    /// <summary>Up to when the sender of a Pong must take the other side to rely on it.</summary>
    public static long GrantedUntilMs(long pongSentMs) => pongSentMs + Limits.LeaseMs + DriftMs;
}
