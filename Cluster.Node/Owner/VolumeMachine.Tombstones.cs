using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

// R20: a tombstone tells a copy that was away what was trimmed, and hides what is older. It goes once every copy that the volume has is in sync and past it, on media.
public sealed partial class VolumeMachine
{
    private ulong _passed;
    private long _passedAtMs;

    /// <summary>
    /// Not while a range is being gathered: what a copy answered before a trim, sent on as a repair after it, must find the tombstone. Catch-ups can't be under way, as
    /// all copies are in sync; one that begins later begins from where its copy was in sync, which is not below what is passed now.
    /// </summary>
    private void TickPassed(long now)
    {
        if (_passedAtMs == 0) _passedAtMs = now + _effects.Repair.PassedIntervalMs;
        if (now < _passedAtMs || Phase != VolumePhase.Serving || _proposal is not null || _gathers.Count > 0) return;
        _passedAtMs = now + _effects.Repair.PassedIntervalMs;
        if (_effects.Local is not { HasTombstones: true } || !AreAllCopiesInSync()) return;
        var passed = Math.Min(DurableEverywhere(), Committed);
        if (passed <= _passed) return;
        _passed = passed;
        Span<byte> body = stackalloc byte[8];
        var writer = new BodyWriter(body);
        writer.U64(passed);
        foreach (var session in _replicas.Values) session.Link?.Send(Frame(FrameKind.Passed), writer.Written);
    }

    /// <summary>Of the journal's copies, not only of the members: a copy that is out needs the tombstones since it left.</summary>
    private bool AreAllCopiesInSync()
    {
        if (_replicas.Count != _state.Replicas.Length) return false;
        foreach (var session in _replicas.Values)
        {
            if (!IsMember(session) || session is not { Phase: ReplicaPhase.InSync, Aligned: true, Link: not null }) return false;
        }
        return true;
    }
}
