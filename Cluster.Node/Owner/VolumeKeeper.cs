using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Event;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

/// <summary>What is said to the keeper of a node's volume actors; never leaves the process.</summary>
public abstract record KeeperCommand(VolumeId Volume) : INoSerializationVerificationNeeded
{
    /// <summary>Sharding has its home for the volume here and got this message; the sender stays who it was.</summary>
    public sealed record Deliver(VolumeId Volume, IActorRef Home, object Message) : KeeperCommand(Volume);

    /// <summary>Sharding takes the home away.</summary>
    public sealed record HandOff(VolumeId Volume, IActorRef Home) : KeeperCommand(Volume);

    /// <summary>This node takes the volume over before sharding does, unless a newer epoch was claimed.</summary>
    public sealed record Claim(VolumeId Volume, ulong Epoch) : KeeperCommand(Volume);
}

/// <summary>Told to a volume's home: no actor of the volume runs on this node any more.</summary>
public sealed record KeeperGone(VolumeId Volume) : INoSerializationVerificationNeeded;

/// <summary>Told by a volume's actor that is about to end: its journal can't be replayed by this program. Trying again in a moment changes nothing.</summary>
/// <param name="Reason">Begins in the middle of a sentence, and has no full stop.</param>
public sealed record VolumeUnreadable(VolumeId Volume, string Reason) : INoSerializationVerificationNeeded;

/// <summary>From now on no volume is started here: the node stops.</summary>
public sealed class KeeperCloses : INoSerializationVerificationNeeded
{
    public static readonly KeeperCloses Instance = new();
}

/// <summary>
/// Parent of the volume actors of this node, so that there is one per volume whoever wanted it: sharding, whose entity is the volume's
/// <see cref="VolumeHome"/>, or an early claim, which the home finds running when it follows. Other nodes that know that a volume is served
/// here send their commands straight to it. A volume that runs without a home asks for it: only through its home does a handoff reach it, and a
/// shard that has followed an early claim has none before something is sent through it. One per node.
/// </summary>
public sealed class VolumeKeeper : ReceiveActor, IWithTimers
{
    /// <summary>
    /// Between two askings for the homes of volumes that run without one. Shorter than akka.cluster.sharding.rebalance-interval (hocon/akka.conf), so that the
    /// home is there before the coordinator takes away a shard that has just come.
    /// </summary>
    public static readonly TimeSpan HomePause = TimeSpan.FromMilliseconds(300);

    /// <summary>Messages kept for a volume whose actor is about to end; more are refused.</summary>
    private const int KeptMax = 256;

    /// <summary>Before a volume whose journal could not be replayed is tried again: that long after the first time, and twice as long each time from then on, up to <see cref="UnreadablePauseMax"/>.</summary>
    internal static readonly TimeSpan UnreadablePauseMin = TimeSpan.FromSeconds(5);

    internal static readonly TimeSpan UnreadablePauseMax = TimeSpan.FromMinutes(5);

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Dictionary<VolumeId, Unreadable> _unreadable = [];
    private readonly TimeSpan _unreadablePause;
    private readonly Func<VolumeId, ulong?, Props> _propsOf;
    private readonly Action<VolumeId> _askHome;
    private readonly Dictionary<VolumeId, Slot> _slots = [];
    private readonly Dictionary<IActorRef, VolumeId> _volumes = [];
    private readonly Dictionary<IActorRef, VolumeId> _homes = [];
    private bool _closed;

    /// <summary>A volume's actor while it runs.</summary>
    private sealed class Slot(IActorRef actor)
    {
        public IActorRef Actor => actor;

        /// <summary>Sharding's, once it has one here.</summary>
        public IActorRef? Home { get; set; }

        /// <summary>It has been told to end: what comes now would be lost with it.</summary>
        public bool Ends { get; set; }

        public bool HandsOff { get; set; }

        public List<(object Message, IActorRef From)> Kept { get; } = [];

        /// <summary>To be tried once it has ended.</summary>
        public ulong? ClaimAt { get; set; }
    }

