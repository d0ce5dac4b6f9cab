using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>Writes of parts of a block (R15): read with sequence, merge, write on condition, again if the block changed.</summary>
public sealed partial class VolumeSession
{
    /// <summary>
    /// Edits by block, those under way and up to <see cref="ClientLimits.EditCacheBlocksMax"/> finished ones whose content is still
    /// known.
    /// </summary>
    private readonly Dictionary<ulong, BlockEdit> _edits = [];
    private readonly Queue<BlockEdit> _readyEdits = [];
    private readonly Stack<BlockEdit> _freeEdits = [];
    private long _editClock;
    private int _idleEdits;

    private void AddEdit(ulong block, EditPart part)
    {
        if (!_edits.TryGetValue(block, out var edit))
        {
            edit = _freeEdits.Count > 0 ? _freeEdits.Pop() : new BlockEdit();
            edit.Reset(block);
            _edits.Add(block, edit);
            _idleEdits++;
        }
        edit.Parts.Add(part);
        Wake(edit);
    }

    private void Wake(BlockEdit edit)
    {
        if (edit.Busy) return;
        edit.Busy = true;
        _idleEdits--;
        edit.Conflicts = 0;
        _readyEdits.Enqueue(edit);
    }

    /// <summary>The next step of an edit that has none outstanding: the read, or the merge and the conditional write.</summary>
    private void StepEdit(BlockEdit edit)
    {
        if (!RemoveAbandoned(edit))
        {
            Rest(edit);
            return;
        }
        if (edit.Known) WriteEdit(edit);
        else ReadEdit(edit);
    }

    private void ReadEdit(BlockEdit edit)
    {
        var request = NewRequest(FrameKind.ClientRead, null);
        request.Edit = edit;
        request.Range = new BlockRange(edit.Block, 1);
        request.OutstandingBytes = Limits.BlockBytes;
        Issue(request);
    }

    /// <summary>
    /// Everything that waits is merged into one record. The content stays as it was at the sequence until the write is acknowledged.
    /// </summary>
    private void WriteEdit(BlockEdit edit)
    {
        Span<byte> merged = stackalloc byte[Limits.BlockBytes];
        edit.Content.CopyTo(merged);
        var request = NewRequest(FrameKind.ClientWrite, null);
        request.Edit = edit;
        request.Range = new BlockRange(edit.Block, 1);
        request.RecordKind = RecordKind.Write;
        request.RecordFlags = RecordFlags.Conditional;
        request.ExpectedSequence = edit.Sequence;
        foreach (ref readonly var part in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(edit.Parts))
        {
            var source = part.Operation!.Request;
            var to = merged.Slice(part.OffsetInBlock, part.Length);
            var from = (int)(part.FromBytes - source.OffsetBytes);
            if (source.Operation == BlockOperation.Write) source.Data.Span.Slice(from, part.Length).CopyTo(to);
            else to.Clear();
            if (source.ForceUnitAccess) request.RecordFlags |= RecordFlags.ForceUnitAccess;
        }
        edit.Merged = edit.Parts.Count;
        EncodeAndIssue(request, merged);
    }

    private void OnEditRead(BlockEdit edit, IoStatus status, ulong sequence)
    {
        if (status != IoStatus.Ok)
        {
            EndParts(edit, edit.Parts.Count, status);
            return;
        }
        (edit.Known, edit.Sequence) = (true, sequence);
        _readyEdits.Enqueue(edit);
    }

    /// <summary>
    /// Keeps the block as the acknowledged record has it, for the next part. Not after a replay: the sequence in that answer need not
    /// be this record's.
    /// </summary>
    private void RememberContent(BlockEdit edit, SessionRequest request, ulong sequence)
    {
        edit.Known = false;
        if (request.Attempts > 0) return;
        var record = request.Record!.Span;
        var descriptor = BlockDescriptor.Read(record[RecordHeader.SizeBytes..]);
        var encoded = record.Slice(RecordHeader.SizeBytes + BlockDescriptor.SizeBytes, (int)request.PayloadLength);
        edit.Known = BlockCodec.Decode(descriptor, Info.Id, Layer, edit.Block, encoded, edit.Content, _cipher) == IoStatus.Ok;
        edit.Sequence = sequence;
    }

