using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>How the first half of a snapshot of a group went.</summary>
/// <param name="Status">Ok: the marker is on media on every copy in sync, and the volume's writes are held. Else nothing was done.</param>
/// <param name="Sentence">Why it was refused: the rest of "Volume NAME: ...".</param>
/// <param name="Sequence">Of the marker.</param>
/// <param name="UnixMs">When it was appended, by this owner's clock. Sequence and time together name it: a sequence alone may be given out again.</param>
public readonly record struct PreparedSnapshot(IoStatus Status, string Sentence, ulong Sequence, ulong UnixMs);

// Snapshots of several volumes at one point. From its marker on each volume holds its writes until all the others have theirs, so that nothing that is written because of a write that one
// snapshot lacks is in another one. The argument: docs/consistency.md, C22.
public sealed partial class VolumeMachine
{
    /// <param name="attempt">Who asked for it names it so.</param>
    /// <param name="untilMs">What is not committed by then is given up: nobody holds a volume by dying.</param>
    private sealed class GroupHold(Guid attempt, long sinceMs, long untilMs, Action<PreparedSnapshot> answer)
    {
        private bool _isAnswered;

        public Guid Attempt => attempt;

        public long SinceMs => sinceMs;

        public long UntilMs => untilMs;

        /// <summary>All volumes of the group have their markers.</summary>
        public bool IsReleased { get; set; }

        public void OnPrepared(ulong sequence, ulong unixMs) => Answer(new PreparedSnapshot(IoStatus.Ok, "", sequence, unixMs));

        public void OnEnded(string sentence) => Answer(new PreparedSnapshot(IoStatus.Offline, sentence, 0, 0));

        private void Answer(in PreparedSnapshot prepared)
        {
            if (_isAnswered) return;
            _isAnswered = true;
            answer(prepared);
        }
    }

    /// <summary>No write is sequenced behind the marker of a group's snapshot before all its other volumes have theirs.</summary>
    private bool IsHeldForGroup => _marker is { Group.IsReleased: false };

    /// <summary>
    /// The first half of a snapshot of a group: appends its marker and holds all writes behind it, until <see cref="CommitSnapshot"/>, <see cref="AbortSnapshot"/>, or for
    /// <see cref="Limits.GroupHoldMs"/> at most, and half the hold time: a client gives its I/O up after that. Answers once: when the marker is on media everywhere, or the rest of "Volume NAME: ...".
    /// </summary>
    public void PrepareSnapshot(Guid attempt, string name, Action<PreparedSnapshot> answer)
    {
        if (WhyNoSnapshot(name) is { } refused)
        {
            answer(new PreparedSnapshot(refused.Status, refused.Sentence, 0, 0));
            return;
        }
        var now = _effects.NowMs;
        MakeSnapshot(name, new GroupHold(attempt, now, now + Math.Min(Limits.GroupHoldMs, Spec.HoldMs / 2), answer));
    }

    /// <summary>
    /// The second half: every volume of the group has its marker. Writes go on, and the snapshot is journaled like any other. Missing: they are not held for this attempt (any more).
    /// </summary>
    public SnapshotAnswer CommitSnapshot(Guid attempt)
    {
        if (_marker is not { IsOnMedia: true, Group: { } group } marker || group.Attempt != attempt || (!group.IsReleased && _effects.NowMs >= group.UntilMs))
            return new SnapshotAnswer(IoStatus.Missing, $"its writes are not held for this snapshot any more: {Limits.GroupHoldMs} ms have passed, or its owner has changed");
        if (group.IsReleased) return new SnapshotAnswer(IoStatus.Ok, "");
        if (_deleting) return new SnapshotAnswer(IoStatus.Missing, "the volume is being deleted");
        group.IsReleased = true;
        _effects.OnGroupHold(_effects.NowMs - group.SinceMs, isCommitted: true);
        _effects.Log($"the writes behind snapshot '{marker.Name}' of a group go on after {_effects.NowMs - group.SinceMs} ms");
        PumpMarker();
        PumpHeldWrites();
        return new SnapshotAnswer(IoStatus.Ok, "");
    }

    /// <summary>The group is not made: writes go on, and the marker's snapshot goes as one that was never journaled. Nothing happens if it was committed, or is another attempt's.</summary>
    public void AbortSnapshot(Guid attempt)
    {
        if (_marker is { Group: { IsReleased: false } group } && group.Attempt == attempt) GiveUpGroup("another volume of the group has no marker");
    }

    private void TickGroup(long now)
    {
        if (_marker is { Group: { IsReleased: false } group } && now >= group.UntilMs) GiveUpGroup($"nobody committed it within {Limits.GroupHoldMs} ms");
    }

    /// <summary>The marker itself stays in the order. Until it is on media nothing is sequenced behind it all the same (R13).</summary>
    private void GiveUpGroup(string why)
    {
        var marker = _marker!;
        EndHold(marker, marker.Group!, why);
        (marker.Group, marker.Name) = (null, null);
        if (!marker.IsOnMedia) return;
        EndMarker(marker, IoStatus.Ok, "");
        PumpHeldWrites();
        PumpSnapshots();
    }

    private void EndHold(MarkerOperation marker, GroupHold group, string why)
    {
        var heldMs = _effects.NowMs - group.SinceMs;
        _effects.OnGroupHold(heldMs, isCommitted: false);
        _effects.Log($"snapshot '{marker.Name}' of a group is not made: {why}; writes were held for {heldMs} ms");
        group.OnEnded(why);
    }
}
