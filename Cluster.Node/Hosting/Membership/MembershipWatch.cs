using Akka.Actor;
using Akka.Cluster;
using Akka.Event;

namespace Cluster.Node.Hosting.Membership;

/// <summary>Has the directory of nodes read anew when a member appears, and logs what changes in the cluster of nodes.</summary>
internal sealed class MembershipWatch : ReceiveActor
{
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly PeerDirectory _directory;

    public MembershipWatch(PeerDirectory directory)
    {
        _directory = directory;
        Receive<ClusterEvent.MemberUp>(up => Log(up.Member, "is up"));
        Receive<ClusterEvent.MemberLeft>(left => Log(left.Member, "leaves"));
        Receive<ClusterEvent.MemberDowned>(down => Log(down.Member, "is taken out"));
        Receive<ClusterEvent.MemberRemoved>(removed => Log(removed.Member, "is gone"));
        Receive<ClusterEvent.UnreachableMember>(unreachable => Log(unreachable.Member, "does not answer"));
        Receive<ClusterEvent.ReachableMember>(reachable => Log(reachable.Member, "answers again"));
        Receive<ClusterEvent.IMemberEvent>(_ => _directory.ReadSoon());
    }

    protected override void PreStart() => Akka.Cluster.Cluster.Get(Context.System).Subscribe(
        Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.IMemberEvent),
            typeof(ClusterEvent.IReachabilityEvent));

    protected override void PostStop() => Akka.Cluster.Cluster.Get(Context.System).Unsubscribe(Self);

    private void Log(Member member, string what)
    {
        _directory.ReadSoon();
        _log.Info("Node {0} {1}", _directory.NameOf(member.Address) ?? member.Address.ToString(), what);
    }
}
