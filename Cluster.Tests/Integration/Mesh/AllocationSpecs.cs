using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Mesh;

public class AllocationSpecs
{
    private const int WarmUpRounds = 2_000;
    private const int CountedRounds = 10_000;
    private const int BytesPerRoundMax = 16;

    [Fact(DisplayName = "Frames, records and acks back and forth over the mesh allocate nothing per frame")]
    public async Task Steady_state_allocates_nothing()
    {
        await using var loop = new LoopFixture();
        var (low, high) = (new PingPong(loop.Loop, rank: 1), new PingPong(loop.Loop, rank: 2));
        low.Know(high);
        high.Know(low);
        var allocatedBytes = await low.Allocated.Task.WaitAsync(LoopFixture.Patience);
        // Heartbeats allocate their timers; they are few per second.
        Assert.InRange(allocatedBytes, 0, CountedRounds * BytesPerRoundMax);
        await loop.On(low.Mesh.Stop);
        await loop.On(high.Mesh.Stop);
    }

    /// <summary>The lower node sends a record, the other one an ack, and so on; both on one loop, whose allocations are counted.</summary>
    private sealed class PingPong : IMeshEvents
    {
        private readonly IoBuffer _record;
        private readonly byte[] _ack = new byte[32];
        private readonly bool _starts;
        private readonly MeshPeerInfo _info;
        private int _rounds;
        private long _allocatedBefore;

        public PingPong(EpollLoop loop, byte rank)
        {
            var id = new NodeId(new Guid([0, 0, 0, rank, .. Guid.NewGuid().ToByteArray().AsSpan(4)]));
            var identity = new MeshIdentity(MeshFixture.Cluster, MeshFixture.Era, id, $"node-{rank}");
            Mesh = new MeshNode(loop, identity, this, NullLogger.Instance);
            _info = new MeshPeerInfo(id, identity.Name, "127.0.0.1", ((System.Net.IPEndPoint)Mesh.Start(SocketProbe.AnyPort)).Port);
            _starts = rank == 1;
            var record = TestFrames.Record(blocks: 1, seed: 1);
            _record = BufferPool.Shared.Rent(record.Length);
            record.CopyTo(_record.Span);
        }

        public MeshNode Mesh { get; }

        public TaskCompletionSource<long> Allocated { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Know(PingPong other) => Mesh.UpdatePeers([other._info]);

        public void OnLinkUp(MeshLink link)
        {
            if (_starts) SendRecord(link);
        }

        public void OnLinkDown(MeshLink link, CloseReason reason, string detail)
        {
        }

        public void OnPeerRefused(NodeId peer)
        {
        }

        public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
        {
            if (!_starts)
            {
                from.Send(FrameHeader.Of(FrameKind.AppendAck, header.Volume, header.Epoch, status: IoStatus.Ok), _ack);
                return;
            }
            _rounds++;
            if (_rounds == WarmUpRounds) _allocatedBefore = GC.GetAllocatedBytesForCurrentThread();
            if (_rounds == WarmUpRounds + CountedRounds) Allocated.SetResult(GC.GetAllocatedBytesForCurrentThread() - _allocatedBefore);
            else SendRecord(from);
        }

        private void SendRecord(IFrameLink link) => link.Send(FrameHeader.Of(FrameKind.Append, TestFrames.Volume, epoch: 1), _record);
    }
}
