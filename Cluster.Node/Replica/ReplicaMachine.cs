using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Node.Replica;

/// <summary>
/// One copy of a volume. It applies the owner's records strictly in sequence, so that its state is always a prefix of the owner's order, and refuses
/// every epoch below the one it has promised. Pure: frames, store completions and nothing else; no clock, no socket, no Akka. Loop thread only.
/// <para>Invariants:</para>
/// <para>I1 A promise is on media before it is answered, and from the moment it is taken (in memory) no lower epoch is served (R2).</para>
/// <para>I2 Acks name only what the store has written (Appended) or synced (Durable); they are cumulative.</para>
/// <para>I4 Nothing of a tail is committed before the epoch's owner has cut it to what its own order has (Truncate, CatchUpBegin).</para>
/// <para>I5 The cursor of a catch-up is never beyond what the log holds before it (R8).</para>
/// <para>I3 While catching up the replica reports the sequence that the catch-up began from, also after a restart (R8).</para>
/// </summary>
public sealed partial class ReplicaMachine : IVolumeStoreEvents
{
    private readonly IVolumeStore _store;
    private readonly IReplicaEffects _effects;
    private ReplicaHeader _header;

    /// <summary>The link of the promised epoch's owner; acks go there.</summary>
    private IFrameLink? _owner;

    /// <summary>What is here is a prefix of the promised epoch's order: set by Truncate or CatchUpBegin, lost with each promise.</summary>
    private bool _aligned;
    private ulong _releasedEpoch;

    /// <summary>Nodes of deposed owners whose reads a lease granted here may still cover (R17): each promise reports the longest, also when it is asked for again.</summary>
    private readonly List<LeaseHolder> _leaseHolders = [];
    private bool _acknowledgeWanted;
    private IoStatus _ackStatus = IoStatus.Ok;
    private ulong _ackExpected;
    private IoStatus _failure = IoStatus.Ok;

    // Answers that wait for a header on media.
    private PendingPromise? _promise;
    private PendingStamp? _stamp;

    private readonly record struct PendingPromise(ulong HeaderNumber, IFrameLink To, ulong RequestId, uint LeaseLeftMs);

    /// <summary>An owner of an epoch before, and up to when it may rely on a lease of this node.</summary>
    private readonly record struct LeaseHolder(NodeId Node, long UntilMs);

    private readonly record struct PendingStamp(ulong HeaderNumber, IFrameLink To, StampBody Body);

    public ReplicaMachine(IVolumeStore store, IReplicaEffects effects)
    {
        (_store, _effects) = (store, effects);
        _header = ReplicaHeader.TryDecode(store.Header.Span)
            ?? throw new InvariantException($"volume {store.Volume}: the replica's header in the store is not one of version 1");
        _store.Events = this;
        // R17: nobody knows any more whom this replica's node had granted a lease before it was restarted.
        if (_header.PromisedEpoch != 0) NoteLease(default);
    }

    public VolumeId Volume => _store.Volume;

    public ReplicaHeader Header => _header;

    public IVolumeStore Store => _store;

