using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

/// <summary>How a wish for a snapshot went.</summary>
/// <param name="Status">Ok: it is under way, and <see cref="SnapshotCreated"/> will be journaled. Else it was refused, and nothing was done.</param>
/// <param name="Sentence">Why it was refused: the rest of "Volume NAME: ...".</param>
public readonly record struct SnapshotAnswer(IoStatus Status, string Sentence);

// R19: snapshots are made, deleted and gone back to by markers in the order of writes. The argument: docs/consistency.md, C19.
public sealed partial class VolumeMachine
{
    /// <summary>From its append until its outcome is journaled no other marker is appended: it could not name this one's snapshot.</summary>
    private MarkerOperation? _marker;

    /// <summary>Snapshots of a recovered volume that are on their way to the journal.</summary>
    private readonly HashSet<ulong> _adopting = [];

    /// <param name="sequence">Of the marker.</param>
    private sealed class MarkerOperation(ulong sequence)
    {
        public ulong Sequence => sequence;

        /// <summary>Of the snapshot that it makes; null: it makes none, or it was given up.</summary>
        public string? Name { get; set; }

        public ulong UnixMs { get; init; }

        /// <summary>The snapshot that some of the blocks go back to; 0: none.</summary>
        public ulong RestoreFrom { get; init; }

        public BlockSpan Part { get; init; } = BlockSpan.All;

        /// <summary>On every required copy; what is left is the journal.</summary>
        public bool IsOnMedia { get; set; }

        /// <summary>On its way to the journal, from which nothing calls it back.</summary>
        public bool IsProposed { get; set; }

        /// <summary>Of one that makes a snapshot of a group.</summary>
        public GroupHold? Group { get; set; }
    }

    /// <summary>
    /// No client's write is sequenced behind a marker that a loss of power of all hosts could still take away: what sessions present would have a gap at its place (R13).
    /// </summary>
    private bool IsMarkerOnItsWay => _marker is { IsOnMedia: false };

    /// <summary>What sessions are told to be committed, and claim when they open at another owner (R13): not a marker that is on no media. It touches no block.</summary>
    private ulong CommittedForSessions => IsMarkerOnItsWay ? Math.Min(Committed, _marker!.Sequence - 1) : Committed;

    /// <summary>Makes a snapshot of what is sequenced now.</summary>
    /// <param name="name">Unique among the volume's; its form was checked by the caller.</param>
    public SnapshotAnswer CreateSnapshot(string name)
    {
        if (WhyNoSnapshot(name) is { } refused) return refused;
        MakeSnapshot(name, null);
        return new SnapshotAnswer(IoStatus.Ok, "");
    }

    private SnapshotAnswer? WhyNoSnapshot(string name)
    {
        if (_state.Snapshots.Any(snapshot => snapshot.Name == name))
            return new SnapshotAnswer(IoStatus.Conflict, $"it has a snapshot named '{name}'; choose another name, or delete that one first");
        if (_marker?.Name == name) return new SnapshotAnswer(IoStatus.Busy, $"the snapshot '{name}' is being made");
        PumpSnapshots();
        if (WhyNoMarker() is { } refused) return refused;
        if (_state.Snapshots.Length >= Limits.SnapshotsMax)
            return new SnapshotAnswer(IoStatus.OutOfRange, $"it has {_state.Snapshots.Length} snapshots, and {Limits.SnapshotsMax} is the most; delete some first");
        return null;
    }

    private void MakeSnapshot(string name, GroupHold? group)
    {
        _effects.Log($"snapshot '{name}' is made at {_pending.Last + 1}");
        AppendMarker(new MarkerOperation(_pending.Last + 1) { Name = name, UnixMs = _effects.NowUnixMs, Group = group });
    }

    /// <summary>A snapshot of a volume that is half-way back would be of no moment in its life.</summary>
    private SnapshotAnswer? WhyNoMarker() => IsRestoring ? new SnapshotAnswer(IoStatus.Busy, $"{RestoringReason()}; try again when that has ended") : WhyNoMarkerNow();

    private SnapshotAnswer? WhyNoMarkerNow()
    {
        if (Phase != VolumePhase.Serving || _deleting || _effects.Local is null) return new SnapshotAnswer(IoStatus.Offline, "it is not served here now; try again");
        if (IsGathering) return new SnapshotAnswer(IoStatus.Offline, GatheringReason());
        if (_state.InSync.Length < _state.InSyncMin)
            return new SnapshotAnswer(IoStatus.Offline, $"{_state.InSync.Length} of its copies are in sync, and {_state.InSyncMin} are needed");
        if (_shrink is not null) return new SnapshotAnswer(IoStatus.Busy, "it is about to shrink; try again");
        return _marker is null && _adopting.Count == 0 && !_pending.IsFull ? null : new SnapshotAnswer(IoStatus.Busy, "another change of its snapshots is under way; try again");
    }

