using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R19: a restore in place. It is journaled, then put into the order part by part, each by a marker that takes no copy long, then journaled as ended. An owner that finds one journaled and not
// ended begins it anew. Nobody uses the volume from before the first part until the end: docs/consistency.md, C19.
public sealed partial class VolumeMachine
{
    /// <summary>The one that this owner works at.</summary>
    private RestoreOperation? _restore;

    /// <summary>The snapshot to which this owner has put the volume back last, and the last part's place in the order; nothing has come since if that is still the last one.</summary>
    private (ulong Snapshot, ulong Sequence) _restored;

    private sealed class RestoreOperation(ulong snapshot)
    {
        public ulong Snapshot => snapshot;

        /// <summary>The first block that is not back; MaxValue: all are.</summary>
        public ulong Next { get; set; }

        /// <summary>On its way to the journal, from which nothing calls it back.</summary>
        public bool IsEnding { get; set; }

        /// <summary>Who waits for its end.</summary>
        public Action<IoStatus, string>? Answer { get; set; }
    }

    /// <summary>From before it is journaled until its end is: no session is open, and none opens.</summary>
    private bool IsRestoring => RestoringTo != 0;

    /// <summary>The snapshot to which the volume is being put back, which must stay until then; 0: none.</summary>
    public ulong RestoringTo => _restore?.Snapshot ?? _state.RestoringTo;

    /// <summary>
    /// Puts the volume back to a snapshot. Not while anybody uses it: what changes under a mounted file system destroys it. Answers once: Ok when it is on media everywhere, or
    /// the rest of "Volume NAME: ..."; Offline also when this owner ends before it knows. Asked for again while it is under way it answers the newest who asked; asked for again
    /// when it has ended and nothing has been written since, it is done already.
    /// </summary>
    public void RestoreSnapshot(ulong sequence, Action<IoStatus, string> answer)
    {
        PumpSnapshots();
        PumpRestore();
        if (_restore is { } underWay && underWay.Snapshot == sequence)
        {
            underWay.Answer?.Invoke(IoStatus.Offline, "somebody else waits for it now; list the volume to see how it is");
            underWay.Answer = answer;
            return;
        }
        if ((IsRestoring ? WhyNoMarker() : WhyNoRestore(sequence) ?? WhyNoMarker()) is { } refused)
        {
            answer(refused.Status, refused.Sentence);
            return;
        }
        if (_restored == (sequence, _pending.Last))
        {
            answer(IoStatus.Ok, "");
            return;
        }
        _effects.Log($"the volume is put back to snapshot {sequence} from {_pending.Last + 1} on");
        _restore = new RestoreOperation(sequence) { Answer = answer };
        _effects.Journal(new RestoreStarted(Volume, sequence));
        _effects.OnChanged();
    }

    private SnapshotAnswer? WhyNoRestore(ulong sequence)
    {
        if (!_state.Snapshots.Any(snapshot => snapshot.Sequence == sequence)) return new SnapshotAnswer(IoStatus.Missing, "it has no such snapshot (any more); list its snapshots");
        if (_state.Attachment is { Mode: AttachmentMode.Exclusive } attachment)
            return new SnapshotAnswer(IoStatus.Busy, $"it is attached to node {attachment.NodeName}; stop what uses it and detach it first");
        var users = _sessions.Values.Where(session => session.Route.IsUp).Select(session => session.Link!.Peer).Distinct().Count();
        if (users > 0) return new SnapshotAnswer(IoStatus.Busy, $"it is in use on {users} {(users == 1 ? "node" : "nodes")}; stop what uses it first");
        if (_effects.Local is { } local && !local.Snapshots.Contains(sequence)) return new SnapshotAnswer(IoStatus.Missing, "this copy does not have that snapshot");
        return Phase == VolumePhase.Serving && ReturnLeftMs() is > 0 and var left
            ? new SnapshotAnswer(IoStatus.Busy, $"who used it when its owner or the connection to it was lost may be on the way back, with writes, for {(left + 999) / 1000} s more; to cut them off, "
                + $"attach it to a node and detach it (myrmidon volume attach {Spec.FullName} --node NODE; myrmidon volume detach {Spec.FullName})") : null;
    }

