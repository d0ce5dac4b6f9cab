using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

/// <summary>
/// A node's way to the owner of any volume: straight to the node that says that it serves it, else through sharding, which finds or starts one.
/// So what was claimed early is reached at once, also while sharding still believes its owner on a node that is silent.
/// </summary>
public sealed class VolumeRouter : ReceiveActor
{
    /// <param name="region">The shard region of this node.</param>
    /// <param name="servedAt">The keeper of the node that serves the volume, or null. Any thread.</param>
    public VolumeRouter(IActorRef region, Func<VolumeId, ICanTell?> servedAt) =>
        Receive<IVolumeCommand>(command => (servedAt(command.Volume) ?? region).Tell(command, Sender));
}
