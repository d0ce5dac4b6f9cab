using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

// Snapshots at the actor: the machine's part is played by hand.
public sealed partial class VolumeActorSpecs
{
    [Fact(DisplayName = "R19: a snapshot is answered once it is journaled, to all who asked for it; one that is there is answered at once and is not new")]
    public void Snapshot_is_made()
    {
        var (actor, owner) = StartServed();
        var (first, second) = (CreateTestProbe(), CreateTestProbe());
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"), first);
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"), second);
        AwaitCondition(() => owner.Creations.Count == 1);
        second.ExpectNoMsg(TimeSpan.FromMilliseconds(100));
        Make(owner, "monday", 17);
        Assert.Equal(new VolumeProtocol.SnapshotView(Volume, "monday", 17, 1000, true), first.ExpectMsg<VolumeProtocol.SnapshotView>());
        Assert.Equal(new VolumeProtocol.SnapshotView(Volume, "monday", 17, 1000, false), second.ExpectMsg<VolumeProtocol.SnapshotView>());
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"));
        var again = ExpectMsg<VolumeProtocol.SnapshotView>();
        Assert.Equal((17UL, false), (again.Sequence, again.Created));
        Assert.Single(owner.Creations);
        actor.Tell(new VolumeProtocol.Describe(Volume));
        Assert.Equal(1, ExpectMsg<VolumeView>().Snapshots);
    }

