using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>Placement does not let the node in; the message is its sentence.</summary>
public sealed class PlacementRefusedException(string message) : Exception(message);

/// <summary>Tells the placement singleton who this node is and, as it changes, what it has. One per node.</summary>
public sealed class NodeActor : ReceiveActor, IWithTimers
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    /// <summary>An unchanged report is said again after so many rounds, for a singleton that moved.</summary>
    private const int RoundsUnchangedMax = 3;

    /// <summary>A change of the free bytes below this part of the capacity is not worth a message.</summary>
    private const int ChangePartsOfCapacity = 1000;

    private const int StartsSaidMax = 30;

    /// <summary>So often it is said before the node is ready without an answer.</summary>
    private const int StartsAwaited = 3;

    /// <summary>
    /// Rounds in a row in which a node that is not ready is refused before it gives up: more than it takes until one that died with its name has been taken out.
    /// </summary>
    internal const int RefusalsMax = 30;

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly IActorRef _placement;
    private readonly NodeDescription _description;
    private readonly Func<NodeReport> _report;
    private readonly TaskCompletionSource _known;
    private readonly Func<ImmutableArray<AwayVolume>> _away;
    private NodeReport? _sent;
    private int _roundsUnchanged;
    private bool _registered;

    /// <summary>How often placement is still told that this process has begun; one of an earlier version does not know the message.</summary>
    private int _startsToSay = StartsSaidMax;
    private bool _saidAway;
    private string _refusal = "";
    private int _refusals;

    /// <param name="placement">The singleton's proxy.</param>
    /// <param name="report">What the node has now; quick, called on the actor's turn.</param>
    /// <param name="known">Fails with <see cref="PlacementRefusedException"/> when placement goes on refusing the node. Completed when placement knows the node, and that its restart is over: what is asked of it from then on is not undone by the word of that.</param>
    /// <param name="onProvisioned">Hears the sizes of the volumes with a copy on the node, as placement has them.</param>
    /// <param name="away">The volumes that the node owns and that only another one uses; quick, called on the actor's turn.</param>
    public NodeActor(IActorRef placement, NodeDescription description, Func<NodeReport> report, TaskCompletionSource known, Action<ulong> onProvisioned,
        Func<ImmutableArray<AwayVolume>> away)
    {
        (_placement, _description, _report, _known, _away) = (placement, description, report, known, away);
        Receive<Round>(_ => OnRound());
        Receive<PlacementProtocol.Registered>(_ => OnRegistered());
        Receive<PlacementProtocol.ReportTaken>(taken => onProvisioned(taken.ProvisionedBytes));
        Receive<PlacementProtocol.RegisterAgain>(_ => _registered = false);
        Receive<PlacementProtocol.NodeList>(_ => OnStartTaken());
        Receive<PlacementProtocol.Refused>(OnRefused);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart()
    {
        Self.Tell(Round.Instance);
        Timers.StartPeriodicTimer(nameof(Round), Round.Instance, Every);
    }

    private void OnRound()
    {
        var report = _report();
        if (!_registered)
        {
            _placement.Tell(new PlacementProtocol.RegisterNode(_description, report));
            return;
        }
        SayStarted();
        ReportAway();
        if (_sent is not null && !Differs(_sent, report) && ++_roundsUnchanged < RoundsUnchangedMax) return;
        (_sent, _roundsUnchanged) = (report, 0);
        _placement.Tell(new PlacementProtocol.ReportNode(_description.Id, report));
    }

    /// <summary>The restart that it may have been cordoned for is over.</summary>
    private void SayStarted()
    {
        if (_startsToSay <= StartsSaidMax - StartsAwaited) _known.TrySetResult();
        if (_startsToSay == 0) return;
        _startsToSay--;
        _placement.Tell(new PlacementProtocol.CordonForRestart(_description.Name, Begins: false));
    }

    private void OnStartTaken()
    {
        _startsToSay = 0;
        _known.TrySetResult();
    }

    private void ReportAway()
    {
        var away = _away();
        if (away.Length == 0 && !_saidAway) return;
        _saidAway = away.Length > 0;
        _placement.Tell(new PlacementProtocol.ReportAway(_description.Id, away));
    }

    private void OnRegistered()
    {
        if (!_registered) _log.Info("Node {0} is registered with placement", _description.Name);
        var isFirst = !_registered && _startsToSay == StartsSaidMax;
        (_registered, _refusal, _refusals) = (true, "", 0);
        if (isFirst) SayStarted();
        else if (_startsToSay == 0) _known.TrySetResult();
    }

    private void OnRefused(PlacementProtocol.Refused refused)
    {
        if (refused.Kind != RefusalKind.Conflict) _refusals = 0;
        else if (++_refusals >= RefusalsMax) _known.TrySetException(new PlacementRefusedException(refused.Reason));
        if (refused.Reason == _refusal) return;
        _refusal = refused.Reason;
        _log.Error("Placement refuses this node: {0}", _refusal);
    }

    private static bool Differs(NodeReport left, NodeReport right) =>
        Steady(left) != Steady(right) || !StatesOf(left).SequenceEqual(StatesOf(right))
        || Math.Abs(left.AvailableBytes - right.AvailableBytes) > left.CapacityBytes / ChangePartsOfCapacity
        || Math.Abs(left.LiveBytes - right.LiveBytes) > left.CapacityBytes / ChangePartsOfCapacity;

    private static NodeReport Steady(NodeReport report) => report with { UsedBytes = 0, AvailableBytes = 0, LiveBytes = 0, MissingBytes = 0, Disks = [] };

    /// <summary>Bytes and latencies of a disk are not worth a message of their own.</summary>
    private static IEnumerable<(Guid Id, string State)> StatesOf(NodeReport report) => report.Disks.Select(disk => (disk.Id, disk.State));

    private sealed class Round
    {
        public static readonly Round Instance = new();
    }
}
