using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>Who this node is on the mesh.</summary>
/// <param name="Cluster">Id of the cluster; others are refused.</param>
/// <param name="Era">Recovery era: nodes of different eras do not talk (P7).</param>
public sealed record MeshIdentity(Guid Cluster, Guid Era, NodeId Node, string Name)
{
    public MeshFeatures Features { get; init; } = MeshFeatures.Current;

    public byte VersionOldest { get; init; } = WireVersion.Oldest;

    public byte VersionCurrent { get; init; } = WireVersion.Current;

    internal HelloBody Hello(NodeId receiver, bool probe) =>
        new(VersionOldest, VersionCurrent, probe, Features, Cluster, Era, Node, receiver, Name);
}

/// <summary>A node in the directory. <see cref="Host"/> is a name or an address.</summary>
public sealed record MeshPeerInfo(NodeId Node, string Name, string Host, int Port);

/// <summary>
/// What the mesh tells its node, on the loop. Frames come by <see cref="IFrameHandler"/>, all kinds but those of the
/// connection itself.
/// </summary>
public interface IMeshEvents : IFrameHandler
{
    /// <summary>
    /// Frames may be sent to the peer, and come from it, from now on. An earlier link to it is down already.
    /// </summary>
    void OnLinkUp(MeshLink link);

    /// <summary>Once per link that was up. What was sent and not answered may or may not have arrived.</summary>
    void OnLinkDown(MeshLink link, CloseReason reason, string detail);

    /// <summary>
    /// Nobody listens any more on the port of a peer whose link had been up: its process is dead and its host is alive.
    /// Once per such death.
    /// </summary>
    void OnPeerRefused(NodeId peer);
}
