using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>One actor per volume and node, whether sharding or an early claim wanted it; and a home that waits for sharding to follow.</summary>
public sealed class VolumeKeeperSpecs : TestKit
{
    private static readonly VolumeId Volume = new(7);
    private static readonly NodeId Other = new(Guid.Parse("00000000-0000-0000-0000-00000000000a"));

    private readonly TestProbe _owners;
    private readonly List<ulong?> _started = [];
    private readonly TestProbe _region;
    private IActorRef _keeper;
    private ImmutableDictionary<VolumeId, NodeId> _elsewhere = ImmutableDictionary<VolumeId, NodeId>.Empty;

    public VolumeKeeperSpecs()
    {
        _owners = CreateTestProbe("owners");
        _region = CreateTestProbe("homes");
        Func<VolumeId, ulong?, Props> propsOf = PropsOf;
        var region = _region.Ref;
        Action<VolumeId> askHome = volume => region.Tell(new VolumeProtocol.Locate(volume), ActorRefs.NoSender);
        _keeper = Sys.ActorOf(Props.Create(() => new VolumeKeeper(propsOf, askHome, null)), "keeper");
    }

    [Fact(DisplayName = "A volume that was claimed early is found running by its home: nothing is started a second time")]
    public void Home_finds_an_early_claim()
    {
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        _keeper.Tell(new KeeperCommand.Claim(Volume, 5));
        var home = StartHome();
        home.Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        Assert.Equal([4UL], _started);
    }

    [Fact(DisplayName = "A home starts its volume without conditions, and an early claim that comes later changes nothing")]
    public void Home_starts_its_volume()
    {
        StartHome().Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        StartHome().Tell(new VolumeProtocol.Describe(Volume));
        _owners.ExpectMsg<VolumeProtocol.Describe>();
        Assert.Equal([null], _started);
    }

