using Akka.Actor;
using Akka.Cluster;
using Akka.Event;
using Akka.Remote;
using Cluster.Messages.Model;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Has the directory of nodes read anew when a member appears, logs what changes in the cluster of nodes, and notices when the others have
/// taken this node out: they say so to whoever was silent for too long and talks to them again.
/// </summary>
internal sealed class MembershipWatch : ReceiveActor
{
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly PeerDirectory _directory;
    private readonly Action _onTakenOut;
    private readonly HashSet<Address> _refusers = [];

    /// <param name="onDowned">The cluster has taken that other node out. Any thread.</param>
    /// <param name="onTakenOut">This node is no member for the others any more, and never will be again as this process. Any thread.</param>
    public MembershipWatch(PeerDirectory directory, Action<NodeId> onDowned, Action onTakenOut)
    {
        (_directory, _onTakenOut) = (directory, onTakenOut);
        Receive<ThisActorSystemQuarantinedEvent>(OnRefused);
        Receive<ClusterEvent.MemberUp>(up => Log(up.Member, "is up"));
        Receive<ClusterEvent.MemberLeft>(left => Log(left.Member, "leaves"));
        Receive<ClusterEvent.MemberDowned>(down =>
        {
            if (_directory.NodeOf(down.Member.Address) is { } node) onDowned(node);
            Log(down.Member, "is taken out");
        });
        Receive<ClusterEvent.MemberRemoved>(removed => Log(removed.Member, "is gone"));
        Receive<ClusterEvent.UnreachableMember>(unreachable => Log(unreachable.Member, "does not answer"));
        Receive<ClusterEvent.ReachableMember>(reachable => Log(reachable.Member, "answers again"));
        Receive<ClusterEvent.IMemberEvent>(_ => _directory.ReadSoon());
    }

    /// <summary>
    /// Whether so many refusals tell that the cluster has gone on without this node. A few may come from a minority that took the
    /// others out before it ended itself.
    /// </summary>
    internal static bool IsTakenOut(int refusers, int others) => others > 0 && refusers > others / 2;

    protected override void PreStart()
    {
        Akka.Cluster.Cluster.Get(Context.System).Subscribe(
            Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.IMemberEvent),
                typeof(ClusterEvent.IReachabilityEvent));
        Context.System.EventStream.Subscribe<ThisActorSystemQuarantinedEvent>(Self);
    }

    protected override void PostStop() => Akka.Cluster.Cluster.Get(Context.System).Unsubscribe(Self);

    private void OnRefused(ThisActorSystemQuarantinedEvent refused)
    {
        var others = Akka.Cluster.Cluster.Get(Context.System).State.Members.Select(member => member.Address).ToHashSet();
        others.Remove(Akka.Cluster.Cluster.Get(Context.System).SelfAddress);
        // A refusal is for this very process; one that came from a node that left since counts no more.
        _refusers.Add(refused.RemoteAddress);
        _refusers.IntersectWith(others);
        if (IsTakenOut(_refusers.Count, others.Count)) _onTakenOut();
    }

    private void Log(Member member, string what)
    {
        _directory.ReadSoon();
        _log.Info("Node {0} {1}", _directory.NameOf(member.Address) ?? member.Address.ToString(), what);
    }
}
