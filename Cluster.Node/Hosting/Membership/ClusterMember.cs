using Akka.Actor;
using Akka.Cluster;
using Akka.Remote;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Net;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// This process as a member of the Akka cluster: joins where the journal says, and says of itself whether it is up. Any thread.
/// </summary>
public sealed partial class ClusterMember(ActorSystem system, ILogger<ClusterMember> logger)
{
    /// <summary>Between two looks at who may form the cluster.</summary>
    private static readonly TimeSpan DecidePause = TimeSpan.FromMilliseconds(200);

    /// <summary>After this the members that were to be joined are asked for anew: they may be gone.</summary>
    private static readonly TimeSpan JoinMax = TimeSpan.FromSeconds(8);

    private readonly Akka.Cluster.Cluster _cluster = Akka.Cluster.Cluster.Get(system);

    public ActorSystem System => system;

    public Address Address => _cluster.SelfAddress;

    /// <summary>As other nodes are told in the journal's hello.</summary>
    public AkkaSelf Self => new(Address.ToString(), _cluster.SelfUniqueAddress.Uid, _cluster.SelfMember.Status == MemberStatus.Up);

    /// <summary>
    /// Completes when this node is up as a member. Goes on for as long as it takes; a journal without a leader is waited for. False: a member that was to be joined refuses this process for good
    /// (it had it as a member already, and took it out before this one heard of that): only a new process can be one.
    /// </summary>
    /// <param name="decide">See <see cref="AkkaFormation.DecideAsync"/>.</param>
    public async Task<bool> JoinAsync(Func<AkkaSelf, CancellationToken, Task<AkkaJoinDecision>> decide, CancellationToken cancellation)
    {
        var up = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _cluster.RegisterOnMemberUp(() => up.TrySetResult());
        var joined = new JoinedThrough();
        var listener = system.ActorOf(Props.Create(() => new RefusalListener(joined)));
        var last = "";
        while (!up.Task.IsCompleted && !joined.Refused.IsCompleted)
        {
            cancellation.ThrowIfCancellationRequested();
            var decision = await DecideAsync(decide, cancellation);
            switch (decision)
            {
                case AkkaJoinDecision.FormNew form:
                    LogForms(form.Incarnation);
                    await _cluster.JoinAsync(Address, cancellation);
                    break;
                case AkkaJoinDecision.Join join:
                    LogJoins(string.Join(", ", join.Addresses));
                    joined.Addresses = [.. join.Addresses.Select(Akka.Actor.Address.Parse)];
                    _cluster.JoinSeedNodes(joined.Addresses);
                    await Task.WhenAny(up.Task, joined.Refused, Task.Delay(JoinMax, cancellation));
                    break;
                case AkkaJoinDecision.Wait wait:
                    if (wait.Why != last) LogWaits(last = wait.Why);
                    await Task.Delay(DecidePause, cancellation);
                    break;
            }
        }
        system.Stop(listener);
        if (!up.Task.IsCompleted) LogRefused(await joined.Refused);
        return up.Task.IsCompleted;
    }

    /// <summary>Whom this node asked to be let in, and who of them refuses it. Any thread.</summary>
    private sealed class JoinedThrough
    {
        private readonly TaskCompletionSource<Address> _refused = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile IReadOnlyList<Address> _addresses = [];

        public IReadOnlyList<Address> Addresses { get => _addresses; set => _addresses = value; }

        public Task<Address> Refused => _refused.Task;

        public void OnRefused(Address by)
        {
            if (_addresses.Contains(by)) _refused.TrySetResult(by);
        }
    }

    /// <summary>Once this node is up, <see cref="MembershipWatch"/> hears what this one does.</summary>
    private sealed class RefusalListener : ReceiveActor
    {
        public RefusalListener(JoinedThrough joined) => Receive<ThisActorSystemQuarantinedEvent>(refused => joined.OnRefused(refused.RemoteAddress));

        protected override void PreStart() => Context.System.EventStream.Subscribe(Self, typeof(ThisActorSystemQuarantinedEvent));
    }

    /// <summary>
    /// The process at this address is dead (its mesh port refuses connections while its host answers): it is downed now, not after the
    /// failure detector's wait. A new process at the address opens its mesh port before it joins, so that the member known here is the
    /// dead one.
    /// </summary>
    public void DownDead(Address address)
    {
        var member = _cluster.State.Members.FirstOrDefault(candidate => candidate.Address == address);
        if (member is null || address == Address) return;
        LogDowns(address);
        // Downed alone, it would be removed only once the failure detector misses its heartbeats.
        DeadPeers.Note(address.ToString());
        _cluster.Down(address);
    }

    /// <summary>Address of the member that hosts cluster singletons: the oldest one that is up; null when none is known.</summary>
    public Address? Oldest => OldestOf(_cluster);

    public static Address? OldestOf(Akka.Cluster.Cluster cluster) => cluster.State.Members.Where(member => member.Status == MemberStatus.Up && member.HasRole("storage"))
        .Aggregate((Member?)null, (oldest, member) => oldest is null || member.IsOlderThan(oldest) ? member : oldest)?.Address;

    /// <summary>Whether a member with such an address is there and answers, as this node's failure detector has it.</summary>
    public bool Hears(Func<Address, bool> isIt)
    {
        var state = _cluster.State;
        return state.Members.Any(member => member.Status is not (MemberStatus.Down or MemberStatus.Removed) && isIt(member.Address) && !state.Unreachable.Contains(member));
    }

    /// <summary>Members that are up and answer, this one included.</summary>
    public IReadOnlyCollection<string> UpAddresses
    {
        get
        {
            var state = _cluster.State;
            return [.. state.Members.Where(member => member.Status is MemberStatus.Up or MemberStatus.WeaklyUp && !state.Unreachable.Contains(member)).Select(member => member.Address.ToString())];
        }
    }

    /// <summary>Whether a process at that node's address is a member here, in whatever state.</summary>
    public bool Knows(NodeRecord node)
    {
        var address = new Address("akka.tcp", AkkaSettings.SystemName, node.Host, node.RemotePort);
        return _cluster.State.Members.Any(member => member.Address == address);
    }

    /// <summary>Whether that very process is a member here, in whatever state.</summary>
    public bool Knows(AkkaSelf process) =>
        _cluster.State.Members.Any(member => member.UniqueAddress.Uid == process.Uid && member.Address.ToString() == process.Address);

    private async Task<AkkaJoinDecision> DecideAsync(Func<AkkaSelf, CancellationToken, Task<AkkaJoinDecision>> decide, CancellationToken cancellation)
    {
        try
        {
            return await decide(Self, cancellation);
        }
        catch (MetaLogUnavailableException e)
        {
            return new AkkaJoinDecision.Wait(e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "forms the cluster of nodes, incarnation {Incarnation}")]
    private partial void LogForms(long incarnation);

    [LoggerMessage(Level = LogLevel.Information, Message = "joins the cluster of nodes through {Addresses}")]
    private partial void LogJoins(string addresses);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the node at {Address} refuses this process, which it has taken out of the cluster before it was in: only a new process can join")]
    private partial void LogRefused(Address address);

    [LoggerMessage(Level = LogLevel.Information, Message = "waits to join the cluster of nodes: {Why}")]
    private partial void LogWaits(string why);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the process at {Address} is dead; it is taken out of the cluster")]
    private partial void LogDowns(Address address);
}
