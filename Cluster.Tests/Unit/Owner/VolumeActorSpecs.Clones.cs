using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Tests.Unit.Owner;

// The origin of a clone keeps the snapshot until the clone has begun.
public sealed partial class VolumeActorSpecs
{
    [Fact(DisplayName = "C21: from the answer to who makes a clone until that ends, its snapshot is not deleted, nor its origin without force; asked again the answer is the same")]
    public void Clone_keeps_its_snapshot()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"));
        AwaitCondition(() => owner.Creations.Count == 1);
        Make(owner, "monday", 17);
        ExpectMsg<VolumeProtocol.SnapshotView>();
        for (var time = 0; time < 2; time++)
        {
            actor.Tell(new VolumeProtocol.StartClone(Volume, "monday", "copy"));
            var origin = ExpectMsg<VolumeProtocol.CloneOrigin>();
            Assert.Equal((new VolumeSource(Volume, 17, "db", "monday"), Spec.SizeBytes), (origin.Source, origin.SizeBytes));
        }
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.Conflict, "Volume db: volume copy is being cloned from snapshot \"monday\"; delete it when that has ended."), (refused.Status, refused.Reason));
        actor.Tell(new VolumeProtocol.Delete(Volume));
        Assert.StartsWith("Volume db: volume copy is being cloned from it", ExpectMsg<VolumeProtocol.Refused>().Reason, StringComparison.Ordinal);
        actor.Tell(new VolumeProtocol.EndClone(Volume, "copy"));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.StartClone(Volume, "monday", "copy"));
        Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
    }

    [Fact(DisplayName = "A volume at the end of as many clones of clones as there may be is not cloned, whose copies could share with nobody; one less is")]
    public void Clones_of_clones()
    {
        var (actor, owner) = StartServed();
        owner.CloneDepth = Limits.CloneDepthMax;
        actor.Tell(new VolumeProtocol.StartClone(Volume, "", "copy"));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.Conflict, "Volume db: it can't be cloned: it stands on 16 others, each a clone of the next, and 16 is the most; clone one that stands on fewer, or copy its data to a new volume."), (refused.Status, refused.Reason));
        owner.CloneDepth--;
        actor.Tell(new VolumeProtocol.StartClone(Volume, "", "copy"));
        AwaitCondition(() => owner.Creations.Count == 1);
    }

    [Fact(DisplayName = "C21: a clone of a volume as it is gets a snapshot that users do not see, and that goes when the clone has begun")]
    public void Clone_of_a_volume()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.StartClone(Volume, "", "copy"));
        AwaitCondition(() => owner.Creations.Count == 1);
        Make(owner, owner.Creations[0].Name, 23);
        Assert.Equal(new VolumeSource(Volume, 23, "db", ""), ExpectMsg<VolumeProtocol.CloneOrigin>().Source);
        actor.Tell(new VolumeProtocol.Describe(Volume));
        Assert.Equal(0, ExpectMsg<VolumeView>().Snapshots);
        // By no name: a restore to it would lose it half-way when the clone has begun.
        foreach (var command in new IVolumeCommand[]
        {
            new VolumeProtocol.RestoreSnapshot(Volume, owner.Creations[0].Name), new VolumeProtocol.DeleteSnapshot(Volume, owner.Creations[0].Name),
            new VolumeProtocol.StartClone(Volume, owner.Creations[0].Name, "of-it"),
        })
        {
            actor.Tell(command);
            Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
        actor.Tell(new VolumeProtocol.EndClone(Volume, "copy"));
        ExpectMsg<VolumeProtocol.Done>();
        AwaitCondition(() => owner.Journaled.Any(e => e is SnapshotDeleted { Sequence: 23 }));
        Assert.Contains(new CloneEnded(Volume, "copy"), owner.Journaled);
        actor.Tell(new VolumeProtocol.StartClone(Volume, "", "other"));
        AwaitCondition(() => owner.Creations.Count == 2);
        owner.Creations[1].Refuse(IoStatus.Offline, "1 of its copies are in sync, and 2 are needed");
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.Offline, "Volume db: it can't be cloned: 1 of its copies are in sync, and 2 are needed."), (refused.Status, refused.Reason));
    }
}
