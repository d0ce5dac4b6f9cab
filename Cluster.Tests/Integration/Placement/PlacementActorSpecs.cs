using System.Collections.Immutable;
using Akka.Actor;
using Akka.Configuration;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Integration.Placement;

public class PlacementActorSpecs : TestKit
{
    private static readonly Config Settings = ConfigurationFactory.ParseString("""
        akka.actor.provider = cluster
        akka.loglevel = WARNING
        akka.remote.dot-netty.tcp { hostname = 127.0.0.1, port = 0 }
        akka.persistence.journal.plugin = "akka.persistence.journal.inmem"
        akka.persistence.snapshot-store.plugin = "akka.persistence.snapshot-store.inmem"
        akka.test.single-expect-default = 20s
        """);

    private readonly Moves _moves = new();
    private readonly TestProbe _region;
    private readonly Func<Task> _barrier;
    private Task _barrierTask = Task.CompletedTask;
    private IActorRef _placement;
    private int? _counted;

    public PlacementActorSpecs() : base(Settings)
    {
        _region = CreateTestProbe();
        _barrier = () => _barrierTask;
        var cluster = Akka.Cluster.Cluster.Get(Sys);
        cluster.Join(cluster.SelfAddress);
        _placement = StartPlacement();
        Register(0);
    }

    [Fact(DisplayName = "A volume is answered once its owner confirmed it, and the owner is told again until then")]
    public void Create()
    {
        _placement.Tell(Volume("pg"), TestActor);
        var order = _region.FishForMessage<VolumeProtocol.Create>(_ => true);
        var again = _region.FishForMessage<VolumeProtocol.Create>(_ => true);
        Assert.Equal(order.Spec.Id, again.Spec.Id);
        ExpectNoMsg(TimeSpan.FromMilliseconds(50));
        _region.Reply(new VolumeProtocol.Done(order.Volume));
        Assert.Equal(order.Volume, FishForMessage<PlacementProtocol.Found>(_ => true).Volume.Id);
        _placement.Tell(Volume("pg"), TestActor);
        Assert.Equal(order.Volume, ExpectMsg<PlacementProtocol.Found>().Volume.Id);
    }

    [Fact(DisplayName = "Placement counts the volumes while it runs, and says when it ends")]
    public async Task Volumes_are_counted()
    {
        Ready("db");
        AwaitAssert(() => Assert.Equal(1, _counted));
        await _placement.GracefulStop(TimeSpan.FromSeconds(10));
        Assert.Null(_counted);
    }

    [Fact(DisplayName = "What was ordered and not confirmed is ordered by the next singleton, from the journal")]
    public async Task Recovery()
    {
        _placement.Tell(Volume("pg"), TestActor);
        var order = _region.FishForMessage<VolumeProtocol.Create>(_ => true);
        await _placement.GracefulStop(TimeSpan.FromSeconds(10));
        _placement = StartPlacement();
        var again = _region.FishForMessage<VolumeProtocol.Create>(_ => true);
        Assert.Equal(order.Replicas.AsEnumerable(), again.Replicas.AsEnumerable());
    }

    [Fact(DisplayName = "A confirmed volume is woken after a start")]
    public async Task Waking()
    {
        var volume = Ready("pg");
        await _placement.GracefulStop(TimeSpan.FromSeconds(10));
        _placement = StartPlacement();
        Assert.Equal(volume, _region.FishForMessage<VolumeProtocol.Locate>(_ => true).Volume);
    }

    [Fact(DisplayName = "Tombstones are told after the journal's barrier only, and never for a volume that is merely unknown")]
    public void Tombstones()
    {
        var (kept, gone) = (Ready("kept"), Ready("gone"));
        _placement.Tell(new PlacementProtocol.DeleteVolume("gone"), TestActor);
        _region.FishForMessage<VolumeProtocol.Delete>(delete => delete.Volume == gone);
        _region.Reply(new VolumeProtocol.Done(gone));
        FishForMessage<PlacementProtocol.Removed>(_ => true);
        var barrier = new TaskCompletionSource();
        _barrierTask = barrier.Task;
        _placement.Tell(new PlacementProtocol.WhichAreDeleted([Copy(kept), Copy(gone), Copy(new VolumeId(999))]), TestActor);
        ExpectNoMsg(TimeSpan.FromMilliseconds(50));
        barrier.SetResult();
        Assert.Equal([Copy(gone)], ExpectMsg<PlacementProtocol.Deleted>().Copies.AsEnumerable());
    }