    /// <summary>
    /// How long sessions whose owner, or whose connection, was lost hold their requests: one that came back after a restore would write into what it has never seen. Those of an older
    /// attachment can't come back (R11).
    /// <para>A write that was asked for before a restore can come after it in three ways. (1) Its session was open at an earlier owner, whose end it outlives: it opens here and sends again what is unanswered.
    /// Which sessions were open there nobody knows here, only which had written: those in the windows that the prefix had. Nobody's have been added to them since. One that had never written under this attachment,
    /// whose first write died with that owner, is in none; its client was answered nothing. (2) Its session was open here and its connection broke (<see cref="ClientSession.LostAtMs"/>), also when it has made
    /// place for another one since, or waited to present what it keeps (<see cref="_forgottenAtMs"/>). (3) It is held or throttled here. That goes with its session, and so do frames that are on their way: a session
    /// that is closed in order has sent all before, on the same connection, and nobody waits for what it left. So who left in order can't come back.</para>
    /// </summary>
    private long ReturnLeftMs()
    {
        var (now, hold, left) = (_effects.NowMs, Math.Max(Spec.HoldMs, ReturnGraceMs), 0L);
        if (_wroteBefore == _state.Attachment.Generation) left = _servingSinceMs + hold - now;
        if (_forgottenAtMs is { } forgotten) left = Math.Max(left, forgotten + hold - now);
        foreach (var session in _sessions.Values)
        {
            if (session.LostAtMs is { } lost) left = Math.Max(left, lost + hold - now);
        }
        return left;
    }

    /// <summary>The next part, once the one before it is on media everywhere.</summary>
    private void PumpRestore()
    {
        if (_state.RestoringTo == 0 || Phase != VolumePhase.Serving) return;
        if (_restore is null)
        {
            _effects.Log($"the volume is still to be put back to snapshot {_state.RestoringTo}, which an earlier owner began: from {_pending.Last + 1} on");
            _restore = new RestoreOperation(_state.RestoringTo);
        }
        if (_restore is not { IsEnding: false } restore || WhyNoMarkerNow() is not null) return;
        // One whose snapshot was deleted just before it was journaled has put nothing back.
        if (restore.Next == ulong.MaxValue || !IsJournaled(restore.Snapshot))
        {
            Invariant.That(restore.Next is 0 or ulong.MaxValue, "the snapshot to which a volume is being put back was deleted half-way");
            restore.IsEnding = true;
            _effects.Journal(new RestoreEnded(Volume));
            return;
        }
        Invariant.That(_effects.Local!.Snapshots.Contains(restore.Snapshot), "a volume is to be put back to a snapshot that its owner's copy does not have");
        if (!AreParts) restore.Next = 0;
        var end = AreParts ? _effects.Local.RestoreEnd(restore.Snapshot, restore.Next) : ulong.MaxValue;
        AppendMarker(new MarkerOperation(_pending.Last + 1) { RestoreFrom = restore.Snapshot, Part = new BlockSpan(restore.Next, end) });
    }

    /// <summary>Every copy that a record goes to reads markers of parts. In a cluster that is being upgraded the volume goes back in one turn.</summary>
    private bool AreParts
    {
        get
        {
            foreach (var session in _replicas.Values)
            {
                if (session is { Link: { } link } && link.Peer != _effects.Node && (link.CompatFeatures & MeshFeatures.PartialRestores) == 0) return false;
            }
            return true;
        }
    }

    private void OnPartRestored(MarkerOperation marker)
    {
        Invariant.That(_restore is not null && _restore.Snapshot == marker.RestoreFrom && _restore.Next == marker.Part.First, "a part of a restore came that was not the next one");
        _restore.Next = marker.Part.End;
        PumpRestore();
    }

    private void OnRestoreStarted(RestoreStarted started)
    {
        Invariant.That(_restore?.Snapshot == started.Sequence, "a restore was journaled that this owner did not ask for");
        PumpRestore();
    }

    private void OnRestoreEnded()
    {
        if (_restore is { Next: not ulong.MaxValue }) EndRestore(IoStatus.Missing, "that snapshot was deleted meanwhile");
        else
        {
            _restored = (_restore?.Snapshot ?? 0, _pending.Last);
            _effects.Log($"the volume is back at snapshot {_restore?.Snapshot}, as of {_pending.Last}");
            EndRestore(IoStatus.Ok, "");
        }
        PumpSnapshots();
        StartNextCatchUp();
    }

    private void EndRestore(IoStatus status, string sentence)
    {
        var restore = _restore;
        _restore = null;
        if (status != IoStatus.Ok) _effects.Log($"the volume is not back at snapshot {restore?.Snapshot}: {sentence}");
        restore?.Answer?.Invoke(status, sentence);
    }

    private string RestoringProgress() => $"{RestoringReason()}: {(_restore is { } restore ? Math.Min(restore.Next, Spec.SizeBlocks) * 100 / Math.Max(Spec.SizeBlocks, 1) : 0)} % of its blocks are";

    private string RestoringReason()
    {
        var sequence = RestoringTo;
        var name = _state.Snapshots.FirstOrDefault(snapshot => snapshot.Sequence == sequence).Name ?? $"{sequence}";
        return $"it is being put back to snapshot \"{name}\"";
    }
}
