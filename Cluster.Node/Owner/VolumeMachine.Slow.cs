using Cluster.Node.Repair;

namespace Cluster.Node.Owner;

// R7: a copy that answers much later than the others is journaled out before it makes every write late, and is taken back when it has been healthy for a while.
// When it is the owner's own, the owner moves to another.
public sealed partial class VolumeMachine
{
    /// <summary>A move that was asked for is asked for again after this long.</summary>
    private const int MoveRetryMs = 30_000;

    /// <summary>Out of the set, a copy is asked for a sign of health this often: a promise, which its disk must sync.</summary>
    private const int HealthCheckMs = 1000;

    private readonly List<ReplicaSession> _compared = [];
    private long _windowEndsMs;
    private long _moveNotBeforeMs;

    private long SlowLagMs => (long)_effects.Repair.Options.SlowLag.TotalMilliseconds;

    private void TickSlow(long now)
    {
        foreach (var session in _replicas.Values) TickHealth(session, now);
        if (now < _windowEndsMs || Phase != VolumePhase.Serving) return;
        _windowEndsMs = now + SlowPolicy.WindowMs;
        _compared.Clear();
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && session is { Phase: ReplicaPhase.InSync, Aligned: true }) _compared.Add(session);
        }
        Span<long> latencies = stackalloc long[_compared.Count];
        for (var index = 0; index < latencies.Length; index++) latencies[index] = _compared[index].Answers.TakeWorst(now);
        if (SlowLagMs == 0) return;
        var slow = SlowPolicy.SlowOf(latencies, SlowLagMs);
        for (var index = 0; index < latencies.Length; index++)
        {
            var session = _compared[index];
            if ((slow & (1u << index)) != 0) session.SlowForMs += SlowPolicy.WindowMs;
            else if (latencies[index] >= 0 || slow == 0) session.SlowForMs = 0;
            if (session.SlowForMs >= _effects.Repair.Options.SlowFor.TotalMilliseconds) OnSlow(session, latencies, index, now);
        }
    }

    private void OnSlow(ReplicaSession session, ReadOnlySpan<long> latencies, int index, long now)
    {
        var others = 0L;
        for (var other = 0; other < latencies.Length; other++)
        {
            if (other != index && _compared[other].SlowForMs == 0) others = Math.Max(others, latencies[other]);
        }
        var reason = $"{session.Placement.NodeName} is slow: its answers took up to {latencies[index]} ms for {session.SlowForMs / 1000} s, those of the others {others} ms";
        if (IsLocal(session)) MoveFrom(reason, now);
        else if (_state.InSync.Length > Spec.InSyncMin && _proposal is null && !session.ShouldLeave)
        {
            Offend(session);
            _effects.OnSlow(session.Placement.NodeName, isOwner: false, reason);
            Leave(session, reason);
        }
    }

    /// <summary>The owner's own disk is the slow one: an owner elsewhere can do without it, this one can't.</summary>
    private void MoveFrom(string reason, long now)
    {
        if (now < _moveNotBeforeMs) return;
        foreach (var session in _compared)
        {
            if (IsLocal(session) || session.SlowForMs > 0 || session.ShouldLeave) continue;
            _moveNotBeforeMs = now + MoveRetryMs;
            _effects.OnSlow(_effects.NodeName, isOwner: true, reason);
            _effects.MoveOwner(session.Placement.Node, session.Placement.NodeName, reason);
            return;
        }
    }

    /// <summary>It is out, or about to be, for its slowness: it comes back when it has been healthy for long enough, each time for longer.</summary>
    private void Offend(ReplicaSession session)
    {
        var options = _effects.Repair.Options;
        // What lies long enough in the past is forgiven.
        if (_effects.NowMs - session.OffendedAtMs > SlowPolicy.WaitMs(int.MaxValue, (long)options.SlowWait.TotalMilliseconds)) session.Offences = 0;
        session.Offences++;
        session.OffendedAtMs = _effects.NowMs;
        session.HoldOffMs = SlowPolicy.WaitMs(session.Offences, (long)options.SlowWait.TotalMilliseconds);
        session.HealthySinceMs = 0;
    }

    /// <summary>It did not answer at all for a while. Who does that once may have been paused; who does it again, soon, is slow.</summary>
    private void OffendByTimeout(ReplicaSession session)
    {
        if (SlowLagMs == 0) return;
        Offend(session);
        session.IsSilent = true;
        if (session.Offences == 1) session.HoldOffMs = 0;
    }

    /// <summary>
    /// Its connection broke before it said anything: its node hung, or the network was cut, and its disk is not to be blamed. It is caught up as soon as it is
    /// reached again.
    /// </summary>
    private static void PardonSilence(ReplicaSession session)
    {
        if (!session.IsSilent) return;
        session.IsSilent = false;
        session.Offences--;
        session.HoldOffMs = 0;
    }

    /// <summary>A slow copy is better than I/O that is held for want of one.</summary>
    private bool IsHeldOff(ReplicaSession session) => session.HoldOffMs > 0 && _state.InSync.Length >= Spec.InSyncMin;

    private void TickHealth(ReplicaSession session, long now)
    {
        if (session.HoldOffMs == 0 || IsMember(session)) return;
        if (session is { Phase: ReplicaPhase.Promised, Link: not null } && now - session.PromiseSentMs >= HealthCheckMs && IsHeldOff(session)) SendPromise(session);
    }

    /// <summary>A copy that is held off has promised, which its disk had to sync.</summary>
    private void OnHealth(ReplicaSession session)
    {
        if (session.HoldOffMs == 0) return;
        var now = _effects.NowMs;
        if (!SlowPolicy.IsFine(now - session.PromiseSentMs, SlowLagMs))
        {
            session.HealthySinceMs = 0;
            return;
        }
        if (session.HealthySinceMs == 0) session.HealthySinceMs = now;
        if (now - session.HealthySinceMs < session.HoldOffMs) return;
        _effects.Log($"{session.Placement.NodeName} was healthy for {session.HoldOffMs / 1000} s and is caught up");
        session.HoldOffMs = 0;
    }

    /// <summary>For users: who is out for its slowness, and for how long.</summary>
    private string SlowReason()
    {
        foreach (var session in _replicas.Values)
        {
            if (session.HoldOffMs > 0 && !IsMember(session))
                return $"the copy on node {session.Placement.NodeName} was too slow and is taken back when it has been healthy for {session.HoldOffMs / 1000} s";
        }
        return "";
    }
}
