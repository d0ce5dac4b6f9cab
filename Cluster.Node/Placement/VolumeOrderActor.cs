using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>The owner confirmed the order with this number.</summary>
/// <param name="Copies">The volume's copies as its owner has them, where it was asked to arrange them.</param>
internal sealed record OrderDone(long Number, IVolumeCommand Order, ImmutableArray<ReplicaPlacement>? Copies = null) : INoSerializationVerificationNeeded;

/// <summary>The owner refused the deletion or the shrink with this number, and will not come to another answer by itself.</summary>
internal sealed record OrderRefused(long Number, IVolumeCommand Order, RefusalKind Kind, string Reason) : INoSerializationVerificationNeeded;

/// <summary>
/// Tells a volume's owner one order again and again until it confirms, then tells its parent. Each order has an actor of its own, so that
/// a late answer to one can't be taken for the answer to the next.
/// </summary>
internal sealed class VolumeOrderActor : ReceiveActor, IWithTimers
{
    /// <summary>Between two attempts. A confirmation may take long (a copy is caught up), and orders are idempotent.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Refusals of a deletion or a shrink before it is given up: a client that has just disconnected may not be gone from the owner's books, and a takeover
    /// may be under way.
    /// </summary>
    private const int BusyMax = 3;
    private const int OfflineMax = 10;

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly IActorRef _owners;
    private readonly IVolumeCommand _order;
    private string _refusal = "";
    private int _refusals;

    public VolumeOrderActor(IActorRef owners, long number, IVolumeCommand order)
    {
        (_owners, _order) = (owners, order);
        Receive<Send>(_ => _owners.Tell(_order));
        Receive<VolumeProtocol.Done>(_ => Context.Parent.Tell(new OrderDone(number, _order)));
        Receive<VolumeProtocol.CopiesArranged>(arranged => Context.Parent.Tell(new OrderDone(number, _order, arranged.Replicas)));
        Receive<VolumeProtocol.Refused>(refused => OnRefused(refused, number));
    }

    public ITimerScheduler Timers { get; set; } = null!;

    protected override void PreStart()
    {
        Self.Tell(Send.Instance);
        Timers.StartPeriodicTimer(nameof(Send), Send.Instance, Pause);
    }

    private void OnRefused(VolumeProtocol.Refused refused, long number)
    {
        if (refused.Status == IoStatus.Deleted)
        {
            Context.Parent.Tell(new OrderDone(number, _order));
            return;
        }
        if (_order is VolumeProtocol.Delete or VolumeProtocol.ChangeSpec { AllowShrink: true } && IsFinal(refused.Status, ++_refusals) is { } kind)
        {
            Timers.CancelAll();
            Context.Parent.Tell(new OrderRefused(number, _order, kind, refused.Reason));
            return;
        }
        if (refused.Reason == _refusal) return;
        _refusal = refused.Reason;
        _log.Warning("Volume {0} does not take the order {1} yet: {2}", _order.Volume, _order.GetType().Name, _refusal);
    }

    private static RefusalKind? IsFinal(IoStatus status, int refusals) => status switch
    {
        IoStatus.Conflict => RefusalKind.Conflict,
        IoStatus.StaleSession => RefusalKind.Stale,
        IoStatus.Busy when refusals >= BusyMax => RefusalKind.Conflict,
        IoStatus.Offline or IoStatus.NotOwner when refusals >= OfflineMax => RefusalKind.Unavailable,
        _ => null,
    };

    private sealed class Send
    {
        public static readonly Send Instance = new();
    }
}
