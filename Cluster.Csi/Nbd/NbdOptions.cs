namespace Cluster.Csi.Nbd;

/// <summary>Settings of the NBD server, from the section myrmidon.nbd.</summary>
/// <param name="HandshakeIdleMs">A client that says nothing for this long before it chose an export is disconnected.</param>
/// <param name="ConnectionsMax">Further clients are disconnected at once.</param>
public sealed record NbdOptions(int HandshakeIdleMs = NbdLimits.HandshakeIdleMs, int ConnectionsMax = NbdLimits.ConnectionsMax);
