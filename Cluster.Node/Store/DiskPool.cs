using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The disks of one store as one flat set of files. The home has the superblock, the checkpoint and the roster; segments lie on all of them, each file on one. A new segment goes where,
/// measured by its size, a disk has least of the store, and less often to one that answers slowly. Any thread, once it is attached (docs/adr/0012-a-store-over-several-disks.md).
/// </summary>
public sealed partial class DiskPool : IDisk
{
    /// <summary>Added to every disk's latency before they are compared: differences below it say nothing about a disk.</summary>
    internal const double LatencyFloorMs = 2;

    /// <summary>More than any disk is filled that has room for a segment.</summary>
    private const double AnyFilled = 1e9;

    private readonly Lock _gate = new();

    /// <summary>Where each segment's file lies. Under the gate.</summary>
    private readonly Dictionary<string, StoreDisk> _places = new(StringComparer.Ordinal);

    /// <summary>Where segments go whose files are not made yet. Under the gate.</summary>
    private readonly Dictionary<string, StoreDisk> _wanted = new(StringComparer.Ordinal);

    private readonly StoreDisk _home;
    private readonly IReadOnlyList<IDisk> _given;
    private readonly StoreOptions _options;

    /// <summary>In use, home first. Set before any other thread has the pool.</summary>
    private readonly List<StoreDisk> _disks;
    private long _segmentBytes = StoreOptions.SegmentBytesMin;
    private long _homeKeptBytes;
    private volatile bool _isOpening = true;

    /// <param name="further">Disks beside the home, in any order; what each is, its label says.</param>
    public DiskPool(IDisk home, IReadOnlyList<IDisk> further, StoreOptions options)
    {
        (_home, _given, _options) = (new StoreDisk(home, isHome: true, options.Clock), further, options);
        _disks = [_home];
    }

    public string Description => _home.Path;

    /// <summary>Of all disks that take segments, and answer: on one that hangs none is made, and what is promised must be there (R21). Directories of one file system count once.</summary>
    public long FreeBytes => Math.Max(0, FreeOfAll - HomeKeptBytes);

    /// <summary>Free on all disks that were named, those that are not in use yet too: what a new store may have. File systems count once.</summary>
    internal long GivenBytes => _given.Prepend(_home.Files).GroupBy(disk => disk.FileSystem).Sum(same => same.Max(disk => disk.FreeBytes));

    /// <summary>What the home's file system must have free besides: room for the next checkpoint that is not reserved yet.</summary>
    internal long HomeKeptBytes { get => Volatile.Read(ref _homeKeptBytes); set => Volatile.Write(ref _homeKeptBytes, value); }

    private long FreeOfAll => _disks.Where(disk => disk.IsHome || (disk.Failure is null && !disk.IsAvoided && !disk.IsHung)).GroupBy(disk => disk.FileSystem).Sum(same => same.Max(disk => disk.FreeBytes));

    public ulong FileSystem => _home.Files.FileSystem;

    public long HomeFreeBytes => _home.Files.FreeBytes;

    /// <summary>Those that are in use; the home is the first.</summary>
    public IReadOnlyList<StoreDisk> Disks => _disks;

