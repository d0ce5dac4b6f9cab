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
    private readonly Refusals _refusals = new(TimeProvider.System);

    /// <param name="onDowned">The cluster has taken that other node out. Any thread.</param>
    /// <param name="onTakenOut">This node is no member for the others any more, and never will be again as this process. Any thread.</param>
    public MembershipWatch(PeerDirectory directory, Action<NodeId> onDowned, Action onTakenOut)
    {
        (_directory, _onTakenOut) = (directory, onTakenOut);
        Receive<ThisActorSystemQuarantinedEvent>(OnRefused);
        Receive<ClusterEvent.MemberUp>(up =>
        {
            if (up.Member.Address != Akka.Cluster.Cluster.Get(Context.System).SelfAddress) _refusals.OnMember(up.Member.Address);
            Log(up.Member, "is up");
        });
        Receive<ClusterEvent.MemberLeft>(left => Log(left.Member, "leaves"));
        Receive<ClusterEvent.MemberDowned>(down =>
        {
            if (_directory.NodeOf(down.Member.Address) is { } node) onDowned(node);
            Log(down.Member, "is taken out");
            _refusals.OnTakenOut(down.Member.Address);
            JudgeRefusals();
        });
        Receive<ClusterEvent.MemberRemoved>(removed =>
        {
            if (removed.PreviousStatus == MemberStatus.Down) _refusals.OnTakenOut(removed.Member.Address);
            else _refusals.OnLeft(removed.Member.Address);
            Log(removed.Member, "is gone");
            JudgeRefusals();
        });
        Receive<ClusterEvent.UnreachableMember>(unreachable => Log(unreachable.Member, "does not answer"));
        Receive<ClusterEvent.ReachableMember>(reachable => Log(reachable.Member, "answers again"));
        Receive<ClusterEvent.IMemberEvent>(_ => _directory.ReadSoon());
    }

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
        _refusals.OnRefused(refused.RemoteAddress);
        JudgeRefusals();
    }

    private void JudgeRefusals()
    {
        if (_refusals.IsTakenOut()) _onTakenOut();
    }

    private void Log(Member member, string what)
    {
        _directory.ReadSoon();
        _log.Info("Node {0} {1}", _directory.NameOf(member.Address) ?? member.Address.ToString(), what);
    }
}
