using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Wire;

public class SessionWindowsSpecs
{
    private const ulong WindowMax = Limits.SessionWindowRequestsMax;
    private static readonly SessionId Session = new(1, 7);
    private readonly SessionWindows _windows = new();

    [Fact(DisplayName = "An applied request is known, others of the window are not")]
    public void Applied_is_known()
    {
        _windows.Apply(Session, 5, 0, 1);
        Assert.True(_windows.Contains(Session, 5));
        Assert.False(_windows.Contains(Session, 4));
        Assert.False(_windows.Contains(Session, 5 + WindowMax));
        Assert.False(_windows.Contains(new SessionId(2, 7), 5));
        Assert.Equal(0UL, _windows.AnsweredBelow(new SessionId(2, 7)));
    }

    [Fact(DisplayName = "Everything below the mark counts as applied, and the mark never goes back")]
    public void Below_the_mark()
    {
        _windows.Apply(Session, 100, 90, 1);
        Assert.True(_windows.Contains(Session, 89));
        Assert.False(_windows.Contains(Session, 90));
        _windows.Apply(Session, 99, 50, 2);
        Assert.Equal(90UL, _windows.AnsweredBelow(Session));
        Assert.True(_windows.Contains(Session, 99));
    }

    [Fact(DisplayName = "A place in the window that is used again starts empty, for small and for large steps of the mark")]
    public void Reuse_of_places()
    {
        for (ulong id = 0; id < WindowMax; id++) _windows.Apply(Session, id, 0, id + 1);
        _windows.Apply(Session, WindowMax + 3, 10, 2000);
        Assert.False(_windows.Contains(Session, WindowMax));
        Assert.False(_windows.Contains(Session, WindowMax + 9));
        Assert.True(_windows.Contains(Session, WindowMax + 3));
        Assert.True(_windows.Contains(Session, WindowMax - 1));
        _windows.Apply(Session, 5 * WindowMax, 5 * WindowMax, 2001);
        for (var id = (5 * WindowMax) + 1; id < 6 * WindowMax; id++) Assert.False(_windows.Contains(Session, id));
    }

    [Fact(DisplayName = "What the owner admits can always be noted; an id beyond the window is a fault of the program")]
    public void Admission()
    {
        Assert.True(SessionWindows.Admits(10, 10));
        Assert.True(SessionWindows.Admits(9 + WindowMax, 10));
        Assert.False(SessionWindows.Admits(10 + WindowMax, 10));
        Assert.False(SessionWindows.Admits(9, 10));
        Assert.False(SessionWindows.Admits(ulong.MaxValue, 0));
        _windows.Apply(Session, 9 + WindowMax, 10, 1);
        _windows.Apply(Session, 0, ulong.MaxValue - 5, 2);
        _windows.Apply(Session, ulong.MaxValue, ulong.MaxValue - 5, 3);
        Assert.True(_windows.Contains(Session, ulong.MaxValue));
        Assert.Throws<InvariantException>(() => _windows.Apply(new SessionId(1, 8), WindowMax, 0, 3));
    }

    [Fact(DisplayName = "Against a plain set: random requests, replays and marks give the same answers")]
    public void Model_check()
    {
        var random = new Random(11);
        var applied = new HashSet<ulong>();
        ulong mark = 0;
        for (ulong step = 1; step < 20_000; step++)
        {
            var id = mark + (ulong)random.Next((int)WindowMax);
            Assert.Equal(applied.Contains(id), _windows.Contains(Session, id));
            _windows.Apply(Session, id, mark, step);
            applied.Add(id);
            while (applied.Contains(mark) || random.Next(4) == 0) applied.Add(mark++);
        }
    }

    [Fact(DisplayName = "A record without a session leaves no trace")]
    public void No_session()
    {
        _windows.Apply(default, 5, 0, 1);
        Assert.Equal(0, _windows.Count);
    }

    [Fact(DisplayName = "At the bound the session that applied longest ago goes, the same one on every replica")]
    public void Eviction()
    {
        for (ulong number = 1; number <= Limits.SessionsPerVolumeMax; number++)
            _windows.Apply(new SessionId(number, 1), 0, 0, 100 + number);
        _windows.Apply(new SessionId(1, 1), 1, 0, 1000);
        _windows.Apply(new SessionId(999, 1), 0, 0, 1001);
        Assert.Equal(Limits.SessionsPerVolumeMax, _windows.Count);
        Assert.True(_windows.Contains(new SessionId(1, 1), 0));
        Assert.False(_windows.Contains(new SessionId(2, 1), 0));
        Assert.True(_windows.Contains(new SessionId(3, 1), 0));
        var copy = SessionWindows.TryDecode(Encode(_windows))!;
        copy.Apply(new SessionId(1000, 1), 0, 0, 1002);
        _windows.Apply(new SessionId(1000, 1), 0, 0, 1002);
        Assert.Equal(Encode(_windows), Encode(copy));
        Assert.False(copy.Contains(new SessionId(3, 1), 0));
    }

    [Fact(DisplayName = "Equal histories give equal bytes, whatever the order of the sessions, and the bytes read back")]
    public void Encoding()
    {
        var other = new SessionWindows();
        _windows.Apply(new SessionId(2, 1), 3, 1, 1);
        _windows.Apply(new SessionId(1, 2), 4, 2, 2);
        other.Apply(new SessionId(1, 2), 4, 2, 2);
        other.Apply(new SessionId(2, 1), 3, 1, 1);
        Assert.Equal(Encode(_windows), Encode(other));
        var back = SessionWindows.TryDecode(Encode(_windows))!;
        Assert.Equal(Encode(_windows), Encode(back));
        Assert.True(back.Contains(new SessionId(2, 1), 3));
        Assert.False(back.Contains(new SessionId(2, 1), 2));
    }

    [Fact(DisplayName = "Cut, longer, unsorted, repeated and over-full encodings are refused")]
    public void Bad_encodings()
    {
        _windows.Apply(new SessionId(1, 1), 0, 0, 1);
        _windows.Apply(new SessionId(2, 1), 0, 0, 2);
        var bytes = Encode(_windows);
        for (var length = 0; length < bytes.Length; length++) Assert.Null(SessionWindows.TryDecode(bytes.AsSpan(0, length)));
        Assert.Null(SessionWindows.TryDecode([.. bytes, 0]));
        Assert.Null(SessionWindows.TryDecode(With(bytes, 0, 2)));
        Assert.Null(SessionWindows.TryDecode(With(bytes, 1, Limits.SessionsPerVolumeMax + 1)));
        Assert.Null(SessionWindows.TryDecode(With(bytes, 5, 2)));
        Assert.Null(SessionWindows.TryDecode(With(bytes, 5, 3)));
        Assert.Null(SessionWindows.TryDecode(With(bytes, 13, 0)));
    }

    private static byte[] With(byte[] bytes, int at, byte value)
    {
        var copy = (byte[])bytes.Clone();
        copy[at] = value;
        return copy;
    }

    private static byte[] Encode(SessionWindows windows)
    {
        var bytes = new byte[windows.EncodedBytes];
        Assert.Equal(bytes.Length, windows.Encode(bytes));
        return bytes;
    }
}
