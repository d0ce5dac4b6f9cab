using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Persistence;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

// A volume's stream in the journal has a bound.
public sealed partial class VolumeActorSpecs
{
    /// <summary>More than an actor whose volume was deleted waits before it leaves, on any machine.</summary>
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(60);

    [Fact(DisplayName = "However much is journaled of a volume, its stream stays short, and whoever takes it over finds the same state")]
    public void Streams_are_bounded()
    {
        var (actor, owner) = StartServed();
        const int Changes = (5 * VolumeActor.EventsPerImage) + 17;
        for (ulong version = 2; version < 2 + Changes; version++)
            owner.Say(new OwnerNotice.JournalThis(owner, new InSyncChanged(Volume, new Epoch(1), version, [new InSyncMember(new ReplicaId(1), Guid.Empty, version)], "again")));
        AwaitCondition(() => owner.Journaled.Count == Changes + 2);
        AwaitAssert(() =>
        {
            var left = Sys.ActorOf(Props.Create(() => new StreamReader(TestActor)));
            var (first, count) = ExpectMsg<(long, int)>();
            Assert.InRange(count, VolumeActor.EventsKept, VolumeActor.EventsKept + VolumeActor.EventsPerImage);
            Assert.Equal(Changes + 3, first + count - 1);
            Sys.Stop(left);
        });
        Watch(actor);
        Sys.Stop(actor);
        ExpectTerminated(actor);
        var again = Start();
        AwaitCondition(() => _host.Count == 2);
        var state = _host.States[^1];
        Assert.Equal((Spec, 1UL + Changes, new Epoch(1)), (state.Spec, state.Version, state.Opened));
        Assert.Equal([1UL + Changes], state.InSync.Select(member => member.StoreOpenCount));
        Sys.Stop(again);
    }

    [Fact(DisplayName = "Of a deleted volume only the deletion is kept, and an image of it, which is written once; whoever loaded an older image, or none, and replays what is left finds it deleted; whoever finds it so later answers that, and lets nobody create it anew")]
    public void Deleted_volumes_leave_next_to_nothing()
    {
        var (actor, _) = StartServed();
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        FishForMessage<VolumeProtocol.Done>(_ => true);
        AwaitAssert(() =>
        {
            var left = Sys.ActorOf(Props.Create(() => new StreamReader(TestActor)));
            var (first, count) = FishForMessage<(long, int)>(_ => true);
            Sys.Stop(left);
            Assert.Equal(1, count);
            Assert.True(first > 2, $"what is left is event {first}");
        });
        var replayer = Sys.ActorOf(Props.Create(() => new Replayer(TestActor)));
        var (replayed, upTo) = FishForMessage<(VolumeState, long)>(_ => true);
        Assert.True(replayed.Deleted);
        Sys.Stop(replayer);
        var image = Image();
        Assert.Equal(upTo, image.SequenceNr);
        Watch(actor);
        Sys.Stop(actor);
        FishForMessage<Terminated>(_ => true);
        var again = Start();
        again.Tell(new VolumeProtocol.Describe(Volume), TestActor);
        Assert.Equal(IoStatus.Deleted, FishForMessage<VolumeProtocol.Refused>(_ => true).Status);
        again.Tell(new VolumeProtocol.Create(Volume, Spec, []), TestActor);
        Assert.Equal(IoStatus.Deleted, FishForMessage<VolumeProtocol.Refused>(_ => true).Status);
        again.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        FishForMessage<VolumeProtocol.Done>(_ => true);
        Watch(again);
        Sys.Stop(again);
        FishForMessage<Terminated>(_ => true);
        Assert.Equal(image, Image());
    }

