using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

// Emptying disks: segment by segment as for space, whatever is live in them, at a pace, and with what is bad left where it is.
internal sealed partial class Cleaner
{
    private bool _drains;
    private bool _skipsBad;

    /// <summary>Its disk is to be emptied: bad bytes, and such as can't be read, are left where they are, and all else is moved.</summary>
    private bool _leavesBad;
    private long _windowAtBytes;
    private ILoopTimer? _drainTimer;
    private ILoopTimer? _restTimer;

    /// <summary>Of <see cref="MovedBytes"/>, what came from disks that are to be emptied.</summary>
    public long DrainedBytes { get; private set; }

    /// <summary>Takes a segment of a disk that is to be emptied, the one with least to move first. False: there is none that can be emptied now.</summary>
    public bool TryBeginDrain(ulong endNumber)
    {
        if (_restTimer is not null || DrainCandidate(endNumber) is not { } best) return false;
        (_drains, _windowAtBytes) = (true, DrainedBytes);
        Begin(best);
        return true;
    }

    /// <summary>One without uncommitted records (R4), and not one of which all that could be moved was, nor of a disk that does not answer. One of which something was read late goes first.</summary>
    public Segment? DrainCandidate(ulong endNumber)
    {
        Segment? best = null;
        foreach (var segment in store.Segments.All)
        {
            if (!segment.IsAvoided || segment.IsHung || segment.Number == 0 || segment.Number >= endNumber || segment is not { IsDead: false, TailRecords: 0, IsStuck: false, AwaitsReleases: false, IsMoving: false, IsTakingIn: false }) continue;
            if (HasLate(segment)) return segment;
            if (best is null || segment.LiveBytes < best.LiveBytes) best = segment;
        }
        return best;
    }

    private bool TakeSkip()
    {
        var skips = _skipsBad;
        _skipsBad = false;
        return skips;
    }

    /// <summary>Before the next window is read: as long as what was moved may take.</summary>
    private void PauseDrain() => _drainTimer = store.Schedule(TakePauseMs(), GoOnDraining);

    private int TakePauseMs()
    {
        var moved = DrainedBytes - _windowAtBytes;
        _windowAtBytes = DrainedBytes;
        return (int)(moved * 1000 / store.DrainBytesPerSecond);
    }

    private void GoOnDraining()
    {
        _drainTimer = null;
        // Space comes first, and a disk may be used again meanwhile: what is left waits. One that died meanwhile may be free, and its file deleted.
        if (store.IsStopping || !store.MayDrain || _source is not { IsAvoided: true, IsHung: false } source || source.Number != _sourceNumber) Stop();
        else Step();
    }

    /// <summary>Of one segment: the next one waits as long as the last window may take.</summary>
    private void EndDrain()
    {
        _drainTimer?.Cancel();
        _drainTimer = null;
        if (store.IsStopping)
        {
            _restTimer?.Cancel();
            return;
        }
        if (_drains && TakePauseMs() is > 0 and var pauseMs) _restTimer ??= store.Schedule(pauseMs, EndRest);
        _drains = false;
    }

    private void EndRest()
    {
        _restTimer = null;
        store.OnCleanerStepped();
    }
}
