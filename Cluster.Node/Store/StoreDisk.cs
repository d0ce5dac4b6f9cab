using Cluster.Messages.Model;

namespace Cluster.Node.Store;

public enum DiskState : byte
{
    InUse = 1,
    /// <summary>A call failed on it since the open: it gets no new segments.</summary>
    Failing = 2,
    /// <summary>Not found, or what was found is not it: the store goes on without it.</summary>
    Missing = 3,
    /// <summary>It failed before this open: it is left alone until it is forgotten.</summary>
    Failed = 4,
    /// <summary>It is much slower than the others, or errs: it gets no new segments, and what it has is moved away. The home, which can't be without, is only reported.</summary>
    Suspect = 5,
    /// <summary>An operator wants it empty: as Suspect, until the operator says otherwise.</summary>
    Draining = 6,
    /// <summary>The same, and nothing of the store is on it: it can be taken away.</summary>
    Drained = 7,
}

/// <summary>One disk of a store, as operators see it. Bytes and latencies are those of lately; any thread.</summary>
/// <param name="Segments">Files of segments, free ones included.</param>
/// <param name="Problem">One sentence without its full stop, or "".</param>
public sealed record StoreDiskFacts(Guid Id, string Path, DiskState State, bool IsHome, long FreeBytes, int Segments, long SegmentBytes, double WriteMs, double SyncMs, double ReadMs, long Errors,
    string Problem);

/// <summary>One disk that a store uses: where its files are, how quick it was lately, and what went wrong. Any thread.</summary>
public sealed class StoreDisk(IDisk files, bool isHome, TimeProvider clock)
{
    /// <summary>See <see cref="IsHung"/>.</summary>
    internal const int HungMs = 5000;

    /// <summary>Errors that begin in one page of a file are one place; so many places are remembered, and the oldest forgotten first.</summary>
    private const int PlaceBytes = 4096;
    private const int PlacesMax = 1024;

    private long _errors;
    private long _blamed;
    private long _blamedSeen;

    /// <summary>Where errors were lately, and in which order they came. Under the lock of the first.</summary>
    private readonly HashSet<(string File, long Page)> _places = [];
    private readonly Queue<(string File, long Page)> _placesInOrder = new();
    private long _freeBytes;
    private ulong _fileSystem;
    private int _segments;
    private volatile string? _failure;
    private volatile bool _isBroken;
    private volatile string _problem = "";
    private volatile bool _isAvoided;
    private volatile bool _isDrained;
    private volatile bool _isSuspect;
    private volatile bool _isEmpty;
    private volatile int _leftCalls;

    public IDisk Files => files;

    public bool IsHome => isHome;

    public Guid Id { get; internal set; }

    public string Path => files.Description;

    /// <summary>Files of segments, free ones included.</summary>
    public int Segments => Volatile.Read(ref _segments);

    /// <summary>How the first call failed; null: none did since the open.</summary>
    public string? Failure => _failure;

    /// <summary>It has failed only in that its path leads elsewhere: no write and no fdatasync of it failed, and what is on it is as good as it was.</summary>
    internal bool IsElsewhere => _failure is not null && !_isBroken;

    /// <summary>Calls that failed, and blocks whose bytes were bad, since the open.</summary>
    public long Errors => Interlocked.Read(ref _errors);

    /// <summary>It gets no new segments, and those that it has are emptied.</summary>
    public bool IsAvoided { get => _isAvoided; internal set => _isAvoided = value; }

    /// <summary>An operator wants it empty.</summary>
    public bool IsDrained { get => _isDrained; internal set => _isDrained = value; }

    /// <summary>By <see cref="DiskHealthPolicy"/>.</summary>
    public bool IsSuspect { get => _isSuspect; internal set => _isSuspect = value; }

    /// <summary>It is known on media that nothing of the store is on it.</summary>
    public bool IsEmpty { get => _isEmpty; internal set => _isEmpty = value; }

    /// <summary>How often a free segment of it is used when its turn comes: 1 for the quickest disk, a tenth for one that is ten times slower. Loop only.</summary>
    internal double Share { get; set; } = 1;

    private double _turns;

    /// <summary>Loop only.</summary>
    internal bool IsTurn()
    {
        _turns += Share;
        if (_turns < 1) return false;
        _turns--;
        return true;
    }

    /// <summary>Other calls that may not return, on names and labels: only whether they do is looked at.</summary>
    internal DiskMeter Waits { get; } = new(clock);

    /// <summary>What is wrong with it as long as no call has failed, in one sentence without its full stop; or "".</summary>
    public string Problem { get => _problem; internal set => _problem = value; }

    /// <summary>Greatest running mean of writes and syncs, or what one is under way for; 0 before the first.</summary>
    public double LatencyMs => Math.Max(Math.Max(Writes.MeanMs, Syncs.MeanMs), Math.Max(Writes.UnderWayMs, Syncs.UnderWayMs));

    public DiskState State => _failure is not null ? DiskState.Failing
        : _isDrained ? _isEmpty ? DiskState.Drained : DiskState.Draining
        : _isSuspect ? DiskState.Suspect : DiskState.InUse;

    internal DiskMeter Writes { get; } = new(clock);

    internal DiskMeter Syncs { get; } = new(clock);

    internal DiskMeter Reads { get; } = new(clock);