    /// <summary>Takes the home. The others are taken when it is known that they are this store's.</summary>
    public DiskResult TryLock() => _home.Files.TryLock();

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        file = null;
        var isNew = false;
        var disk = PlaceOf(name);
        if (disk is null)
        {
            if (!create) return DiskResult.Failed(IoStatus.Missing, $"{name} is on none of the store's disks");
            if ((TakeWanted(name) ?? Choose()) is not { } chosen)
                return DiskResult.Failed(IoStatus.NoSpace, $"what {_home.Path} has free is kept for the next checkpoint, and no other disk of the store has room for a segment");
            (disk, isNew) = (chosen, true);
        }
        var result = disk.Files.Open(name, create, out var opened);
        if (name == MapPageFile.Name)
        {
            // It may fail, and be slow, without a word about the disk: nothing that is to last is there.
            file = opened;
            return result;
        }
        if (!result.IsOk)
        {
            disk.Note(in result);
            return result;
        }
        if (isNew) Place(name, disk);
        file = new PoolFile(disk, opened!, name, () => _isOpening);
        return result;
    }

    /// <summary>Learns where the segments are. A segment that is on two disks is one too many: nobody says which is the true one.</summary>
    public DiskResult List(List<string> names)
    {
        foreach (var disk in _disks)
        {
            var own = new List<string>();
            var result = disk.Files.List(own);
            disk.Note(in result);
            if (!result.IsOk) return result;
            foreach (var name in own)
            {
                if (!IsSegment(name))
                {
                    if (disk.IsHome) names.Add(name);
                    continue;
                }
                if (PlaceOf(name) is { } other && other != disk)
                    return DiskResult.Failed(IoStatus.Conflict, $"{name} lies in {other.Path} and in {disk.Path}: a copy of a segment was put there by hand; take the copy away");
                Place(name, disk);
                names.Add(name);
            }
        }
        return DiskResult.Done();
    }

    public DiskResult Delete(string name) => Delete(name, isNeeded: true);

    /// <summary>Of a segment that is nobody's any more: that it can't be deleted says that the disk errs, and spoils nothing.</summary>
    internal DiskResult Retire(string name) => Delete(name, isNeeded: false);

    private DiskResult Delete(string name, bool isNeeded)
    {
        if (PlaceOf(name) is not { } disk) return DiskResult.Done();
        var result = disk.Files.Delete(name);
        if (isNeeded) disk.Note(in result);
        else disk.NoteRead(in result, name, 0);
        if (!result.IsOk || !IsSegment(name)) return result;
        lock (_gate)
        {
            if (_places.Remove(name)) disk.CountSegments(-1);
        }
        return result;
    }

    public DiskResult Rename(string from, string to)
    {
        Invariant.That(!IsSegment(from) && !IsSegment(to), "a segment was renamed");
        return _home.Files.Rename(from, to);
    }

    /// <summary>Of all disks: what an open relies on.</summary>
    public DiskResult SyncDirectory()
    {
        foreach (var disk in _disks)
        {
            var result = disk.Files.SyncDirectory();
            disk.Note(in result);
            if (!result.IsOk) return result;
        }
        return DiskResult.Done();
    }

    public DiskResult SyncDirectoryOf(string name)
    {
        var disk = PlaceOf(name) ?? _home;
        var result = disk.Files.SyncDirectory();
        disk.Note(in result);
        return result;
    }

    /// <summary>But for disks on which something is under way that nobody waits for: they are let go of when that has ended.</summary>
    public void Dispose()
    {
        foreach (var disk in _given.Append(_home.Files))
        {
            if (!_disks.Exists(used => used.Files == disk && used.IsInCall)) disk.Dispose();
        }
    }

    /// <summary>The new segment of that name goes there.</summary>
    internal void Want(string name, StoreDisk disk)
    {
        lock (_gate) _wanted[name] = disk;
    }

    private StoreDisk? TakeWanted(string name)
    {
        lock (_gate) return _wanted.Remove(name, out var disk) ? disk : null;
    }

    /// <summary>The store has been read: from here on a read that fails spoils its blocks only.</summary>
    internal void OnOpened() => _isOpening = false;

    private static bool IsSegment(string name) => SegmentTable.IdOf(name) is not null;

    private StoreDisk? PlaceOf(string name)
    {
        if (!IsSegment(name)) return _home;
        lock (_gate) return _places.GetValueOrDefault(name);
    }

    private void Place(string name, StoreDisk disk)
    {
        lock (_gate)
        {
            if (_places.TryAdd(name, disk)) disk.CountSegments(1);
        }
    }

    /// <summary>
    /// In proportion to what is the store's there or could be, times how quick the disk is beside the quickest: the one that is furthest below its share. One that has no room for a segment comes
    /// last. Null: only the home is left, and what it has free is kept.
    /// </summary>
    internal StoreDisk? Choose()
    {
        var quickest = _disks.Where(disk => !disk.IsAvoided).Min(WeightedMs);
        var (best, least) = ((StoreDisk?)null, double.PositiveInfinity);
        foreach (var disk in _disks)
        {
            if ((!disk.IsHome && (disk.Failure is not null || disk.IsHung)) || disk.IsAvoided) continue;
            var (free, own) = (disk.FreeBytes, disk.Segments * _segmentBytes);
            if (disk.IsHome && HomeKeptBytes > 0 && free - HomeKeptBytes < _segmentBytes) continue;
            var filled = free < _segmentBytes ? double.MaxValue : (own + _segmentBytes) / ((own + free) * (quickest / WeightedMs(disk)));
            if (disk.IsMaking && free >= _segmentBytes) filled += AnyFilled;
            if (filled < least) (best, least) = (disk, filled);
        }
        return best;
    }

    /// <summary>How quick each disk is beside the quickest, for the free segments that there are already. Loop only.</summary>
    internal void Share()
    {
        var quickest = _disks.Where(disk => !disk.IsAvoided).Min(WeightedMs);
        foreach (var disk in _disks) disk.Share = Math.Min(1, quickest / WeightedMs(disk));
    }

    private static double WeightedMs(StoreDisk disk) => LatencyFloorMs + disk.LatencyMs;
}
