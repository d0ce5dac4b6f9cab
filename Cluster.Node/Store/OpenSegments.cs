using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// How many segment files the directories of a store have open at one time: a store of 64 TiB has a million of them, more than any limit of a process. Those that were not used for longest are closed, and opened again
/// when they are. One that has bytes which are not on media stays open: an error of the kernel's own writing is told to those who have the file open, and may be told to nobody who opens it later (R10). So there
/// are somewhat more for moments, as many as were written to since the last fdatasync. Any thread.
/// </summary>
/// <param name="max">At least 1.</param>
public sealed class OpenSegments(int max)
{
    /// <summary>Where nobody says how many: a program that looks at a store.</summary>
    public const int MaxDefault = 512;

    /// <summary>Looked at for one that is opened: what is in use, or has to stay, is looked at again with the next.</summary>
    private const int LooksMax = 64;

    private readonly Lock _gate = new();

    /// <summary>Open ones, in the order in which they come up for a look. Under the gate.</summary>
    private readonly LinkedList<SegmentFile> _open = [];

    public int Max => max;

    /// <summary>How many are open.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _open.Count;
        }
    }

    /// <summary>The file has just been opened. Others may be closed for it.</summary>
    internal void Add(SegmentFile file)
    {
        lock (_gate)
        {
            // Whoever disposed it meanwhile has closed it.
            if (!file.IsDisposed) _open.AddLast(file.Place);
        }
        for (var look = 0; look < LooksMax; look++)
        {
            SegmentFile oldest;
            lock (_gate)
            {
                if (_open.Count <= max) return;
                oldest = _open.First!.Value;
                _open.RemoveFirst();
            }
            // Outside of the gate: a disk that hangs is not to hold up the others.
            if (oldest.TryClose()) continue;
            lock (_gate)
            {
                if (!oldest.IsDisposed) _open.AddLast(oldest.Place);
            }
        }
    }

    /// <summary>Marks the file as disposed; it counts no more.</summary>
    internal void Remove(SegmentFile file)
    {
        lock (_gate)
        {
            file.IsDisposed = true;
            if (file.Place.List is not null) _open.Remove(file.Place);
        }
    }
}

/// <summary>A segment's file, which may be closed between two calls (<see cref="OpenSegments"/>). Its name always leads to it: segments are never renamed.</summary>
internal sealed class SegmentFile : IDiskFile
{
    private const int Closed = -1;

    private readonly OpenSegments _all;
    private readonly Func<(DiskResult Result, FileDiskFile? File)> _open;
    private readonly Lock _opening = new();
    private FileDiskFile _file;

    /// <summary>Calls under way; or <see cref="Closed"/>, where nobody may use the file before it is opened again.</summary>
    private int _calls;

    /// <summary>It may have bytes, or a length, that are not on media.</summary>
    private volatile bool _isDirty;

    /// <summary>Since it came up for a look last.</summary>
    private volatile bool _wasUsed = true;
    private long _lengthBytes;

    private SegmentFile(OpenSegments all, Func<(DiskResult, FileDiskFile?)> open, FileDiskFile file)
    {
        (_all, _open, _file) = (all, open, file);
        Place = new LinkedListNode<SegmentFile>(this);
    }

    internal LinkedListNode<SegmentFile> Place { get; }

    /// <summary>Under the gate of <see cref="OpenSegments"/>.</summary>
    internal bool IsDisposed { get; set; }

    public long LengthBytes
    {
        get
        {
            lock (_opening)
            {
                // Of one that is closed nobody changes it.
                return Volatile.Read(ref _calls) == Closed ? _lengthBytes : _file.LengthBytes;
            }
        }
    }

    /// <param name="open">Opens the same file; it is there already.</param>
    internal static SegmentFile Of(OpenSegments all, FileDiskFile file, Func<(DiskResult, FileDiskFile?)> open)
    {
        var made = new SegmentFile(all, open, file);
        all.Add(made);
        return made;
    }

    public int AheadBytes => FileDiskFile.ZeroesAheadBytes;

    public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
    {
        var entered = Enter();
        if (!entered.IsOk) return entered;
        var result = _file.Write(offsetBytes, vectors);
        // Behind the call, and before it counts as ended: a sync that runs beside it may not cover it.
        _isDirty = true;
        Leave();
        return result;
    }

    public DiskResult Read(long offsetBytes, Span<byte> to)
    {
        var entered = Enter();
        if (!entered.IsOk) return entered;
        var result = _file.Read(offsetBytes, to);
        Leave();
        return result;
    }

    /// <summary>An open may wait for the device: one that is closed is for the disk thread.</summary>
    public DiskResult TryReadCached(long offsetBytes, Span<byte> to)
    {
        if (!TryEnter()) return new DiskResult(IoStatus.Busy, 0, null);
        var result = _file.TryReadCached(offsetBytes, to);
        Leave();
        return result;
    }

    public DiskResult Sync()
    {
        var entered = Enter();
        if (!entered.IsOk) return entered;
        // Before the call: what is written while it runs may not be covered by it.
        _isDirty = false;
        var result = _file.Sync();
        if (!result.IsOk) _isDirty = true;
        Leave();
        return result;
    }

    public DiskResult Preallocate(long lengthBytes)
    {
        var entered = Enter();
        if (!entered.IsOk) return entered;
        var result = _file.Preallocate(lengthBytes);
        _isDirty = true;
        Leave();
        return result;
    }

    public DiskResult Keep(long lengthBytes)
    {
        var entered = Enter();
        if (!entered.IsOk) return entered;
        var result = _file.Keep(lengthBytes);
        _isDirty = true;
        Leave();
        return result;
    }

    /// <summary>A hint: of one that is closed it is not worth an open.</summary>
    public void WillNeed(long offsetBytes, long lengthBytes)
    {
        if (!TryEnter()) return;
        _file.WillNeed(offsetBytes, lengthBytes);
        Leave();
    }

    public void Dispose()
    {
        _all.Remove(this);
        _file.Dispose();
    }

    /// <summary>False: it is in use, was used since the last look, or has something that is not on media.</summary>
    internal bool TryClose()
    {
        if (_wasUsed)
        {
            _wasUsed = false;
            return false;
        }
        lock (_opening)
        {
            if (Interlocked.CompareExchange(ref _calls, Closed, 0) != 0) return false;
            if (_isDirty)
            {
                Volatile.Write(ref _calls, 0);
                return false;
            }
            _lengthBytes = _file.LengthBytes;
            _file.Dispose();
            return true;
        }
    }

    private DiskResult Enter()
    {
        while (!TryEnter())
        {
            lock (_opening)
            {
                if (Volatile.Read(ref _calls) != Closed) continue;
                ObjectDisposedException.ThrowIf(IsDisposed, this);
                var (result, file) = _open();
                if (!result.IsOk) return result;
                _file = file!;
                // This call counts from the first moment: where all others have to stay open, the look for one to close comes to this one again and again.
                Volatile.Write(ref _calls, 1);
            }
            _all.Add(this);
            return DiskResult.Done();
        }
        return DiskResult.Done();
    }

    private bool TryEnter()
    {
        if (!_wasUsed) _wasUsed = true;
        while (true)
        {
            var calls = Volatile.Read(ref _calls);
            if (calls == Closed) return false;
            if (Interlocked.CompareExchange(ref _calls, calls + 1, calls) == calls) return true;
        }
    }

    private void Leave() => Interlocked.Decrement(ref _calls);
}
