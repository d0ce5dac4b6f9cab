using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Cluster.Tests.Integration.Journal;
using Cluster.Tests.Unit.Fakes;
using Cluster.Tests.Unit.Placement;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>What REST says while placement, the owners or the journal do not answer.</summary>
public sealed class ControlPlaneSpecs : TestKit
{
    private const string NoLeader = "The journal has no leader: a majority of node-0, node-1 (unreachable), node-2 (unreachable) must run.";

    private readonly StateLog _log = new();
    private readonly ControlPlane _control = new();
    private readonly TestProbe _placement;
    private readonly TestProbe _owners;
    private volatile string? _host = "node-1";
    private volatile Tuple<ServedBy>? _owner;
    private readonly ConcurrentQueue<string> _doubted = new();

    private static NodeEntry Up { get; } = new(PlacementFixture.Description(1), PlacementFixture.Report(1L << 40), "up", false, false, 0, 0);

    private static VolumeSpec Pg { get; } = new(
        new VolumeId(1), VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);

    public ControlPlaneSpecs()
    {
        (_placement, _owners) = (CreateTestProbe(), CreateTestProbe());
        var members = Enumerable.Range(0, 3).Select(index => new FormationMember($"node-{index}", Guid.NewGuid(), new JournalAddress("127.0.0.1", 1000 + index)));
        _log.Status = new MetaLogStatus(MetaLogRole.Follower, 1, "node-0", 0, RaftMembers.Formed([.. members]));
    }

    [Fact(DisplayName = "A node that has not joined says when it is a majority of the control nodes that it waits for, and which they are")]
    public async Task Not_joined()
    {
        Assert.Equal("This node has not joined its cluster yet; try again in a moment.", (await _control.GetStatusAsync(default)).Reason);
        _control.Watch(_log);
        Assert.Equal("This node has not joined its cluster yet; try again in a moment.", (await _control.GetStatusAsync(default)).Reason);
        LoseLeader(seconds: 1);
        Assert.Equal("This node has not joined its cluster yet; try again in a moment.", (await _control.GetStatusAsync(default)).Reason);
        LoseLeader();
        Assert.Equal("This node has not joined its cluster yet. The journal has no leader: a majority of node-0, node-1, node-2 must run.",
            (await _control.GetStatusAsync(default)).Reason);
    }

    [Fact(DisplayName = "What nobody answers while the journal has no leader names the control nodes; only a change is to be looked for before it is asked again")]
    public async Task No_leader()
    {
        LoseLeader();
        Open();
        var (read, change) = (_control.ListVolumesAsync(null, default), _control.SetCordonedAsync("node-0", true, default));
        Assert.Equal((ControlStatus.TimedOut, $"{NoLeader} Try again."), Failure(await read));
        Assert.Equal((ControlStatus.TimedOut, $"{NoLeader} Look whether it was done, then try again."), Failure(await change));
    }

    [Fact(DisplayName = "With a leader it is told who did not answer")]
    public async Task Silent()
    {
        Open();
        Assert.Equal((ControlStatus.TimedOut, "The placement service did not answer within 5 s. Look whether it was done, then try again."),
            Failure(await _control.SetCordonedAsync("node-0", true, default)));
    }

    [Fact(DisplayName = "The status names the control nodes and which of them are heard from, and that the journal has no leader")]
    public async Task Status()
    {
        _placement.SetAutoPilot(new DelegateAutoPilot((sender, asked) =>
        {
            sender.Tell(asked is PlacementProtocol.ListNodes ? new PlacementProtocol.NodeList([]) : new PlacementProtocol.VolumeList([]));
            return AutoPilot.KeepRunning;
        }));
        Open();
        var status = (await _control.GetStatusAsync(default)).Value!;
        Assert.Equal([new("node-0", true), new("node-1", false), new ControlNodeResource("node-2", false)], status.ControlNodes);
        Assert.Equal(("healthy", "node-0"), (status.State, status.JournalLeader));
        LoseLeader();
        status = (await _control.GetStatusAsync(default)).Value!;
        Assert.Equal(("degraded", NoLeader), (status.State, Assert.Single(status.Reasons)));
    }

