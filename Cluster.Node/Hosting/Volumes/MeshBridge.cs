using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>
/// Joins the mesh to the volumes of this node: frames and links go to the runtime, a peer that is dead goes to whoever can down it. Made and
/// started in one go; from then on everything happens on the loop.
/// </summary>
public sealed class MeshBridge : IMeshEvents, IMeshLinks
{
    private readonly VolumeRuntime _runtime;
    private readonly Action<NodeId> _onPeerDead;

    /// <param name="onPeerDead">
    /// Nobody listens any more on the port of a peer that had been linked: its process is dead, its host is alive. Called on the loop; must not block.
    /// </param>
    public MeshBridge(VolumeRuntime runtime, ILoggerFactory loggers, Action<NodeId> onPeerDead)
    {
        (_runtime, _onPeerDead) = (runtime, onPeerDead);
        var identity = runtime.Identity;
        Mesh = new MeshNode(runtime.Loop, new MeshIdentity(identity.ClusterId, identity.Era, identity.Id, identity.Name), this,
            loggers.CreateLogger("Myrmidon.Mesh"));
    }

    public MeshNode Mesh { get; }

    /// <summary>On the loop: opens the node's replicas and makes the link within the process. The mesh starts to listen after it.</summary>
    public void StartVolumes()
    {
        var delivery = new LocalDelivery();
        _runtime.Loop.AddPhase(TurnPhase.Deliver, delivery);
        // Both ends lead to the runtime, which takes each frame by its kind: what the one end sends, the other end's answer comes back to.
        var (self, _) = LocalLink.Pair(delivery, _runtime.Identity.Id, _runtime, _runtime);
        _runtime.Start(this, self);
    }

    public IFrameLink? LinkTo(NodeId node) => Mesh.LinkTo(node);

    public long LeaseUntilMs(IFrameLink link) => link is MeshLink mesh ? mesh.LeaseUntilMs : 0;

    public long GrantedUntilMs(NodeId peer) => Mesh.GrantedUntilMs(peer);

    public void RetryNow(NodeId node) => Mesh.RetryNow(node);

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer) =>
        _runtime.OnFrame(from, in header, body, buffer);

    public void OnLinkUp(MeshLink link) => _runtime.OnLinkUp(link);

    public void OnLinkDown(MeshLink link, CloseReason reason, string detail) =>
        _runtime.OnLinkDown(link, silent: reason == CloseReason.TimedOut);

    public void OnPeerRefused(NodeId peer)
    {
        _onPeerDead(peer);
        _runtime.OnPeerDead(peer);
    }
}
