namespace Cluster.Node.Repair;

/// <summary>
/// A bound on bytes per second, shared by all that take from it. What is taken may overdraw it once; then nothing is had before it is made up for, so that
/// the bound holds over time whatever the size of a piece. Pure; on one loop. 0 bytes per second: nothing is ever had.
/// </summary>
public sealed class Pace(long bytesPerSecond)
{
    /// <summary>What is not taken is kept for this long, no longer: an idle time does not become a burst.</summary>
    private const int KeptMs = 200;

    /// <summary>More is the same: 1 TiB per second.</summary>
    public const long BytesPerSecondMax = 1L << 40;

    private long _milliBytes;
    private long _atMs;
    private bool _isStarted;

    public long BytesPerSecond { get; private set; } = Math.Clamp(bytesPerSecond, 0, BytesPerSecondMax);

    public void Set(long bytesPerSecond, long nowMs)
    {
        IsOpen(nowMs);
        BytesPerSecond = Math.Clamp(bytesPerSecond, 0, BytesPerSecondMax);
    }

    /// <summary>Whether something may be taken now.</summary>
    public bool IsOpen(long nowMs)
    {
        if (!_isStarted) (_isStarted, _atMs) = (true, nowMs);
        var elapsedMs = Math.Clamp(nowMs - _atMs, 0, 60_000);
        _milliBytes = Math.Min(_milliBytes + (elapsedMs * BytesPerSecond), KeptMs * BytesPerSecond);
        _atMs = nowMs;
        return BytesPerSecond > 0 && _milliBytes >= 0;
    }

    public void Take(long bytes) => _milliBytes -= bytes * 1000;
}