    /// <summary>A marker names all snapshots that the journal has; whatever else a copy has goes with it.</summary>
    private void AppendMarker(MarkerOperation operation)
    {
        ImmutableArray<ulong> kept = [.. _state.Snapshots.Select(snapshot => snapshot.Sequence)];
        var buffer = new SnapshotMarker(operation.Name is not null, operation.RestoreFrom, operation.Part, kept).Build(Volume, out var record);
        _marker = operation;
        Append(default, ref record, buffer);
        buffer.Release();
        Invariant.That(record.Sequence == operation.Sequence, "a marker was given another sequence than the next one");
        AskSync(operation.Sequence);
    }

    /// <summary>
    /// Journals the snapshot, or goes on with a restore, once the marker is on media wherever an ack would need it (P3), and as an ack would: not owing any header or open (P7, R5).
    /// </summary>
    private void PumpMarker()
    {
        if (_marker is not { IsProposed: false } marker || !IsServing || _stampsOwed || _opensOwed || _state.InSync.Length < _state.InSyncMin) return;
        if (Committed < marker.Sequence || DurableEverywhere() < marker.Sequence)
        {
            AskSync(marker.Sequence);
            return;
        }
        marker.IsOnMedia = true;
        if (marker.Group is { IsReleased: false } group)
        {
            group.OnPrepared(marker.Sequence, marker.UnixMs);
            return;
        }
        if (marker.Name is { } name)
        {
            marker.IsProposed = true;
            _effects.Journal(new SnapshotCreated(Volume, marker.Sequence, name, marker.UnixMs));
        }
        else EndMarker(marker, IoStatus.Ok, "");
        PumpHeldWrites();
    }

    private void EndMarker(MarkerOperation marker, IoStatus status, string sentence)
    {
        _marker = null;
        if (marker.Group is { IsReleased: false } group) EndHold(marker, group, sentence);
        if (marker.RestoreFrom != 0 && status == IoStatus.Ok) OnPartRestored(marker);
    }

    private void OnSnapshotCreated(SnapshotCreated created)
    {
        _adopting.Remove(created.Sequence);
        _effects.Log($"snapshot '{created.Name}' is at {created.Sequence}");
        if (_marker is { Name: not null } marker && marker.Sequence == created.Sequence) EndMarker(marker, IoStatus.Ok, "");
        PumpSnapshots();
        if (Phase == VolumePhase.Draining) TryFinishDraining();
    }

    private void OnSnapshotDeleted(SnapshotDeleted deleted)
    {
        _effects.Log($"snapshot {deleted.Sequence} is deleted");
        PumpSnapshots();
    }

    /// <summary>
    /// What the map has and the journal has not goes by a marker: snapshots that were deleted, and those of an owner that ended before it could journal them. A volume that was
    /// recovered has forgotten its snapshots with its journal (P7): those that it had are adopted first.
    /// </summary>
    private void PumpSnapshots()
    {
        if (_marker is not null || _adopting.Count > 0 || Phase != VolumePhase.Serving || _effects.Local is not { Snapshots: { Count: > 0 } held }) return;
        if (held.All(IsJournaled) || WhyNoMarker() is not null) return;
        Adopt(held);
        if (_adopting.Count > 0) return;
        _effects.Log($"a marker at {_pending.Last + 1} leaves out {held.Count(sequence => !IsJournaled(sequence))} snapshots that the journal does not have");
        AppendMarker(new MarkerOperation(_pending.Last + 1));
    }

    private bool IsJournaled(ulong sequence)
    {
        foreach (var snapshot in _state.Snapshots)
        {
            if (snapshot.Sequence == sequence) return true;
        }
        return false;
    }

    private void Adopt(IReadOnlyList<ulong> held)
    {
        foreach (var sequence in held)
        {
            if (!_state.MayAdopt(sequence)) continue;
            _adopting.Add(sequence);
            _effects.Journal(new SnapshotCreated(Volume, sequence, $"recovered-{sequence}", _effects.NowUnixMs));
        }
    }

    /// <summary>The owner ends: the marker may be in the order or not, and who comes next goes by the journal.</summary>
    private void DropMarker()
    {
        _adopting.Clear();
        if (_marker is { } marker) EndMarker(marker, IoStatus.Offline, "its owner ended before this was known to be done; look at the volume, and try again");
        if (_restore is not null) EndRestore(IoStatus.Offline, "its owner ended meanwhile; the next one goes on with it; ask again to wait for that");
    }

    /// <summary>For a copy that catches up, behind its windows and before anything else: what its map is to see of what it is sent (R8).</summary>
    private void SendSnapshots(ReplicaSession session, IReadOnlyList<ulong> snapshots)
    {
        var item = BufferPool.Shared.Rent(SnapshotsBody.SizeBytesMax);
        item.Length = new SnapshotsBody([.. snapshots]).Encode(item.Whole).Length;
        SendItem(session, FrameKind.CatchUpSnapshots, item);
    }
}
