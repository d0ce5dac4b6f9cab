using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Node.Replica;

// P6: what is here is read for the owner block by block, and written anew where it is bad. Neither touches the order.
public sealed partial class ReplicaMachine : IEachReadCompletion
{
    /// <summary>Reads for the owner that are on their way from disk; more are refused as Busy and asked for again.</summary>
    private const int RepairReadsMax = 64;

    private readonly Dictionary<ulong, RepairRead> _repairReads = [];
    private ulong _repairReadToken;

    private readonly record struct RepairRead(IFrameLink To, ulong Epoch, ulong RequestId);

    private void OnReadReplica(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!BlockRangeBody.TryDecode(body, out var asked)) return;
        if (_repairReads.Count >= RepairReadsMax)
        {
            from.Send(FrameHeader.Of(FrameKind.ReplicaBlocks, Volume, header.Epoch, header.RequestId, status: IoStatus.Busy), ReadOnlySpan<byte>.Empty);
            return;
        }
        var token = ++_repairReadToken;
        _repairReads.Add(token, new RepairRead(from, header.Epoch, header.RequestId));
        _store.ReadEach(asked.Range, background: false, this, token);
    }

    public void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply)
    {
        Invariant.That(_repairReads.Remove(token, out var read), "the store answered a read that nobody asked for");
        var header = FrameHeader.Of(FrameKind.ReplicaBlocks, Volume, read.Epoch, read.RequestId, bad, status);
        if (read.To.IsUp && reply is not null) read.To.Send(header, reply);
        else if (read.To.IsUp) read.To.Send(header, ReadOnlySpan<byte>.Empty);
        reply?.Release();
    }

    private void OnRepairRecord(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        var decoded = RecordHeader.TryDecode(body, out var record);
        Invariant.That(decoded == IoStatus.Ok && record.Volume == Volume, "a link delivered a record that it had to refuse");
        var (status, blocks) = (record.Flags & RecordFlags.Resync) == 0 || record.Sequence == 0 ? (IoStatus.Malformed, 0)
            // Newer than the prefix that is committed here it is no copy of anything.
            : record.Sequence > _store.CommitWatermark ? (IoStatus.OutOfRange, 0)
            : _store.Repair(buffer, in record);
        from.Send(FrameHeader.Of(FrameKind.RepairAck, Volume, header.Epoch, header.RequestId, (ulong)blocks, status), ReadOnlySpan<byte>.Empty);
    }
}
