using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Placement;
using Cluster.Tests.Integration.Journal;
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
    private string? _host = "node-1";

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

    [Fact(DisplayName = "A change that its singleton never answers is told to the next one")]
    public async Task Told_again()
    {
        Open();
        var change = _control.SetCordonedAsync("node-0", true, default);
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _host = "node-2";
        _placement.ExpectMsg<PlacementProtocol.CordonNode>();
        _placement.Reply(new PlacementProtocol.Refused(RefusalKind.NotFound, "There is no node."));
        Assert.Equal((ControlStatus.NotFound, "There is no node."), Failure(await change));
    }

    [Fact(DisplayName = "An owner that does not answer a question is asked again: another node may have become the owner")]
    public async Task Asked_again()
    {
        _placement.SetAutoPilot(new DelegateAutoPilot((sender, _) =>
        {
            var spec = new VolumeSpec(new VolumeId(1), VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
            sender.Tell(new PlacementProtocol.Found(new VolumeEntry(spec, [], CataloguePhase.Ready)));
            return AutoPilot.KeepRunning;
        }));
        var asked = 0;
        AnswerOwners(_ => ++asked == 1 ? null : new VolumeProtocol.Refused(new VolumeId(1), IoStatus.Offline, "It is asked again."));
        Open();
        Assert.Equal("It is asked again.", (await _control.GetVolumeAsync(new VolumeName(VolumeSpec.DefaultNamespace, "pg"), default)).Value!.Reason);
    }

    private void Journal(params PlacementEvent[] events)
    {
        var payloads = events.Select((e, index) => new MetaNewEvent(0, new MetaPayload(1, EventCodec.ManifestOf(e), EventCodec.Encode(e))));
        _log.State.Apply(new MetaCommand.AppendEvents(PlacementActor.StreamId, 0, "w", [.. payloads]));
    }

    private void AnswerOwners(Func<object, object?> answer) => _owners.SetAutoPilot(new DelegateAutoPilot((sender, asked) =>
    {
        if (answer(asked) is { } said) sender.Tell(said);
        return AutoPilot.KeepRunning;
    }));

    private void LoseLeader() => _log.Status = _log.Status with { LeaderName = null };

    private void Open() => _control.Open(new ControlParts("node-0", Guid.NewGuid(), _owners, _log, new VolumeMoves(_log), () => null)
    {
        Catalogue = new Catalogue(_placement, new JournalFolds(_log), () => _host, NullLogger<Catalogue>.Instance),
        IsReachable = name => name == "node-0",
    });

    private static (ControlStatus Status, string Reason) Failure<T>(ControlResult<T> result)
        where T : class => (result.Status, result.Reason);
}