    [Fact(DisplayName = "Snapshots are made one at a time, in the order in which they were asked for, also after one was refused")]
    public void Snapshots_wait_for_each_other()
    {
        var (actor, owner) = StartServed();
        foreach (var name in (string[])["a", "b", "c"]) actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, name));
        AwaitCondition(() => owner.Creations.Count == 1);
        Make(owner, "a", 3);
        Assert.Equal("a", ExpectMsg<VolumeProtocol.SnapshotView>().Name);
        AwaitCondition(() => owner.Creations.Count == 2);
        owner.Creations[1].Refuse(IoStatus.NoSpace, "node-1 has no room");
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.NoSpace, "Volume db: snapshot \"b\" is not made: node-1 has no room."), (refused.Status, refused.Reason));
        AwaitCondition(() => owner.Creations.Count == 3);
        Make(owner, "c", 9);
        Assert.Equal("c", ExpectMsg<VolumeProtocol.SnapshotView>().Name);
        Assert.Equal(["a", "b", "c"], owner.Creations.Select(creation => creation.Name));
    }

    [Fact(DisplayName = "A machine that is busy with another marker is asked again")]
    public void Busy_machine_is_asked_again()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"));
        AwaitCondition(() => owner.Creations.Count == 1);
        owner.Creations[0].Refuse(IoStatus.Busy, "another marker is under way");
        AwaitCondition(() => owner.Creations.Count == 2);
        Make(owner, "monday", 5);
        Assert.True(ExpectMsg<VolumeProtocol.SnapshotView>().Created);
    }

    [Fact(DisplayName = "Who waits for a snapshot is told to try again when the owner ends first; without a serving owner none is made")]
    public void Snapshot_of_an_owner_that_ends()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"));
        AwaitCondition(() => owner.Creations.Count == 1);
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.Offline, refused.Status);
        Assert.EndsWith("try again.", refused.Reason, StringComparison.Ordinal);
        // Of these nothing was begun here: they may be asked again.
        foreach (var command in (IVolumeCommand[])[new VolumeProtocol.CreateSnapshot(Volume, "monday"), new VolumeProtocol.StartClone(Volume, "", "copy"), new VolumeProtocol.ListSnapshots(Volume),
            new VolumeProtocol.ListShared(Volume), new VolumeProtocol.ChangedBlocks(Volume, "", "", 0), new VolumeProtocol.Scrub(Volume, true)])
        {
            actor.Tell(command);
            Assert.Equal(IoStatus.NotOwner, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
        // It was made after all: the next question finds it.
        Make(owner, "monday", 5);
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"));
        Assert.False(ExpectMsg<VolumeProtocol.SnapshotView>().Created);
    }

    [Fact(DisplayName = "A volume that has as many snapshots as there can be gets no more, with what to do")]
    public void Snapshots_are_bounded()
    {
        var (actor, owner) = StartServed();
        for (var number = 1; number <= Limits.SnapshotsMax; number++) Make(owner, $"s{number}", (ulong)number);
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "monday"));
        var refused = ExpectMsg<VolumeProtocol.Refused>(TimeSpan.FromSeconds(30));
        Assert.Equal(IoStatus.Conflict, refused.Status);
        Assert.Contains("2048 of them, the most there can be; delete some first", refused.Reason, StringComparison.Ordinal);
        Assert.Empty(owner.Creations);
    }

    [Fact(DisplayName = "A snapshot's deletion is journaled and then answered; one that is not there is missing")]
    public void Snapshot_is_deleted()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "tuesday"));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.Missing, refused.Status);
        Assert.StartsWith("Volume db: it has no snapshot \"tuesday\"", refused.Reason, StringComparison.Ordinal);
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        ExpectMsg<VolumeProtocol.Done>();
        Assert.Equal(new SnapshotDeleted(Volume, 5), owner.Journaled[^1]);
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
    }

    [Fact(DisplayName = "A volume is put back to a snapshot by its machine, unless it is attached; meanwhile it is not attached and that snapshot stays")]
    public void Restore_is_made()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-1"));
        ExpectMsg<VolumeProtocol.Attached>();
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.Conflict, refused.Status);
        Assert.Contains("attached to node-1", refused.Reason, StringComparison.Ordinal);
        Assert.Contains("(myrmidon volume detach db)", refused.Reason, StringComparison.Ordinal);
        actor.Tell(new VolumeProtocol.Detach(Volume));
        ExpectMsg<VolumeProtocol.Attached>();
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        AwaitCondition(() => owner.Restores.Count == 1);
        Make(owner, "tuesday", 9);
        foreach (var command in new IVolumeCommand[] { new VolumeProtocol.DeleteSnapshot(Volume, "monday"), new VolumeProtocol.Attach(Volume, Node, "node-1"), new VolumeProtocol.RestoreSnapshot(Volume, "tuesday") })
        {
            actor.Tell(command);
            Assert.Equal(IoStatus.Busy, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
        owner.Restores[0].Answer(IoStatus.Busy, "a client that has just left is still known");
        AwaitCondition(() => owner.Restores.Count == 2);
        // Who asks for the same again waits in place of the one who asked before.
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>().Status);
        AwaitCondition(() => owner.Restores.Count == 3);
        owner.Restores[1].Answer(IoStatus.Offline, "somebody else waits");
        owner.Restores[2].Answer(IoStatus.Ok, "");
        ExpectMsg<VolumeProtocol.Done>();
        Assert.All(owner.Restores, restore => Assert.Equal(5UL, restore.Snapshot));
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        ExpectMsg<VolumeProtocol.Done>();
    }

    [Fact(DisplayName = "While the journal has a restore that has not ended, whoever asked for it, the volume is not attached, and that snapshot stays")]
    public void Restore_is_journaled()
    {
        // Guards RestoringTo.
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        owner.Say(new OwnerNotice.JournalThis(owner, new RestoreStarted(Volume, 5)));
        AwaitCondition(() => owner.Journaled.Contains(new RestoreStarted(Volume, 5)));
        foreach (var command in new IVolumeCommand[] { new VolumeProtocol.DeleteSnapshot(Volume, "monday"), new VolumeProtocol.Attach(Volume, Node, "node-1") })
        {
            actor.Tell(command);
            Assert.Equal(IoStatus.Busy, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
        owner.Say(new OwnerNotice.JournalThis(owner, new RestoreEnded(Volume)));
        AwaitCondition(() => owner.Journaled.Contains(new RestoreEnded(Volume)));
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-1"));
        ExpectMsg<VolumeProtocol.Attached>();
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        ExpectMsg<VolumeProtocol.Done>();
    }

    /// <summary>A volume whose restore to "monday", of sequence 5, is asked for by this test and journaled as begun.</summary>
    private (IActorRef Actor, FakeOwner Owner) StartRestore()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        AwaitCondition(() => owner.Restores.Count == 1);
        owner.Say(new OwnerNotice.JournalThis(owner, new RestoreStarted(Volume, 5)));
        AwaitCondition(() => owner.Journaled.Contains(new RestoreStarted(Volume, 5)));
        return (actor, owner);
    }

    [Fact(DisplayName = "A restore that is not over when REST would give up is answered as one that goes on, with how to wait for its end; who asks again hears of that")]
    public void Restore_takes_long()
    {
        // Guards TellStillRestoring.
        var (actor, owner) = StartRestore();
        var refused = ExpectMsg<VolumeProtocol.Refused>(TimeSpan.FromSeconds(120));
        Assert.Equal((IoStatus.Offline, "Volume db: it is still being put back to snapshot \"monday\" (25 s have passed), and that goes on by itself; `myrmidon volume show db` "
            + "tells when it has ended, or ask again, as long as nobody has used it since, to wait for that."), (refused.Status, refused.Reason));
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        AwaitCondition(() => owner.Restores.Count == 2);
        owner.Say(new OwnerNotice.JournalThis(owner, new RestoreEnded(Volume)));
        owner.Restores[1].Answer(IoStatus.Ok, "");
        ExpectMsg<VolumeProtocol.Done>();
    }

    [Fact(DisplayName = "Who waits for a restore hears that it goes on when its owner stops serving once it is journaled")]
    public void Restore_outlives_its_owner()
    {
        var (actor, owner) = StartRestore();
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        Assert.Contains("it is still being put back to snapshot \"monday\" (", ExpectMsg<VolumeProtocol.Refused>().Reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A schedule deletes no snapshot to which the volume is being put back, and does once that has ended")]
    public void Schedule_spares_a_restore()
    {
        // Guards FollowSchedule's look at RestoringTo.
        var (actor, owner) = StartServed();
        var hourAgo = (ulong)DateTimeOffset.UtcNow.AddHours(-1).ToUnixTimeMilliseconds();
        Make(owner, "auto-a", 3, hourAgo - 3000);
        Make(owner, "auto-b", 4, hourAgo - 2000);
        Make(owner, "auto-c", 5, (ulong)DateTimeOffset.UtcNow.ToUnixTimeMilliseconds());
        owner.Say(new OwnerNotice.JournalThis(owner, new RestoreStarted(Volume, 3)));
        var labels = Spec.Labels.Add("myrmidon.dev/snapshot-every", "1h").Add("myrmidon.dev/snapshot-keep", "1");
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { Labels = labels }, 1));
        ExpectMsg<VolumeProtocol.Done>();
        AwaitCondition(() => owner.Journaled.Contains(new SnapshotDeleted(Volume, 4)));
        // Once more while it lasts, behind all that the first look decided.
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 2));
        actor.Tell(new VolumeProtocol.ListSnapshots(Volume));
        Assert.Equal(["auto-a", "auto-c"], ExpectMsg<VolumeProtocol.SnapshotList>().Snapshots.Select(snapshot => snapshot.Name));
        owner.Say(new OwnerNotice.JournalThis(owner, new RestoreEnded(Volume)));
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 2));
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 3));
        AwaitCondition(() => owner.Journaled.Contains(new SnapshotDeleted(Volume, 3)));
    }

    [Fact(DisplayName = "Who asks for a restore while the machine is to be asked again for somebody else hears of its end, and not that it is not made")]
    public void Restore_asked_for_twice()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        var (first, second) = (CreateTestProbe(), CreateTestProbe());
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"), first);
        AwaitCondition(() => owner.Restores.Count == 1);
        owner.Restores[0].Answer(IoStatus.Busy, "a client that has just left is still known");
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"), second);
        first.ExpectMsg<VolumeProtocol.Refused>();
        AwaitCondition(() => owner.Restores.Count == 2);
        // What the machine does when it is asked for the same while it is under way (VolumeMachine.RestoreSnapshot).
        if (SpinWait.SpinUntil(() => owner.Restores.Count == 3, 2000)) owner.Restores[1].Answer(IoStatus.Offline, "somebody else waits for it now; list the volume to see how it is");
        owner.Restores[^1].Answer(IoStatus.Ok, "");
        second.ExpectMsg<VolumeProtocol.Done>();
    }

    [Fact(DisplayName = "A restore that is refused is told as a conflict, and one whose owner ends as unknown")]
    public void Restore_fails()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "tuesday"));
        Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        for (var asked = 1; !HasMessages; asked++)
        {
            AwaitCondition(() => owner.Restores.Count >= asked || HasMessages);
            if (owner.Restores.Count >= asked) owner.Restores[asked - 1].Answer(IoStatus.Busy, "it is in use through node-2");
        }
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.Conflict, "Volume db: it is not put back to snapshot \"monday\": it is in use through node-2."), (refused.Status, refused.Reason));
        actor.Tell(new VolumeProtocol.RestoreSnapshot(Volume, "monday"));
        owner.Say(new OwnerNotice.Ended(owner, "epoch 2 was promised elsewhere"));
        Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>().Status);
    }

    [Fact(DisplayName = "Snapshots are listed from the oldest on, with what each costs; changed blocks are told between an older and a newer one")]
    public void Snapshots_are_told()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        Make(owner, "tuesday", 9);
        actor.Tell(new VolumeProtocol.ListSnapshots(Volume));
        var list = ExpectMsg<VolumeProtocol.SnapshotList>();
        Assert.Equal(1UL << 20, list.StoredBytes);
        Assert.Equal([new VolumeProtocol.SnapshotEntry("monday", 5, 1000, 500, 5), new VolumeProtocol.SnapshotEntry("tuesday", 9, 1000, 900, 9)], list.Snapshots.AsEnumerable());
        actor.Tell(new VolumeProtocol.ListShared(Volume));
        // Of the other one it is not known.
        Assert.Equal([new VolumeProtocol.SnapshotShare(5, 5000)], ExpectMsg<VolumeProtocol.SharedList>().Snapshots.AsEnumerable());

        owner.Changes = ([new BlockRange(3, 2)], 1000);
        actor.Tell(new VolumeProtocol.ChangedBlocks(Volume, "monday", "tuesday", 0));
        var page = ExpectMsg<VolumeProtocol.ChangedRuns>();
        Assert.Equal([new BlockRange(3, 2)], page.Runs.AsEnumerable());
        Assert.Equal((1000UL, false, Spec.SizeBytes), (page.UpTo, page.IsEnd, page.SizeBytes));
        owner.Changes = ([], Spec.SizeBytes / Limits.BlockBytes);
        actor.Tell(new VolumeProtocol.ChangedBlocks(Volume, "", "", 1000));
        Assert.True(ExpectMsg<VolumeProtocol.ChangedRuns>().IsEnd);
        owner.Changes = null;
        foreach (var (from, to, first, status) in new[]
        {
            ("tuesday", "monday", 0UL, IoStatus.OutOfRange), ("", "friday", 0UL, IoStatus.Missing), ("", "", Spec.SizeBytes, IoStatus.OutOfRange), ("", "", 0UL, IoStatus.Offline),
        })
        {
            actor.Tell(new VolumeProtocol.ChangedBlocks(Volume, from, to, first));
            Assert.Equal(status, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
    }

    [Fact(DisplayName = "A volume with snapshots is not deleted, with how many there are and what to do, unless forced")]
    public void Delete_with_snapshots()
    {
        var (actor, owner) = StartServed();
        Make(owner, "monday", 5);
        actor.Tell(new VolumeProtocol.Delete(Volume));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.Conflict, refused.Status);
        Assert.Contains("it has 1 snapshot, which would go with it", refused.Reason, StringComparison.Ordinal);
        Assert.Contains("--force", refused.Reason, StringComparison.Ordinal);
        actor.Tell(new VolumeProtocol.DeleteSnapshot(Volume, "monday"));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "tuesday"));
        AwaitCondition(() => owner.Creations.Count == 1);
        actor.Tell(new VolumeProtocol.Delete(Volume));
        Assert.Equal(IoStatus.Busy, ExpectMsg<VolumeProtocol.Refused>().Status);
        Make(owner, "tuesday", 7);
        ExpectMsg<VolumeProtocol.SnapshotView>();
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.CreateSnapshot(Volume, "friday"));
        Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
    }

    [Fact(DisplayName = "With the label snapshot-every an owner makes snapshots by itself, in the rhythm of the journaled ones, and deletes the oldest of its own beyond snapshot-keep")]
    public void Schedule_is_followed()
    {
        var (actor, owner) = StartServed();
        var hourAgo = (ulong)DateTimeOffset.UtcNow.AddHours(-1).ToUnixTimeMilliseconds();
        Make(owner, "auto-a", 3, hourAgo - 2000);
        Make(owner, "mine", 4, hourAgo - 1000);
        Make(owner, "auto-b", 5, hourAgo);
        var labels = Spec.Labels.Add("myrmidon.dev/snapshot-every", "1h").Add("myrmidon.dev/snapshot-keep", "2");
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { Labels = labels }, 1));
        ExpectMsg<VolumeProtocol.Done>();
        AwaitCondition(() => owner.Creations.Count == 1);
        var name = owner.Creations[0].Name;
        Assert.Matches("^auto-[0-9]{8}t[0-9]{6}z$", name);
        Make(owner, name, 7, (ulong)DateTimeOffset.UtcNow.ToUnixTimeMilliseconds());
        AwaitAssert(() => Assert.Equal(new SnapshotDeleted(Volume, 3), owner.Journaled[^1]));
        // One that begins to serve does not make another one of the same hour.
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 2));
        actor.Tell(new VolumeProtocol.ListSnapshots(Volume));
        Assert.Equal(["mine", "auto-b", name], ExpectMsg<VolumeProtocol.SnapshotList>().Snapshots.Select(snapshot => snapshot.Name));
        Assert.Single(owner.Creations);
    }

    private static void Make(FakeOwner owner, string name, ulong sequence, ulong unixMs = 1000) =>
        owner.Say(new OwnerNotice.JournalThis(owner, new SnapshotCreated(Volume, sequence, name, unixMs)));
}
