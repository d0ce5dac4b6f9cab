namespace Cluster.Csi.Nbd;

/// <summary>Settings of the NBD server, from the section myrmidon.nbd.</summary>
/// <param name="HandshakeIdleMs">A client that says nothing for this long before it chose an export is disconnected.</param>
/// <param name="ConnectionsMax">Further clients are disconnected at once.</param>
/// <param name="BytesMax">Payload of all commands of all connections that is in memory at one time; a connection of which nothing is on its way may have a piece of <see cref="NbdLimits.SpareChunkBytes"/> more.</param>
/// <param name="ReceiveBytes">Receive buffer of a connection that has bytes to be read.</param>
public sealed record NbdOptions(int HandshakeIdleMs = NbdLimits.HandshakeIdleMs, int ConnectionsMax = NbdLimits.ConnectionsMax, long BytesMax = NbdLimits.ServerBytesMax,
    int ReceiveBytes = NbdLimits.ReceiveBytes)
{
    /// <summary>Payload of the commands of one connection that is in memory at one time.</summary>
    public long ConnectionBytesMax { get; init; } = NbdLimits.ConnectionBytesMax;

    /// <summary>Memory is taken piece by piece, of a command that was begun too. Without a limit a command that was taken is taken in whole.</summary>
    public bool HasLimit { get; init; } = true;

    /// <summary>The process has little memory left for buffers: what can wait does.</summary>
    public Func<bool> IsMemoryTight { get; init; } = () => false;
}
