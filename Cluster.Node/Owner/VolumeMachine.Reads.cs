using System.Runtime.InteropServices;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R16, R17: reads, and what proves that this owner was not deposed when it read.
public sealed partial class VolumeMachine
{
    /// <summary>Reads on their way from disk, or held for a lease or a confirmation.</summary>
    private const int ReadsMax = 4096;

    private const int StatusExtentsMax = 1024;

    private readonly Dictionary<ulong, ReadInFlight> _reads = [];
    private readonly List<HeldRead> _heldReads = [];
    private readonly List<(BlockRange Range, bool Allocated)> _extents = [];
    private ulong _readToken;
    private LocalReads? _localReads;

    /// <summary>Newest question to the copies whether they still follow this epoch (label read-lease=off).</summary>
    private ulong _round;

    private ulong _roundConfirmed;

    /// <summary>Reads are covered by leases, not confirmed one by one. As the spec says; kept here because each read asks.</summary>
    private bool _readLease;

    private readonly record struct ReadInFlight(ClientRoute To, ulong RequestId, SessionId Session, BlockRange Range, FrameKind Reply);

    /// <param name="Round">The first question that is asked after the data was read: its answers prove that the data was current.</param>
    private readonly record struct HeldRead(ReadInFlight Read, IoBuffer Reply, ulong Round);

    private void OnClientRead(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body)
    {
        if (ClientReadBody.TryDecode(body, out var read)) OnRead(from, frame.RequestId, in read, FrameKind.ClientReadReply, default);
        else from.Send(FrameKind.ClientReadReply, Volume, _epoch, frame.RequestId, IoStatus.Malformed, default);
    }

    /// <summary>
    /// The front end has some of the blocks. It is a read like any other (R11, R16, R17), of which the bytes are left out that it has: those of a sequence that the committed map has still, as of the moment at
    /// which the bytes would be read. A sequence means the same content only within one epoch, so that what it has of another one counts for nothing (docs/adr/0018-a-read-cache-that-asks.md).
    /// </summary>
    private void OnClientReadCached(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body)
    {
        Span<ulong> sequences = stackalloc ulong[Limits.RecordBlocksMax];
        if (CachedReadBody.TryDecode(body, sequences, out var cached))
            OnRead(from, frame.RequestId, cached.Read, FrameKind.ClientReadCachedReply, frame.Epoch == _epoch ? sequences[..(int)cached.Read.Range.Count] : default);
        else from.Send(FrameKind.ClientReadCachedReply, Volume, _epoch, frame.RequestId, IoStatus.Malformed, default);
    }

    /// <param name="known">Per block the sequence of what the front end has; empty: nothing.</param>
    private void OnRead(ClientRoute from, ulong requestId, in ClientReadBody read, FrameKind reply, ReadOnlySpan<ulong> known)
    {
        var status = AdmitRead(from, in read);
        // Before the volume's limits are asked: what is sent back has not been paid for.
        if (status == IoStatus.Ok && MustWaitForMemory())
        {
            _effects.OnRefusedForMemory();
            from.Send(reply, Volume, _epoch, requestId, IoStatus.Busy, default);
            return;
        }
        // One that is too large is refused, and paid for by nobody.
        if (status != IoStatus.Ok || read.Range.Count > Limits.RecordBlocksMax || Passes(ChargeOf(in read))) StartRead(from, requestId, read, reply, known);
        else if (!ThrottleRead(from, requestId, in read, reply, known)) from.Send(reply, Volume, _epoch, requestId, IoStatus.Busy, default);
    }

    private bool ThrottleRead(ClientRoute from, ulong requestId, in ClientReadBody read, FrameKind reply, ReadOnlySpan<ulong> known)
    {
        IoBuffer? kept = null;
        if (!known.IsEmpty)
        {
            kept = BufferPool.Shared.Rent(known.Length * sizeof(ulong));
            MemoryMarshal.AsBytes(known).CopyTo(kept.Span);
        }
        var waits = Throttle(read.Session, new Throttled(from, requestId, default, null, read, ChargeOf(in read), _effects.NowMs, reply, kept));
        if (!waits) kept?.Release();
        return waits;
    }

