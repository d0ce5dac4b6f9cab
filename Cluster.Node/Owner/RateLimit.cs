using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>
/// Bounds I/Os and bytes per second: the generic cell rate algorithm (ITU-T I.371, virtual scheduling) for each of the two. Each keeps the moment at which all that was let through is paid
/// for; what comes passes while that lies no further ahead than the credit that may be saved. Over any time T no more passes than rate x (T + credit), and one I/O. What waits is the caller's.
/// Allocates nothing. Pure. One thread's.
/// </summary>
public sealed class RateLimit
{
    /// <summary>Credit without a burst: wakes may come a little late, and the rate is kept all the same.</summary>
    public const int CreditMs = 100;

    private const double NanosPerSecond = 1e9;
    private const long NanosPerMs = 1_000_000;

    private double _nanosPerIo;
    private double _nanosPerByte;
    private long _creditNanos;
    private long _iosPaidAt;
    private long _bytesPaidAt;

    /// <summary>There is a limit.</summary>
    public bool IsSet => _nanosPerIo > 0 || _nanosPerByte > 0;

    /// <summary>Null: no limit. What is owed under the rates until now is forgotten but for the credit: a higher limit counts at once.</summary>
    public void Set(long? iosPerSecond, long? bytesPerSecond, TimeSpan? burst, long nowMs)
    {
        (_nanosPerIo, _nanosPerByte) = (CostAt(iosPerSecond), CostAt(bytesPerSecond));
        _creditNanos = burst is { } time ? (long)time.TotalMilliseconds * NanosPerMs : CreditMs * NanosPerMs;
        // Somebody who changes a limit again and again gets no burst for it.
        _iosPaidAt = Math.Min(_iosPaidAt, (nowMs * NanosPerMs) + _creditNanos);
        _bytesPaidAt = Math.Min(_bytesPaidAt, (nowMs * NanosPerMs) + _creditNanos);
    }

    private static double CostAt(long? perSecond) => perSecond is { } rate ? NanosPerSecond / rate : 0;

    /// <summary>Lets one I/O of so many bytes through, or not now.</summary>
    public bool TryTake(long nowMs, long bytes)
    {
        Invariant.That(bytes >= 0, "an I/O of less than no bytes");
        var now = nowMs * NanosPerMs;
        if (_iosPaidAt > now + _creditNanos || _bytesPaidAt > now + _creditNanos) return false;
        if (_nanosPerIo > 0) _iosPaidAt = Math.Max(_iosPaidAt, now) + (long)Math.Round(_nanosPerIo);
        if (_nanosPerByte > 0) _bytesPaidAt = Math.Max(_bytesPaidAt, now) + (long)Math.Round(_nanosPerByte * bytes);
        return true;
    }

    /// <summary>Milliseconds until the next I/O passes; 0: now.</summary>
    public long WaitMs(long nowMs)
    {
        var ahead = Math.Max(_iosPaidAt, _bytesPaidAt) - (nowMs * NanosPerMs) - _creditNanos;
        return ahead <= 0 ? 0 : (ahead + NanosPerMs - 1) / NanosPerMs;
    }
}
