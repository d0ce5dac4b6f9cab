using Cluster.Messages.Wire;

namespace Cluster.Messages.Model;

/// <summary>
/// Which requests of which sessions the volume has applied (R12): per session everything below <c>AnsweredBelow</c> and a bitmap of the
/// <see cref="Limits.SessionWindowRequestsMax"/> ids above it. Replicated state: a function of the records applied, in order, so that every
/// replica holds the same. Not thread-safe; one loop.
/// </summary>
public sealed class SessionWindows
{
    private const int Words = Limits.SessionWindowRequestsMax / 64;
    private const byte EncodingVersion = 1;
    private readonly Dictionary<SessionId, Window> _windows = [];

    private sealed class Window
    {
        public ulong AnsweredBelow;
        public ulong LastSequence;
        public readonly ulong[] Bits = new ulong[Words];
    }

    public int Count => _windows.Count;

    /// <summary>The newest attachment generation of which a session has written, as far as is remembered; null: none has.</summary>
    public ulong? NewestGeneration
    {
        get
        {
            ulong? newest = null;
            foreach (var session in _windows.Keys) newest = Math.Max(newest ?? 0, session.Generation);
            return newest;
        }
    }

    /// <summary>Bytes that <see cref="Encode"/> needs.</summary>
    public int EncodedBytes => 1 + 4 + (_windows.Count * (32 + (Words * 8)));

    /// <summary>
    /// Notes that the request was applied by the record <paramref name="sequence"/>. The id must lie within the window above
    /// <paramref name="answeredBelow"/>; the owner admits no other (<see cref="Admits"/>).
    /// </summary>
    public void Apply(SessionId session, ulong requestId, ulong answeredBelow, ulong sequence)
    {
        if (!session.IsValid) return;
        if (!_windows.TryGetValue(session, out var window))
        {
            if (_windows.Count == Limits.SessionsPerVolumeMax) EvictOldest();
            _windows.Add(session, window = new Window());
        }
        window.LastSequence = Math.Max(window.LastSequence, sequence);
        Advance(window, answeredBelow);
        if (requestId < window.AnsweredBelow) return;
        Invariant.That(requestId - window.AnsweredBelow < Limits.SessionWindowRequestsMax, "a request id lies beyond its session's window");
        var bit = (int)(requestId % Limits.SessionWindowRequestsMax);
        window.Bits[bit >> 6] |= 1UL << (bit & 63);
    }

    public bool Contains(SessionId session, ulong requestId)
    {
        if (!_windows.TryGetValue(session, out var window)) return false;
        if (requestId < window.AnsweredBelow) return true;
        if (requestId - window.AnsweredBelow >= Limits.SessionWindowRequestsMax) return false;
        var bit = (int)(requestId % Limits.SessionWindowRequestsMax);
        return (window.Bits[bit >> 6] & (1UL << (bit & 63))) != 0;
    }

    /// <summary>Ids of the session below this one are all known as applied; 0 for a session that is not known.</summary>
    public ulong AnsweredBelow(SessionId session) => _windows.TryGetValue(session, out var window) ? window.AnsweredBelow : 0;

    /// <summary>Whether a request with these ids can be noted.</summary>
    public static bool Admits(ulong requestId, ulong answeredBelow) =>
        requestId >= answeredBelow && requestId - answeredBelow < Limits.SessionWindowRequestsMax;

    /// <summary>version u8 | count u32 | per session, in order of id: session 16 B | answered below u64 | last sequence u64 | bitmap 128 B.</summary>
    public int Encode(Span<byte> to)
    {
        var writer = new BodyWriter(to);
        writer.U8(EncodingVersion);
        writer.U32((uint)_windows.Count);
        foreach (var (session, window) in _windows.OrderBy(pair => pair.Key.Generation).ThenBy(pair => pair.Key.Incarnation))
        {
            writer.Session(session);
            writer.U64(window.AnsweredBelow);
            writer.U64(window.LastSequence);
            foreach (var word in window.Bits) writer.U64(word);
        }
        return writer.Length;
    }

    /// <summary>Null for anything that <see cref="Encode"/> did not write.</summary>
    public static SessionWindows? TryDecode(ReadOnlySpan<byte> from)
    {
        var reader = new BodyReader(from);
        var result = new SessionWindows();
        if (reader.U8() != EncodingVersion) return null;
        var count = reader.U32();
        if (count > Limits.SessionsPerVolumeMax) return null;
        SessionId last = default;
        for (var index = 0; index < count; index++)
        {
            var session = reader.Session();
            var window = new Window { AnsweredBelow = reader.U64(), LastSequence = reader.U64() };
            for (var word = 0; word < Words; word++) window.Bits[word] = reader.U64();
            if (!session.IsValid || !IsAfter(session, last)) return null;
            result._windows.Add(session, window);
            last = session;
        }
        return reader.AtEnd ? result : null;
    }

    private static void Advance(Window window, ulong answeredBelow)
    {
        if (answeredBelow <= window.AnsweredBelow) return;
        if (answeredBelow - window.AnsweredBelow >= Limits.SessionWindowRequestsMax) Array.Clear(window.Bits);
        else
        {
            for (var id = window.AnsweredBelow; id < answeredBelow; id++)
            {
                var bit = (int)(id % Limits.SessionWindowRequestsMax);
                window.Bits[bit >> 6] &= ~(1UL << (bit & 63));
            }
        }
        window.AnsweredBelow = answeredBelow;
    }

    /// <summary>The session applied to longest ago goes; ties by id, so that every replica drops the same one.</summary>
    private void EvictOldest()
    {
        SessionId? oldest = null;
        var lowest = ulong.MaxValue;
        foreach (var (session, window) in _windows)
        {
            if (oldest is { } known && (window.LastSequence > lowest || (window.LastSequence == lowest && IsAfter(session, known)))) continue;
            (oldest, lowest) = (session, window.LastSequence);
        }
        _windows.Remove(oldest!.Value);
    }

    private static bool IsAfter(SessionId left, SessionId right) =>
        left.Generation != right.Generation ? left.Generation > right.Generation : left.Incarnation > right.Incarnation;
}
