using Akka.Actor;
using Akka.Persistence;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

// A volume's stream in the journal has a bound.
public sealed partial class VolumeActorSpecs
{
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

    [Fact(DisplayName = "Of a deleted volume no event is kept, only that it was deleted; whoever finds it so later answers that, and lets nobody create it anew")]
    public void Deleted_volumes_leave_next_to_nothing()
    {
        var (actor, _) = StartServed();
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        FishForMessage<VolumeProtocol.Done>(_ => true);
        AwaitAssert(() =>
        {
            var left = Sys.ActorOf(Props.Create(() => new StreamReader(TestActor)));
            var (_, count) = FishForMessage<(long, int)>(_ => true);
            Sys.Stop(left);
            Assert.Equal(0, count);
        });
        Watch(actor);
        Sys.Stop(actor);
        FishForMessage<Terminated>(_ => true);
        var again = Start();
        again.Tell(new VolumeProtocol.Create(Volume, Spec, []), TestActor);
        Assert.Equal(IoStatus.Deleted, FishForMessage<VolumeProtocol.Refused>(_ => true).Status);
        again.Tell(new VolumeProtocol.Delete(Volume, Force: true), TestActor);
        FishForMessage<VolumeProtocol.Done>(_ => true);
        Sys.Stop(again);
    }

    [Fact(DisplayName = "The image of a deleted volume is small, however much it had")]
    public void Image_of_a_deleted_volume()
    {
        var state = VolumeState.Empty.Apply(new VolumeCreated(Volume, Spec, [])).Apply(new VolumeDeleted(Volume));
        for (ulong sequence = 1; sequence <= 1000; sequence++) state = state.Apply(new SnapshotCreated(Volume, sequence, $"snapshot-{sequence}", 1));
        Assert.InRange(EventCodec.Encode(state.Tombstone.ImageOf(Volume)).Length, 1, 200);
        Assert.True(VolumeState.Empty.Apply(state.Tombstone.ImageOf(Volume)).Deleted);
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
