using Akka.Actor;
using Akka.Cluster;

namespace Cluster.Node.Hosting.Membership;

/// <summary>Has the directory of nodes read anew when a member appears.</summary>
internal sealed class MembershipWatch : ReceiveActor
{
    public MembershipWatch(PeerDirectory directory)
    {
        Receive<ClusterEvent.IMemberEvent>(_ => directory.ReadSoon());
        Receive<ClusterEvent.CurrentClusterState>(_ => directory.ReadSoon());
    }

    protected override void PreStart() => Akka.Cluster.Cluster.Get(Context.System).Subscribe(Self, typeof(ClusterEvent.IMemberEvent));

    protected override void PostStop() => Akka.Cluster.Cluster.Get(Context.System).Unsubscribe(Self);
}