    [Fact(DisplayName = "While another node serves the volume its home waits, says so, and starts it as soon as that one does not any more")]
    public void Home_defers()
    {
        _elsewhere = _elsewhere.Add(Volume, Other);
        StartHome().Tell(new VolumeProtocol.Locate(Volume));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.NotOwner, refused.Status);
        Assert.Contains($"node {Other} serves it", refused.Reason, StringComparison.Ordinal);
        Assert.Empty(_started);
        _elsewhere = _elsewhere.Clear();
        _owners.ExpectMsg<VolumeProtocol.Locate>();
    }

    [Fact(DisplayName = "A home is handed off once its actor has drained and ended, and at once when none runs")]
    public void Hand_off()
    {
        var home = StartHome();
        home.Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        Watch(home);
        home.Tell(VolumeHandOff.Instance);
        _owners.ExpectMsg<VolumeHandOff>();
        _owners.LastSender.Tell(PoisonPill.Instance);
        ExpectTerminated(home);
        var idle = StartHome();
        Watch(idle);
        idle.Tell(VolumeHandOff.Instance);
        ExpectTerminated(idle);
    }

    [Fact(DisplayName = "What comes while a volume's actor ends is not lost with it: it starts the next one, under the same home")]
    public void Messages_of_the_meantime()
    {
        var home = StartHome();
        home.Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        var first = _owners.LastSender;
        Watch(home);
        _keeper.Tell(new Passivate(PassivateSlowly.Instance), first);
        home.Tell(new VolumeProtocol.Describe(Volume));
        _owners.ExpectMsg<PassivateSlowly>();
        _owners.ExpectNoMsg(TimeSpan.FromMilliseconds(50));
        first.Tell(PoisonPill.Instance);
        _owners.ExpectMsg<VolumeProtocol.Describe>();
        Assert.NotEqual(first, _owners.LastSender);
        Assert.Equal([null, null], _started);
        home.Tell(VolumeHandOff.Instance);
        _owners.ExpectMsg<VolumeHandOff>();
        _owners.LastSender.Tell(PoisonPill.Instance);
        ExpectTerminated(home);
    }

    [Fact(DisplayName = "A claim that meets an actor that is about to end is made once it has ended")]
    public void Claim_after_an_end()
    {
        StartHome().Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        _keeper.Tell(new KeeperCommand.Claim(Volume, 5));
        _owners.LastSender.Tell(PoisonPill.Instance);
        AwaitAssert(() => Assert.Equal([null, 5UL], _started));
    }

    [Fact(DisplayName = "A claim that loses its compare and set while sharding waits for it leaves nothing behind: the home goes, and the next message starts a new one")]
    public void Lost_claim_under_a_home()
    {
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        var shard = CreateTestProbe("shard");
        var home = shard.ChildActorOf(HomeProps());
        home.Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        _owners.LastSender.Tell(PoisonPill.Instance);
        Assert.IsType<PoisonPill>(shard.ExpectMsg<Passivate>().StopMessage);
        Assert.Equal(home, shard.LastSender);
        StartHome().Tell(new VolumeProtocol.Describe(Volume));
        _owners.ExpectMsg<VolumeProtocol.Describe>();
        Assert.Equal([4UL, null], _started);
    }

    [Fact(DisplayName = "A volume that runs without a home asks for it until it has one, and again when its home is stopped without a handoff; then a handoff reaches it")]
    public void Asks_for_its_home()
    {
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        Assert.Equal(Volume, _region.ExpectMsg<VolumeProtocol.Locate>().Volume);
        _region.ExpectMsg<VolumeProtocol.Locate>();
        var first = StartHome();
        first.Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        ExpectQuietRegion();

        first.Tell(PoisonPill.Instance);
        _region.ExpectMsg<VolumeProtocol.Locate>();
        var second = StartHome();
        second.Tell(new VolumeProtocol.Locate(Volume));
        _owners.ExpectMsg<VolumeProtocol.Locate>();
        second.Tell(VolumeHandOff.Instance);
        _owners.ExpectMsg<VolumeHandOff>();
        _owners.LastSender.Tell(PoisonPill.Instance);
        Watch(second);
        ExpectTerminated(second);
        ExpectQuietRegion();
        Assert.Equal([4UL], _started);
    }

    /// <summary>One asking may have been under way.</summary>
    private void ExpectQuietRegion()
    {
        _region.ReceiveWhile<object>(message => message, VolumeKeeper.HomePause, VolumeKeeper.HomePause, 1);
        _region.ExpectNoMsg(2 * VolumeKeeper.HomePause);
    }

    [Fact(DisplayName = "Commands for a volume that another node believes here reach it while it runs, and start nothing when it does not")]
    public void Routed_commands()
    {
        _keeper.Tell(new VolumeProtocol.Describe(Volume));
        Assert.Equal(IoStatus.NotOwner, ExpectMsg<VolumeProtocol.Refused>().Status);
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        _keeper.Tell(new VolumeProtocol.Describe(Volume));
        _owners.ExpectMsg<VolumeProtocol.Describe>();
        Assert.Equal([4UL], _started);
    }

    [Fact(DisplayName = "A command goes to the node that says that it serves the volume, else to sharding; the answer goes to who asked")]
    public void Router()
    {
        var (region, elsewhere) = (CreateTestProbe("region"), CreateTestProbe("elsewhere"));
        ICanTell? served = null;
        Func<VolumeId, ICanTell?> servedAt = _ => served;
        var regionRef = region.Ref;
        var router = Sys.ActorOf(Props.Create(() => new VolumeRouter(regionRef, servedAt)));
        router.Tell(new VolumeProtocol.Describe(Volume));
        region.ExpectMsg<VolumeProtocol.Describe>();
        served = elsewhere.Ref;
        router.Tell(new VolumeProtocol.Locate(Volume));
        elsewhere.ExpectMsg<VolumeProtocol.Locate>();
        elsewhere.Reply(new VolumeProtocol.Done(Volume));
        ExpectMsg<VolumeProtocol.Done>();
    }

    [Fact(DisplayName = "A node that stops starts no volume any more, for sharding or for a claim, and says so")]
    public void Closed()
    {
        _keeper.Tell(KeeperCloses.Instance);
        _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
        StartHome().Tell(new VolumeProtocol.Locate(Volume));
        Assert.Contains("its node stops", ExpectMsg<VolumeProtocol.Refused>().Reason, StringComparison.Ordinal);
        Assert.Empty(_started);
    }

    [Fact(DisplayName = "A volume whose journal this program can't read is not started again at once: who asks is told why, and an early claim is not made")]
    public void Unreadable()
    {
        _keeper = StartKeeper("patient", TimeSpan.FromHours(1));
        StartHome().Tell(new VolumeProtocol.Describe(Volume), ActorRefs.NoSender);
        EndUnreadable(ActorRefs.Nobody, "It is tried again in 3600 s");
        for (var asks = 0; asks < 3; asks++)
        {
            _keeper.Tell(new KeeperCommand.Claim(Volume, 4));
            StartHome().Tell(new VolumeProtocol.Describe(Volume), TestActor);
            var refused = ExpectMsg<VolumeProtocol.Refused>();
            Assert.Equal((IoStatus.Offline, $"Volume {Volume}: this node can't serve it: {Unknown}."), (refused.Status, refused.Reason));
        }
        Assert.Equal([null], _started);
    }

    [Fact(DisplayName = "Each try of a volume whose journal this program can't read waits twice as long as the one before")]
    public void Unreadable_again()
    {
        _keeper = StartKeeper("eager", TimeSpan.FromMilliseconds(125));
        IActorRef ended = ActorRefs.Nobody;
        foreach (var (tries, pause) in new[] { (1, "0.125"), (2, "0.25"), (3, "0.5") })
        {
            AwaitAssert(() =>
            {
                StartHome().Tell(new VolumeProtocol.Describe(Volume), ActorRefs.NoSender);
                Assert.Equal(tries, _started.Count);
            }, TimeSpan.FromSeconds(20));
            ended = EndUnreadable(ended, $"It is tried again in {pause} s");
        }
    }

    private const string Unknown = "the journal holds an event 'volume-folded/1', which this program does not know; run a newer one";

    /// <param name="before">Of that one there may be messages left.</param>
    private IActorRef EndUnreadable(IActorRef before, string said)
    {
        do _owners.ExpectMsg<VolumeProtocol.Describe>();
        while (_owners.LastSender.Equals(before));
        var actor = _owners.LastSender;
        EventFilter.Error(contains: said).ExpectOne(() => _keeper.Tell(new VolumeUnreadable(Volume, new EventFormatException(Unknown)), actor));
        Watch(actor);
        actor.Tell(PoisonPill.Instance);
        ExpectTerminated(actor);
        return actor;
    }

    private IActorRef StartKeeper(string name, TimeSpan unreadablePause)
    {
        Func<VolumeId, ulong?, Props> propsOf = PropsOf;
        Action<VolumeId> askHome = _ => { };
        return Sys.ActorOf(Props.Create(() => new VolumeKeeper(propsOf, askHome, unreadablePause)), name);
    }

    private IActorRef StartHome() => Sys.ActorOf(HomeProps());

    private Props HomeProps()
    {
        var keeper = _keeper;
        Func<VolumeId, NodeId?> elsewhere = volume => _elsewhere.TryGetValue(volume, out var node) ? node : null;
        return Props.Create(() => new VolumeHome(Volume, keeper, elsewhere));
    }

    private Props PropsOf(VolumeId volume, ulong? onlyAt)
    {
        _started.Add(onlyAt);
        var owners = _owners.Ref;
        return Props.Create(() => new Forwarder(owners));
    }

    /// <summary>A stop that the actor takes its time for.</summary>
    private sealed record PassivateSlowly
    {
        public static readonly PassivateSlowly Instance = new();
    }

    /// <summary>Plays the volume's actor: the probe sees what it gets, from the forwarder itself.</summary>
    private sealed class Forwarder : ReceiveActor
    {
        public Forwarder(IActorRef to) => ReceiveAny(message => to.Tell(message, Self));
    }
}
