using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>What the owner says.</summary>
public sealed partial class VolumeSession
{
    private readonly byte[] _scratch = new byte[Limits.BlockBytes];

    /// <summary>Requests that the owner sent back, and that wait to go again, in the order that they came.</summary>
    private readonly Queue<ulong> _busy = new();
    private readonly Action _sendBusy;
    private ILoopTimer? _busyTimer;
    private int _busyPauseMs = ClientLimits.BusyPauseMs;

    /// <summary>How many of them the next pause lets go: one after each that was sent back, twice as many after each pause in which none was.</summary>
    private int _busyWindow = 1;

    void IFrameHandler.OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (!ReferenceEquals(from, _link)) return;
        switch (header.Kind)
        {
            case FrameKind.SessionOpened:
                OnSessionOpened(in header, body);
                break;
            case FrameKind.SessionNotice:
                OnNotice(in header, body);
                break;
            case FrameKind.Present:
                OnPresent(in header, body);
                break;
            case FrameKind.ClientCommitted:
                OnCommitted(in header, body);
                break;
            case FrameKind.ClientAck or FrameKind.ClientReadReply or FrameKind.ClientReadCachedReply or FrameKind.ClientStatusReply:
                OnAnswer(in header, body);
                break;
        }
        Pump();
        CloseIfUnused();
    }

    private void OnNotice(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (header.Status == IoStatus.StaleSession) OnStale("a newer session or attachment has replaced this one");
        else if (header.Status == IoStatus.Deleted) End(IoStatus.Deleted, "the volume was deleted");
        else if (header.Status != IoStatus.Ok) Lose($"the owner ended the session with {header.Status}");
        else if (SessionOpenedBody.TryDecode(body, out var opened)) Adopt(opened);
        else LoseMalformed(header.Kind);
    }

    private void OnAnswer(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (_state != State.Ready) return;
        if (header.RequestId == KeptFlushId)
        {
            OnKeptFlushed(in header, body);
            return;
        }
        if (SlotOf(header.RequestId) is not { } request || FrameKinds.AnswerTo(request.Kind) != header.Kind) return;
        if (header.Status == IoStatus.Busy)
        {
            SendAgainLater(request);
            return;
        }
        _busyPauseMs = ClientLimits.BusyPauseMs;
        if (IsSentAway(header.Status)) return;
        Loop.Stages.Ended(WaitOf(request.Kind), request.SampledAt);
        request.SampledAt = 0;
        switch (header.Kind)
        {
            case FrameKind.ClientAck:
                OnAck(request, header.Status, body);
                break;
            case FrameKind.ClientReadReply or FrameKind.ClientReadCachedReply:
                OnReadReply(request, in header, body);
                break;
            default:
                OnStatusReply(request, header.Status, body);
                break;
        }
        if (_state == State.Ready) _attempts = 0;
        TrimKept();
        // The owner takes requests: with each that is done two more go, so that what is on its way doubles with each round.
        if (_busy.Count > 0) SendBusy(ClientLimits.BusyPerAnswer);
    }

    private static LoopWait WaitOf(FrameKind kind) =>
        kind == FrameKind.ClientWrite ? LoopWait.OwnerWrite : kind == FrameKind.ClientFlush ? LoopWait.OwnerFlush : LoopWait.OwnerRead;

    /// <summary>The owner answers nothing to this session any more, or not now.</summary>
    private bool IsSentAway(IoStatus status)
    {
        switch (status)
        {
            case IoStatus.Offline or IoStatus.NotOwner or IoStatus.StaleEpoch:
                Lose($"the owner answered with {status}");
                return true;
            case IoStatus.StaleSession:
                OnStale("a newer session or attachment has replaced this one");
                return true;
            case IoStatus.Deleted:
                End(IoStatus.Deleted, "the volume was deleted");
                return true;
            default: return false;
        }
    }

    /// <summary>
    /// A bound was reached at the owner, which did nothing with the request: the same goes again in a moment, over the same link.
    /// </summary>
    private void SendAgainLater(SessionRequest request)
    {
        _busy.Enqueue(request.Id);
        _busyWindow = 1;
        PauseBusy();
    }

    private void PauseBusy()
    {
        if (_busyTimer is not null || _busy.Count == 0 || _state != State.Ready) return;
        _busyTimer = Loop.Schedule(_busyPauseMs, _sendBusy);
        _busyPauseMs = Math.Min(_busyPauseMs * 2, ClientLimits.BusyPauseMsMax);
    }

    /// <summary>After the pause. One that went before may be held at the owner and get no answer for long: others have their turn all the same.</summary>
    private void SendBusy()
    {
        _busyTimer = null;
        SendBusy(_busyWindow);
        _busyWindow = Math.Min(_busyWindow * 2, (int)Limits.SessionWindowRequestsMax);
        PauseBusy();
        Pump();
    }

    private void SendBusy(int count)
    {
        while (count > 0 && MaySend && _busy.TryDequeue(out var id))
        {
            if (SlotOf(id) is not { } request) continue;
            if (request.Operation is { Request.Abandoned: true } operation)
            {
                GiveUp(operation, IoStatus.Offline);
                continue;
            }
            Send(request);
            count--;
        }
    }

    private void OnAck(SessionRequest request, IoStatus status, ReadOnlySpan<byte> body)
    {
        ulong sequence = 0;
        if (status == IoStatus.Ok)
        {
            if (!ClientAckBody.TryDecode(body, out var ack))
            {
                LoseMalformed(FrameKind.ClientAck);
                return;
            }
            sequence = ack.Sequence;
            See(in ack);
            Keep(request, in ack);
        }
        if (request.Edit is { } edit)
        {
            if (status == IoStatus.Ok) RememberContent(edit, request, sequence);
            Forget(request);
            OnEditWritten(edit, status);
            return;
        }
        var operation = request.Operation!;
        Forget(request);
        FinishPart(operation, status);
    }

    /// <summary>Also an answer to a replay, which names no sequence: what it had been applied as is committed.</summary>
    private void See(in ClientAckBody ack)
    {
        (_seenEpoch, AcknowledgedSequence) = (_epoch, Math.Max(AcknowledgedSequence, ack.CommittedSequence));
        DurableSequence = Math.Max(DurableSequence, ack.DurableSequence);
    }

    /// <summary>What was read, or is known to be committed, is claimed like what was answered: it may be another session's, and on no media.</summary>
    private void Saw(ulong sequence)
    {
        if (sequence > AcknowledgedSequence) (_seenEpoch, AcknowledgedSequence) = (_epoch, sequence);
    }

    private void OnReadReply(SessionRequest request, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        var status = header.Status;
        ulong sequence = 0;
        if (status == IoStatus.Ok)
        {
            status = request.Edit is { } target ? DecodeEdit(request, target, body, out sequence) : DecodeRead(request, header.Epoch, body);
            if (status == IoStatus.Malformed)
            {
                LoseMalformed(FrameKinds.AnswerTo(request.Kind));
                return;
            }
        }
        if (status == IoStatus.BadChecksum && ++request.BadReads < ClientLimits.ReadAttemptsMax)
        {
            SessionLog.BadBlock(_logger, Info.FullName, _gateway.NodeName, request.Range.First, status.ToString(), request.BadReads);
            // It may have been read here.
            _cached.Drop(request.Range);
            request.ForgetKnown();
            Send(request);
            return;
        }
        var (operation, edit) = (request.Operation, request.Edit);
        Forget(request);
        if (edit is not null) OnEditRead(edit, status, sequence);
        else FinishPart(operation!, status);
    }

    /// <summary>
    /// Body: ReadDescriptor × count, then the encoded blocks, but for those that are known here. Blocks that the request covers whole are decoded where they belong.
    /// </summary>
    /// <param name="epoch">Of the owner that answers.</param>
    private IoStatus DecodeRead(SessionRequest request, ulong epoch, ReadOnlySpan<byte> body)
    {
        var count = (int)request.Range.Count;
        var at = count * ReadDescriptor.SizeBytes;
        if (body.Length < at) return IoStatus.Malformed;
        var block = request.Operation!.Request;
        var data = block.Data.Span.Slice((int)(request.FromBytes - block.OffsetBytes), (int)(request.ToBytes - request.FromBytes));
        for (var index = 0; index < count; index++)
        {
            var read = ReadDescriptor.Read(body[(index * ReadDescriptor.SizeBytes)..]);
            Saw(read.Sequence);
            var descriptor = read.Block;
            if (descriptor.Length > body.Length - at) return IoStatus.Malformed;
            var encoded = body.Slice(at, descriptor.Length);
            at += descriptor.Length;
            var number = request.Range.First + (uint)index;
            var isHit = read.IsSame;
            if (isHit)
            {
                if (request.Kind != FrameKind.ClientReadCached || !request.Known!.TryGet(index, read.Sequence, out read, out encoded)) return IoStatus.Malformed;
                descriptor = read.Block;
            }
            var status = DecodeInto(descriptor, number, encoded, request.FromBytes, data);
            if (status != IoStatus.Ok) return status;
            // Only what is good is kept, and counted.
            if (isHit) _cached.CountHit(encoded.Length);
            else if (_cached.IsOn) _cached.Put(epoch, number, in read, encoded);
        }
        return at == body.Length ? IoStatus.Ok : IoStatus.Malformed;
    }

    private IoStatus DecodeInto(BlockDescriptor descriptor, ulong number, ReadOnlySpan<byte> encoded, ulong fromBytes, Span<byte> data)
    {
        var start = number << Limits.BlockBytesLog2;
        var end = fromBytes + (ulong)data.Length;
        if (start >= fromBytes && start + Limits.BlockBytes <= end)
            return BlockCodec.Decode(descriptor, Info.Id, Layer, number, encoded, data.Slice((int)(start - fromBytes), Limits.BlockBytes), _cipher);
        var status = BlockCodec.Decode(descriptor, Info.Id, Layer, number, encoded, _scratch, _cipher);
        if (status != IoStatus.Ok) return status;
        var from = Math.Max(start, fromBytes);
        var to = Math.Min(start + Limits.BlockBytes, end);
        _scratch.AsSpan((int)(from - start), (int)(to - from)).CopyTo(data[(int)(from - fromBytes)..]);
        return IoStatus.Ok;
    }

    private IoStatus DecodeEdit(SessionRequest request, BlockEdit edit, ReadOnlySpan<byte> body, out ulong sequence)
    {
        sequence = 0;
        if (body.Length < ReadDescriptor.SizeBytes) return IoStatus.Malformed;
        var descriptor = ReadDescriptor.Read(body);
        sequence = descriptor.Sequence;
        Saw(sequence);
        return BlockCodec.Decode(descriptor.Block, Info.Id, Layer, request.Range.First, body[ReadDescriptor.SizeBytes..], edit.Content, _cipher);
    }

    /// <summary>
    /// Body: u32 count, then (u64 first block, u32 blocks, u32 allocated) × count; runs in order, without gaps, from the first block
    /// asked for.
    /// </summary>
    private void OnStatusReply(SessionRequest request, IoStatus status, ReadOnlySpan<byte> body)
    {
        var operation = request.Operation!;
        if (status == IoStatus.Ok && !TryReadExtents(request, operation.Request, body))
        {
            LoseMalformed(FrameKind.ClientStatusReply);
            return;
        }
        Forget(request);
        FinishPart(operation, status);
    }

    private static bool TryReadExtents(SessionRequest request, BlockRequest target, ReadOnlySpan<byte> body)
    {
        target.Extents!.Clear();
        var reader = new BodyReader(body);
        var count = reader.U32();
        var next = request.Range.First;
        for (var index = 0; index < count && reader.Ok; index++)
        {
            var run = new BlockRange(reader.U64(), reader.U32());
            var allocated = reader.U32() != 0;
            if (!reader.Ok || run.First != next || run.Count == 0 || run.End > request.Range.End) return false;
            next = run.End;
            if (target.Extents.Count == target.ExtentsMax) continue;
            var from = Math.Max(run.First << Limits.BlockBytesLog2, request.FromBytes);
            var to = Math.Min(run.End << Limits.BlockBytesLog2, request.ToBytes);
            target.Extents.Add(new AllocationExtent(from, to - from, allocated));
        }
        return reader.AtEnd && target.Extents.Count > 0;
    }
}