    private void OnEditWritten(BlockEdit edit, IoStatus status)
    {
        if (status != IoStatus.Conflict)
        {
            if (status != IoStatus.Ok) edit.Known = false;
            EndParts(edit, edit.Merged, status);
            return;
        }
        Statistics.AddConflict();
        edit.Known = false;
        edit.Merged = 0;
        if (edit.Conflicts++ == 0) _readyEdits.Enqueue(edit);
        else Pause(edit);
    }

    /// <summary>Ends the first <paramref name="count"/> parts with the status, and goes on with the others.</summary>
    private void EndParts(BlockEdit edit, int count, IoStatus status)
    {
        edit.Merged = 0;
        edit.Conflicts = 0;
        for (; count > 0; count--)
        {
            var operation = edit.Parts[0].Operation;
            edit.Parts.RemoveAt(0);
            if (operation is not null) FinishPart(operation, status);
        }
        if (edit.Parts.Count > 0) _readyEdits.Enqueue(edit);
        else Rest(edit);
    }

    /// <summary>
    /// The block has a write that is not committed yet, or others write it too: the pauses grow, and the volume's hold time bounds
    /// their number.
    /// </summary>
    private void Pause(BlockEdit edit)
    {
        edit.Paused = true;
        var pauseMs = Math.Min(ClientLimits.ConflictPauseMsMax, 1 << Math.Min(edit.Conflicts - 2, 16));
        Loop.Schedule(pauseMs, () =>
        {
            if (!_edits.TryGetValue(edit.Block, out var known) || !ReferenceEquals(known, edit) || !edit.Paused) return;
            edit.Paused = false;
            _readyEdits.Enqueue(edit);
            Pump();
            CloseIfUnused();
        });
    }

    private void Rest(BlockEdit edit)
    {
        edit.Busy = false;
        edit.UsedAt = ++_editClock;
        _idleEdits++;
        if (!edit.Known) Remove(edit);
        else if (_idleEdits > ClientLimits.EditCacheBlocksMax) RemoveOldest();
    }

    private void Remove(BlockEdit edit)
    {
        _edits.Remove(edit.Block);
        _idleEdits--;
        _freeEdits.Push(edit);
    }

    private void RemoveOldest()
    {
        BlockEdit? oldest = null;
        foreach (var edit in _edits.Values)
        {
            if (!edit.Busy && (oldest is null || edit.UsedAt < oldest.UsedAt)) oldest = edit;
        }
        if (oldest is not null) Remove(oldest);
    }

    /// <summary>False if nothing is left to write. Operations whose client is gone are completed.</summary>
    private bool RemoveAbandoned(BlockEdit edit)
    {
        for (var index = edit.Parts.Count - 1; index >= 0; index--)
        {
            var operation = edit.Parts[index].Operation;
            if (operation is { Request.Abandoned: false }) continue;
            if (operation is not null) GiveUp(operation, IoStatus.Offline);
        }
        edit.Parts.RemoveAll(part => part.Operation is null);
        return edit.Parts.Count > 0;
    }

    /// <summary>The operation is given up: its parts stay in place, empty, while a write that holds them may be outstanding.</summary>
    private void DropFromEdits(SessionOperation operation)
    {
        if (operation.Request.Operation is BlockOperation.Read or BlockOperation.Flush or BlockOperation.Status) return;
        foreach (var edit in _edits.Values)
        {
            foreach (ref var part in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(edit.Parts))
            {
                if (ReferenceEquals(part.Operation, operation)) part.Operation = null;
            }
        }
    }

    /// <summary>
    /// Another owner may hold other bytes under the sequences we know (un-flushed ones, after a loss of power): read them again.
    /// </summary>
    private void ForgetContents()
    {
        foreach (var edit in _edits.Values)
        {
            if (edit.Merged == 0) edit.Known = false;
        }
        if (_idleEdits == 0) return;
        foreach (var edit in _edits.Values.Where(edit => !edit.Busy).ToArray()) Remove(edit);
    }

    /// <summary>Whether somebody still waits for the conditional write under way.</summary>
    private static bool IsAwaited(BlockEdit edit)
    {
        for (var index = 0; index < edit.Merged; index++)
        {
            if (edit.Parts[index].Operation is not null) return true;
        }
        return false;
    }

    private void ForgetEdits()
    {
        _edits.Clear();
        _readyEdits.Clear();
        _idleEdits = 0;
    }
}