    [Fact(DisplayName = "While the catalogue's singleton is silent, questions are answered from the journal: nodes and volumes by name, how nodes are as unknown")]
    public async Task From_the_journal()
    {
        var node = PlacementFixture.Description(1);
        var spec = new VolumeSpec(new VolumeId(1), VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
        Journal(new NodeRegistered(node), new VolumePlaced(spec, [new ReplicaPlacement(new ReplicaId(1), node.Id, node.Name, Guid.NewGuid())]));
        AnswerOwners(_ => new VolumeProtocol.Refused(spec.Id, IoStatus.Offline, "It moves."));
        Open();
        var listed = (await _control.ListNodesAsync(default)).Value!;
        Assert.Equal((node.Name, "unknown"), (Assert.Single(listed).Name, listed[0].State));
        var volume = (await _control.GetVolumeAsync(new VolumeName(VolumeSpec.DefaultNamespace, "pg"), default)).Value!;
        Assert.Equal((spec.Name, "It moves."), (volume.Name, volume.Reason));
        Assert.Equal(ControlStatus.NotFound, (await _control.GetVolumeAsync(new VolumeName(VolumeSpec.DefaultNamespace, "other"), default)).Status);
        var status = (await _control.GetStatusAsync(default)).Value!;
        Assert.Contains("The placement service does not answer: how the nodes are is unknown.", status.Reasons);
        Assert.Equal(ControlStatus.TimedOut, (await _control.DrainNodeAsync(node.Name, TimeSpan.Zero, false, default)).Status);
    }

    [Fact(DisplayName = "A change that its singleton never answers is told to the next one, whose answer counts")]
    public async Task Told_again()
    {
        Open();
        var change = _control.SetCordonedAsync("node-0", true, default);
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _host = "node-2";
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _placement.Reply(new PlacementProtocol.NodeList([Up]));
        Assert.Equal(Up.Description.Name, (await change).Value!.Name);
    }

    [Fact(DisplayName = "A refusal of the next one is no answer while the first may have done the change; when all that were told refuse, it is")]
    public async Task Told_again_and_refused()
    {
        Open();
        var change = _control.SetCordonedAsync("node-0", true, default);
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _host = "node-2";
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _placement.Reply(new PlacementProtocol.Refused(RefusalKind.NotFound, "There is no node."));
        var (status, reason) = Failure(await change);
        Assert.Equal(ControlStatus.TimedOut, status);
        Assert.EndsWith("There is no node. Look whether it was done, then try again.", reason, StringComparison.Ordinal);
        change = _control.SetCordonedAsync("node-0", true, default);
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        var first = _placement.LastSender;
        _host = "node-1";
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _placement.Reply(new PlacementProtocol.Refused(RefusalKind.NotFound, "There is no node."));
        first.Tell(new PlacementProtocol.Refused(RefusalKind.NotFound, "There is no node."));
        Assert.Equal((ControlStatus.NotFound, "There is no node."), Failure(await change));
    }

    [Fact(DisplayName = "A deletion names the volume's id, and when the next singleton finds none of that it was done")]
    public async Task Deletion_told_again()
    {
        _host = "node-0";
        AnswerOwners(_ => new VolumeProtocol.Refused(Pg.Id, IoStatus.Offline, "It moves."));
        Open();
        var deletion = _control.DeleteVolumeAsync(new VolumeName(VolumeSpec.DefaultNamespace, "pg"), null, false, default);
        _placement.ExpectMsg<PlacementProtocol.GetVolume>();
        _placement.Reply(new PlacementProtocol.Found(new VolumeEntry(Pg, [], CataloguePhase.Ready)));
        Assert.Equal(Pg.Id, _placement.ExpectMsg<PlacementProtocol.DeleteVolume>().Id);
        _host = "node-2";
        Assert.Equal(Pg.Id, _placement.ExpectMsg<PlacementProtocol.DeleteVolume>().Id);
        _placement.Reply(new PlacementProtocol.Refused(RefusalKind.NotFound, "There is no volume."));
        Assert.Equal("deleting", (await deletion).Value!.State);
    }

    [Fact(DisplayName = "How nodes are is waited for while the singleton's node is heard from; a name of a volume is not")]
    public async Task Slow_singleton()
    {
        _host = "node-0";
        Journal(new NodeRegistered(Up.Description));
        AnswerLate(asked => asked is PlacementProtocol.ListNodes ? new PlacementProtocol.NodeList([Up]) : new PlacementProtocol.Refused(RefusalKind.NotFound, "It is late."));
        Open();
        Assert.Equal("up", Assert.Single((await _control.ListNodesAsync(default)).Value!).State);
        Assert.NotEqual("It is late.", (await _control.GetVolumeAsync(new VolumeName(VolumeSpec.DefaultNamespace, "pg"), default)).Reason);
    }

    [Fact(DisplayName = "An answer of the singleton that comes after the journal's says that it is not silent any more")]
    public async Task Silent_no_more()
    {
        var catalogue = Open();
        var question = new PlacementProtocol.GetVolume("pg");
        Assert.IsType<PlacementProtocol.Refused>(await catalogue.AskAsync(question, TimeSpan.FromSeconds(5), default));
        Assert.Equal((1, true), (catalogue.JournalAnswers, catalogue.IsSilent));
        _placement.ExpectMsg<PlacementProtocol.GetVolume>();
        _placement.Reply(new PlacementProtocol.Refused(RefusalKind.NotFound, "It is late."));
        AwaitCondition(() => !catalogue.IsSilent, TimeSpan.FromSeconds(1));
    }

    [Fact(DisplayName = "A journal that is not understood leaves the answer to the singleton")]
    public async Task Not_understood()
    {
        _log.State.Apply(new MetaCommand.AppendEvents(PlacementActor.StreamId, 0, "w", [new MetaNewEvent(0, new MetaPayload(1, "no-such-event/1", new byte[1]))]));
        AnswerLate(_ => new PlacementProtocol.Refused(RefusalKind.NotFound, "It is late."));
        Open();
        Assert.Equal((ControlStatus.NotFound, "It is late."), Failure(await _control.GetVolumeAsync(new VolumeName(VolumeSpec.DefaultNamespace, "pg"), default)));
    }

    [Fact(DisplayName = "The record of a group that can't be read is taken away when that is asked for, and only such a one")]
    public async Task Forgotten_record()
    {
        Open();
        var book = new SnapshotGroupBook(_log);
        await book.WriteAsync(new SnapshotGroupRecord(SnapshotGroupPhase.Ready, "good", Guid.NewGuid(), 1, [new SnapshotGroupMember(Pg.Id, "pg", 1, 1)]), 0, default);
        _log.State.Apply(new MetaCommand.SetKey("snapshot-group/bad", 0, [99]));
        var (status, reason) = Failure(await _control.DeleteSnapshotGroupAsync("bad", default));
        Assert.Equal(ControlStatus.Conflict, status);
        Assert.Contains("--forget-record", reason, StringComparison.Ordinal);
        Assert.Equal(ControlStatus.Conflict, (await _control.ForgetSnapshotGroupAsync("good", default)).Status);
        Assert.Equal("unreadable", (await _control.ForgetSnapshotGroupAsync("bad", default)).Value!.State);
        Assert.Equal(ControlStatus.NotFound, (await _control.ForgetSnapshotGroupAsync("bad", default)).Status);
        Assert.Equal(["good"], (await book.ListAsync(default)).Records.Select(record => record.Name));
    }

    [Fact(DisplayName = "A drain goes on once it is known again how the nodes are")]
    public async Task Drain_goes_on()
    {
        Journal(new NodeRegistered(Up.Description));
        var answers = false;
        _placement.SetAutoPilot(new DelegateAutoPilot((sender, asked) =>
        {
            if (Volatile.Read(ref answers)) sender.Tell(asked is PlacementProtocol.ListVolumes ? new PlacementProtocol.VolumeList([]) : new PlacementProtocol.NodeList([Up]));
            return AutoPilot.KeepRunning;
        }));
        var catalogue = Open();
        var drain = _control.DrainNodeAsync(Up.Description.Name, TimeSpan.FromSeconds(20), false, default);
        // The node by its name, and a plan that can't be made.
        AwaitCondition(() => catalogue.JournalAnswers >= 3, TimeSpan.FromSeconds(10));
        Volatile.Write(ref answers, true);
        Assert.Equal("drained", (await drain).Value!.State);
    }

    [Fact(DisplayName = "An owner that does not answer a question is not asked again until another one is known")]
    public async Task Asked_again()
    {
        _placement.SetAutoPilot(new DelegateAutoPilot((sender, _) =>
        {
            var spec = new VolumeSpec(new VolumeId(1), VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
            sender.Tell(new PlacementProtocol.Found(new VolumeEntry(spec, [], CataloguePhase.Ready)));
            return AutoPilot.KeepRunning;
        }));
        var asked = 0;
        AnswerOwners(_ => Interlocked.Increment(ref asked) == 1 ? null : new VolumeProtocol.Refused(new VolumeId(1), IoStatus.Offline, "It is asked again."));
        Open();
        var name = new VolumeName(VolumeSpec.DefaultNamespace, "pg");
        Assert.NotEqual("It is asked again.", (await _control.GetVolumeAsync(name, default)).Value!.Reason);
        Assert.Equal(1, Volatile.Read(ref asked));
        Volatile.Write(ref asked, 0);
        var answer = _control.GetVolumeAsync(name, default);
        AwaitCondition(() => Volatile.Read(ref asked) == 1, TimeSpan.FromSeconds(3));
        _owner = new Tuple<ServedBy>(new ServedBy(Up.Description.Id, 2));
        Assert.Equal("It is asked again.", (await answer).Value!.Reason);
    }

    [Fact(DisplayName = "A node whose catalogue or owner does not answer is doubted, and one that answers is not")]
    public async Task Doubted()
    {
        _host = "node-0";
        FindPg();
        AnswerOwners(_ => new VolumeProtocol.Refused(Pg.Id, IoStatus.Offline, "It moves."));
        _owner = new Tuple<ServedBy>(new ServedBy(Up.Description.Id, 2));
        Open();
        var name = new VolumeName(VolumeSpec.DefaultNamespace, "pg");
        Assert.Equal("It moves.", (await _control.GetVolumeAsync(name, default)).Value!.Reason);
        Assert.Empty(_doubted);
        AnswerOwners(_ => null);
        await _control.GetVolumeAsync(name, default);
        Assert.Equal([Up.Description.Id.ToString()], _doubted.Distinct());
        _doubted.Clear();
        _placement.SetAutoPilot(new DelegateAutoPilot((_, _) => AutoPilot.KeepRunning));
        await _control.GetVolumeAsync(name, default);
        Assert.Equal(["node-0"], _doubted.Distinct());
    }

    [Fact(DisplayName = "A change of a volume that its owner takes over just now is asked again until it is served, and what stays unserved is refused with the owner's reason; how it is, is told at once")]
    public async Task Taken_over()
    {
        FindPg();
        var (asked, name, refused) = (0, new VolumeName(VolumeSpec.DefaultNamespace, "pg"), OnItsWay);
        AnswerOwners(_ => Interlocked.Increment(ref asked) < 3 ? refused : new VolumeProtocol.SnapshotView(Pg.Id, "monday", 7, 1000, true));
        Open();
        Assert.True((await _control.CreateSnapshotAsync(name, "monday", default)).Value!.IsNew);
        Assert.Equal(3, asked);
        asked = 0;
        AnswerOwners(_ =>
        {
            Interlocked.Increment(ref asked);
            return refused;
        });
        Assert.Equal(refused.Reason, (await _control.GetVolumeAsync(name, default)).Value!.Reason);
        Assert.Equal(1, asked);
        Assert.Equal((ControlStatus.Unavailable, refused.Reason), Failure(await _control.CreateSnapshotAsync(name, "monday", default)));
        Assert.InRange(asked, 3, 100);
    }

    [Fact(DisplayName = "A volume of a group that moves while its snapshot is prepared is not waited for: the writes of the others are held meanwhile")]
    public async Task Group_is_not_held_up()
    {
        FindPg();
        var asked = new ConcurrentQueue<object>();
        AnswerOwners(command =>
        {
            asked.Enqueue(command);
            return command is VolumeProtocol.Locate ? new VolumeProtocol.Located(Pg.Id, Up.Description.Id, "node-1", 1)
                : command is VolumeProtocol.PrepareSnapshot ? OnItsWay : new VolumeProtocol.Done(Pg.Id);
        });
        Open();
        var made = await _control.CreateSnapshotGroupAsync("monday", [new VolumeName(VolumeSpec.DefaultNamespace, "pg")], default);
        Assert.Equal(ControlStatus.Unavailable, made.Status);
        Assert.Contains(OnItsWay.Reason, made.Reason, StringComparison.Ordinal);
        // The whole group is tried again, with nothing held in between.
        var attempts = asked.OfType<VolumeProtocol.PrepareSnapshot>().Select(prepare => prepare.Attempt).ToArray();
        Assert.NotEmpty(attempts);
        Assert.Distinct(attempts);
    }

    [Fact(DisplayName = "A front end that looks a volume up while it is on its way waits until its next owner tells of it")]
    public async Task Looked_up()
    {
        FindPg();
        var asked = 0;
        AnswerOwners(_ => Interlocked.Increment(ref asked) < 3 ? OnItsWay : new VolumeView(Pg.Id, Pg, "healthy", "node-1", 1, 1, 0, [], Attachment.Default, "", 1));
        var identity = new NodeIdentity(Up.Description.Id, "node-1", Guid.NewGuid(), Guid.NewGuid());
        var gateway = new OwnerGateway(new VolumeRuntime(new FakeLoop(), null!, identity, NullLoggerFactory.Instance), Open(), () => _owners, _ => { });
        var found = await gateway.LookupAsync("pg", default);
        Assert.Equal((IoStatus.Ok, Pg.Id, 3), (found.Status, found.Volume?.Id, asked));
    }

    [Fact(DisplayName = "The status says what helps when a node, or a majority of the control nodes, does not come back")]
    public async Task Gone_for_good()
    {
        _placement.SetAutoPilot(new DelegateAutoPilot((sender, asked) =>
        {
            sender.Tell(asked is PlacementProtocol.ListNodes ? new PlacementProtocol.NodeList([Up with { State = "down" }]) : new PlacementProtocol.VolumeList([]));
            return AutoPilot.KeepRunning;
        }));
        Open();
        LoseLeader(seconds: 60);
        Assert.Equal([$"{NoLeader} If their journals are gone for good, `myrmidon recover` makes a new one from the volumes' copies.",
            "Node node-1 is down. If it is gone for good: `myrmidon node remove node-1`."], (await _control.GetStatusAsync(default)).Value!.Reasons);
    }

    private void Journal(params PlacementEvent[] events)
    {
        var payloads = events.Select((e, index) => new MetaNewEvent(0, new MetaPayload(1, EventCodec.ManifestOf(e), EventCodec.Encode(e))));
        _log.State.Apply(new MetaCommand.AppendEvents(PlacementActor.StreamId, 0, "w", [.. payloads]));
    }

    [Fact(DisplayName = "What an operator or Docker has on this host is told as open also while its device is not connected, as after a start of the node")]
    public void Open_volumes()
    {
        Open();
        Assert.Equal([new OpenVolumeResource("b", true), new OpenVolumeResource("c", true, 4, Open: false), new OpenVolumeResource("d")], _control.ListOpenVolumes().Value!);
    }

    private static VolumeProtocol.Refused OnItsWay { get; } = new(Pg.Id, IoStatus.NotOwner, "Volume pg: its owner on node node-1 is taking over.");

    private void FindPg() => _placement.SetAutoPilot(new DelegateAutoPilot((sender, _) =>
    {
        sender.Tell(new PlacementProtocol.Found(new VolumeEntry(Pg, [], CataloguePhase.Ready)));
        return AutoPilot.KeepRunning;
    }));

    private void AnswerOwners(Func<object, object?> answer) => _owners.SetAutoPilot(new DelegateAutoPilot((sender, asked) =>
    {
        if (answer(asked) is { } said) sender.Tell(said);
        return AutoPilot.KeepRunning;
    }));

    private void LoseLeader(int seconds = 3) => _log.Status = _log.Status with { LeaderName = null, LeaderUnknownFor = TimeSpan.FromSeconds(seconds) };

    private Catalogue Open()
    {
        Func<string, bool> isReachable = name => name == "node-0";
        var catalogue = new Catalogue(_placement, new JournalFolds(_log), () => _host, isReachable, NullLogger<Catalogue>.Instance) { Doubt = _doubted.Enqueue };
        _control.Open(new ControlParts("node-0", Guid.NewGuid(), _owners, _log, new VolumeMoves(_log), () => null)
        {
            Catalogue = catalogue,
            IsReachable = isReachable,
            OwnerOf = _ => _owner?.Item1,
            Doubt = node => _doubted.Enqueue(node.ToString()),
            OpenVolumes = () => ["b", "d"],
            OutsideCsi = () => new Dictionary<string, ulong?> { ["c"] = 4, ["b"] = null },
        });
        return catalogue;
    }

    /// <summary>Later than the time that the singleton alone has for most questions.</summary>
    private void AnswerLate(Func<object, object> answer) => _placement.SetAutoPilot(new DelegateAutoPilot((sender, asked) =>
    {
        Sys.Scheduler.ScheduleTellOnce(TimeSpan.FromMilliseconds(1200), sender, answer(asked), ActorRefs.NoSender);
        return AutoPilot.KeepRunning;
    }));

    private static (ControlStatus Status, string Reason) Failure<T>(ControlResult<T> result)
        where T : class => (result.Status, result.Reason);
}