    private void StartRead(ClientRoute from, ulong requestId, in ClientReadBody read, FrameKind reply, ReadOnlySpan<ulong> known)
    {
        var status = from.Link is null ? IoStatus.Offline : AdmitRead(from, in read);
        if (status == IoStatus.Ok && read.Range.Count > Limits.RecordBlocksMax) status = IoStatus.OutOfRange;
        if (status == IoStatus.Ok && (_reads.Count + _heldReads.Count >= ReadsMax || _effects.Local is null)) status = IoStatus.Busy;
        if (status != IoStatus.Ok)
        {
            from.Send(reply, Volume, _epoch, requestId, status, default);
            return;
        }
        var token = ++_readToken;
        _reads.Add(token, new ReadInFlight(from, requestId, read.Session, read.Range, reply));
        _localReads ??= new LocalReads(this);
        _effects.Local!.Read(read.Range, _localReads, token, known);
    }

    /// <summary>The answer takes memory until its front end has it. One at a time is always given.</summary>
    private bool MustWaitForMemory() => _effects.IsMemoryTight && _reads.Count + _heldReads.Count + _throttled > 0;

    private IoStatus AdmitRead(ClientRoute from, ReadOnlySpan<byte> body, out ClientReadBody read) =>
        ClientReadBody.TryDecode(body, out read) ? AdmitRead(from, in read) : IoStatus.Malformed;

    private IoStatus AdmitRead(ClientRoute from, in ClientReadBody read)
    {
        var status = AdmitSession(from.Link!, read.Session);
        if (status != IoStatus.Ok) return status;
        return read.Range.Count == 0 || read.Range.End > Spec.SizeBlocks ? IoStatus.OutOfRange : IoStatus.Ok;
    }

    private sealed class LocalReads(VolumeMachine machine) : Messages.Protocol.ILocalReads
    {
        public void OnLocalRead(ulong token, IoStatus status, IoBuffer? reply) => machine.OnLocalRead(token, status, reply);
    }

    private void OnLocalRead(ulong token, IoStatus status, IoBuffer? reply)
    {
        if (!_reads.Remove(token, out var read))
        {
            reply?.Release();
            return;
        }
        if (status != IoStatus.Ok || reply is null)
        {
            reply?.Release();
            if (status is IoStatus.BadChecksum or IoStatus.DeviceError) ReadElsewhere(read);
            else SendReadFailed(read, status);
            return;
        }
        Answer(read, reply);
    }

    /// <summary>R16: only now, after the data was read, is it asked whether this owner is still the one.</summary>
    private void Answer(ReadInFlight read, IoBuffer reply)
    {
        if (_readLease && AreLeasesValid())
        {
            SendReadReply(read, reply);
            return;
        }
        _heldReads.Add(new HeldRead(read, reply, _round + 1));
        if (!_readLease) PumpConfirmations();
    }

    private void SendReadReply(ReadInFlight read, IoBuffer reply)
    {
        // R11: a session that was fenced while its read was on its way gets no data.
        if (read.To.IsUp && read.Session.Generation == _state.Attachment.Generation)
            read.To.Link!.Send(FrameHeader.Of(read.Reply, Volume, _epoch, read.RequestId, read.To.Number, IoStatus.Ok), reply);
        reply.Release();
    }

    private void SendReadFailed(ReadInFlight read, IoStatus status) =>
        read.To.Send(read.Reply, Volume, _epoch, read.RequestId, status, default);

    /// <summary>A lease that is valid now proves that what was read before now was current then.</summary>
    private void RetryHeldReads()
    {
        if (_heldReads.Count == 0) return;
        if (!_readLease)
        {
            AskRound();
            PumpConfirmations();
            return;
        }
        if (!AreLeasesValid()) return;
        foreach (var held in _heldReads) SendReadReply(held.Read, held.Reply);
        _heldReads.Clear();
    }