    [Fact(DisplayName = "A deletion that the owner refuses is answered with its sentence; the volume stays, and may be deleted when it is free")]
    public void Refused_deletion()
    {
        var volume = Ready("pg");
        _placement.Tell(new PlacementProtocol.DeleteVolume("pg"), TestActor);
        _region.FishForMessage<VolumeProtocol.Delete>(_ => true);
        _region.Reply(new VolumeProtocol.Refused(volume, IoStatus.Conflict, "Volume pg: it is attached to node-1."));
        var refused = FishForMessage<PlacementProtocol.Refused>(_ => true);
        Assert.Equal((RefusalKind.Conflict, "Volume pg: it is attached to node-1."), (refused.Kind, refused.Reason));
        _placement.Tell(new PlacementProtocol.GetVolume("pg"), TestActor);
        Assert.Equal(volume, ExpectMsg<PlacementProtocol.Found>().Volume.Id);
        _placement.Tell(new PlacementProtocol.DeleteVolume("pg"), TestActor);
        _region.FishForMessage<VolumeProtocol.Delete>(_ => true);
        _region.Reply(new VolumeProtocol.Done(volume));
        Assert.Equal(volume, FishForMessage<PlacementProtocol.Removed>(_ => true).Volume);
    }

    [Fact(DisplayName = "A client that is just leaving does not fail a deletion: the owner is asked again before it is given up")]
    public void Deletion_is_patient()
    {
        var volume = Ready("pg");
        _placement.Tell(new PlacementProtocol.DeleteVolume("pg"), TestActor);
        _region.FishForMessage<VolumeProtocol.Delete>(_ => true);
        _region.Reply(new VolumeProtocol.Refused(volume, IoStatus.Busy, "Volume pg: it is in use through node-1."));
        _region.FishForMessage<VolumeProtocol.Delete>(_ => true);
        _region.Reply(new VolumeProtocol.Done(volume));
        Assert.Equal(volume, FishForMessage<PlacementProtocol.Removed>(_ => true).Volume);
    }

    [Fact(DisplayName = "Without the journal's barrier there is no answer about tombstones")]
    public void No_barrier()
    {
        _barrierTask = Task.FromException(new InvalidOperationException("no quorum"));
        _placement.Tell(new PlacementProtocol.WhichAreDeleted([Copy(new VolumeId(1))]), TestActor);
        _placement.Tell(new PlacementProtocol.ListVolumes(""), TestActor);
        ExpectMsg<PlacementProtocol.VolumeList>();
        ExpectNoMsg(TimeSpan.FromMilliseconds(50));
    }

