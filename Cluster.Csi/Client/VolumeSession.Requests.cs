using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>Operations into requests: splitting, encoding, request ids and the window of the unanswered.</summary>
public sealed partial class VolumeSession
{
    private const uint Layer = 0;
    private const ulong BlockMask = Limits.BlockBytes - 1;

    /// <summary>Request ids from here on are of reads that passed writes. They are in no record and no window (R12): the owner only echoes them.</summary>
    private const ulong PassingIds = 1UL << 63;

    private readonly SessionRequest?[] _slots = new SessionRequest?[Limits.SessionWindowRequestsMax];
    private readonly SessionRequest?[] _passing = new SessionRequest?[ClientLimits.PassingReadsMax];
    private readonly Stack<SessionRequest> _freeRequests = [];
    private readonly byte[] _small = new byte[64];
    private ulong _nextId = 1;
    private ulong _answeredBelow = 1;
    private ulong _nextPassing = PassingIds;
    private int _passingReads;
    private long _outstandingBytes;

    /// <summary>Of all reads, passing or not.</summary>
    private long _readBytes;
    private bool _compress;

    /// <summary>The window has an id left, and bytes: one more request may go over the bound by its own size. What is kept has room too, or a flush is on its way (R13).</summary>
    private bool CanIssue =>
        _nextId - _answeredBelow < Limits.SessionWindowRequestsMax - ClientLimits.TrimsReserved && _outstandingBytes < Limits.SessionBytesMax && !_kept.IsFull;

    /// <summary>The same for what needs no room, and is no more than a header: it has some ids of its own, and the writes' bytes do not count.</summary>
    private bool CanIssueTrim => _nextId - _answeredBelow < Limits.SessionWindowRequestsMax && !_kept.IsFull;

    /// <summary>What only reads has no part in the writes' bounds, but bounds of its own.</summary>
    private bool CanPassRead => _passingReads < ClientLimits.PassingReadsMax && _readBytes < ClientLimits.PassingReadBytesMax;

    private ref SessionRequest? Slot(ulong id) =>
        ref id < PassingIds ? ref _slots[id % Limits.SessionWindowRequestsMax] : ref _passing[(id - PassingIds) % ClientLimits.PassingReadsMax];

    private SessionRequest? SlotOf(ulong id)
    {
        var request = Slot(id);
        return request is not null && request.Id == id ? request : null;
    }

    /// <summary>In order of their ids, those that passed last. Each may be forgotten meanwhile; what is issued meanwhile is left out.</summary>
    private IEnumerable<SessionRequest> Unanswered()
    {
        var (end, endPassing) = (_nextId, _nextPassing);
        for (var id = _answeredBelow; id < end; id++)
        {
            if (SlotOf(id) is { } request) yield return request;
        }
        for (var index = 0; index < _passing.Length && _passingReads > 0; index++)
        {
            if (_passing[index] is { } request && request.Id < endPassing) yield return request;
        }
    }

    /// <summary>Splits the next part off the operation and sends it.</summary>
    /// <param name="isPassing">It is a read that goes past writes.</param>
    private void EmitPart(SessionOperation operation, bool isPassing = false)
    {
        if (operation.Status == IoStatus.Ok)
        {
            operation.PartsOpen++;
            switch (operation.Request.Operation)
            {
                case BlockOperation.Read:
                    EmitRead(operation, isPassing);
                    break;
                case BlockOperation.Status:
                    EmitStatus(operation, isPassing);
                    break;
                case BlockOperation.Flush:
                    operation.CursorBytes = operation.EndBytes;
                    Issue(NewRequest(FrameKind.ClientFlush, operation));
                    break;
                default:
                    EmitChange(operation);
                    break;
            }
        }
        else operation.CursorBytes = operation.EndBytes;
        if (operation.CursorBytes != operation.EndBytes) return;
        operation.AllEmitted = true;
        CountWaiting(operation, -1);
        if (ReferenceEquals(_emit, operation)) _emit = NextToEmit(operation);
    }