    /// <summary>Of its file system; of one that does not answer, what they were when it did.</summary>
    public long FreeBytes
    {
        get
        {
            if (!IsHung) Volatile.Write(ref _freeBytes, files.FreeBytes);
            return Volatile.Read(ref _freeBytes);
        }
    }

    public ulong FileSystem
    {
        get
        {
            if (!IsHung) Volatile.Write(ref _fileSystem, files.FileSystem);
            return Volatile.Read(ref _fileSystem);
        }
    }

    /// <summary>A call on it is under way for so long that nothing more is asked of it that can wait.</summary>
    internal bool IsHung => _leftCalls > 0 || Math.Max(Math.Max(Reads.UnderWayMs, Waits.UnderWayMs), Math.Max(Writes.UnderWayMs, Syncs.UnderWayMs)) >= HungMs;

    /// <summary>Whether what is at its path is still this disk, and not the directory that its file system was mounted on. Blocks; the home is not asked.</summary>
    internal DiskResult CheckLabel()
    {
        if (isHome) return DiskResult.Done();
        var began = Waits.Begin();
        var status = DiskLabel.TryRead(files, out var label, out var reason);
        Waits.End(began, counts: false);
        if (status == IoStatus.Ok && label.Disk == Id) return DiskResult.Done();
        return DiskResult.Failed(IoStatus.DeviceError, status == IoStatus.Ok ? $"disk {label.Disk} is at {Path} now" : $"there is no label of it at {Path} ({(reason.Length > 0 ? reason : "it is empty")}): is its file system mounted?");
    }

    /// <summary>Nobody waits for a job on it any more: the disk hangs until that ends, also if other calls come back meanwhile. Loop only.</summary>
    internal void Leave() => _leftCalls++;

    /// <summary>Such a job has ended. Loop only.</summary>
    internal void EndLeft() => _leftCalls--;

    /// <summary>Jobs under way on it that a stop may leave. Loop only.</summary>
    internal int JobsUnderWay { get; set; }

    /// <summary>Probes and checks under way on it, for which no stop waits. Loop only.</summary>
    internal int LooksUnderWay { get; set; }

    /// <summary>A thread may be in a call on it, or come to one: it stays open, and locked. Loop only.</summary>
    internal bool IsInCall => JobsUnderWay > 0 || LooksUnderWay > 0;

    /// <summary>A segment is being made on it: whoever needs one meanwhile gets it on another disk, if there is one with room. Loop only.</summary>
    internal bool IsMaking { get; set; }

    /// <summary>Its place among the disks of the store; 0: the home. Loop only.</summary>
    internal int Index { get; set; }

    internal void CountSegments(int more) => Interlocked.Add(ref _segments, more);

    /// <summary>NoSpace is no failure of the disk, nor is what the process lacks.</summary>
    internal void Note(in DiskResult result)
    {
        if (result.IsOk || result.Status != IoStatus.DeviceError || result.IsOfProcess) return;
        Interlocked.Increment(ref _errors);
        if (!result.IsElsewhere) _isBroken = true;
        _failure ??= result.Detail ?? "a call failed";
    }

    /// <summary>A read that failed spoils the blocks it was for, and no more.</summary>
    internal void NoteRead(in DiskResult result, string file, long offsetBytes)
    {
        // A segment that is closed is opened for a read (OpenSegments): too many open files are not the disk's fault.
        if (result.Status == IoStatus.DeviceError && !result.IsOfProcess) CountErrorAt(file, offsetBytes);
    }

    internal void NoteProbe(in DiskResult result)
    {
        if (result.Status == IoStatus.DeviceError) CountError();
    }

    /// <summary>A probe failed.</summary>
    private void CountError()
    {
        Interlocked.Increment(ref _errors);
        Interlocked.Increment(ref _blamed);
    }

    /// <summary>A read failed or gave bad bytes. A place is blamed once: that it is read again and again, which its only copy may be, makes the disk no worse.</summary>
    internal void CountErrorAt(string file, long offsetBytes)
    {
        var place = (file, offsetBytes / PlaceBytes);
        lock (_places)
        {
            if (!_places.Add(place))
            {
                Interlocked.Increment(ref _errors);
                return;
            }
            _placesInOrder.Enqueue(place);
            if (_placesInOrder.Count > PlacesMax) _places.Remove(_placesInOrder.Dequeue());
        }
        CountError();
    }

    /// <summary>What it did since the last call of this. One thread.</summary>
    internal DiskWindow TakeWindow()
    {
        var (calls, latency) = (0, 0.0);
        Add(Writes, ref calls, ref latency);
        Add(Syncs, ref calls, ref latency);
        Add(Reads, ref calls, ref latency);
        var blamed = Interlocked.Read(ref _blamed);
        var more = (int)Math.Min(blamed - _blamedSeen, int.MaxValue);
        _blamedSeen = blamed;
        return new DiskWindow(calls, latency, more);
    }

    internal StoreDiskFacts Facts(long segmentBytes) => new(Id, Path, State, IsHome, FreeBytes, Segments, segmentBytes, Writes.MeanMs, Syncs.MeanMs, Reads.MeanMs, Errors, Failure ?? Problem);

    private static void Add(DiskMeter meter, ref int calls, ref double latency)
    {
        var (ended, mean) = meter.TakeWindow();
        var underWay = meter.UnderWayMs;
        if (underWay < DiskHealthPolicy.WindowMs) underWay = 0;
        calls += ended + (underWay > 0 ? 1 : 0);
        latency = Math.Max(latency, Math.Max(mean, underWay));
    }
}
