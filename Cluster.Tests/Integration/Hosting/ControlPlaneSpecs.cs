using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Raft;
using Cluster.Tests.Integration.Journal;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>What REST says while placement, the owners or the journal do not answer.</summary>
public sealed class ControlPlaneSpecs : TestKit
{
    private const string NoLeader = "The journal has no leader: a majority of node-0, node-1 (unreachable), node-2 (unreachable) must run.";

    private readonly StateLog _log = new();
    private readonly ControlPlane _control = new();
    private readonly TestProbe _placement;

    public ControlPlaneSpecs()
    {
        _placement = CreateTestProbe();
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

    private void LoseLeader() => _log.Status = _log.Status with { LeaderName = null };

    private void Open() => _control.Open(new ControlParts("node-0", Guid.NewGuid(), _placement, ActorRefs.Nobody, _log, new VolumeMoves(_log), () => null)
    {
        IsReachable = name => name == "node-0",
    });

    private static (ControlStatus Status, string Reason) Failure<T>(ControlResult<T> result)
        where T : class => (result.Status, result.Reason);
}
