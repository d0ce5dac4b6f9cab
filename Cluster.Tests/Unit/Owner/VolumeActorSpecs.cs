using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Persistence;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>The actor journals and answers; its machine is played by hand.</summary>
public sealed partial class VolumeActorSpecs : TestKit
{
    private static readonly VolumeId Volume = new(7);
    private static readonly NodeId Node = new(Guid.Parse("00000000-0000-0000-0000-000000000001"));
    private static readonly VolumeSpec Spec = new(Volume, "default", "db", 1 << 30, 1, FailureModeKind.Soft, 0, 300_000, true,
        ImmutableSortedDictionary<string, string>.Empty);
    private static readonly VolumeProtocol.Create Create = new(Volume, Spec, [new ReplicaPlacement(new ReplicaId(1), Node, "node-0", Guid.Empty)]);

    private readonly FakeHost _host = new();

    public VolumeActorSpecs()
        : base("akka.persistence.snapshot-store.plugin = akka.persistence.snapshot-store.inmem")
    {
    }

    [Fact(DisplayName = "A created volume is journaled at once and answered when it serves")]
    public void Create_waits_for_serving()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        ExpectNoMsg(TimeSpan.FromMilliseconds(100));
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 1));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(Create);
        ExpectMsg<VolumeProtocol.Done>();
        Assert.Single(_host.Started);
    }

    [Fact(DisplayName = "Who asks where a volume serves is answered when it does, with its epoch")]
    public void Locate_waits_for_serving()
    {
        var actor = Start();
        actor.Tell(new VolumeProtocol.Locate(Volume));
        Assert.Equal(IoStatus.Missing, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(Create);
        var owner = _host.Await(this);
        actor.Tell(new VolumeProtocol.Locate(Volume));
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 4));
        ExpectMsg<VolumeProtocol.Done>();
        var located = ExpectMsg<VolumeProtocol.Located>();
        Assert.Equal((Node, "node-0", 4UL), (located.Node, located.NodeName, located.Epoch));
    }

    [Fact(DisplayName = "Who asks in vain is told so, and not kept waiting for ever")]
    public void Locate_gives_up()
    {
        var actor = Start();
        actor.Tell(Create);
        _host.Await(this);
        Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>(TimeSpan.FromSeconds(10)).Status);
    }

    [Fact(DisplayName = "What the machine decides is journaled in order and handed back to it")]
    public void Journal_is_handed_back()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        owner.Say(new OwnerNotice.JournalThis(owner, new EpochStarted(Volume, new Epoch(1), Node, "node-0")));
        owner.Say(new OwnerNotice.JournalThis(owner, new EpochOpened(Volume, new Epoch(1), 0, 1, [new InSyncMember(new ReplicaId(1), Guid.Empty, 1)])));
        AwaitCondition(() => owner.Journaled.Count == 2);
        Assert.IsType<EpochStarted>(owner.Journaled[0]);
        Assert.IsType<EpochOpened>(owner.Journaled[1]);
    }

    [Fact(DisplayName = "A journal that this program can't read is told to the keeper once, with why, and the actor ends; no machine is started")]
    public void Unreadable_journal()
    {
        var writer = Sys.ActorOf(Props.Create(() => new Writer(VolumeActor.PersistenceIdOf(Volume))));
        writer.Tell(new VolumeCreated(Volume, Spec, Create.Replicas));
        writer.Tell(new Folded(Volume));
        ExpectMsg<VolumeCreated>();
        ExpectMsg<Folded>();
        var keeper = CreateTestProbe("keeper");
        var actor = keeper.ChildActorOf(VolumeActor.Props(Volume, _host, Node, "node-0"));
        keeper.Watch(actor);
        var told = keeper.ExpectMsg<VolumeUnreadable>();
        Assert.Equal((Volume, $"volume {Volume}: the journal holds an event of the unknown type Folded"), (told.Volume, told.Cause.Message));
        keeper.ExpectTerminated(actor);
        Assert.Empty(_host.Started);
    }

    /// <summary>Of a later version.</summary>
    private sealed record Folded(VolumeId Volume) : VolumeEvent(Volume);

    private sealed class Writer : ReceivePersistentActor
    {
        public Writer(string id)
        {
            PersistenceId = id;
            CommandAny(e => Persist(e, journaled => Sender.Tell(journaled)));
        }

        public override string PersistenceId { get; }
    }

    [Fact(DisplayName = "A machine that the actor has replaced is not listened to")]
    public void Old_machines_are_ignored()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        var stranger = new FakeOwner(actor);
        stranger.Say(new OwnerNotice.ServingChanged(stranger, true, 9));
        stranger.Say(new OwnerNotice.JournalThis(stranger, new VolumeDeleted(Volume)));
        actor.Tell(new VolumeProtocol.Describe(Volume));
        ExpectMsg<VolumeView>();
        Assert.Empty(owner.Journaled);
    }

    [Fact(DisplayName = "Attach gives a new generation after the machine took it; a second identical attach finds the same one; detach ends it")]
    public void Attach_and_detach()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 1));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-0"));
        var first = ExpectMsg<VolumeProtocol.Attached>().Attachment;
        Assert.Equal((1UL, AttachmentMode.Exclusive), (first.Generation, first.Mode));
        Assert.IsType<AttachmentChanged>(Assert.Single(owner.Journaled));
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-0"));
        Assert.Equal(first, ExpectMsg<VolumeProtocol.Attached>().Attachment);
        actor.Tell(new VolumeProtocol.Attach(Volume, NodeId.New(), "node-1"));
        Assert.Equal(2UL, ExpectMsg<VolumeProtocol.Attached>().Attachment.Generation);
        actor.Tell(new VolumeProtocol.Detach(Volume));
        Assert.Equal((3UL, AttachmentMode.Shared), (ExpectMsg<VolumeProtocol.Attached>().Attachment.Generation, LastAttachment(owner).Mode));
    }

    [Fact(DisplayName = "An attachment that rests on another generation than the present one is refused as stale, and does nothing")]
    public void Stale_attachments()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 1));
        ExpectMsg<VolumeProtocol.Done>();
        var seen = new VolumeRevision(1, 0);
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-0", seen));
        ExpectMsg<VolumeProtocol.Attached>();
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-0", seen));
        Assert.Equal(IoStatus.StaleSession, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(new VolumeProtocol.Detach(Volume, seen));
        Assert.Equal(IoStatus.StaleSession, ExpectMsg<VolumeProtocol.Refused>().Status);
        Assert.Single(owner.Journaled);
        actor.Tell(new VolumeProtocol.Detach(Volume, seen with { Generation = 1 }));
        Assert.Equal(2UL, ExpectMsg<VolumeProtocol.Attached>().Attachment.Generation);
    }

    [Fact(DisplayName = "A smaller size is refused with both sizes named")]
    public void Shrink_is_refused()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 1));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { SizeBytes = 4096 }, 1));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.OutOfRange, refused.Status);
        Assert.Contains("4096", refused.Reason, StringComparison.Ordinal);
        Assert.Empty(owner.Journaled);
    }

    [Fact(DisplayName = "More copies are added in order, once; surplus ones are left to the machine; then all copies are told")]
    public void Copies_are_arranged()
    {
        var (actor, owner) = StartServed();
        var added = Enumerable.Range(2, 2).Select(number => new ReplicaPlacement(new ReplicaId((ushort)number), NodeId.New(), $"node-{number}", Guid.Empty)).ToArray();
        actor.Tell(new VolumeProtocol.ArrangeCopies(Volume, 1, [.. added], []));
        Assert.Equal(IoStatus.Busy, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { Replicas = 3 }, 1));
        ExpectMsg<VolumeProtocol.Done>();
        var arrange = new VolumeProtocol.ArrangeCopies(Volume, 1, [.. added], []);
        actor.Tell(arrange);
        Assert.Equal(IoStatus.Busy, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(arrange);
        Assert.Equal(3, ExpectMsg<VolumeProtocol.CopiesArranged>().Replicas.Length);
        Assert.Equal(added, owner.Journaled.OfType<ReplicaAdded>().Select(e => e.Replica));
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { Replicas = 2 }, 2));
        ExpectMsg<VolumeProtocol.Done>();
        var drop = new VolumeProtocol.ArrangeCopies(Volume, 2, [], [new ReplicaId(2)]);
        actor.Tell(drop);
        Assert.Contains("1 of its copies are being dropped", ExpectMsg<VolumeProtocol.Refused>().Reason, StringComparison.Ordinal);
        AwaitAssert(() => Assert.Single(owner.Journaled.OfType<ReplicaRemoved>()));
        actor.Tell(drop);
        Assert.Equal(["r1", "r3"], ExpectMsg<VolumeProtocol.CopiesArranged>().Replicas.Select(copy => copy.Id.ToString()));
        // A number that is gone is gone for ever, though an order still names it.
        actor.Tell(new VolumeProtocol.ArrangeCopies(Volume, 2, [added[0]], []));
        Assert.Equal(["r1", "r3"], ExpectMsg<VolumeProtocol.CopiesArranged>().Replicas.Select(copy => copy.Id.ToString()));
    }

    [Fact(DisplayName = "Orders of an older revision, delayed on their way, change nothing")]
    public void Overtaken_orders()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { Replicas = 2 }, 2));
        ExpectMsg<VolumeProtocol.Done>();
        var journaled = owner.Journaled.Count;
        actor.Tell(new VolumeProtocol.ChangeSpec(Volume, Spec with { Replicas = 5 }, 1));
        ExpectMsg<VolumeProtocol.Done>();
        var other = new ReplicaPlacement(new ReplicaId(2), NodeId.New(), "node-2", Guid.Empty);
        actor.Tell(new VolumeProtocol.ReplaceReplica(Volume, new ReplicaId(1), other, 1));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(new VolumeProtocol.ArrangeCopies(Volume, 1, [other], []));
        Assert.Equal(IoStatus.Busy, ExpectMsg<VolumeProtocol.Refused>().Status);
        Assert.Equal(journaled, owner.Journaled.Count);
    }

    [Fact(DisplayName = "A deleted volume stays deleted: its actor starts no machine again and says so")]
    public void Delete_is_for_ever()
    {
        var actor = Start();
        actor.Tell(Create);
        _host.Await(this);
        actor.Tell(new VolumeProtocol.Delete(Volume));
        ExpectMsg<VolumeProtocol.Done>();
        Watch(actor);
        Sys.Stop(actor);
        FishForMessage(message => message is Terminated);
        var again = Start();
        again.Tell(new VolumeProtocol.Locate(Volume));
        Assert.Equal(IoStatus.Deleted, ExpectMsg<VolumeProtocol.Refused>().Status);
        again.Tell(Create);
        Assert.Equal(IoStatus.Deleted, ExpectMsg<VolumeProtocol.Refused>().Status);
        Assert.Single(_host.Started);
    }

    [Fact(DisplayName = "R22: a deletion that arrives before its volume's creation leaves a tombstone, so that the delayed creation can't revive it")]
    public void Delete_before_create()
    {
        var actor = Start();
        actor.Tell(new VolumeProtocol.Delete(Volume));
        ExpectMsg<VolumeProtocol.Done>();
        actor.Tell(Create);
        Assert.Equal(IoStatus.Deleted, ExpectMsg<VolumeProtocol.Refused>().Status);
        Watch(actor);
        Sys.Stop(actor);
        FishForMessage(message => message is Terminated);
        var again = Start();
        again.Tell(Create);
        Assert.Equal(IoStatus.Deleted, ExpectMsg<VolumeProtocol.Refused>().Status);
        Assert.Empty(_host.Started);
    }

    [Fact(DisplayName = "A volume in use is not deleted, unless forced; one that is not is deleted by its machine, and then answered")]
    public void Delete_in_use()
    {
        var (actor, owner) = StartServed();
        owner.InUse = (IoStatus.Busy, "it is in use through node-2");
        actor.Tell(new VolumeProtocol.Delete(Volume));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal((IoStatus.Busy, "Volume db: it is in use through node-2."), (refused.Status, refused.Reason));
        Assert.DoesNotContain(owner.Journaled, e => e is VolumeDeleted);
        owner.InUse = null;
        actor.Tell(new VolumeProtocol.Delete(Volume));
        ExpectMsg<VolumeProtocol.Done>();
        Assert.IsType<VolumeDeleted>(owner.Journaled[^1]);
    }

    [Fact(DisplayName = "An attached volume is not deleted, with who has it and what to do, unless forced or detached")]
    public void Delete_attached()
    {
        var (actor, owner) = StartServed();
        actor.Tell(new VolumeProtocol.Attach(Volume, Node, "node-1"));
        var seen = new VolumeRevision(0, ExpectMsg<VolumeProtocol.Attached>().Attachment.Generation);
        actor.Tell(new VolumeProtocol.Delete(Volume));
        var refused = ExpectMsg<VolumeProtocol.Refused>();
        Assert.Equal(IoStatus.Conflict, refused.Status);
        Assert.Contains("attached to node-1; detach it (myrmidon volume detach db)", refused.Reason, StringComparison.Ordinal);
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true, seen with { Generation = 0 }));
        Assert.Equal(IoStatus.StaleSession, ExpectMsg<VolumeProtocol.Refused>().Status);
        Assert.DoesNotContain(owner.Journaled, e => e is VolumeDeleted);
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true, seen));
        ExpectMsg<VolumeProtocol.Done>();
        Assert.IsType<VolumeDeleted>(owner.Journaled[^1]);
    }

    [Fact(DisplayName = "While nobody serves a volume that was opened once it is not known who uses it: only force deletes it")]
    public void Delete_unserved()
    {
        var (actor, owner) = StartServed();
        owner.Say(new OwnerNotice.ServingChanged(owner, false, 1));
        actor.Tell(new VolumeProtocol.Delete(Volume));
        Assert.Equal(IoStatus.Offline, ExpectMsg<VolumeProtocol.Refused>().Status);
        actor.Tell(new VolumeProtocol.Delete(Volume, Force: true));
        ExpectMsg<VolumeProtocol.Done>();
    }

    /// <summary>A volume whose first epoch is open and served.</summary>
    private (IActorRef Actor, FakeOwner Owner) StartServed()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        owner.Say(new OwnerNotice.JournalThis(owner, new EpochStarted(Volume, new Epoch(1), Node, "node-0")));
        owner.Say(new OwnerNotice.JournalThis(owner, new EpochOpened(Volume, new Epoch(1), 0, 1, [new InSyncMember(new ReplicaId(1), Guid.Empty, 1)])));
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 1));
        // On a host that stood still meanwhile the creation was told to try again.
        if (ExpectMsg<object>() is VolumeProtocol.Refused { Status: IoStatus.Offline })
        {
            actor.Tell(Create);
            ExpectMsg<VolumeProtocol.Done>();
        }
        return (actor, owner);
    }

    [Fact(DisplayName = "Handing over drains the machine first and ends when it has stopped")]
    public void Hand_off_drains()
    {
        var actor = Start();
        actor.Tell(Create);
        var owner = _host.Await(this);
        owner.Say(new OwnerNotice.ServingChanged(owner, true, 1));
        ExpectMsg<VolumeProtocol.Done>();
        Watch(actor);
        actor.Tell(VolumeHandOff.Instance);
        AwaitCondition(() => owner.Drained);
        owner.Say(new OwnerNotice.Stopped(owner));
        ExpectTerminated(actor);
    }

    [Fact(DisplayName = "A machine that has stopped before, as on a planned stop of its node, is handed over without being drained again")]
    public void Hand_off_of_a_stopped_machine()
    {
        var (actor, owner) = StartServed();
        owner.Say(new OwnerNotice.Stopped(owner));
        Watch(actor);
        actor.Tell(VolumeHandOff.Instance);
        ExpectTerminated(actor);
        Assert.False(owner.Drained);
    }

    [Fact(DisplayName = "An early claim that comes too late starts no machine and journals nothing; who has asked meanwhile is told to ask again")]
    public void Late_claims_step_back()
    {
        EndServed();
        var parent = CreateTestProbe("keeper");
        var claim = parent.ChildActorOf(VolumeActor.Props(Volume, _host, Node, "node-0", onlyAt: 0));
        Assert.IsType<PoisonPill>(parent.ExpectMsg<Passivate>().StopMessage);
        Assert.Equal(claim, parent.LastSender);
        foreach (var command in new IVolumeCommand[] { new VolumeProtocol.Locate(Volume), new VolumeProtocol.Attach(Volume, Node, "node-0"), new VolumeProtocol.Describe(Volume) })
        {
            claim.Tell(command);
            Assert.Equal(IoStatus.NotOwner, ExpectMsg<VolumeProtocol.Refused>().Status);
        }
        Assert.Single(_host.Started);
    }

    [Fact(DisplayName = "An early claim of the newest epoch starts a machine, if the node's copy is in sync")]
    public void Early_claims_start()
    {
        EndServed();
        Sys.ActorOf(VolumeActor.Props(Volume, _host, Node, "node-0", onlyAt: 1));
        AwaitCondition(() => _host.Count == 2);
    }

    [Fact(DisplayName = "Who may claim early: only with a copy in sync, of a volume that is there, and at its newest epoch")]
    public void May_claim_early()
    {
        var other = new NodeId(Guid.Parse("00000000-0000-0000-0000-000000000002"));
        var state = VolumeState.Empty
            .Apply(new VolumeCreated(Volume, Spec with { Replicas = 2 },
                [new ReplicaPlacement(new ReplicaId(1), Node, "node-0", Guid.Empty), new ReplicaPlacement(new ReplicaId(2), other, "node-1", Guid.Empty)]))
            .Apply(new EpochStarted(Volume, new Epoch(3), other, "node-1"))
            .Apply(new EpochOpened(Volume, new Epoch(3), 0, 1, [new InSyncMember(new ReplicaId(1), Guid.Empty, 1), new InSyncMember(new ReplicaId(2), Guid.Empty, 1)]));
        Assert.True(state.MayClaimEarly(Node, 3));
        Assert.False(state.MayClaimEarly(Node, 2));
        Assert.False(state.MayClaimEarly(new NodeId(Guid.Parse("00000000-0000-0000-0000-000000000003")), 3));
        // The owner that seemed lost has taken this node's copy out meanwhile.
        Assert.False(state.Apply(new InSyncChanged(Volume, new Epoch(3), 2, [new InSyncMember(new ReplicaId(2), Guid.Empty, 1)], "")).MayClaimEarly(Node, 3));
        Assert.False(state.Apply(new VolumeDeleted(Volume)).MayClaimEarly(Node, 3));
        Assert.False(VolumeState.Empty.MayClaimEarly(Node, 0));
    }

    private void EndServed()
    {
        var (actor, _) = StartServed();
        Watch(actor);
        actor.Tell(PoisonPill.Instance);
        ExpectTerminated(actor);
    }

    private IActorRef Start() => Sys.ActorOf(VolumeActor.Props(Volume, _host, Node, "node-0"));

    private static Attachment LastAttachment(FakeOwner owner) => owner.Journaled.OfType<AttachmentChanged>().Last().Attachment;

    private sealed class FakeHost : IOwnerHost
    {
        public List<FakeOwner> Started { get; } = [];

        public List<VolumeState> States { get; } = [];

        public int Count
        {
            get
            {
                lock (Started) return Started.Count;
            }
        }

        public IOwnerHandle Start(VolumeState state, IActorRef actor, TimeSpan recovery)
        {
            var owner = new FakeOwner(actor);
            lock (Started)
            {
                Started.Add(owner);
                States.Add(state);
            }
            return owner;
        }

        public FakeOwner Await(VolumeActorSpecs specs)
        {
            specs.AwaitCondition(() =>
            {
                lock (Started) return Started.Count > 0;
            });
            return Started[^1];
        }
    }

    private sealed class FakeOwner(IActorRef actor) : IOwnerHandle
    {
        public List<VolumeEvent> Journaled { get; } = [];

        public bool Drained { get; private set; }

        /// <summary>Every snapshot that the machine was asked to make, and how to refuse it.</summary>
        public List<(string Name, Action<IoStatus, string> Refuse)> Creations { get; } = [];

        public List<(ulong Snapshot, Action<IoStatus, string> Answer)> Restores { get; } = [];

        /// <summary>What the machine tells of changed blocks; null: nothing now.</summary>
        public (IReadOnlyList<BlockRange> Runs, ulong UpTo)? Changes { get; set; }

        public int CloneDepth { get; set; }

        public void CreateSnapshot(string name, Action<IoStatus, string> refused) => Creations.Add((name, refused));

        public List<(Guid Attempt, string Name, Action<PreparedSnapshot> Answer)> Preparations { get; } = [];

        public List<(Guid Attempt, Action<IoStatus, string> Refuse)> Commits { get; } = [];

        public List<Guid> Aborts { get; } = [];

        public void PrepareSnapshot(Guid attempt, string name, Action<PreparedSnapshot> answer) => Preparations.Add((attempt, name, answer));

        public void CommitSnapshot(Guid attempt, Action<IoStatus, string> refused) => Commits.Add((attempt, refused));

        public void AbortSnapshot(Guid attempt) => Aborts.Add(attempt);

        public void RestoreSnapshot(ulong snapshot, Action<IoStatus, string> answer) => Restores.Add((snapshot, answer));

        public List<(SpecChanged Change, Action<IoStatus, string> Answer)> Shrinks { get; } = [];

        public void Shrink(SpecChanged change, Action<IoStatus, string> answer) => Shrinks.Add((change, answer));

        public void SnapshotUsages(Action<long, IReadOnlyList<(ulong Snapshot, long Bytes, long Blocks, long? SharedBytes)>> answer) =>
            answer(1 << 20, [.. Journaled.OfType<SnapshotCreated>().Select(created => (created.Sequence, (long)created.Sequence * 100, (long)created.Sequence, created.Sequence == 9 ? null : (long?)created.Sequence * 1000))]);

        public void ChangedBlocks(ulong from, ulong to, ulong first, Action<(IReadOnlyList<BlockRange> Runs, ulong UpTo)?> answer) => answer(Changes);

        public void Say(OwnerNotice notice) => actor.Tell(notice);

        public void OnJournaled(VolumeEvent e, Action? then)
        {
            Journaled.Add(e);
            then?.Invoke();
        }

        public void Drain() => Drained = true;

        public void Stop()
        {
        }

        /// <summary>How the machine refuses a deletion; null: it journals it.</summary>
        public (IoStatus Status, string Reason)? InUse { get; set; }

        public void Delete(Action<IoStatus, string> refused)
        {
            if (InUse is { } use) refused(use.Status, use.Reason);
            else Say(new OwnerNotice.JournalThis(this, new VolumeDeleted(Volume)));
        }

        public List<ReplicaId> Dropped { get; } = [];

        public void DropSurplus(ImmutableArray<ReplicaId> first)
        {
            Dropped.Add(first[0]);
            Say(new OwnerNotice.JournalThis(this, new ReplicaRemoved(Volume, first[0], "surplus")));
        }

        public void DropReplaced(ReplicaId copy, string reason) => Say(new OwnerNotice.JournalThis(this, new ReplicaRemoved(Volume, copy, reason)));

        public void Scrub(bool start, Action<VolumeProtocol.ScrubView> answer) =>
            answer(new VolumeProtocol.ScrubView(Volume, start ? "running" : "idle", "", new(1, 2, 0, 0, 0), new(0, 0, 0, 0, 0), 0, 0, 4, 5));

        public void View(Action<VolumeView> answer) =>
            answer(new VolumeView(Volume, Spec, "healthy", "node-0", 1, 1, 0, [], Attachment.Default, "", 1));
    }
}