    public bool IsFailed => _failure != IoStatus.Ok;

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (header.Kind == FrameKind.Promise)
        {
            OnPromise(from, in header, body);
            return;
        }
        if (header.Epoch != _header.PromisedEpoch || from != _owner)
        {
            // Also an owner whose link was made anew since its promise: it asks for the promise again before it sends anything else.
            SendAck(from, header.Epoch, IoStatus.StaleEpoch);
            return;
        }
        if (IsFailed && header.Kind != FrameKind.Release)
        {
            SendAck(from, header.Epoch, _failure);
            return;
        }
        if (!_aligned && header.Kind is not (FrameKind.Truncate or FrameKind.CatchUpBegin or FrameKind.FetchTail or FrameKind.Release))
        {
            SendAck(from, header.Epoch, IoStatus.StaleEpoch);
            return;
        }
        CommitUpTo(header.Argument);
        switch (header.Kind)
        {
            case FrameKind.Append: OnAppend(body, buffer!); break;
            case FrameKind.Sync: OnSync(body); break;
            case FrameKind.FetchTail: OnFetchTail(from, body); break;
            case FrameKind.Truncate: OnTruncate(from, body); break;
            case FrameKind.Stamp: OnStamp(from, body); break;
            case FrameKind.CatchUpBegin: OnCatchUpBegin(from, body); break;
            case FrameKind.CatchUpRecord: OnCatchUpRecord(header.RequestId, body, buffer!); break;
            case FrameKind.CatchUpWindow: OnCatchUpWindow(header.RequestId, body); break;
            case FrameKind.CatchUpSnapshots: OnCatchUpSnapshots(header.RequestId, body); break;
            case FrameKind.CatchUpMark: OnCatchUpMark(header.RequestId, header.Argument, body); break;
            case FrameKind.CatchUpEnd: OnCatchUpEnd(header.RequestId); break;
            case FrameKind.Passed: OnPassed(body); break;
            case FrameKind.ReadReplica: OnReadReplica(from, in header, body); break;
            case FrameKind.ScrubRange: OnScrubRange(from, in header, body); break;
            case FrameKind.ScrubMark: OnScrubMark(body); break;
            case FrameKind.RepairRecord: OnRepairRecord(from, in header, body, buffer!); break;
            case FrameKind.ConfirmEpoch: OnConfirmEpoch(from, header.RequestId); break;
            case FrameKind.Release: _releasedEpoch = header.Epoch; break;
            default: throw new InvariantException($"a frame of kind {header.Kind} was routed to a replica");
        }
        CommitUpTo(header.Argument);
    }

    /// <summary>R1, R2: the one serial point of promise and appends is this machine on its loop.</summary>
    private void OnPromise(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!PromiseBody.TryDecode(body, out var promise)) return;
        var (epoch, requestId) = (header.Epoch, header.RequestId);
        if (promise.Identity != _header.Identity || promise.Replica != _header.Replica)
        {
            SendPromised(from, epoch, requestId, IoStatus.Missing, 0);
            return;
        }
        if (_store.Damage is not null && !promise.Create)
        {
            // What it had acknowledged is not all there any more: it is lost, and is copied anew only once it is out of the set (R5).
            SendPromised(from, epoch, requestId, IoStatus.Missing, 0);
            return;
        }
        if (IsFailed)
        {
            SendPromised(from, epoch, requestId, _failure, 0);
            return;
        }
        if (epoch < _header.PromisedEpoch || (epoch == _header.PromisedEpoch && promise.Owner != _header.PromisedTo))
        {
            SendPromised(from, epoch, requestId, IoStatus.StaleEpoch, 0);
            return;
        }
        if (epoch == _header.PromisedEpoch && _promise is { } waiting && waiting.To == from)
        {
            // Asked again while the first is on its way to media: a slow disk must not make the answer wait for ever newer headers.
            _promise = waiting with { RequestId = requestId };
            return;
        }
        if (epoch > _header.PromisedEpoch)
        {
            if (_header.PromisedEpoch != 0 && _releasedEpoch != _header.PromisedEpoch) NoteLease(_header.PromisedTo);
            // The deposed owner hears of it on its own link before any later Pong there can renew its lease.
            if (_owner is { IsUp: true } deposed) deposed.Send(FrameHeader.Of(FrameKind.Deposed, Volume, epoch), ReadOnlySpan<byte>.Empty);
            _header = _header with { PromisedEpoch = epoch, PromisedTo = promise.Owner };
        }
        LeaveCatchUp();
        (_owner, _aligned, _stamp, _catchUp, _ackStatus) = (from, false, null, null, IoStatus.Ok);
        _promise = new PendingPromise(_store.SaveHeader(_header.Encode()), from, requestId, LeaseLeftMs(promise.Owner));
        _store.RequestSync();
    }

    /// <summary>
    /// R17: what an owner that is deposed now may rely on. What its node is granted later does not cover it: it hears that it is deposed before, or has to be confirmed on a new
    /// link. So a node that was an owner once and is there again keeps nobody waiting.
    /// </summary>
    private void NoteLease(NodeId owner)
    {
        var untilMs = _effects.LeaseLeftMs(owner) + _effects.NowMs;
        var index = _leaseHolders.FindIndex(holder => holder.Node == owner);
        if (index < 0) _leaseHolders.Add(new LeaseHolder(owner, untilMs));
        else if (_leaseHolders[index].UntilMs < untilMs) _leaseHolders[index] = new LeaseHolder(owner, untilMs);
    }

    /// <summary>An owner on the new owner's own node has ended with it, or with its process.</summary>
    private uint LeaseLeftMs(NodeId newOwner)
    {
        long longest = 0;
        var now = _effects.NowMs;
        _leaseHolders.RemoveAll(holder => holder.UntilMs <= now);
        foreach (var holder in _leaseHolders)
        {
            if (holder.Node != newOwner) longest = Math.Max(longest, holder.UntilMs - now);
        }
        return (uint)longest;
    }

    private void OnAppend(ReadOnlySpan<byte> body, IoBuffer buffer)
    {
        var decoded = RecordHeader.TryDecode(body, out var record);
        Invariant.That(decoded == IoStatus.Ok && record.Volume == Volume, "a link delivered a record that it had to refuse");
        WantAcknowledge();
        if (record.Sequence <= _store.LastSequence) return;
        if (record.Sequence != _store.LastSequence + 1)
        {
            // What follows a refused record is a gap too; the owner must hear of the refusal.
            if (_ackStatus == IoStatus.Ok) (_ackStatus, _ackExpected) = (IoStatus.Gap, _store.LastSequence + 1);
            return;
        }
        var status = _store.Append(buffer, in record);
        if (status != IoStatus.Ok)
        {
            (_ackStatus, _ackExpected) = (status, _store.LastSequence + 1);
            return;
        }
        if ((record.Flags & RecordFlags.ForceUnitAccess) != 0) _store.RequestSync();
    }

    private void OnSync(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(body);
        var upTo = reader.U64();
        if (!reader.AtEnd || upTo == 0) return;
        if (upTo > _store.DurableSequence) _store.RequestSync();
        else WantAcknowledge();
    }

    private void OnFetchTail(IFrameLink from, ReadOnlySpan<byte> body)
    {
        if (!FetchTailBody.TryDecode(body, out var asked)) return;
        var status = asked.From >= _store.TailFrom && asked.To <= _store.LastSequence ? IoStatus.Ok : IoStatus.OutOfRange;
        for (var sequence = asked.From + 1; status == IoStatus.Ok && sequence <= asked.To; sequence++)
        {
            (status, var record) = _store.ReadTail(sequence);
            if (record is null) break;
            from.Send(FrameHeader.Of(FrameKind.TailRecord, Volume, _header.PromisedEpoch, status: IoStatus.Ok), record);
            record.Release();
        }
        Span<byte> answer = stackalloc byte[16];
        from.Send(FrameHeader.Of(FrameKind.TailEnd, Volume, _header.PromisedEpoch, status: status), asked.Encode(answer));
    }

    private void OnTruncate(IFrameLink from, ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(body);
        var to = reader.U64();
        if (!reader.AtEnd) return;
        var status = IoStatus.Ok;
        if (to < _store.CommitWatermark) status = IoStatus.OutOfRange;
        else if (to < _store.LastSequence) status = _store.Truncate(to);
        // Not while a catch-up is unfinished: the position is then not the end of a prefix.
        _aligned = status == IoStatus.Ok && !_header.CatchingUp;
        SendState(from, FrameKind.Truncated, status);
    }

    private void OnStamp(IFrameLink from, ReadOnlySpan<byte> body)
    {
        if (!StampBody.TryDecode(body, out var stamp)) return;
        _header = _header with
        {
            Era = stamp.Era,
            InSyncVersion = stamp.Version,
            StartSequence = stamp.StartSequence,
            InSyncEpoch = stamp.Member ? _header.PromisedEpoch : _header.InSyncEpoch,
            Spec = stamp.Spec,
            Members = stamp.Members,
        };
        _stamp = new PendingStamp(_store.SaveHeader(_header.Encode()), from, stamp);
        _store.RequestSync();
    }

    /// <summary>R4: the owner's watermark rides on every frame. It says nothing about a tail that was not aligned with the owner's order.</summary>
    private void CommitUpTo(ulong watermark)
    {
        if (!_aligned) return;
        // A watermark beyond the end of the prefix covers what is still on its way; what is here is committed all the same.
        var here = Math.Min(watermark, _store.LastSequence);
        if (here > _store.CommitWatermark) _store.Commit(here);
    }

    /// <summary>
    /// R20. A copy in mid catch-up keeps what it has: what a scan brings it is hidden by tombstones that it was sent before. The owner names no more than this copy
    /// has said to hold; what it holds now decides all the same.
    /// </summary>
    private void OnPassed(ReadOnlySpan<byte> body)
    {
        var reader = new BodyReader(body);
        var passed = reader.U64();
        if (reader.AtEnd && !_header.CatchingUp && _store.Damage is null)
            _store.ForgetTombstones(Math.Min(passed, Math.Min(_store.CommitWatermark, _store.DurableSequence)));
    }

    /// <summary>The owner in this process moves the watermark without a frame. False when it is deposed or the replica failed.</summary>
    public bool CommitFor(ulong epoch, ulong watermark)
    {
        if (epoch != _header.PromisedEpoch || IsFailed || !_aligned) return false;
        CommitUpTo(watermark);
        return true;
    }

    /// <summary>R17 without leases. That the epoch is the promised one was checked for this frame as for any (R2).</summary>
    private void OnConfirmEpoch(IFrameLink from, ulong requestId) =>
        from.Send(FrameHeader.Of(FrameKind.EpochConfirmed, Volume, _header.PromisedEpoch, requestId, status: IoStatus.Ok), ReadOnlySpan<byte>.Empty);

    /// <summary>The machine takes no part in a catch-up, or not any more. Also before it is dropped.</summary>
    public void LeaveCatchUp() => _effects.Repair.CatchUpsIn.Leave(this);

    /// <summary>The link to an owner broke: it starts again with a promise.</summary>
    public void OnLinkDown(IFrameLink link)
    {
        if (_owner != link) return;
        LeaveCatchUp();
        (_owner, _promise, _stamp, _catchUp) = (null, null, null, null);
    }
}
