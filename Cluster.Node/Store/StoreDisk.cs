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
}

/// <summary>One disk of a store, as operators see it. Bytes and latencies are those of lately; any thread.</summary>
/// <param name="Problem">One sentence without its full stop, or "".</param>
public sealed record StoreDiskFacts(Guid Id, string Path, DiskState State, bool IsHome, long FreeBytes, int Segments, long SegmentBytes, double WriteMs, double SyncMs, long Errors,
    string Problem);

/// <summary>One disk that a store uses: where its files are, how quick it was lately, and what went wrong. Any thread.</summary>
public sealed class StoreDisk(IDisk files, bool isHome, TimeProvider clock)
{
    /// <summary>Weight of the newest measurement in the running mean.</summary>
    private const double NewestPart = 1.0 / 16;
    private double _writeMs;
    private double _syncMs;
    private long _errors;
    private int _segments;
    private volatile string? _failure;

    public IDisk Files => files;

    public bool IsHome => isHome;

    public Guid Id { get; internal set; }

    public string Path => files.Description;

    /// <summary>Files of segments, free ones included.</summary>
    public int Segments => Volatile.Read(ref _segments);

    /// <summary>How the first call failed; null: none did since the open.</summary>
    public string? Failure => _failure;

    /// <summary>Running means; 0 before the first.</summary>
    public double WriteMs => Volatile.Read(ref _writeMs);

    public double SyncMs => Volatile.Read(ref _syncMs);

    public long Errors => Interlocked.Read(ref _errors);

    internal long Now => clock.GetTimestamp();

    internal void CountSegments(int more) => Interlocked.Add(ref _segments, more);

    internal void OnWritten(long began) => Add(ref _writeMs, began);

    internal void OnSynced(long began) => Add(ref _syncMs, began);

    /// <summary>NoSpace is no failure of the disk, nor is what the process lacks.</summary>
    internal void Note(in DiskResult result)
    {
        if (result.IsOk || result.Status != IoStatus.DeviceError || result.IsOfProcess) return;
        Interlocked.Increment(ref _errors);
        _failure ??= result.Detail ?? "a call failed";
    }

    /// <summary>A read that failed spoils the blocks it was for, and no more.</summary>
    internal void NoteRead(in DiskResult result)
    {
        if (result.Status == IoStatus.DeviceError) Interlocked.Increment(ref _errors);
    }

    internal StoreDiskFacts Facts(long segmentBytes) => new(Id, Path, Failure is null ? DiskState.InUse : DiskState.Failing, IsHome, files.FreeBytes, Segments, segmentBytes,
        WriteMs, SyncMs, Errors, Failure ?? "");

    /// <summary>Two threads at once may lose one measurement: it is a mean.</summary>
    private void Add(ref double mean, long began)
    {
        var (ms, before) = (clock.GetElapsedTime(began).TotalMilliseconds, Volatile.Read(ref mean));
        Volatile.Write(ref mean, before == 0 ? ms : before + ((ms - before) * NewestPart));
    }
}
