using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>
/// What the mesh knows of one other node: where it lives, its link, and when to try again. Loop thread only.
/// </summary>
internal sealed class MeshPeer(MeshPeerInfo info)
{
    public MeshPeerInfo Info { get; set; } = info;

    public MeshLink? Link { get; set; }

    /// <summary>A look-up of its name, a connect or a handshake is under way.</summary>
    public bool Trying { get; set; }

    /// <summary>The one under way, once its socket exists.</summary>
    public MeshConnection? Attempt { get; set; }

    public ILoopTimer? RetryTimer { get; set; }

    public int RetryMs { get; set; } = MeshLimits.RetryMsMin;

    /// <summary>The link was up since the process was last found dead.</summary>
    public bool WasUp { get; set; }

    /// <summary>Reason logged last, so that a lasting one is logged once.</summary>
    public string LoggedReason { get; set; } = "";

    public bool Removed { get; set; }

    /// <summary>It is looked at soon, because somebody waits for it.</summary>
    public bool IsDoubted { get; set; }

    /// <summary>When this node last looked and found it silent. Null: not since a doubt closed its link.</summary>
    public long? LookedMs { get; set; }

    public DoubtBackOff Doubts { get; } = new();

    /// <summary>Nodes of the directory that it said it does not hear, and when.</summary>
    public Dictionary<NodeId, long> Unheard { get; } = [];

    /// <summary>The next pause: between a half and the whole of a bound that doubles.</summary>
    public int NextPauseMs()
    {
        var pauseMs = (RetryMs / 2) + Random.Shared.Next((RetryMs / 2) + 1);
        RetryMs = Math.Min(RetryMs * 2, MeshLimits.RetryMsMax);
        return pauseMs;
    }
}