    private void EmitRead(SessionOperation operation, bool isPassing)
    {
        var first = operation.CursorBytes >> Limits.BlockBytesLog2;
        var end = Math.Min(operation.EndBytes, (first + Limits.RecordBlocksMax) << Limits.BlockBytesLog2);
        var request = NewRequest(FrameKind.ClientRead, operation);
        request.Range = Covering(operation.CursorBytes, end);
        (request.FromBytes, request.ToBytes) = (operation.CursorBytes, end);
        request.OutstandingBytes = (long)request.Range.Count << Limits.BlockBytesLog2;
        operation.CursorBytes = end;
        if (_cached.IsOn && _cached.Find(request.Range, request.Known ??= new KnownBlocks())) request.Kind = FrameKind.ClientReadCached;
        Issue(request, isPassing);
    }

    private void EmitStatus(SessionOperation operation, bool isPassing)
    {
        var request = NewRequest(FrameKind.ClientStatus, operation);
        var blocks = Math.Min(Limits.RangeBlocksMax, Covering(operation.CursorBytes, operation.EndBytes, out var first));
        request.Range = new BlockRange(first, (uint)blocks);
        (request.FromBytes, request.ToBytes) = (operation.CursorBytes, operation.EndBytes);
        operation.CursorBytes = operation.EndBytes;
        Issue(request, isPassing);
    }

    /// <summary>Write, trim or zeroes: whole blocks as one record, parts of blocks by <see cref="BlockEdit"/>.</summary>
    private void EmitChange(SessionOperation operation)
    {
        var cursor = operation.CursorBytes;
        var inBlock = cursor & BlockMask;
        var whole = (operation.EndBytes - cursor) >> Limits.BlockBytesLog2;
        if (inBlock != 0 || whole == 0)
        {
            var end = Math.Min(operation.EndBytes, (cursor - inBlock) + Limits.BlockBytes);
            operation.CursorBytes = end;
            AddEdit(cursor >> Limits.BlockBytesLog2, new EditPart
            {
                Operation = operation,
                OffsetInBlock = (int)inBlock,
                Length = (int)(end - cursor),
                FromBytes = cursor,
            });
            return;
        }
        var isWrite = operation.Request.Operation == BlockOperation.Write;
        var count = (uint)Math.Min(whole, isWrite ? Limits.RecordBlocksMax : Limits.RangeBlocksMax);
        var request = NewRequest(FrameKind.ClientWrite, operation);
        request.Range = new BlockRange(cursor >> Limits.BlockBytesLog2, count);
        request.RecordFlags = FlagsOf(operation.Request);
        request.RecordKind = operation.Request.Operation switch
        {
            BlockOperation.Write => RecordKind.Write,
            BlockOperation.Trim => RecordKind.Trim,
            _ => RecordKind.Zeroes,
        };
        var from = (int)(cursor - operation.Request.OffsetBytes);
        var data = isWrite ? operation.Request.Data.Span.Slice(from, (int)count << Limits.BlockBytesLog2) : default;
        operation.CursorBytes = cursor + ((ulong)count << Limits.BlockBytesLog2);
        EncodeAndIssue(request, data);
    }

    private static RecordFlags FlagsOf(BlockRequest request) =>
        (request.ForceUnitAccess ? RecordFlags.ForceUnitAccess : RecordFlags.None) |
        (request.NoHole && request.Operation == BlockOperation.WriteZeroes ? RecordFlags.NoHole : RecordFlags.None);

    private static BlockRange Covering(ulong fromBytes, ulong endBytes) =>
        new(fromBytes >> Limits.BlockBytesLog2, (uint)Covering(fromBytes, endBytes, out _));

    private static ulong Covering(ulong fromBytes, ulong endBytes, out ulong first)
    {
        first = fromBytes >> Limits.BlockBytesLog2;
        return ((endBytes + BlockMask) >> Limits.BlockBytesLog2) - first;
    }

    private SessionRequest NewRequest(FrameKind kind, SessionOperation? operation)
    {
        var request = _freeRequests.Count > 0 ? _freeRequests.Pop() : new SessionRequest();
        request.Kind = kind;
        request.Operation = operation;
        return request;
    }

