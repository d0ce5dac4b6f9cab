namespace Cluster.Node.Owner;

/// <summary>
/// Ticks of a volume that nobody uses. While nothing is under way or owed, a tick does nothing until the next thing is due by the clock, and once a second everything all the same.
/// What is under way is looked for at every tick anew, whoever began it, so that nothing that waits for a tick waits longer than without rest.
/// </summary>
public sealed partial class VolumeMachine
{
    /// <summary>What no tick looks for at rest (a scrub that is due, snapshots that the journal does not have) is found this much later at most.</summary>
    internal const long RestMsMax = 1000;

    private long _restUntilMs;

    /// <summary>Windows of slow copies and the word of passed trims end as they do without rest.</summary>
    private void RestUntilNext(long now) => _restUntilMs = Math.Min(now + RestMsMax, Math.Min(_windowEndsMs, _passedAtMs));

    /// <summary>Every timer of the machine that bounds something is stopped, and nothing waits: all copies are in sync, connected, owe nothing, and know the newest watermark.</summary>
    private bool IsAtRest()
    {
        if (Phase != VolumePhase.Serving || _pending.Count > 0 || _stampsOwed || _opensOwed || _joinersStamped.Length > 0) return false;
        if (_flushes.Count > 0 || _heldReads.Count > 0 || _heldWrites.Count > 0 || _turns.Count > 0 || _gathering != Gathering.None || _presented.Count > 0) return false;
        if (_proposal is not null || _marker is not null || _shrink is not null || _adopting.Count > 0 || IsRestoring) return false;
        if (_scrub is not null || _gathers.Count > 0 || _mends.Count > 0) return false;
        // Not before a tick has seen that no write is held any more: the next one that is held would be reported as held since then.
        if (_heldSinceMs != 0 || _isHeldForRoom || _toldThrottled.Ios != _throttledIos || _replicas.Count != _state.Replicas.Length) return false;
        foreach (var session in _replicas.Values)
        {
            if (!IsAtRest(session)) return false;
        }
        return true;
    }

    private bool IsAtRest(ReplicaSession session) =>
        session is { Phase: ReplicaPhase.InSync, Aligned: true, Link.IsUp: true, CatchUp: null, OwesSinceMs: 0, StalledUntilMs: 0, FullSinceMs: 0, HoldOffMs: 0 }
        && session is { IsDropping: false, ShouldLeave: false, MustLeave: false } && session.WatermarkSent >= Committed && IsMember(session) && !IsOpenOwed(session);
}