    [Fact(DisplayName = "A deleted volume's actor leaves its node once all of the deletion is journaled, and one that is started for it later too: nothing of it stays in memory")]
    public void Deleted_volumes_leave_the_node()
    {
        var keeper = CreateTestProbe("keeper");
        var actor = keeper.ChildActorOf(VolumeActor.Props(Volume, _host, Node, "node-0"));
        actor.Tell(Create, TestActor);
        var owner = _host.Await(this);
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        FishForMessage<VolumeProtocol.Done>(_ => true);
        Assert.IsType<PoisonPill>(keeper.ExpectMsg<Passivate>(Long).StopMessage);
        Assert.Equal(actor, keeper.LastSender);
        Assert.IsType<VolumeDeleted>(owner.Journaled[^1]);
        Watch(actor);
        actor.Tell(PoisonPill.Instance);
        FishForMessage<Terminated>(_ => true);
        var again = keeper.ChildActorOf(VolumeActor.Props(Volume, _host, Node, "node-0"));
        again.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        FishForMessage<VolumeProtocol.Done>(_ => true);
        Assert.IsType<PoisonPill>(keeper.ExpectMsg<Passivate>(Long).StopMessage);
        Assert.Equal(again, keeper.LastSender);
    }

    [Fact(DisplayName = "What a machine wants journaled once its volume is deleted is not: the deletion stays the last event (R22)")]
    public void Nothing_is_journaled_behind_a_deletion()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        owner.Say(new OwnerNotice.JournalThis(owner, new InSyncChanged(Volume, new Epoch(1), 2, [new InSyncMember(new ReplicaId(1), Guid.Empty, 2)], "late")));
        FishForMessage<VolumeProtocol.Done>(_ => true);
        // Answered behind the machine's notice.
        actor.Tell(new VolumeProtocol.Locate(Volume), TestActor);
        Assert.Equal(IoStatus.Deleted, FishForMessage<VolumeProtocol.Refused>(_ => true).Status);
        Assert.IsType<VolumeDeleted>(owner.Journaled[^1]);
    }

    /// <summary>The newest image of the volume. Each time that one is written it gets a new time.</summary>
    private SnapshotMetadata Image()
    {
        Persistence.Instance.Apply(Sys).SnapshotStoreFor(null).Tell(new LoadSnapshot(VolumeActor.PersistenceIdOf(Volume), SnapshotSelectionCriteria.Latest, long.MaxValue), TestActor);
        return FishForMessage<LoadSnapshotResult>(_ => true).Snapshot.Metadata;
    }

    [Fact(DisplayName = "The image of a deleted volume is small, however much it had")]
    public void Image_of_a_deleted_volume()
    {
        var state = VolumeState.Empty.Apply(new VolumeCreated(Volume, Spec, [])).Apply(new VolumeDeleted(Volume));
        for (ulong sequence = 1; sequence <= 1000; sequence++) state = state.Apply(new SnapshotCreated(Volume, sequence, $"snapshot-{sequence}", 1));
        Assert.InRange(EventCodec.Encode(state.Tombstone.ImageOf(Volume)).Length, 1, 200);
        Assert.True(VolumeState.Empty.Apply(state.Tombstone.ImageOf(Volume)).Deleted);
    }

    /// <summary>Has loaded no image, and replays what is left.</summary>
    private sealed class Replayer : ReceivePersistentActor
    {
        private VolumeState _state = VolumeState.Empty;

        public Replayer(IActorRef tell)
        {
            Recover<VolumeEvent>(e => _state = _state.Apply(e));
            Recover<RecoveryCompleted>(_ => tell.Tell((_state, LastSequenceNr)));
        }

        public override string PersistenceId => VolumeActor.PersistenceIdOf(Volume);

        public override Recovery Recovery => new(SnapshotSelectionCriteria.None);
    }

    /// <summary>Reads the stream's events as they are left, and says the first one's number and how many there are.</summary>
    private sealed class StreamReader : ReceivePersistentActor
    {
        private long _first;
        private int _count;

        public StreamReader(IActorRef tell)
        {
            Recover<VolumeEvent>(_ =>
            {
                if (_count++ == 0) _first = LastSequenceNr;
            });
            Recover<RecoveryCompleted>(_ => tell.Tell((_first, _count)));
        }

        public override string PersistenceId => VolumeActor.PersistenceIdOf(Volume);

        public override Recovery Recovery => new(SnapshotSelectionCriteria.None);
    }
}