    [Fact(DisplayName = "A cordoned node takes no copy, and says so in the refusal")]
    public void Cordon()
    {
        _placement.Tell(new PlacementProtocol.CordonNode("node-0", true), TestActor);
        Assert.True(ExpectMsg<PlacementProtocol.NodeList>().Nodes.Single().Cordoned);
        _placement.Tell(Volume("pg"), TestActor);
        Assert.Contains("node-0 is cordoned", ExpectMsg<PlacementProtocol.Refused>().Reason, StringComparison.Ordinal);
        _placement.Tell(new PlacementProtocol.CordonNode("node-7", true), TestActor);
        Assert.Contains("known are node-0", ExpectMsg<PlacementProtocol.Refused>().Reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "An owner follows who uses its volume: the move is asked for, its end is looked for and counted; not to a cordoned node, nor for a volume that is gone")]
    public void Follows()
    {
        var (volume, node) = (Ready("pg"), new NodeId(new Guid(1, 0, 0, new byte[8])));
        var owner = new NodeId(new Guid(9, 0, 0, new byte[8]));
        _placement.Tell(new PlacementProtocol.CordonNode("node-0", true), TestActor);
        ExpectMsg<PlacementProtocol.NodeList>();
        void Report(VolumeId id) => _placement.Tell(new PlacementProtocol.ReportAway(owner, [new AwayVolume(id, node, 0)]), TestActor);
        Report(new VolumeId(99));
        Report(volume);
        // Longer than between two looks of the plan.
        ExpectNoMsg(TimeSpan.FromMilliseconds(1500));
        Assert.Empty(_moves.Asked);
        _placement.Tell(new PlacementProtocol.CordonNode("node-0", false), TestActor);
        ExpectMsg<PlacementProtocol.NodeList>();
        AwaitAssert(() =>
        {
            Report(volume);
            Assert.Equal((volume, "node-0"), Assert.Single(_moves.Asked));
        }, TimeSpan.FromSeconds(20));
        var asked = _region.FishForMessage<VolumeProtocol.Locate>(locate => locate.Volume == volume, TimeSpan.FromSeconds(20));
        _region.Reply(new VolumeProtocol.Located(asked.Volume, node, "node-0", 4));
        AwaitAssert(() => Assert.True(Assert.Single(_moves.Results)), TimeSpan.FromSeconds(20));
        _placement.Tell(new PlacementProtocol.DeleteVolume("pg"), TestActor);
        _region.FishForMessage<VolumeProtocol.Delete>(_ => true);
        _region.Reply(new VolumeProtocol.Done(volume));
        FishForMessage<PlacementProtocol.Removed>(_ => true);
        AwaitAssert(() => Assert.Equal(volume, Assert.Single(_moves.Forgotten)));
    }

    private sealed class Moves : IFollowMoves
    {
        public System.Collections.Concurrent.ConcurrentQueue<(VolumeId Volume, string Node)> Asked { get; } = new();

        public System.Collections.Concurrent.ConcurrentQueue<VolumeId> Forgotten { get; } = new();

        public System.Collections.Concurrent.ConcurrentQueue<bool> Results { get; } = new();

        public Task<FollowAnswer> AskAsync(VolumeId volume, ulong generation, string owner, string node)
        {
            Asked.Enqueue((volume, node));
            return Task.FromResult(FollowAnswer.Asked);
        }

        public Task WithdrawAsync(VolumeId volume, string node) => Task.CompletedTask;

        public Task ForgetVolumeAsync(VolumeId volume)
        {
            Forgotten.Enqueue(volume);
            return Task.CompletedTask;
        }
    }

    private VolumeId Ready(string name)
    {
        _placement.Tell(Volume(name), TestActor);
        var order = _region.FishForMessage<VolumeProtocol.Create>(create => create.Spec.Name == name);
        _region.Reply(new VolumeProtocol.Done(order.Volume));
        return FishForMessage<PlacementProtocol.Found>(found => found.Volume.Spec.Name == name).Volume.Id;
    }

    private static HeldCopy Copy(VolumeId volume) => new(volume, new ReplicaId(1));

    private static PlacementProtocol.CreateVolume Volume(string name) =>
        new("default", name, 1UL << 30, ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal), null, []);

    private IActorRef StartPlacement()
    {
        var setup = new PlacementSetup(_region, TimeSpan.FromMinutes(10), 4, () => _barrier(), TimeProvider.System)
        {
            LocalitySettle = TimeSpan.FromMilliseconds(1),
            Moves = _moves,
            OnFollowed = _moves.Results.Enqueue,
            OnCounted = volumes => _counted = volumes,
        };
        return Sys.ActorOf(Props.Create(() => new PlacementActor(setup)));
    }

    private void Register(int number)
    {
        var address = Akka.Cluster.Cluster.Get(Sys).SelfAddress.ToString();
        var node = new NodeDescription(
            new NodeId(new Guid(number + 1, 0, 0, new byte[8])), $"node-{number}", "", "h:1", "h:2", "h:3", address, Guid.Empty);
        _placement.Tell(new PlacementProtocol.RegisterNode(node, new NodeReport(1L << 40, 0, 1L << 40, 1, Guid.Empty, "0.1.0")), TestActor);
        ExpectMsg<PlacementProtocol.Registered>();
        AwaitAssert(() =>
        {
            _placement.Tell(new PlacementProtocol.ListNodes(), TestActor);
            Assert.Equal("up", ExpectMsg<PlacementProtocol.NodeList>().Nodes.Single().State);
        }, TimeSpan.FromSeconds(20));
    }
}
