using Akka.Actor;
using Akka.Cluster.Sharding;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

/// <summary>
/// A volume's sharded entity: where sharding believes that its owner lives. It hands messages to the volume's actor on this node and has
/// it started with the first one; but while another node says that it serves the volume, the home waits for sharding to follow, so that two
/// nodes don't depose each other in turns.
/// </summary>
public sealed class VolumeHome : ReceiveActor, IWithTimers
{
    /// <summary>
    /// Between two looks at whether the other node still serves it; doubled up to the longest. Short at first: that node may just be handing over.
    /// </summary>
    private static readonly TimeSpan LookPauseMin = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LookPauseMax = TimeSpan.FromMilliseconds(500);

    private readonly VolumeId _volume;
    private readonly IActorRef _keeper;
    private readonly Func<VolumeId, NodeId?> _servedElsewhere;
    private TimeSpan _lookPause;
    private bool _handingOff;
    private bool _started;

    /// <param name="servedElsewhere">Another node that this one is connected to and that says that it serves the volume. Any thread.</param>
    public VolumeHome(VolumeId volume, IActorRef keeper, Func<VolumeId, NodeId?> servedElsewhere)
    {
        (_volume, _keeper, _servedElsewhere) = (volume, keeper, servedElsewhere);
        Receive<VolumeHandOff>(_ => OnHandOff());
        Receive<KeeperGone>(_ => OnGone());
        Receive<Look>(_ => OnLook());
        Receive<IVolumeCommand>(OnCommand);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    private sealed record Look : INoSerializationVerificationNeeded
    {
        public static readonly Look Instance = new();
    }

    private void OnCommand(IVolumeCommand command)
    {
        if (!_started && _servedElsewhere(_volume) is { } node)
        {
            LookAgain(LookPauseMin);
            Sender.Tell(new VolumeProtocol.Refused(_volume, IoStatus.NotOwner,
                $"Volume {_volume}: node {node} serves it since its owner was lost; the cluster has not followed yet, try again in a moment."));
            return;
        }
        Begin();
        _keeper.Forward(new KeeperCommand.Deliver(_volume, Self, command));
    }

    /// <summary>Who was refused does not ask again at once: the owner is started as soon as it may be.</summary>
    private void OnLook()
    {
        if (_started) return;
        if (_servedElsewhere(_volume) is not null)
        {
            LookAgain(_lookPause * 2);
            return;
        }
        Begin();
        _keeper.Tell(new KeeperCommand.Deliver(_volume, Self, new VolumeProtocol.Locate(_volume)), ActorRefs.NoSender);
    }

    private void Begin()
    {
        _started = true;
        Timers.Cancel(nameof(Look));
    }

    private void LookAgain(TimeSpan pause)
    {
        _lookPause = pause < LookPauseMax ? pause : LookPauseMax;
        Timers.StartSingleTimer(nameof(Look), Look.Instance, _lookPause);
    }

    private void OnHandOff()
    {
        _handingOff = true;
        _keeper.Tell(new KeeperCommand.HandOff(_volume, Self));
    }

    private void OnGone()
    {
        if (_handingOff) Context.Stop(Self);
        // What comes meanwhile is kept by the shard, and starts another home.
        else Context.Parent.Tell(new Passivate(PoisonPill.Instance));
    }
}
