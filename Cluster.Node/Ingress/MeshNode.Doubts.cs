using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

// A peer that somebody waits for in vain. Its loop answers heartbeats, so that its silence is known here already: it is only acted on sooner than without cause, and only where the
// nodes that this one hears do not hear it either. Where one of them does, a link is cut and no node hangs: everything stays as without a doubt. A wrong one costs a connection, which
// comes back at once, and what rests on it; it fences nobody (R18).
public sealed partial class MeshNode
{
    private long _doubtsTrue;
    private long _heartbeatDueMs = long.MaxValue;
    private long _believesFromMs;

    /// <summary>Links that were closed because a doubted peer was silent. Any thread.</summary>
    public long DoubtsTrue => Interlocked.Read(ref _doubtsTrue);

    /// <summary>Tells all other nodes that this one does not hear a doubted node. Called on the loop; set before the first doubt.</summary>
    public Action<NodeId> TellUnheard { get; set; } = _ => { };

    /// <summary>
    /// Somebody waits for an answer of that peer. Once nothing was heard over its link for <see cref="Limits.DoubtedSilenceMs"/>, and two heartbeats after the doubt, the others are told,
    /// and it is closed as silent if all others that are heard say the same; one look a doubt, and if the peer was heard of meanwhile the doubt is over. Any thread.
    /// </summary>
    public void Doubt(NodeId node) => OnLoop(() =>
    {
        var nowMs = Loop.FreshNowMs();
        if (_stopped || IsToBlame(nowMs) || !_peers.TryGetValue(node, out var peer) || peer.IsDoubted) return;
        if (peer.Link is not { IsUp: true } link)
        {
            if (peer.LookedMs is { } lookedMs && nowMs - lookedMs < MeshLimits.DoubtLookMs) return;
            peer.LookedMs = nowMs;
            TellUnheard(node);
            return;
        }
        var neededMs = peer.Doubts.NeededMs(nowMs);
        var inMs = (int)Math.Clamp(link.ReceivedMs + neededMs - nowMs, MeshLimits.DoubtLookMs, Limits.MeshSilenceMs);
        peer.IsDoubted = true;
        Loop.Schedule(inMs, () => LookAtDoubted(peer, link, nowMs + inMs));
    });

    /// <summary>Another node says that it does not hear one that is doubted. Any thread.</summary>
    public void OnUnheard(NodeId node, NodeId by) => OnLoop(() =>
    {
        if (_stopped || !_peers.TryGetValue(node, out var peer) || !_peers.TryGetValue(by, out var witness)) return;
        var nowMs = Loop.FreshNowMs();
        witness.Unheard[node] = nowMs;
        // Only where this node has looked itself.
        if (peer.LookedMs is { } lookedMs && nowMs - lookedMs <= MeshLimits.UnheardCountsMs) CloseIfAgreed(peer, nowMs);
    });

    private void LookAtDoubted(MeshPeer peer, MeshLink link, long dueMs)
    {
        peer.IsDoubted = false;
        var nowMs = Loop.FreshNowMs();
        if (_stopped || peer.Link != link || nowMs - dueMs > MeshLimits.LookLateMsMax || !IsUnheard(peer, nowMs)) return;
        peer.LookedMs = nowMs;
        TellUnheard(peer.Info.Node);
        CloseIfAgreed(peer, nowMs);
    }

    private void CloseIfAgreed(MeshPeer peer, long nowMs)
    {
        if (!IsUnheard(peer, nowMs) || !OthersAgree(peer, nowMs)) return;
        var link = peer.Link!;
        (peer.LookedMs, peer.Doubts.ClosedMs) = (null, nowMs);
        Interlocked.Increment(ref _doubtsTrue);
        link.Close(CloseReason.TimedOut, $"it was waited for, and nothing was heard for {nowMs - link.ReceivedMs} ms, nor by others");
    }

    private bool IsUnheard(MeshPeer peer, long nowMs) => !IsToBlame(nowMs)
        && peer.Link is { IsUp: true, IsPaused: false } link && nowMs - link.ReceivedMs >= peer.Doubts.NeededMs(nowMs);

    /// <summary>All others that are heard, and there are some: of a node that hears nobody the silence is its own.</summary>
    private bool OthersAgree(MeshPeer doubted, long nowMs)
    {
        var heard = _peers.Values.Where(other => other != doubted && other.Link is { IsUp: true } link && nowMs - link.ReceivedMs <= MeshLimits.OthersHeardMs).ToArray();
        return heard.Length > 0
            && heard.All(other => other.Unheard.TryGetValue(doubted.Info.Node, out var saidMs) && nowMs - saidMs <= MeshLimits.UnheardCountsMs);
    }

    /// <summary>This node's own loop stands still now and then, or did just now: what it has not heard says nothing of others.</summary>
    private bool IsToBlame(long nowMs) => nowMs < _believesFromMs || nowMs - _heartbeatDueMs > MeshLimits.LookLateMsMax;

    private void NoteHeartbeat(long nowMs)
    {
        if (nowMs - _heartbeatDueMs > MeshLimits.LookLateMsMax) _believesFromMs = nowMs + Limits.DoubtedSilenceMs;
        _heartbeatDueMs = nowMs + Limits.HeartbeatMs;
    }
}
