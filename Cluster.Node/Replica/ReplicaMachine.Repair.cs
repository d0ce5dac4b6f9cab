using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Node.Replica;

// P6: what is here is read for the owner block by block, compared, and written anew where it is bad. None of it touches the order.
public sealed partial class ReplicaMachine : IEachReadCompletion
{
    /// <summary>Reads for the owner that are on their way from disk; more are refused as Busy and asked for again.</summary>
    private const int RepairReadsMax = 64;

    private readonly Dictionary<ulong, RepairRead> _repairReads = [];
    private ulong _repairReadToken;

    /// <param name="Scrub">Not null: the answer is this report and what is bad, not the blocks.</param>
    private readonly record struct RepairRead(IFrameLink To, ulong Epoch, ulong RequestId, BlockRange Range, ulong Snapshot, ScrubReportBody? Scrub);

    private void OnReadReplica(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (BlockRangeBody.TryDecode(body, out var asked)) ReadEach(new RepairRead(from, header.Epoch, header.RequestId, asked.Range, asked.Snapshot, null));
    }

    private void OnScrubRange(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!BlockRangeBody.TryDecode(body, out var asked)) return;
        var range = asked.Range;
        var read = new RepairRead(from, header.Epoch, header.RequestId, range, asked.Snapshot, null);
        if (_store.Damage is not null) SendReport(read, IoStatus.BadChecksum, 0, default);
        else if (range.Count > Limits.RecordBlocksMax)
            SendReport(read, IoStatus.Ok, 0, new ScrubReportBody(0, _store.NextData(range.First, range.End), 0));
        // Digest and entries to read are those of the same map.
        else ReadEach(read with { Scrub = ReportOf(range, asked.Snapshot) });
    }

    private ScrubReportBody ReportOf(BlockRange range, ulong snapshot) => new(_store.Digest(range, snapshot, withChecksums: !IsClone), _store.NextData(range.First, range.End), 0,
        _store.NextSnapshot(range, snapshot == 0 ? ulong.MaxValue : snapshot));

    private bool IsClone => VolumeSpecCodec.TryDecode(_header.Spec, out var spec) && spec.Source is not null;

    private void ReadEach(RepairRead read)
    {
        var token = ++_repairReadToken;
        var isFull = _repairReads.Count >= RepairReadsMax;
        _repairReads.Add(token, read);
        if (isFull) OnReadEach(token, IoStatus.Busy, 0, null);
        else _store.ReadEach(read.Range, read.Snapshot, background: read.Scrub is not null, this, token);
    }

    public void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply)
    {
        Invariant.That(_repairReads.Remove(token, out var read), "the store answered a read that nobody asked for");
        if (read.Scrub is { } report) SendReport(read, status, bad, report with { BytesRead = reply is null ? 0 : BytesOf(reply, (int)read.Range.Count) });
        else
        {
            var header = FrameHeader.Of(FrameKind.ReplicaBlocks, Volume, read.Epoch, read.RequestId, bad, status);
            if (read.To.IsUp && reply is not null) read.To.Send(header, reply);
            else if (read.To.IsUp) read.To.Send(header, ReadOnlySpan<byte>.Empty);
        }
        reply?.Release();
    }

    private void SendReport(RepairRead read, IoStatus status, ulong bad, ScrubReportBody report)
    {
        if (!read.To.IsUp) return;
        Span<byte> body = stackalloc byte[ScrubReportBody.SizeBytes];
        read.To.Send(FrameHeader.Of(FrameKind.ScrubReport, Volume, read.Epoch, read.RequestId, bad, status), report.Encode(body));
    }

    /// <summary>Bytes of all blocks that the descriptors name, the bad ones included.</summary>
    private static ulong BytesOf(IoBuffer reply, int count)
    {
        ulong bytes = 0;
        for (var index = 0; index < count; index++) bytes += ReadDescriptor.Read(reply.Span[(index * ReadDescriptor.SizeBytes)..]).Block.Length;
        return bytes;
    }

    /// <summary>No sync: a mark that is lost costs some blocks read twice.</summary>
    private void OnScrubMark(ReadOnlySpan<byte> body)
    {
        if (!ScrubMark.TryDecode(body, out var mark)) return;
        _header = _header with { Scrub = mark };
        _store.SaveHeader(_header.Encode());
    }

    private void OnRepairRecord(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        var decoded = RecordHeader.TryDecode(body, out var record);
        Invariant.That(decoded == IoStatus.Ok && record.Volume == Volume, "a link delivered a record that it had to refuse");
        var (status, blocks) = (record.Flags & RecordFlags.Resync) == 0 || record.Sequence == 0 || record.Range.Count > Limits.RecordBlocksMax
            ? (IoStatus.Malformed, 0)
            // Newer than the prefix that is committed here it is no copy of anything, and a snapshot is not there yet.
            : Math.Max(record.Sequence, record.ExpectedSequence) > _store.CommitWatermark ? (IoStatus.OutOfRange, 0)
            : _store.Repair(buffer, in record);
        from.Send(FrameHeader.Of(FrameKind.RepairAck, Volume, header.Epoch, header.RequestId, (ulong)blocks, status), ReadOnlySpan<byte>.Empty);
    }
}
