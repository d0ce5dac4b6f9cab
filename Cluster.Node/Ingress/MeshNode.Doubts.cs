using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

// A peer that somebody waits for in vain. Its loop answers heartbeats, so that its silence is known here already: it is only acted on sooner than without cause. A wrong one
// costs a connection, which comes back at once, and what rests on it; it fences nobody (R18).
public sealed partial class MeshNode
{
    private long _doubtsTrue;

    /// <summary>Links that were closed because a doubted peer was silent. Any thread.</summary>
    public long DoubtsTrue => Interlocked.Read(ref _doubtsTrue);

    /// <summary>
    /// Somebody waits for an answer of that peer. Its link is closed as silent once nothing was heard over it for <see cref="Limits.DoubtedSilenceMs"/>, if others are heard; one look
    /// a doubt, and if the peer was heard of meanwhile the doubt is over. Any thread.
    /// </summary>
    public void Doubt(NodeId node) => OnLoop(() =>
    {
        if (_stopped || !_peers.TryGetValue(node, out var peer) || peer is not { Link: { IsUp: true } link, IsDoubted: false }) return;
        var nowMs = Loop.FreshNowMs();
        var inMs = (int)Math.Clamp(link.ReceivedMs + Limits.DoubtedSilenceMs - nowMs, 0, Limits.DoubtedSilenceMs);
        peer.IsDoubted = true;
        Loop.Schedule(inMs, () => LookAtDoubted(peer, link, nowMs + inMs));
    });

    private void LookAtDoubted(MeshPeer peer, MeshLink link, long dueMs)
    {
        peer.IsDoubted = false;
        var nowMs = Loop.FreshNowMs();
        if (_stopped || peer.Link != link || !link.IsUp || link.IsPaused || nowMs - dueMs > MeshLimits.LookLateMsMax) return;
        var silentMs = nowMs - link.ReceivedMs;
        if (silentMs < Limits.DoubtedSilenceMs || !Hears(nowMs, peer)) return;
        Interlocked.Increment(ref _doubtsTrue);
        link.Close(CloseReason.TimedOut, $"it was waited for, and nothing was heard for {silentMs} ms");
    }

    /// <summary>Somebody else: of a node that hears nobody the silence is its own.</summary>
    private bool Hears(long nowMs, MeshPeer but) =>
        _peers.Values.Any(other => other != but && other.Link is { IsUp: true } link && nowMs - link.ReceivedMs <= MeshLimits.OthersHeardMs);
}
