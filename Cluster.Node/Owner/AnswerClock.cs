namespace Cluster.Node.Owner;

/// <summary>
/// How long one copy takes to answer: one record and one sync are timed at a time, and what is still owed counts with its age. Pure.
/// </summary>
internal sealed class AnswerClock
{
    private ulong _record;
    private long _recordSentMs;
    private ulong _sync;
    private long _syncSentMs;
    private long _worstMs = -1;

    public void OnSent(ulong sequence, long nowMs)
    {
        if (_record == 0) (_record, _recordSentMs) = (sequence, nowMs);
    }

    public void OnSyncAsked(ulong sequence, long nowMs)
    {
        if (_sync == 0) (_sync, _syncSentMs) = (sequence, nowMs);
    }

    public void OnAnswer(ulong appended, ulong durable, long nowMs)
    {
        if (_record != 0 && appended >= _record)
        {
            _worstMs = Math.Max(_worstMs, nowMs - _recordSentMs);
            _record = 0;
        }
        if (_sync == 0 || durable < _sync) return;
        _worstMs = Math.Max(_worstMs, nowMs - _syncSentMs);
        _sync = 0;
    }

    /// <summary>The longest that an answer took, or takes, since this was last asked; -1: nothing was asked of it.</summary>
    public long TakeWorst(long nowMs)
    {
        if (_record != 0) _worstMs = Math.Max(_worstMs, nowMs - _recordSentMs);
        if (_sync != 0) _worstMs = Math.Max(_worstMs, nowMs - _syncSentMs);
        var worst = _worstMs;
        _worstMs = -1;
        return worst;
    }

    public void Reset() => (_record, _sync, _worstMs) = (0, 0, -1);
}