    /// <summary>
    /// R17 without clocks: a copy that answers, after the data was read, that it still follows this epoch had promised no other by then; so no later owner can have
    /// acknowledged anything before the read was asked for. One question is on its way at a time; reads that come meanwhile wait for the next.
    /// </summary>
    private void PumpConfirmations()
    {
        while (IsServing && _heldReads.Count > 0)
        {
            if (_round > _roundConfirmed)
            {
                if (!IsRoundConfirmed()) return;
                _roundConfirmed = _round;
                ReleaseConfirmed();
                continue;
            }
            _round++;
            AskRound();
        }
    }

    private void AskRound()
    {
        if (_round == _roundConfirmed) return;
        foreach (var session in _replicas.Values)
        {
            if (!IsRequired(session) || IsLocal(session) || session.RoundAsked == _round) continue;
            if (session is not { Aligned: true, Link: { IsUp: true } link }) continue;
            session.RoundAsked = _round;
            link.Send(Frame(FrameKind.ConfirmEpoch, _round), ReadOnlySpan<byte>.Empty);
        }
    }

    private bool IsRoundConfirmed()
    {
        foreach (var session in _replicas.Values)
        {
            if (!IsRequired(session)) continue;
            if (IsLocal(session))
            {
                if (_effects.Local is not { } local || !local.Commit(_epoch, Committed)) return false;
            }
            else if (session.RoundConfirmed < _round) return false;
        }
        return true;
    }

    private void ReleaseConfirmed()
    {
        var kept = 0;
        for (var index = 0; index < _heldReads.Count; index++)
        {
            var held = _heldReads[index];
            if (held.Round <= _roundConfirmed) SendReadReply(held.Read, held.Reply);
            else _heldReads[kept++] = held;
        }
        _heldReads.RemoveRange(kept, _heldReads.Count - kept);
    }

    private void OnEpochConfirmed(ReplicaSession session, in FrameHeader header)
    {
        if (header.Status != IoStatus.Ok || header.RequestId > session.RoundAsked) return;
        session.RoundConfirmed = Math.Max(session.RoundConfirmed, header.RequestId);
        PumpConfirmations();
    }

    private bool AreLeasesValid()
    {
        if (!IsServing) return false;
        var now = _effects.NowMs;
        foreach (var session in _replicas.Values)
        {
            // R6: also of a copy that may be a member already without our having read it back: it may promise to another owner by itself.
            if (!IsRequired(session)) continue;
            if (IsLocal(session))
            {
                if (_effects.Local is not { } local || !local.Commit(_epoch, Committed)) return false;
            }
            else if (session is not { Confirmed: true, Link: { IsUp: true } link } || _effects.LeaseUntilMs(link) <= now) return false;
        }
        return true;
    }

    private void OnClientStatus(ClientRoute from, in FrameHeader frame, ReadOnlySpan<byte> body)
    {
        const int ExtentBytes = 16;
        var status = AdmitRead(from, body, out var read);
        if (status == IoStatus.Ok && (_heldReads.Count >= ReadsMax || _effects.Local is null)) status = IoStatus.Busy;
        if (status != IoStatus.Ok)
        {
            from.Send(FrameKind.ClientStatusReply, Volume, _epoch, frame.RequestId, status, default);
            return;
        }
        _extents.Clear();
        _effects.Local!.Allocated(read.Range, StatusExtentsMax, _extents);
        var bytes = BufferPool.Shared.Rent(4 + (_extents.Count * ExtentBytes));
        var writer = new BodyWriter(bytes.Span);
        writer.U32((uint)_extents.Count);
        foreach (var (range, allocated) in _extents)
        {
            writer.U64(range.First);
            writer.U32(range.Count);
            writer.U32(allocated ? 1u : 0);
        }
        bytes.Length = writer.Written.Length;
        Answer(new ReadInFlight(from, frame.RequestId, read.Session, read.Range, FrameKind.ClientStatusReply), bytes);
    }
}
