using Akka.Actor;
using Akka.Cluster.Sharding;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Node.Placement;

/// <summary>Volumes as a cluster-sharded type: one shard and one entity per volume, both named by the volume's id.</summary>
public static class VolumeSharding
{
    public const string TypeName = "volume";

    /// <summary>Starts the region of this node.</summary>
    /// <param name="propsOf">The volume's actor by the text of its id.</param>
    public static IActorRef Start(ActorSystem system, Func<string, Props> propsOf, VolumeAllocationStrategy strategy) =>
        ClusterSharding.Get(system).Start(
            TypeName, propsOf, ClusterShardingSettings.Create(system), new Extractor(), strategy, VolumeHandOff.Instance);

    private sealed class Extractor : IMessageExtractor
    {
        public string? EntityId(object message) => (message as IVolumeCommand)?.Volume.ToString();

        public object? EntityMessage(object message) => message;

        public string? ShardId(object message) => EntityId(message);

        public string ShardId(string entityId, object? messageHint = null) => entityId;
    }
}