    /// <summary>
    /// Encodes the blocks of a write behind the room for header and descriptors; the header is written when the record is sent.
    /// </summary>
    private void EncodeAndIssue(SessionRequest request, ReadOnlySpan<byte> data)
    {
        var count = data.Length >> Limits.BlockBytesLog2;
        var at = RecordHeader.SizeBytes + (count * BlockDescriptor.SizeBytes);
        var buffer = BufferPool.Shared.Rent(at + (count * BlockCodec.RoomFor(_cipher)));
        var span = buffer.Span;
        var payloadFrom = at;
        for (var index = 0; index < count; index++)
        {
            var block = data.Slice(index << Limits.BlockBytesLog2, Limits.BlockBytes);
            var descriptor = BlockCodec.Encode(Info.Id, Layer, request.Range.First + (uint)index, block, span[at..], _compress, _cipher);
            descriptor.Write(span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
            at += descriptor.Length;
        }
        buffer.Length = at;
        request.Record = buffer;
        request.DescriptorCount = (uint)count;
        request.PayloadLength = (uint)(at - payloadFrom);
        request.OutstandingBytes = at;
        Issue(request);
    }

    private void Issue(SessionRequest request, bool isPassing = false)
    {
        request.Id = isPassing ? NextPassingId() : _nextId++;
        ref var slot = ref Slot(request.Id);
        Invariant.That(slot is null, "the session's window of request ids overflowed");
        slot = request;
        request.SampledAt = Loop.Stages.Sample();
        if (request.Kind == FrameKind.ClientWrite && _cached.IsOn) _cached.Drop(request.Range);
        if (isPassing) _passingReads++;
        else _outstandingBytes += request.OutstandingBytes;
        if (request.IsRead) _readBytes += request.OutstandingBytes;
        Send(request);
    }

    /// <summary>Its place is free: some are answered long before others.</summary>
    private ulong NextPassingId()
    {
        Invariant.That(_passingReads < ClientLimits.PassingReadsMax, "more reads passed writes than may");
        while (Slot(_nextPassing) is not null) _nextPassing++;
        return _nextPassing++;
    }

    private void Send(SessionRequest request)
    {
        if (_state != State.Ready) return;
        var header = FrameHeader.Of(request.Kind, Info.Id, _epoch, request.Id);
        switch (request.Kind)
        {
            case FrameKind.ClientWrite:
                SendRecord(header, request);
                break;
            case FrameKind.ClientReadCached:
                // Sequences mean what they meant in the epoch in which the blocks were read, whatever the session's is.
                var body = request.Known!.Encode(_session, request.Range);
                _link!.Send(FrameHeader.Of(request.Kind, Info.Id, request.Known.Epoch, request.Id), body);
                body.Release();
                break;
            case FrameKind.ClientFlush:
                _link!.Send(header, new ClientFlushBody(_session, _answeredBelow).Encode(_small));
                break;
            default:
                _link!.Send(header, new ClientReadBody(_session, request.Range).Encode(_small));
                break;
        }
        request.Sent = true;
    }

    /// <summary>
    /// Whoever got the record before may have written epoch and sequence into it and may still hold it, so that a second sending takes
    /// a copy.
    /// </summary>
    private void SendRecord(FrameHeader frame, SessionRequest request)
    {
        var record = request.Record!;
        if (request.Sent)
        {
            var copy = BufferPool.Shared.Rent(record.Length);
            record.Span.CopyTo(copy.Span);
            record.Release();
            request.Record = record = copy;
        }
        HeaderOf(request).Encode(record.Span);
        _link!.Send(frame, record);
    }

    private RecordHeader HeaderOf(SessionRequest request) => new()
    {
        Kind = request.RecordKind,
        Flags = request.RecordFlags,
        DescriptorCount = request.DescriptorCount,
        PayloadLength = request.PayloadLength,
        Volume = Info.Id,
        Layer = Layer,
        Session = _session,
        RequestId = request.Id,
        AnsweredBelow = _answeredBelow,
        Range = request.Range,
        ExpectedSequence = request.ExpectedSequence,
    };

    /// <summary>The id is answered (or given up) and its request goes back to the pool.</summary>
    private void Forget(SessionRequest request)
    {
        ref var slot = ref Slot(request.Id);
        Invariant.That(ReferenceEquals(slot, request), "a request was forgotten twice");
        slot = null;
        while (_answeredBelow < _nextId && Slot(_answeredBelow) is null) _answeredBelow++;
        if (request.Id >= PassingIds) _passingReads--;
        else _outstandingBytes -= request.OutstandingBytes;
        if (request.IsRead) _readBytes -= request.OutstandingBytes;
        request.Record?.Release();
        request.Reset();
        _freeRequests.Push(request);
    }
}
