using System.Collections.Immutable;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Persistence;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Persistence;
using Cluster.Node.Owner;

namespace Cluster.Tests.Integration.Journal;

/// <summary>R22: what the journal keeps of a deleted volume, through the plug-ins, and what is written when somebody asks for it again.</summary>
public sealed class DeletedVolumeSpecs : TestKit
{
    private static readonly VolumeId Volume = new(7);
    private static readonly NodeId Node = new(Guid.Parse("00000000-0000-0000-0000-000000000001"));

    private static readonly Config Settings = ConfigurationFactory.ParseString("""
        akka.loglevel = WARNING
        akka.actor.serializers.myrmidon-event = "Cluster.Node.Hosting.Serialization.EventSerializer, myrmidon"
        akka.actor.serialization-bindings { "Cluster.Messages.Events.VolumeEvent, Cluster.Messages" = myrmidon-event }
        akka.test.single-expect-default = 20s
        """).WithFallback(ConfigurationFactory.ParseString(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "hocon", "journal.conf"))));

    private static readonly string Stream = VolumeActor.PersistenceIdOf(Volume);

    private static readonly VolumeSpec Spec = new(Volume, VolumeSpec.DefaultNamespace, "db", 1 << 30, 1, FailureModeKind.Soft, 0, 300_000, true, ImmutableSortedDictionary<string, string>.Empty);

    private readonly StateLog _log;

    public DeletedVolumeSpecs() : this(new StateLog())
    {
    }

    private DeletedVolumeSpecs(StateLog log) : base(ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(Settings.WithFallback(DefaultConfig)), new MetaLogSetup(log))) => _log = log;

    [Theory(DisplayName = "R22: an actor that loaded an image from before the deletion, or none, and replays what is left, finds the volume deleted: a Create that was delayed does not bring it back")]
    [InlineData(true)]
    [InlineData(false)]
    public void A_stale_actor_replays_the_deletion(bool hasOlderImage)
    {
        Journal(letGo: 4, hasOlderImage ? [3] : []);
        var actor = Start();
        actor.Tell(new VolumeProtocol.Create(Volume, Spec, []), TestActor);
        Assert.Equal(IoStatus.Deleted, ExpectMsg<VolumeProtocol.Refused>().Status);
        AwaitAssert(() => Assert.Equal(5, Image(long.MaxValue)?.SequenceNr));
        AwaitAssert(() => Assert.Null(Image(4)));
        Assert.Equal(5, _log.State.HighestSequenceNr(Stream));
    }

    [Fact(DisplayName = "What the deleter of a volume left, because it died, is let go by whoever asks for the volume, without another image; readers find it deleted before and after")]
    public async Task Let_go_later()
    {
        Journal(letGo: 0, 3, 5);
        var (early, late) = (new JournalFolds(_log), new JournalFolds(_log));
        Assert.True((await early.ReadAsync(Volume, default)).Deleted);
        var actor = Start();
        actor.Tell(new VolumeProtocol.Describe(Volume), TestActor);
        Assert.Equal(IoStatus.Deleted, ExpectMsg<VolumeProtocol.Refused>().Status);
        AwaitAssert(() => Assert.Equal(5, Assert.Single(Events).SequenceNr));
        AwaitAssert(() => Assert.Null(Image(4)));
        Assert.DoesNotContain(_log.Proposals, command => command is MetaCommand.SaveSnapshot);
        Assert.True((await early.ReadAsync(Volume, default)).Deleted);
        Assert.True((await late.ReadAsync(Volume, default)).Deleted);
    }

    [Fact(DisplayName = "To let go what is gone already costs the log no entry")]
    public void Nothing_to_let_go()
    {
        Journal(letGo: 0, 3, 5);
        var actor = Sys.ActorOf(Props.Create(() => new LetsGo(TestActor)));
        actor.Tell(4L);
        ExpectMsgAllOf(new[] { nameof(DeleteMessagesSuccess), nameof(DeleteSnapshotsSuccess) });
        Assert.Equal([nameof(MetaCommand.DeleteEvents), nameof(MetaCommand.DeleteSnapshots)], _log.Proposals.Select(command => command.GetType().Name).Order(StringComparer.Ordinal));
        Assert.Equal((5L, 5L), (Assert.Single(Events).SequenceNr, Image(long.MaxValue)!.SequenceNr));
        _log.Proposals.Clear();
        actor.Tell(4L);
        ExpectMsgAllOf(new[] { nameof(DeleteMessagesSuccess), nameof(DeleteSnapshotsSuccess) });
        Assert.Empty(_log.Proposals);
    }

    private IReadOnlyList<MetaEvent> Events => _log.State.Events(Stream, 1, long.MaxValue, long.MaxValue, long.MaxValue);

    private MetaSnapshot? Image(long upTo) => _log.State.Snapshot(Stream, MetaSnapshotRange.All with { SequenceNrMax = upTo });

    private IActorRef Start() => Sys.ActorOf(Props.Create(() => new VolumeActor(Volume, new NoOwners(), Node, "node-0", null)));

    /// <summary>Five events, of which the last one is the deletion; some are let go, and there are images of these places.</summary>
    private void Journal(long letGo, params long[] images)
    {
        VolumeEvent[] events =
            [new VolumeCreated(Volume, Spec, []), .. Enumerable.Range(2, 3).Select(version => new InSyncChanged(Volume, new Epoch(1), (ulong)version, [], "again")), new VolumeDeleted(Volume)];
        Assert.True(_log.State.Apply(new MetaCommand.AppendEvents(Stream, 0, "w", [.. events.Select(e => new MetaNewEvent(0, PayloadOf(e)))])).IsOk);
        foreach (var place in images)
        {
            var state = events.Take((int)place).Aggregate(VolumeState.Empty, (folded, e) => folded.Apply(e));
            Assert.True(_log.State.Apply(new MetaCommand.SaveSnapshot(Stream, new MetaSnapshot(place, DateTime.UtcNow.Ticks, PayloadOf((state.Deleted ? state.Tombstone : state).ImageOf(Volume))))).IsOk);
        }
        if (letGo > 0) Assert.True(_log.State.Apply(new MetaCommand.DeleteEvents(Stream, letGo)).IsOk);
    }

    private static MetaPayload PayloadOf(VolumeEvent e) => new(SerializerIds.Event, EventCodec.ManifestOf(e), EventCodec.Encode(e));

    /// <summary>A deleted volume has none.</summary>
    private sealed class NoOwners : IOwnerHost
    {
        public IOwnerHandle Start(VolumeState state, IActorRef actor, TimeSpan recovery) => throw new InvariantException("a deleted volume gets an owner");
    }

    private sealed class LetsGo : ReceivePersistentActor
    {
        public LetsGo(IActorRef tell)
        {
            Command<long>(upTo =>
            {
                DeleteMessages(upTo);
                DeleteSnapshots(new SnapshotSelectionCriteria(upTo));
            });
            Command<DeleteMessagesSuccess>(_ => tell.Tell(nameof(DeleteMessagesSuccess)));
            Command<DeleteSnapshotsSuccess>(_ => tell.Tell(nameof(DeleteSnapshotsSuccess)));
            Recover<SnapshotOffer>(_ => { });
        }

        public override string PersistenceId => Stream;
    }
}
