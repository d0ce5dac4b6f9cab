namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// A file of a <see cref="SimulatedDisk"/>: what the page cache has of it, and what is on media. Where the two differ, a sector is either
/// not synced yet, or lost: a sync failed, the cache calls it clean, and no later sync writes it.
/// </summary>
internal sealed class SimulatedFile
{
    public const int SectorBytes = SimulatedDisk.SectorBytes;

    /// <summary>By sector: the operation that wrote it first since it was on media.</summary>
    private readonly SortedDictionary<long, long> _unsynced = [];
    private readonly SortedDictionary<long, long> _lost = [];
    private long _durableLength;

    public byte[] Content { get; private set; } = [];

    public byte[] Durable { get; private set; } = [];

    /// <summary>When its name was given to it.</summary>
    public long NamedAt { get; set; }

    /// <summary>Room that is reserved for it from its start on, whatever its length.</summary>
    public long KeptBytes { get; set; }

    /// <summary>What it takes of the disk.</summary>
    public long RoomBytes => Math.Max(Content.LongLength, KeptBytes);

    public bool IsDirty => _unsynced.Count > 0;

    /// <summary>The first operation whose bytes are not all on media; none: the greatest number.</summary>
    public long FirstMissing
    {
        get
        {
            var first = FirstLost;
            foreach (var at in _unsynced.Values) first = Math.Min(first, at);
            return first;
        }
    }

    /// <summary>But for the sector of that byte.</summary>
    public bool IsSyncedFrom(long offset) => !_unsynced.Keys.Concat(_lost.Keys).Any(sector => sector > offset / SectorBytes);

    /// <summary>The first operation of those whose bytes a failed sync left in the page cache, which calls them clean; none: the greatest number.</summary>
    public long FirstLost
    {
        get
        {
            var first = long.MaxValue;
            foreach (var at in _lost.Values) first = Math.Min(first, at);
            return first;
        }
    }

    public void Resize(long length)
    {
        if (length <= Content.Length) return;
        Content = Resized(Content, length);
        Durable = Resized(Durable, length);
    }

    public void Put(long offset, ReadOnlySpan<byte> bytes, long operation)
    {
        Resize(offset + bytes.Length);
        bytes.CopyTo(Content.AsSpan((int)offset));
        for (var sector = offset / SectorBytes; sector <= (offset + bytes.Length - 1) / SectorBytes; sector++)
        {
            var since = _lost.Remove(sector, out var lost) ? lost : _unsynced.GetValueOrDefault(sector, long.MaxValue);
            _unsynced[sector] = Math.Min(since, operation);
        }
    }

    public void Sync()
    {
        foreach (var sector in _unsynced.Keys) CopySector(sector, Content, Durable);
        _unsynced.Clear();
        _durableLength = Content.Length;
    }

    /// <summary>As Linux does it: the pages are marked clean and are not on media; the next sync says Ok.</summary>
    public void FailSync()
    {
        foreach (var (sector, at) in _unsynced) _lost[sector] = at;
        _unsynced.Clear();
    }

    /// <summary>The page cache drops what it believes to be clean: reads find what is on media.</summary>
    public void Evict(Func<bool> drops)
    {
        foreach (var sector in _lost.Keys)
        {
            if (drops()) CopySector(sector, Durable, Content);
        }
    }

    /// <summary>The power went. A length that was not synced may be gone too; what was never written within it reads as zeroes.</summary>
    public void Crash(Func<bool> survives)
    {
        foreach (var sector in _unsynced.Keys)
        {
            if (survives()) CopySector(sector, Content, Durable);
        }
        _unsynced.Clear();
        _lost.Clear();
        if (_durableLength < Content.Length && !survives()) Durable = Resized(Durable, _durableLength);
        (_durableLength, Content) = (Durable.Length, (byte[])Durable.Clone());
    }

    /// <summary>What is missing up to here is nobody's any more.</summary>
    public void Forget()
    {
        foreach (var sector in _unsynced.Keys.ToArray()) _unsynced[sector] = long.MaxValue;
        foreach (var sector in _lost.Keys.ToArray()) _lost[sector] = long.MaxValue;
    }

    /// <summary>Nothing names what was written to it so far; but what a failed sync has lost stays lost.</summary>
    public bool ForgetUnsynced()
    {
        var hasForgotten = false;
        foreach (var (sector, at) in _unsynced.ToArray())
        {
            hasForgotten |= at < long.MaxValue;
            _unsynced[sector] = long.MaxValue;
        }
        return hasForgotten;
    }

    /// <summary>Silent corruption, on media too.</summary>
    public void FlipBit(long bit)
    {
        Content[bit >> 3] ^= (byte)(1 << (int)(bit & 7));
        Durable[bit >> 3] ^= (byte)(1 << (int)(bit & 7));
    }

    /// <summary>The file as it is on media, or as a process finds it now.</summary>
    public SimulatedFile Copy(bool media)
    {
        var bytes = media ? Durable[..(int)Math.Min(_durableLength, Durable.Length)] : (byte[])Content.Clone();
        return new SimulatedFile { Content = bytes, Durable = (byte[])bytes.Clone(), _durableLength = bytes.Length };
    }

    private static byte[] Resized(byte[] bytes, long length)
    {
        Array.Resize(ref bytes, (int)length);
        return bytes;
    }

    private static void CopySector(long sector, byte[] from, byte[] to)
    {
        var at = sector * SectorBytes;
        if (at < from.LongLength) Array.Copy(from, at, to, at, Math.Min(SectorBytes, from.LongLength - at));
    }
}
