using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>What was answered and is not on media is kept, and presented to an owner that lost it with the power of all copies (R13).</summary>
public sealed partial class VolumeSession
{
    /// <summary>Request id of the session's own flush: it takes none of the window, so that writes don't wait for it there.</summary>
    private const ulong KeptFlushId = 0;

    private readonly KeptWrites _kept;
    private readonly KeptBudget _keptBudget;
    private readonly Action _keptCheck;
    private ILoopTimer? _keptTimer;
    private bool _keptFlush;

    /// <summary>Answered writes that are kept. The loop's thread.</summary>
    public int Kept => _kept.Count;

    private void Keep(SessionRequest request, in ClientAckBody ack)
    {
        if (request.Kind != FrameKind.ClientWrite) return;
        // An answer to a replay names no sequence: what it was applied as can't be presented.
        if (ack.Sequence == 0) _kept.Miss(ack.CommittedSequence);
        else if (ack.Sequence > DurableSequence) _kept.Add(ack.Sequence, request.Id, request.Record!);
    }

    private void OnCommitted(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (_state != State.Ready || SlotOf(header.RequestId) is not { Kind: FrameKind.ClientWrite } request) return;
        if (!SequenceBody.TryDecode(body, out var committed))
        {
            LoseMalformed(header.Kind);
            return;
        }
        if (committed.Sequence <= DurableSequence) return;
        // What is kept is claimed, answered or not: an order that went on without it would give its place to another write, and this one would be presented there later.
        Saw(committed.Sequence);
        _kept.Add(committed.Sequence, request.Id, request.Record!);
    }

    /// <summary>What is on media is let go; a flush is forced early enough that nobody waits for it.</summary>
    private void TrimKept()
    {
        _kept.OnDurable(DurableSequence);
        if (_kept.IsEmpty) return;
        _keptTimer ??= Loop.Schedule(ClientLimits.KeptMs, _keptCheck);
        if (_kept.WantsFlush) ForceFlush();
    }

    private void OnKeptCheck()
    {
        _keptTimer = null;
        if (_kept.IsEmpty) return;
        ForceFlush();
        _keptTimer ??= Loop.Schedule(ClientLimits.KeptMs, _keptCheck);
    }

    /// <summary>One at a time, of nobody's.</summary>
    private void ForceFlush()
    {
        if (_keptFlush || _state != State.Ready) return;
        _keptFlush = true;
        Statistics.AddForcedFlush();
        _keptBudget.CountForcedFlush();
        _link!.Send(FrameHeader.Of(FrameKind.ClientFlush, Info.Id, _epoch, KeptFlushId), new ClientFlushBody(_session, _answeredBelow).Encode(_small));
    }

    private void OnKeptFlushed(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (header.Kind != FrameKind.ClientAck) return;
        _keptFlush = false;
        // What the owner can't take or do now is asked again with the next answer, or the next check of what is old.
        if (IsSentAway(header.Status) || header.Status != IoStatus.Ok) return;
        if (!ClientAckBody.TryDecode(body, out var ack))
        {
            LoseMalformed(header.Kind);
            return;
        }
        See(in ack);
        TrimKept();
    }

    /// <summary>The owner lacks what this session was answered above a sequence. It gets all of it, in order, or the session is over.</summary>
    private void OnPresent(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (_state != State.Opening) return;
        if (!SequenceBody.TryDecode(body, out var left))
        {
            LoseMalformed(header.Kind);
            return;
        }
        if (!_kept.IsWholeAbove(left.Sequence))
        {
            EndAsLost();
            return;
        }
        _openTimer?.Cancel();
        _openTimer = Loop.Schedule(ClientLimits.PresentMs, OnOpenTimeout);
        var presented = 0;
        foreach (var write in _kept.Above(left.Sequence))
        {
            Present(in write);
            presented++;
        }
        Statistics.AddPresented(presented);
        _keptBudget.CountPresented(presented);
        SessionLog.Presented(_logger, Info.FullName, _gateway.NodeName, _session.ToString(), presented, left.Sequence, AcknowledgedSequence);
    }

    /// <summary>A copy: whoever got the record before may still hold it, and wrote its own epoch into it.</summary>
    private void Present(in KeptWrite write)
    {
        var copy = BufferPool.Shared.Rent(write.Record.Length);
        write.Record.Span.CopyTo(copy.Span);
        RecordHeader.TryDecode(copy.Span, out var record);
        (record.Epoch, record.Sequence, record.CommitWatermark) = (0, write.Sequence, 0);
        record.Encode(copy.Span);
        _link!.Send(FrameHeader.Of(FrameKind.Presented, Info.Id, _epoch, write.RequestId), copy);
        copy.Release();
    }

    private void EndAsLost() => End(IoStatus.DataLost, "writes that were acknowledged and not flushed are gone: every copy in sync lost them with its host's power; "
        + "whoever uses the volume must begin anew from what was flushed");

    private void DropKept()
    {
        _keptTimer?.Cancel();
        _keptTimer = null;
        _kept.Clear();
    }
}
