using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// A volume grows by the journal alone. It shrinks only over space in which nothing is, at one point of its order: docs/consistency.md, C20.
public sealed partial class VolumeMachine
{
    private ShrinkOperation? _shrink;

    /// <param name="point">The last record before the shrink in the order of writes: none behind it reaches beyond the new end.</param>
    private sealed class ShrinkOperation(SpecChanged change, ulong point, Action<IoStatus, string> answer)
    {
        public SpecChanged Change => change;

        public ulong Point => point;

        public Action<IoStatus, string> Answer => answer;

        /// <summary>From the new end up to here nothing is allocated.</summary>
        public ulong LookedUpTo { get; set; } = change.Spec.SizeBlocks;

        /// <summary>On its way to the journal, from which nothing calls it back.</summary>
        public bool IsProposed { get; set; }
    }

    /// <summary>
    /// Makes the volume as small as that spec says, unless something is stored beyond its new end. Writes and trims that reach beyond it are held from here on, until the journal
    /// has it (then they are refused) or it is refused (then they go on). Answers once: Ok when it is journaled, or the rest of "Volume NAME: ..."; Offline also when this owner ends
    /// before it knows.
    /// </summary>
    public void Shrink(SpecChanged change, Action<IoStatus, string> answer)
    {
        PumpSnapshots();
        if ((WhyNoShrink() ?? WhyNoMarker()) is { } refused)
        {
            answer(refused.Status, refused.Sentence);
            return;
        }
        _effects.Log($"the volume is to shrink from {Spec.SizeBytes} B to {change.Spec.SizeBytes} B after {_pending.Last}");
        _shrink = new ShrinkOperation(change, _pending.Last, answer);
        AskSync(_pending.Last);
        PumpShrink();
    }

    /// <summary>A snapshot goes back to what the volume was, at the size that it was.</summary>
    private SnapshotAnswer? WhyNoShrink()
    {
        var count = _state.Snapshots.Length;
        if (count > 0)
            return new SnapshotAnswer(IoStatus.Conflict, $"it has {(count == 1 ? "1 snapshot" : $"{count} snapshots")} of its present size; delete all of them first (myrmidon snapshot list {Spec.FullName})");
        return _effects.Local is { Snapshots.Count: > 0 } ? new SnapshotAnswer(IoStatus.Busy, "snapshots of it that were deleted are being cleared away; try again") : null;
    }

    private bool IsBeyondShrink(in RecordHeader record) => _shrink is { } shrink && record.Range.End > shrink.Change.Spec.SizeBlocks;

    /// <summary>
    /// Once all that came before it is committed and on media everywhere, nothing can come back beyond the new end, not even what sessions present after a loss of power (R13): it is
    /// looked whether anything is there. Nothing can come there meanwhile.
    /// </summary>
    private void PumpShrink()
    {
        if (_shrink is not { IsProposed: false } shrink || Phase != VolumePhase.Serving || _stampsOwed || _opensOwed || _effects.Local is null) return;
        if (Committed < shrink.Point || DurableEverywhere() < shrink.Point)
        {
            AskSync(shrink.Point);
            return;
        }
        if (FindBeyond(shrink) is { } found)
        {
            EndShrink(IoStatus.Conflict, $"there is data beyond the new end, at offset {found * Limits.BlockBytes}; trim or move what is there first");
            return;
        }
        if (shrink.LookedUpTo < Spec.SizeBlocks) return;
        shrink.IsProposed = true;
        _effects.Journal(shrink.Change);
    }

    /// <summary>The first block beyond the new end that holds data. Looks on at the next tick where that would take long.</summary>
    private ulong? FindBeyond(ShrinkOperation shrink)
    {
        var found = new List<BlockRange>();
        while (shrink.LookedUpTo < Spec.SizeBlocks)
        {
            var range = new BlockRange(shrink.LookedUpTo, (uint)Math.Min(Spec.SizeBlocks - shrink.LookedUpTo, uint.MaxValue));
            shrink.LookedUpTo = _effects.Local!.Changed(0, 0, range, 1, found);
            if (found.Count > 0) return found[0].First;
            if (shrink.LookedUpTo < range.End) break;
        }
        return null;
    }

    /// <summary>
    /// The journal has a spec. A shrink that it overtook rests on one that is no more, and is not journaled, though it may be on its way; an older one that came late overtakes nothing.
    /// </summary>
    private void SettleShrink(SpecChanged journaled)
    {
        if (_shrink is not { } shrink || journaled.Revision < shrink.Change.Revision) return;
        if (journaled.Revision == shrink.Change.Revision) EndShrink(IoStatus.Ok, "");
        else EndShrink(IoStatus.Conflict, "it was changed in another way meanwhile; look at it, and ask again");
    }

    private void EndShrink(IoStatus status, string sentence)
    {
        if (_shrink is not { } shrink) return;
        _shrink = null;
        _effects.Log(status == IoStatus.Ok ? $"the volume has {Spec.SizeBytes} B now" : $"the volume does not shrink: {sentence}");
        PumpHeldWrites();
        shrink.Answer(status, sentence);
    }
}
