using System.Collections.Immutable;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Journal.Persistence;
using Cluster.Node.Placement;
using Cluster.Tests.Integration.Journal;

namespace Cluster.Tests.Integration.Placement;

/// <summary>What placement takes of the journal has a bound.</summary>
public sealed class PlacementJournalSpecs : TestKit
{
    private const int Decisions = 10_000;

    /// <summary>Of a catalogue with one node and a handful of volumes: the events that are kept, about 100 B each, and an image.</summary>
    private const long BytesMax = (PlacementActor.EventsPerImage + PlacementActor.EventsKept) * 300L;

    private static readonly Config Settings = ConfigurationFactory.ParseString("""
        akka.actor.provider = cluster
        akka.loglevel = WARNING
        akka.remote.dot-netty.tcp { hostname = 127.0.0.1, port = 0 }
        akka.actor.serializers.myrmidon-event = "Cluster.Node.Hosting.Serialization.EventSerializer, myrmidon"
        akka.actor.serialization-bindings { "Cluster.Messages.Events.PlacementEvent, Cluster.Messages" = myrmidon-event }
        akka.test.single-expect-default = 20s
        """).WithFallback(ConfigurationFactory.ParseString(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "hocon", "journal.conf"))));

    private readonly StateLog _log;

    public PlacementJournalSpecs() : this(new StateLog())
    {
    }

    private PlacementJournalSpecs(StateLog log) : base(ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(Settings.WithFallback(DefaultConfig)), new MetaLogSetup(log))) => _log = log;

    [Fact(DisplayName = "However much placement decides, its part of the journal stays small, and the next singleton finds the same catalogue, deleted ids included")]
    public async Task Bounded()
    {
        var cluster = Akka.Cluster.Cluster.Get(Sys);
        cluster.Join(cluster.SelfAddress);
        var placement = StartPlacement();
        var node = new NodeDescription(new NodeId(Guid.NewGuid()), "node-0", "", "h:1", "h:2", "h:3", cluster.SelfAddress.ToString(), Guid.Empty);
        await RegisterAsync(placement, node);
        await AwaitAssertAsync(async () => Assert.Equal("up", (await placement.Ask<PlacementProtocol.NodeList>(new PlacementProtocol.ListNodes())).Nodes.Single().State));
        var kept = new List<VolumeId>();
        for (var number = 0; number < 100; number++)
        {
            var name = $"v{number}";
            var made = await placement.Ask<PlacementProtocol.Found>(new PlacementProtocol.CreateVolume("default", name, 1UL << 20, ImmutableSortedDictionary<string, string>.Empty, null, []));
            if (number % 20 == 0) kept.Add(made.Volume.Id);
            else await placement.Ask<PlacementProtocol.Removed>(new PlacementProtocol.DeleteVolume(name));
        }
        var largest = 0L;
        for (var number = 0; _log.State.HighestSequenceNr(PlacementActor.StreamId) < Decisions; number++)
        {
            await placement.Ask<PlacementProtocol.NodeList>(new PlacementProtocol.CordonNode("node-0", number % 2 == 0));
            largest = Math.Max(largest, _log.State.SizeBytes);
        }
        Assert.True(largest < BytesMax, $"the journal grew to {largest} B");
        // An image is saved, and what is before it let go, while placement goes on.
        await AwaitAssertAsync(() => Assert.InRange(_log.State.Events(PlacementActor.StreamId, 1, long.MaxValue, long.MaxValue, long.MaxValue).Count, PlacementActor.EventsKept, PlacementActor.EventsPerImage + PlacementActor.EventsKept),
            TimeSpan.FromSeconds(30));
        var cordoned = (await placement.Ask<PlacementProtocol.NodeList>(new PlacementProtocol.ListNodes())).Nodes.Single().Cordoned;

        await placement.GracefulStop(TimeSpan.FromSeconds(10));
        placement = StartPlacement();
        var found = await placement.Ask<PlacementProtocol.VolumeList>(new PlacementProtocol.ListVolumes(""));
        Assert.Equal(kept, found.Volumes.Select(entry => entry.Id).Order());
        Assert.Equal(cordoned, (await placement.Ask<PlacementProtocol.NodeList>(new PlacementProtocol.ListNodes())).Nodes.Single().Cordoned);
        var copies = Enumerable.Range(1, 101).Select(id => new HeldCopy(new VolumeId((ulong)id), new ReplicaId(1))).ToImmutableArray();
        var deleted = await placement.Ask<PlacementProtocol.Deleted>(new PlacementProtocol.WhichAreDeleted(copies));
        Assert.Equal(Enumerable.Range(1, 100).Select(id => new VolumeId((ulong)id)).Except(kept), deleted.Copies.Select(copy => copy.Volume));
        // What nodes report is not journaled.
        await RegisterAsync(placement, node);
        await placement.Ask<PlacementProtocol.NodeList>(new PlacementProtocol.CordonNode("node-0", false));
        var next = await placement.Ask<PlacementProtocol.Found>(new PlacementProtocol.CreateVolume("default", "v1", 1UL << 20, ImmutableSortedDictionary<string, string>.Empty, null, []));
        Assert.Equal(new VolumeId(101), next.Volume.Id);
    }

    private static Task RegisterAsync(IActorRef placement, NodeDescription node) =>
        placement.Ask<PlacementProtocol.Registered>(new PlacementProtocol.RegisterNode(node, new NodeReport(1L << 40, 0, 1L << 40, 1, Guid.Empty, "0.1.0")));

    private IActorRef StartPlacement()
    {
        var setup = new PlacementSetup(Sys.ActorOf(Props.Create(() => new Owners())), TimeSpan.FromMinutes(10), 4, () => Task.CompletedTask, TimeProvider.System);
        return Sys.ActorOf(Props.Create(() => new PlacementActor(setup)));
    }

    /// <summary>Owners that do what they are told.</summary>
    private sealed class Owners : ReceiveActor
    {
        public Owners() => Receive<IVolumeCommand>(command => Sender.Tell(new VolumeProtocol.Done(command.Volume)));
    }
}
