using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;
using Akka.Event;
using Akka.Persistence;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>What the placement singleton is given by its host.</summary>
/// <param name="Region">Where <see cref="IVolumeCommand"/>s go.</param>
/// <param name="ReadBarrier">Completes once all that the journal committed before is visible (R22); throws when no quorum answers.</param>
public sealed record PlacementSetup(
    IActorRef Region, TimeSpan ReplaceAfter, int ReplacementsMax, Func<Task> ReadBarrier, TimeProvider Time)
{
    /// <summary>A volume is used from one node for so long before its owner follows.</summary>
    public TimeSpan LocalitySettle { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Where orders to owners go; null: to the region. That of a volume whose owner hangs sends them there, until the cluster has noticed.</summary>
    public IActorRef? Owners { get; init; }

    /// <summary>Null: owners stay.</summary>
    public IFollowMoves? Moves { get; init; }

    /// <summary>An owner has followed who uses its volume (true), or did not get there in time. For metrics; any thread.</summary>
    public Action<bool> OnFollowed { get; init; } = _ => { };

    /// <summary>How many volumes there are, every second while placement runs here, and null when it ends here. For metrics; any thread.</summary>
    public Action<int?> OnCounted { get; init; } = _ => { };
}

/// <summary>
/// The catalogue: a cluster singleton whose state is journaled under "placement". A shell around <see cref="PlacementMachine"/>. Two of
/// them at one time are harmless: the journal's compare and set stops the older one at its next event.
/// </summary>
public sealed partial class PlacementActor : ReceivePersistentActor, IWithTimers
{
    public const string StreamId = "placement";

    /// <summary>Callers that wait for an owner's confirmation.</summary>
    private const int WaitersMax = 4096;

    /// <summary>Orders told to owners at one time; the others wait their turn.</summary>
    private const int OrdersMax = 1024;

    private static readonly TimeSpan ReplaceEvery = TimeSpan.FromSeconds(1);

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly PlacementSetup _setup;
    private readonly NodeBoard _board;
    private readonly Seldom _barrierFailed;
    private readonly Dictionary<VolumeId, (long Number, IVolumeCommand Order, IActorRef Actor)> _orders = [];
    private readonly SortedSet<VolumeId> _ordersWaiting = [];
    private readonly List<(PlacementWait Wait, IActorRef Caller)> _waiters = [];
    private readonly IActorRef _waker;
    private PlacementState _state = PlacementState.Empty;
    private long _nextOrder;

    public PlacementActor(PlacementSetup setup)
    {
        (_setup, _board, _locality, _barrierFailed) = (setup, new NodeBoard(setup.Time), new LocalityPlan(setup.LocalitySettle), new Seldom(setup.Time));
        _waker = Context.ActorOf(Props.Create(() => new VolumeWaker(setup.Region)), "waker");
        Recover<PlacementEvent>(e => _state = _state.Apply(e));
        Recover<RecoveryCompleted>(_ => OnRecovered());
        CommandVolumes();
        CommandNodes();
        CommandLocality();
        CommandImages();
        Command<OrderDone>(OnOrderDone);
        Command<OrderRefused>(OnOrderRefused);
        Command<BarrierPassed>(passed => passed.Caller.Tell(
            new PlacementProtocol.Deleted([.. passed.Copies.Where(_state.IsGone)])));
        Command<BarrierFailed>(OnBarrierFailed);
        Command<ReplaceTick>(_ =>
        {
            _setup.OnCounted(_state.Volumes.Count);
            ReplaceNext();
            FollowNext();
        });
    }

    public override string PersistenceId => StreamId;

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart()
    {
        Akka.Cluster.Cluster.Get(Context.System).Subscribe(
            Self, ClusterEvent.SubscriptionInitialStateMode.InitialStateAsEvents, typeof(ClusterEvent.IMemberEvent),
                typeof(ClusterEvent.IReachabilityEvent));
        Timers.StartPeriodicTimer(nameof(ReplaceTick), ReplaceTick.Instance, ReplaceEvery);
        base.PreStart();
    }

    protected override void PostStop()
    {
        Akka.Cluster.Cluster.Get(Context.System).Unsubscribe(Self);
        _setup.OnCounted(null);
        base.PostStop();
    }

    private void CommandVolumes()
    {
        Command<PlacementProtocol.CreateVolume>(m => Carry(PlacementMachine.Create(_state, _board.Candidates(_state), m, Guid.NewGuid)));
        Command<PlacementProtocol.ChangeVolume>(m => Carry(PlacementMachine.Change(_state, _board.Candidates(_state), m, Guid.NewGuid)));
        Command<PlacementProtocol.DeleteVolume>(m => Carry(PlacementMachine.Delete(_state, m)));
        Command<PlacementProtocol.GetVolume>(m => Carry(PlacementMachine.Get(_state, m)));
        Command<PlacementProtocol.ListVolumes>(m => Sender.Tell(PlacementMachine.List(_state, m)));
        Command<PlacementProtocol.WhichAreDeleted>(OnWhichAreDeleted);
    }

    private void CommandNodes()
    {
        Command<PlacementProtocol.ListNodes>(_ => Sender.Tell(Nodes(_ => true)));
        Command<PlacementProtocol.CordonNode>(command => OnCordon(command.NodeName, PlacementMachine.Cordon(_state, command)));
        Command<PlacementProtocol.CordonForRestart>(command => OnCordon(command.NodeName, PlacementMachine.Cordon(_state, command)));
        Command<PlacementProtocol.RemoveNode>(OnRemoveNode);
        Command<PlacementProtocol.RegisterNode>(OnRegister);
        Command<PlacementProtocol.ReportNode>(OnReport);
        Command<ClusterEvent.IClusterDomainEvent>(change =>
        {
            if (_board.OnMember(change)) Wake();
        });
    }

    private void OnRecovered()
    {
        _log.Info("Placement starts with {0} volumes on {1} nodes", _state.Volumes.Count, _state.Nodes.Count);
        foreach (var volume in _state.Volumes.Values) RefreshOrder(volume.Spec.Id);
        Wake();
    }

    private void OnBarrierFailed(BarrierFailed failed)
    {
        if (_barrierFailed.MaySay() is { } unsaid)
            _log.Warning("Which copies are deleted can't be told now, and is asked for again: {0} (so it was {1} times since this was last logged)", failed.Reason, unsaid);
    }

    /// <summary>Journals, answers, and lets the caller wait, as the machine decided.</summary>
    private void Carry(PlacementDecision decision)
    {
        var caller = Sender;
        if (decision.Event is null)
        {
            Reply(decision, caller);
            return;
        }
        Persist(decision.Event, e =>
        {
            Apply(e);
            Reply(decision, caller);
        });
    }

    private void Reply(PlacementDecision decision, IActorRef caller)
    {
        if (decision.Answer is not null) caller.Tell(decision.Answer);
        if (decision.Wait is not { } wait) return;
        if (PlacementMachine.Answer(_state, wait) is { } answer) caller.Tell(answer);
        else if (_waiters.Count < WaitersMax) _waiters.Add((wait, caller));
        else caller.Tell(new PlacementProtocol.Refused(
            RefusalKind.Unavailable, $"{WaitersMax} requests wait for their volumes; ask again later."));
    }

    private void Apply(PlacementEvent e)
    {
        _state = _state.Apply(e);
        KeepImage();
        switch (e)
        {
            case VolumePlaced placed: RefreshOrder(placed.Spec.Id); break;
            case VolumeRespecified respecified: RefreshOrder(respecified.Spec.Id); break;
            case CopiesChanged changed: RefreshOrder(changed.Spec.Id); break;
            case ReplacementPlaced placed: RefreshOrder(placed.Volume); break;
            case RemovalAsked asked: RefreshOrder(asked.Volume); break;
            case RemovalWithdrawn withdrawn: RefreshOrder(withdrawn.Volume); break;
            case ShrinkAsked asked: RefreshOrder(asked.Spec.Id); break;
            case ShrinkWithdrawn withdrawn: RefreshOrder(withdrawn.Volume); break;
            case VolumeRemoved removed:
                Settle(removed.Volume);
                _ = _setup.Moves?.ForgetVolumeAsync(removed.Volume);
                break;
            case VolumeConfirmed confirmed: Settle(confirmed.Volume); break;
            case RespecificationConfirmed confirmed: Settle(confirmed.Volume); break;
            case CopiesConfirmed confirmed: Settle(confirmed.Volume); break;
            case ReplacementConfirmed confirmed: Settle(confirmed.Volume); break;
            case RemovalConfirmed confirmed: Settle(confirmed.Volume); break;
        }
    }

    private void Settle(VolumeId volume)
    {
        RefreshOrder(volume);
        for (var index = _waiters.Count - 1; index >= 0; index--)
        {
            var (wait, caller) = _waiters[index];
            if (wait.Volume != volume || PlacementMachine.Answer(_state, wait) is not { } answer) continue;
            caller.Tell(answer);
            _waiters.RemoveAt(index);
        }
    }

    /// <summary>Makes the order told to the volume's owner the one that the state calls for.</summary>
    private void RefreshOrder(VolumeId volume)
    {
        var wanted = _state.Volumes.GetValueOrDefault(volume)?.Order;
        if (_orders.TryGetValue(volume, out var active))
        {
            if (active.Order.Equals(wanted)) return;
            Context.Stop(active.Actor);
            _orders.Remove(volume);
        }
        if (wanted is null) _ordersWaiting.Remove(volume);
        else _ordersWaiting.Add(volume);
        while (_orders.Count < OrdersMax && _ordersWaiting.Count > 0) StartOrder(_ordersWaiting.Min);
    }

    private void StartOrder(VolumeId volume)
    {
        _ordersWaiting.Remove(volume);
        var (number, order, owners) = (++_nextOrder, _state.Volumes[volume].Order!, _setup.Owners ?? _setup.Region);
        var actor = Context.ActorOf(Props.Create(() => new VolumeOrderActor(owners, number, order)), $"order-{number}");
        _orders.Add(volume, (number, order, actor));
    }

    private void OnOrderDone(OrderDone done)
    {
        if (!_orders.TryGetValue(done.Order.Volume, out var active) || active.Number != done.Number) return;
        if (PlacementMachine.Confirm(_state, done.Order, done.Copies) is { } e) Persist(e, Apply);
    }

    private void OnOrderRefused(OrderRefused refused)
    {
        var volume = refused.Order.Volume;
        if (!_orders.TryGetValue(volume, out var active) || active.Number != refused.Number) return;
        if (PlacementMachine.Withdraw(_state, refused.Order) is not { } e) return;
        Persist(e, withdrawn =>
        {
            Apply(withdrawn);
            var answer = new PlacementProtocol.Refused(refused.Kind, refused.Reason);
            foreach (var (_, caller) in _waiters.Where(waiter => IsForIt(waiter.Wait))) caller.Tell(answer);
            _waiters.RemoveAll(waiter => IsForIt(waiter.Wait));
        });

        bool IsForIt(PlacementWait wait) =>
            wait.Volume == volume && wait.Kind == (refused.Order is VolumeProtocol.Delete ? PlacementWaitKind.Removed : PlacementWaitKind.Changed);
    }

    private void OnWhichAreDeleted(PlacementProtocol.WhichAreDeleted question)
    {
        var caller = Sender;
        _setup.ReadBarrier().PipeTo(
            Self, Self, () => new BarrierPassed(caller, question.Copies), e => new BarrierFailed(e.Message));
    }

    private void OnCordon(string name, PlacementDecision decision)
    {
        var caller = Sender;
        if (decision.Answer is not null) caller.Tell(decision.Answer);
        else if (decision.Event is null) caller.Tell(Nodes(node => node.Description.Name == name));
        else
        {
            Persist(decision.Event, e =>
            {
                Apply(e);
                _log.Info("Node {0} is {1}", name, e is NodeCordonedForRestart ? "cordoned for its restart" : e is NodeCordoned { Cordoned: true } ? "cordoned" : "not cordoned any more");
                caller.Tell(Nodes(node => node.Description.Name == name));
            });
        }
    }

    private void OnRemoveNode(PlacementProtocol.RemoveNode command)
    {
        var (caller, decision) = (Sender, PlacementMachine.Remove(_state, _board.Candidates(_state), command));
        if (decision.Answer is not null) caller.Tell(decision.Answer);
        if (decision.Event is not NodeRemoved removed) return;
        var gone = Nodes(node => node.Description.Id == removed.Node);
        if (command.OnlyCheck) caller.Tell(gone);
        else
        {
            Persist(removed, e =>
            {
                Apply(e);
                _log.Info("Node {0} ({1}) is removed", gone.Nodes[0].Description.Name, e.Node);
                caller.Tell(gone);
            });
        }
    }

    private void OnRegister(PlacementProtocol.RegisterNode command)
    {
        var decision = PlacementMachine.Register(_state, _board.Candidates(_state), command);
        if (decision.Answer is PlacementProtocol.Registered) _board.Report(command.Description.Id, command.Report);
        Carry(decision);
    }

    private void OnReport(PlacementProtocol.ReportNode command)
    {
        if (!_state.Nodes.ContainsKey(command.Node))
        {
            Sender.Tell(new PlacementProtocol.RegisterAgain(command.Node));
            return;
        }
        _board.Report(command.Node, command.Report);
        Sender.Tell(new PlacementProtocol.ReportTaken(command.Node, NodeBoard.ProvisionedOn(_state, command.Node)));
    }

    private void ReplaceNext()
    {
        var candidates = _board.Candidates(_state);
        if (PlacementMachine.Complete(_state, candidates, Guid.NewGuid) is { } missing)
        {
            _log.Info("Volume {0} gets the {1} copies that it lacks", missing.Spec.Id, missing.Added.Length);
            Persist(missing, Apply);
            return;
        }
        var next = PlacementMachine.Replace(
            _state, candidates, _board.DownFor(_state), _setup.ReplaceAfter, _setup.ReplacementsMax, Guid.NewGuid);
        if (next is null) return;
        _log.Info("Volume {0} gets copy {1} on {2} in place of {3}", next.Volume, next.Replacement.Id, next.Replacement.NodeName,
            next.Lost);
        Persist(next, Apply);
    }

    private void Wake() => _waker.Tell(new VolumeWaker.Wake(
        [.. _state.Volumes.Values.Where(volume => volume.Phase == CataloguePhase.Ready).Select(volume => volume.Spec.Id)]));

    private PlacementProtocol.NodeList Nodes(Func<KnownNode, bool> wanted) => new(
        [.. _state.Nodes.Values.Where(wanted).OrderBy(node => node.Description.Name, StringComparer.Ordinal)
            .Select(node => _board.Entry(_state, node))]);

    private sealed record BarrierPassed(IActorRef Caller, ImmutableArray<HeldCopy> Copies) : INoSerializationVerificationNeeded;

    private sealed record BarrierFailed(string Reason) : INoSerializationVerificationNeeded;

    private sealed class ReplaceTick
    {
        public static readonly ReplaceTick Instance = new();
    }
}
