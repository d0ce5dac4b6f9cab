using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Simulation.Volumes;
using Cluster.Tests.Unit.Owner;

namespace Cluster.Tests.Unit.Replica;

/// <summary>R19 at a replica that catches up: which snapshots there are is said before anything else, in its place among the items.</summary>
[Collection("Cluster simulation")]
public sealed class ReplicaSnapshotSpecs : IDisposable
{
    private readonly SimWorld _world = new(1, new SimProfile { Directed = false, Replicas = 1, Clients = 0, TakesSnapshots = true });
    private readonly RecordingLink _owner = new(new NodeId(new Guid(1, 0, 0, new byte[8])));
    private readonly SimNode _node;

    public ReplicaSnapshotSpecs()
    {
        _node = _world.Nodes[0];
        Tell(FrameKind.Promise, new PromiseBody(_owner.Peer, _node.Replica, _node.Identity, true, []).Encode(new byte[64]), 1);
        _world.Run(4000);
        Tell(FrameKind.CatchUpBegin, new CatchUpBody(0, 40, 1, true, 0, 0, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        _world.Run(1000);
        Assert.Equal(IoStatus.Ok, _owner.LastOf(FrameKind.CatchUpAck).Status);
    }

    public void Dispose() => _world.End();

    private void Tell(FrameKind kind, ReadOnlySpan<byte> body, ulong requestId = 0, IoBuffer? buffer = null)
    {
        var copy = body.ToArray();
        _node.Post(0, () => _node.Dispatch(_owner, FrameHeader.Of(kind, SimWorld.Volume, 1, requestId), copy, buffer));
        _world.Run(10);
    }

    private void Say(ulong index, params ulong[] snapshots) => Tell(FrameKind.CatchUpSnapshots, new SnapshotsBody([.. snapshots]).Encode(new byte[64]), index);

    private FrameHeader Answer => _owner.LastOf(FrameKind.CatchUpAck);

    [Fact(DisplayName = "R19, R8: the snapshots that a catch-up names are there, the others are not, and they outlive the process; without any, nothing is staged")]
    public void R19_the_list()
    {
        // Guards OnCatchUpSnapshots.
        var staged = ((SimModelStorage)_node.Storage).Disk.Log.Count;
        Say(1);
        Assert.Equal((IoStatus.Ok, 1UL, staged), (Answer.Status, Answer.RequestId, ((SimModelStorage)_node.Storage).Disk.Log.Count));
        Say(2, 7, 30);
        Assert.Equal([7UL, 30UL], _node.Store!.Snapshots);
        Say(3, 30);
        Assert.Equal((IoStatus.Ok, 3UL), (Answer.Status, Answer.RequestId));
        _node.Kill();
        _node.Start();
        Assert.Equal([30UL], _node.Store!.Snapshots);
    }

    [Fact(DisplayName = "R19: a list out of its place is a gap, and one that is none is refused")]
    public void R19_no_list()
    {
        // Guards OnCatchUpSnapshots: TakesCatchUp and TryDecode.
        Say(2, 7);
        Assert.Equal(IoStatus.Gap, Answer.Status);
        Tell(FrameKind.CatchUpSnapshots, [1, 0, 0, 0], 1);
        Assert.Equal(IoStatus.Malformed, Answer.Status);
        Assert.Empty(_node.Store!.Snapshots);
    }

    [Fact(DisplayName = "R19: a marker is of the order: as an item of a catch-up it is refused")]
    public void R19_no_marker_outside_the_order()
    {
        // Guards OnCatchUpRecord: RecordKind.Marker.
        var record = new SnapshotMarker(true, 0, []).Build(SimWorld.Volume, out var header);
        header.Sequence = 20;
        header.Encode(record.Span);
        Tell(FrameKind.CatchUpRecord, record.Span, 1, record);
        record.Release();
        Assert.Equal((IoStatus.Malformed, 0UL), (Answer.Status, Answer.RequestId));
        Assert.Empty(_node.Store!.Snapshots);
    }
}
