using Cluster.Messages.Model;

namespace Cluster.Messages.Protocol;

/// <summary>What nodes tell each other of nodes. Hints: nothing is answered, and each may be lost.</summary>
public static class NodeProtocol
{
    /// <summary>Somebody waits for this node and has no answer: whoever is linked to it looks whether it still hears its I/O loop.</summary>
    public sealed record Doubted(NodeId Node) : IControlMessage;

    /// <summary><paramref name="By"/> has looked at a doubted node, and does not hear it.</summary>
    public sealed record Unheard(NodeId Node, NodeId By) : IControlMessage;
}
