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

/// <summary>From now on no volume is started here: the node stops.</summary>
public sealed class KeeperCloses : INoSerializationVerificationNeeded
{
    public static readonly KeeperCloses Instance = new();
}

/// <summary>
/// Parent of the volume actors of this node, so that there is one per volume whoever wanted it: sharding, whose entity is the volume's
/// <see cref="VolumeHome"/>, or an early claim, which the home finds running when it follows. Other nodes that know that a volume is served
/// here send their commands straight to it. One per node.
/// </summary>
public sealed class VolumeKeeper : ReceiveActor
{
    /// <summary>Messages kept for a volume whose actor is about to end; more are refused.</summary>
    private const int KeptMax = 256;

    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Func<VolumeId, ulong?, Props> _propsOf;
    private readonly Dictionary<VolumeId, Slot> _slots = [];
    private readonly Dictionary<IActorRef, VolumeId> _volumes = [];
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
    public VolumeKeeper(Func<VolumeId, ulong?, Props> propsOf)
    {
        _propsOf = propsOf;
        Receive<KeeperCommand.Deliver>(OnDeliver);
        Receive<KeeperCommand.HandOff>(OnHandOff);
        Receive<KeeperCommand.Claim>(OnClaim);
        Receive<KeeperCloses>(_ => _closed = true);
        Receive<Passivate>(OnPassivate);
        Receive<Terminated>(OnTerminated);
        Receive<IVolumeCommand>(OnCommand);
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
            slot = Start(deliver.Volume, null);
        }
        slot.Home = deliver.Home;
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
        (slot.Home, slot.HandsOff) = (handOff.Home, true);
        slot.Actor.Tell(VolumeHandOff.Instance);
    }

    private void OnClaim(KeeperCommand.Claim claim)
    {
        if (_closed) return;
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
        return slot;
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
        if (!_volumes.Remove(ended.ActorRef, out var volume) || !_slots.Remove(volume, out var slot)) return;
        var mayStart = !_closed && !slot.HandsOff;
        if (mayStart && slot.Kept.Count > 0)
        {
            var next = Start(volume, null);
            next.Home = slot.Home;
            foreach (var (message, from) in slot.Kept) next.Actor.Tell(message, from);
            return;
        }
        foreach (var (_, from) in slot.Kept) Refuse(from, volume, "its owner moves");
        slot.Home?.Tell(new KeeperGone(volume));
        if (mayStart && slot.ClaimAt is { } epoch) Start(volume, epoch);
    }

    private static void Refuse(IActorRef who, VolumeId volume, string reason) =>
        who.Tell(new VolumeProtocol.Refused(volume, IoStatus.Offline, $"Volume {volume}: {reason}; try again in a moment."));
}