    /// <param name="propsOf">The volume's actor; with an epoch, one that claims only while the journal knows no newer one.</param>
    /// <param name="askHome">Sends something through sharding that has the volume's home made where its shard is. Must not block.</param>
    /// <param name="unreadablePause">Null: <see cref="UnreadablePauseMin"/>.</param>
    public VolumeKeeper(Func<VolumeId, ulong?, Props> propsOf, Action<VolumeId> askHome, TimeSpan? unreadablePause = null)
    {
        (_propsOf, _askHome, _unreadablePause) = (propsOf, askHome, unreadablePause ?? UnreadablePauseMin);
        Receive<AskHomes>(_ => OnAskHomes());
        Receive<KeeperCommand.Deliver>(OnDeliver);
        Receive<KeeperCommand.HandOff>(OnHandOff);
        Receive<KeeperCommand.Claim>(OnClaim);
        Receive<KeeperCloses>(_ => _closed = true);
        Receive<VolumeUnreadable>(OnUnreadable);
        Receive<Passivate>(OnPassivate);
        Receive<Terminated>(OnTerminated);
        Receive<IVolumeCommand>(OnCommand);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    private sealed record AskHomes : INoSerializationVerificationNeeded
    {
        public static readonly AskHomes Instance = new();
    }

    private void OnDeliver(KeeperCommand.Deliver deliver)
    {
        if (!_slots.TryGetValue(deliver.Volume, out var slot))
        {
            if (_closed)
            {
                Refuse(Sender, deliver.Volume, "its node stops");
                return;
            }
            if (WhyUnreadable(deliver.Volume) is { } why)
            {
                // Not that of a volume on its way: nobody else has it, and asking again at once does not help.
                Sender.Tell(new VolumeProtocol.Refused(deliver.Volume, IoStatus.Offline, $"Volume {deliver.Volume}: {why}."));
                return;
            }
            slot = Start(deliver.Volume, null);
        }
        SetHome(deliver.Volume, slot, deliver.Home);
        if (!slot.Ends) slot.Actor.Forward(deliver.Message);
        else if (slot.Kept.Count < KeptMax) slot.Kept.Add((deliver.Message, Sender));
        else Refuse(Sender, deliver.Volume, "its owner ends");
    }

    /// <summary>From a node that knows that the volume is served here, without its home: it starts nothing.</summary>
    private void OnCommand(IVolumeCommand command)
    {
        if (_slots.TryGetValue(command.Volume, out var slot) && !slot.Ends) slot.Actor.Forward(command);
        else Refuse(Sender, command.Volume, "it is not served here any more");
    }

    private void OnHandOff(KeeperCommand.HandOff handOff)
    {
        if (!_slots.TryGetValue(handOff.Volume, out var slot))
        {
            handOff.Home.Tell(new KeeperGone(handOff.Volume));
            return;
        }
        SetHome(handOff.Volume, slot, handOff.Home);
        slot.HandsOff = true;
        slot.Actor.Tell(VolumeHandOff.Instance);
    }

    private void OnClaim(KeeperCommand.Claim claim)
    {
        if (_closed || WhyUnreadable(claim.Volume) is not null) return;
        // One that still runs here was deposed or could not serve, and is about to end; or it is taking the volume over already.
        if (_slots.TryGetValue(claim.Volume, out var slot)) slot.ClaimAt = claim.Epoch;
        else Start(claim.Volume, claim.Epoch);
    }

    private Slot Start(VolumeId volume, ulong? onlyAt)
    {
        var slot = new Slot(Context.Watch(Context.ActorOf(_propsOf(volume, onlyAt))));
        _slots.Add(volume, slot);
        _volumes.Add(slot.Actor, volume);
        _log.Debug("Volume {0} is started here", volume);
        AskLater();
        return slot;
    }

    private void SetHome(VolumeId volume, Slot slot, IActorRef home)
    {
        if (home.Equals(slot.Home)) return;
        ForgetHome(slot);
        slot.Home = Context.Watch(home);
        _homes[home] = volume;
    }

    private void ForgetHome(Slot slot)
    {
        if (slot.Home is not { } home) return;
        _homes.Remove(home);
        Context.Unwatch(home);
        slot.Home = null;
    }

    private void AskLater()
    {
        if (!Timers.IsTimerActive(nameof(AskHomes))) Timers.StartSingleTimer(nameof(AskHomes), AskHomes.Instance, HomePause);
    }

    private void OnAskHomes()
    {
        var without = _slots.Where(slot => slot.Value is { Home: null, Ends: false }).Select(slot => slot.Key).ToList();
        without.ForEach(_askHome);
        if (without.Count > 0) AskLater();
    }

    /// <summary>What came before is still answered by the actor; what comes from now on is kept until it has ended.</summary>
    private void OnPassivate(Passivate passivate)
    {
        if (!_volumes.TryGetValue(Sender, out var volume)) return;
        _slots[volume].Ends = true;
        Sender.Tell(passivate.StopMessage);
    }

    private void OnTerminated(Terminated ended)
    {
        if (_homes.TryGetValue(ended.ActorRef, out var homeless))
        {
            // Its shard was stopped over it; the volume goes on.
            ForgetHome(_slots[homeless]);
            AskLater();
            return;
        }
        if (!_volumes.Remove(ended.ActorRef, out var volume) || !_slots.Remove(volume, out var slot)) return;
        var home = slot.Home;
        ForgetHome(slot);
        if (WhyUnreadable(volume) is { } why)
        {
            foreach (var (_, from) in slot.Kept) from.Tell(new VolumeProtocol.Refused(volume, IoStatus.Offline, $"Volume {volume}: {why}."));
            home?.Tell(new KeeperGone(volume));
            return;
        }
        var mayStart = !_closed && !slot.HandsOff;
        if (mayStart && slot.Kept.Count > 0)
        {
            var next = Start(volume, null);
            if (home is not null) SetHome(volume, next, home);
            foreach (var (message, from) in slot.Kept) next.Actor.Tell(message, from);
            return;
        }
        foreach (var (_, from) in slot.Kept) Refuse(from, volume, "its owner moves");
        home?.Tell(new KeeperGone(volume));
        if (mayStart && slot.ClaimAt is { } epoch) Start(volume, epoch);
    }

    /// <summary>Said once for each try, so that an administrator finds it and the log goes on to be of use.</summary>
    private void OnUnreadable(VolumeUnreadable told)
    {
        // It is ending: what comes from now on is kept for its end, which answers it.
        if (_slots.TryGetValue(told.Volume, out var slot) && slot.Actor.Equals(Sender)) slot.Ends = true;
        // Those that nobody asked for since, or that could be read, begin anew if they fail again.
        foreach (var (volume, _) in _unreadable.Where(known => Environment.TickCount64 - known.Value.UntilMs >= UnreadablePauseMax.TotalMilliseconds).ToArray()) _unreadable.Remove(volume);
        var pause = _unreadablePause;
        if (_unreadable.TryGetValue(told.Volume, out var before)) pause = before.Pause * 2 < UnreadablePauseMax ? before.Pause * 2 : UnreadablePauseMax;
        _unreadable[told.Volume] = new Unreadable(told.Reason, pause, Environment.TickCount64 + (long)pause.TotalMilliseconds);
        _log.Error("Volume {0} can't be served by this node: {1}. It is tried again in {2} s", told.Volume, told.Reason, pause.TotalSeconds);
    }

    /// <summary>Null: it may be tried now.</summary>
    private string? WhyUnreadable(VolumeId volume) => _unreadable.TryGetValue(volume, out var known) && Environment.TickCount64 < known.UntilMs ? $"this node can't serve it: {known.Reason}" : null;

    private sealed record Unreadable(string Reason, TimeSpan Pause, long UntilMs);

    private static void Refuse(IActorRef who, VolumeId volume, string reason) =>
        who.Tell(new VolumeProtocol.Refused(volume, IoStatus.NotOwner, $"Volume {volume}: {reason}; try again in a moment."));
}
