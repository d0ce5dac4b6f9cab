using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>One node's end of a simulated connection. Bodies are copied on their way, as between processes.</summary>
internal sealed class SimLink(SimNetwork network, SimNode node, SimNode peer, ulong generation) : IFrameLink
{
    public SimNode Node => node;

    public SimNode PeerNode => peer;

    public SimLink Other { get; set; } = null!;

    /// <summary>By the name that it had when this was connected.</summary>
    public NodeId Peer { get; } = peer.Id;

    public ulong Generation => generation;

    public bool IsUp { get; set; } = true;

    public ulong CompatFeatures => MeshFeatures.Current.Compat;

    /// <summary>A frame was lost: nothing sent from here arrives any more.</summary>
    public bool IsBroken { get; set; }

    public long QueuedBytes { get; set; }

    public long LastArrivalUs { get; set; }

    public long LastHeardMs { get; set; } = node.NowMs;

    public long LeaseUntilMs { get; set; }

    /// <summary>The process that this end belongs to.</summary>
    public int Incarnation { get; } = node.Incarnation;

    public void Send(FrameHeader header, ReadOnlySpan<byte> body)
    {
        Invariant.That(body.Length <= Limits.SmallBodyBytesMax, "a body of this size must be sent as a buffer");
        if (header.Kind == FrameKind.ClientAck && header.Volume == SimWorld.Volume) node.World.History.OnAckSent(node, in header, body);
        if (IsUp) network.Transmit(this, header, body);
    }

    public void Send(FrameHeader header, IoBuffer body)
    {
        if (IsUp) network.Transmit(this, header, body.Span);
    }
}

/// <summary>Within a process: by reference, later in the same turn.</summary>
internal sealed class SimSelfLink(SimNode node) : IFrameLink
{
    public NodeId Peer { get; } = node.Id;

    public ulong Generation { get; } = (ulong)node.Incarnation + 1;

    public bool IsUp { get; set; } = true;

    public long QueuedBytes => 0;

    public void Send(FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!IsUp) return;
        if (header.Kind == FrameKind.ClientAck && header.Volume == SimWorld.Volume) node.World.History.OnAckSent(node, in header, body);
        IoBuffer? copy = null;
        if (!body.IsEmpty)
        {
            copy = BufferPool.Shared.Rent(body.Length);
            body.CopyTo(copy.Span);
        }
        node.QueueLocal(header, copy, small: true);
    }

    public void Send(FrameHeader header, IoBuffer body)
    {
        if (!IsUp) return;
        body.AddReference();
        node.QueueLocal(header, body, small: false);
    }
}
