using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

// The two halves of a group's snapshot at the actor.
public sealed partial class VolumeActorSpecs
{
    private static readonly Guid Attempt = new("00112233-4455-6677-8899-aabbccddeeff");
    private static readonly VolumeProtocol.CommitSnapshot CommitMonday = new(Volume, Attempt, "monday", 17, 1000);

    [Fact(DisplayName = "C22: a volume is prepared by its machine; its snapshot is answered once it is journaled, and to who asks again")]
    public void Group_is_made()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.PrepareSnapshot(Volume, Attempt, "monday"));
        AwaitCondition(() => owner.Preparations.Count == 1);
        Assert.Equal((Attempt, "monday"), (owner.Preparations[0].Attempt, owner.Preparations[0].Name));
        owner.Preparations[0].Answer(new PreparedSnapshot(IoStatus.Ok, "", 17, 1000));
        Assert.Equal(new VolumeProtocol.SnapshotPrepared(Volume, Attempt, 17, 1000), ExpectMsg<VolumeProtocol.SnapshotPrepared>());
        actor.Tell(CommitMonday);
        actor.Tell(CommitMonday);
        AwaitCondition(() => owner.Commits.Count == 2);
        Make(owner, "monday", 17);
        for (var each = 0; each < 2; each++) Assert.Equal(new VolumeProtocol.SnapshotView(Volume, "monday", 17, 1000, true), ExpectMsg<VolumeProtocol.SnapshotView>());
        actor.Tell(CommitMonday);
        Assert.False(ExpectMsg<VolumeProtocol.SnapshotView>().Created);
        Assert.Equal(2, owner.Commits.Count);
        actor.Tell(new VolumeProtocol.PrepareSnapshot(Volume, Attempt, "monday"));
        Assert.Equal(IoStatus.Conflict, ExpectMsg<VolumeProtocol.Refused>().Status);
    }

    [Fact(DisplayName = "C22: what the machine refuses, and an owner that ends, are told; another snapshot of that name or place is not taken for the group's")]
    public void Group_is_refused()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.PrepareSnapshot(Volume, Attempt, "monday"));
        AwaitCondition(() => owner.Preparations.Count == 1);
        owner.Preparations[0].Answer(new PreparedSnapshot(IoStatus.Busy, "it is about to shrink; try again", 0, 0));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.Busy, "Volume db: snapshot \"monday\" is not made: it is about to shrink; try again."), (refused.Status, refused.Reason));
        Make(owner, "other", 17, unixMs: 999);
        actor.Tell(CommitMonday);
        AwaitCondition(() => owner.Commits.Count == 1);
        owner.Commits[0].Refuse(IoStatus.Missing, "not held");
        Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(CommitMonday);
        AwaitCondition(() => owner.Commits.Count == 2);
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>().Status);
        foreach (var command in (IVolumeCommand[])[CommitMonday, new VolumeProtocol.PrepareSnapshot(Volume, Attempt, "x"), new VolumeProtocol.AbortSnapshot(Volume, Attempt, 17, 1000)])
        {
            actor.Tell(command);
            Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
    }

    [Fact(DisplayName = "C22: an abort ends the hold and deletes just the group's snapshot, not while it is being journaled; nor is the volume deleted then")]
    public void Group_is_aborted()
    {
        var (actor, owner) = StartServed();
        Make(owner, "other", 17, unixMs: 999);
        var abort = new VolumeProtocol.AbortSnapshot(Volume, Attempt, 17, 1000);
        actor.Tell(abort);
        ExpectMsg<VolumeProtocol.Done>();
        Assert.Equal([Attempt], owner.Aborts);
        actor.Tell(CommitMonday with { Sequence = 18 });
        AwaitCondition(() => owner.Commits.Count == 1);
        foreach (var command in (IVolumeCommand[])[abort with { Sequence = 18 }, new VolumeProtocol.Delete(Volume)])
        {
            actor.Tell(command);
            var refused = ExpectMsg<VolumeProtocol.Refused>();
            Assert.Equal(command is VolumeProtocol.Delete ? IoStatus.Conflict : IoStatus.Busy, refused.Status);
        }
        Make(owner, "monday", 18);
        ExpectMsg<VolumeProtocol.SnapshotView>();
        actor.Tell(abort with { Sequence = 18 });
        ExpectMsg<VolumeProtocol.Done>();
        Assert.Equal(new SnapshotDeleted(Volume, 18), owner.Journaled[^1]);
        actor.Tell(abort with { Sequence = 18 });
        ExpectMsg<VolumeProtocol.Done>();
    }
}
