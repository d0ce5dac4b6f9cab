using System.Runtime.InteropServices;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Placement;

namespace Cluster.Node.Owner;

// Limits of the volume (labels iops-max, bandwidth-max, burst): what would exceed them waits here, before it has a place in the order, by session in turn. Only the owner sees all sessions,
// so that the sum of several is within the limit (docs/adr/0013-limits-are-kept-by-the-owner.md).
public sealed partial class VolumeMachine
{
    /// <summary>
    /// Requests and bytes of writes that wait at one time; what comes beyond is refused as Busy, and the front end sends it again. A session of which nothing waits may always have one request
    /// wait, and so its turn, however much others have sent.
    /// </summary>
    public const int ThrottledMax = Limits.PendingRecordsMax;

    public const long ThrottledBytesMax = Limits.PendingBytesMax;

    /// <summary>Wakes are at least this far apart: what is due in between passes with the next one, and none of the rate is lost while this is within the saved credit.</summary>
    public const int WakeMsMin = 2;

    private const int WakeMsMax = 1000;

    private readonly RateLimit _limit = new();

    /// <summary>Sessions with something that waits, the next one first.</summary>
    private readonly Queue<ClientSession> _turns = new();
    private int _throttled;
    private long _throttledBytes;
    private bool _wakeAsked;
    private ulong _throttledIos;
    private ulong _throttledMs;
    private (ulong Ios, ulong Ms) _toldThrottled;

    /// <param name="Buffer">A write's, with one reference; null: a read.</param>
    /// <param name="ChargedBytes">What it counts for.</param>
    /// <param name="Reply">What answers it, if it is a read.</param>
    /// <param name="Known">Of a read by a front end that keeps blocks: which it has. With one reference, handed over.</param>
    private readonly record struct Throttled(
        ClientRoute From, ulong RequestId, RecordHeader Record, IoBuffer? Buffer, ClientReadBody Read, long ChargedBytes, long SinceMs,
        FrameKind Reply = FrameKind.Invalid, IoBuffer? Known = null);

    /// <summary>Requests that wait for the volume's limits.</summary>
    public int ThrottledNow => _throttled;

    /// <summary>As the spec's labels say. A spec that was recovered with labels of a later version has no limits.</summary>
    private void SetLimits()
    {
        var policy = VolumeLabels.Read(Spec.Labels).Policy;
        _limit.Set(policy?.IopsMax, policy?.BandwidthMax, policy?.Burst, _effects.NowMs);
    }

    /// <summary>Data counts in whole blocks; trims and zeroes have none.</summary>
    private static long ChargeOf(in RecordHeader record) => record.Kind == RecordKind.Write ? (long)record.Range.Count << Limits.BlockBytesLog2 : 0;

    private static long ChargeOf(in ClientReadBody read) => (long)read.Range.Count << Limits.BlockBytesLog2;

    /// <summary>True when nothing waits and the limits let it pass.</summary>
    private bool Passes(long bytes) => !_limit.IsSet || (_throttled == 0 && _limit.TryTake(_effects.NowMs, bytes));

    /// <summary>False when no more may wait.</summary>
    private bool Throttle(SessionId id, in Throttled request)
    {
        var session = _sessions[id];
        if (session.Waiting.Count > 0 && (_throttled >= ThrottledMax || _throttledBytes >= ThrottledBytesMax)) return false;
        request.Buffer?.AddReference();
        if (session.Waiting.Count == 0) _turns.Enqueue(session);
        session.Waiting.Enqueue(request);
        _throttled++;
        _throttledBytes += request.Buffer?.Length ?? 0;
        AskWake();
        return true;
    }

    private void AskWake()
    {
        if (_wakeAsked || _throttled == 0) return;
        _wakeAsked = true;
        _effects.Wake((int)Math.Clamp(_limit.WaitMs(_effects.NowMs), WakeMsMin, WakeMsMax));
    }

    /// <summary>What <see cref="IVolumeEffects.Wake"/> asked for.</summary>
    public void OnWake()
    {
        _wakeAsked = false;
        if (Phase == VolumePhase.Stopped) return;
        PumpThrottled();
    }

    /// <summary>One request of each session in turn. Once the owner drains nothing passes: it goes to the next one, like all that it was not sent.</summary>
    private void PumpThrottled()
    {
        while (Phase == VolumePhase.Serving && _turns.TryPeek(out var session))
        {
            if (_limit.IsSet && !_limit.TryTake(_effects.NowMs, session.Waiting.Peek().ChargedBytes)) break;
            _turns.Dequeue();
            var request = session.Waiting.Dequeue();
            if (session.Waiting.Count > 0) _turns.Enqueue(session);
            LeaveThrottled(in request);
            _throttledIos++;
            _throttledMs += (ulong)Math.Max(0, _effects.NowMs - request.SinceMs);
            Release(in request);
        }
        if (Phase == VolumePhase.Serving) AskWake();
    }

    /// <summary>Admitted anew: its session may be fenced by now.</summary>
    private void Release(in Throttled request)
    {
        if (request.Buffer is not { } buffer)
        {
            StartRead(request.From, request.RequestId, request.Read, request.Reply, request.Known is { } known ? MemoryMarshal.Cast<byte, ulong>(known.Span) : default);
            request.Known?.Release();
            return;
        }
        var record = request.Record;
        var status = request.From.Link is null ? IoStatus.Offline : AdmitWrite(request.From, in record);
        if (status != IoStatus.Ok) SendClientAck(request.From, record.RequestId, status, 0);
        else Order(request.From, ref record, buffer);
        buffer.Release();
    }

    private void LeaveThrottled(in Throttled request)
    {
        _throttled--;
        _throttledBytes -= request.Buffer?.Length ?? 0;
    }

    /// <summary>The session is over, or sends again what was not answered (R12).</summary>
    private void DropThrottled(ClientSession session)
    {
        if (session.Waiting.Count == 0) return;
        while (session.Waiting.TryDequeue(out var request))
        {
            LeaveThrottled(in request);
            request.Buffer?.Release();
            request.Known?.Release();
        }
        for (var left = _turns.Count; left > 0; left--)
        {
            var other = _turns.Dequeue();
            if (other != session) _turns.Enqueue(other);
        }
    }

    /// <summary>Told in sums, at ticks.</summary>
    private void TellThrottled()
    {
        if (_toldThrottled.Ios == _throttledIos) return;
        _effects.OnThrottled(_throttledIos - _toldThrottled.Ios, _throttledMs - _toldThrottled.Ms);
        _toldThrottled = (_throttledIos, _throttledMs);
    }

    private VolumeThrottling? ThrottlingView => _limit.IsSet ? new VolumeThrottling(_throttledIos, _throttledMs, _throttled) : null;
}
