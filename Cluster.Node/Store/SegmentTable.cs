using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>How far an append may go into the space that is left; each leaves what those behind it need.</summary>
public enum SpaceClass
{
    Data = 0,
    /// <summary>Trims, truncations, windows, and data that was promised room.</summary>
    Control = 1,
    /// <summary>Live blocks that are moved.</summary>
    Cleaner = 2,
    /// <summary>Headers, deletes and commit watermarks.</summary>
    Last = 3,
}

/// <summary>All segments of a store, their space and their live bytes. Loop only; <see cref="Segment.File"/> excepted.</summary>
public sealed class SegmentTable(IDisk disk, int segmentBytes)
{
    public const string Prefix = "segment-";
    public const string Suffix = ".log";

    /// <summary>
    /// What headers and trims may write before something is free again: a thousand of the longest headers that a replica has, or forty thousand trims. A segment that holds nothing
    /// else is dead when it is full, and free after a checkpoint.
    /// </summary>
    private const long HeaderBytes = 4L << 20;
    private const long TrimBytes = 8L << 20;

    /// <summary>Neither takes more than this part of a small store, and each a segment at least.</summary>
    private const int ReserveParts = 64;

    /// <summary>A segment that is worth its copy goes into one.</summary>
    private const int CleanerSegments = 1;

    /// <summary>By <see cref="SpaceClass"/>.</summary>
    private readonly int[] _reserve = ReserveOf(0, segmentBytes);

    private readonly List<Segment> _all = [];
    private readonly Queue<Segment> _free = new();

    /// <summary>Free ones on disks that are to be emptied: used when nothing else is left, and deleted once the others make the reserve.</summary>
    private readonly Queue<Segment> _avoided = new();
    private int _missing;
    private int _retired;

    public IReadOnlyList<Segment> All => _all;

    /// <summary>Those whose file is there.</summary>
    public int Count => _all.Count - _missing - _retired;

    /// <summary>Bytes of blocks that lie on disks that are missing.</summary>
    public long MissingBytes => _missing == 0 ? 0 : _all.Where(segment => segment.IsMissing).Sum(segment => segment.LiveBytes);

    public Segment this[int index] => _all[index];

    public int SegmentBytes { get; } = segmentBytes;

    /// <summary>Segments that the capacity allows.</summary>
    public int SegmentsMax { get; private set; }

    /// <summary>Free ones, but for those that go with their disk.</summary>
    public int FreeCount => _free.Count;

    public int AvoidedCount => _avoided.Count;

    /// <summary>Those of <see cref="FreeCount"/>, in the order in which they are used anew.</summary>
    internal IReadOnlyCollection<Segment> FreeSegments => _free;


    /// <summary>Segments that can still be taken into use.</summary>
    public int AvailableCount => LastingCount + _avoided.Count;

    /// <summary>The same without those that go with their disk.</summary>
    public int LastingCount => _free.Count + Math.Max(0, SegmentsMax - Count);

    /// <summary>Of <see cref="FreeCount"/> and of <see cref="AvoidedCount"/>, those on further disks that did not answer when it was looked last: they are used when nothing else is left, but not counted on.</summary>
    public (int Free, int Avoided) Hung { get; private set; }

    /// <summary><see cref="AvailableCount"/> without those: what promises, and the cleaner, count on.</summary>
    public int UsableCount => AvailableCount - Hung.Free - Hung.Avoided;

    /// <summary>Called once a second; answers whether it is another number.</summary>
    public bool CountHung()
    {
        static bool IsHung(Segment segment) => segment is { IsHung: true, PoolDisk.IsHome: false };
        var before = Hung;
        Hung = (_free.Count(IsHung), _avoided.Count(IsHung));
        return Hung != before;
    }

    /// <summary>One that goes with its disk may be replaced.</summary>
    public bool CanCreate => Count - _avoided.Count < SegmentsMax;

    /// <summary>The file system refused a segment that the capacity allows; no more are tried until the capacity is set anew.</summary>
    public bool IsRefused { get; private set; }

    public long LiveBytes { get; private set; }

    /// <summary>Counts the checkpoints begun; with <see cref="IsSnapshotHeld"/> it tells a map whether a page must be copied before a
    /// change.</summary>
    public long Snapshot { get; private set; }

    public bool IsSnapshotHeld { get; private set; }

    /// <summary>
    /// Whole segments that must stay free after an append of each <see cref="SpaceClass"/>. They are files with their space: a file
    /// system that somebody else filled must not keep a trim, a header or the cleaner from working.
    /// </summary>
    public int Reserve(SpaceClass space) => _reserve[(int)space];

    public void HoldSnapshot()
    {
        Snapshot++;
        IsSnapshotHeld = true;
    }

    public void ReleaseSnapshot() => IsSnapshotHeld = false;

    public static string NameOf(Guid id) => $"{Prefix}{id:N}{Suffix}";

    /// <summary>The id in a segment's file name; null for any other file.</summary>
    public static Guid? IdOf(string name) =>
        name.StartsWith(Prefix, StringComparison.Ordinal) && name.EndsWith(Suffix, StringComparison.Ordinal)
            && Guid.TryParseExact(name.AsSpan()[Prefix.Length..^Suffix.Length], "N", out var id) ? id : null;

    public Segment Add(Guid id, IDiskFile file)
    {
        var segment = new Segment(_all.Count, NameOf(id), id, file);
        _all.Add(segment);
        return segment;
    }

    /// <summary>A segment that the checkpoint names, on a disk that is not there. It keeps what the maps have in it, for when the disk returns.</summary>
    public Segment AddMissing(Guid id, ulong number)
    {
        var segment = new Segment(_all.Count, NameOf(id), id, new MissingFile(NameOf(id))) { Number = number, EndBytes = (uint)SegmentBytes, WrittenBytes = (uint)SegmentBytes, IsStuck = true };
        _all.Add(segment);
        _missing++;
        return segment;
    }

    /// <summary>What pages that are gone had in segments was given back.</summary>
    public void OnReleased()
    {
        foreach (var segment in _all) segment.AwaitsReleases = false;
    }

    public void Free(Segment segment)
    {
        Invariant.That(segment is { IsDead: true, Readers: 0 }, "a segment in use was freed");
        segment.Number = 0;
        if (segment.IsMissing) return;
        (segment.IsStuck, segment.AwaitsReleases, segment.IsMoving, segment.Passes, segment.LateFailures) = (false, false, false, 0, 0);
        segment.IsDirty = false;
        if (segment.IsAvoided) _avoided.Enqueue(segment);
        else _free.Enqueue(segment);
    }

    /// <summary>Which disks are to be emptied has changed.</summary>
    public void SortFree()
    {
        for (var left = _free.Count + _avoided.Count; left > 0; left--)
        {
            var segment = _free.Count > 0 ? _free.Dequeue() : _avoided.Dequeue();
            _sorting.Add(segment);
        }
        foreach (var segment in _sorting) (segment.IsAvoided ? _avoided : _free).Enqueue(segment);
        _sorting.Clear();
    }

    private readonly List<Segment> _sorting = [];

    /// <summary>Takes a free segment out of the table for good, for its file to be deleted: one of a disk that is to be emptied, once the others make the reserve.</summary>
    /// <param name="mayGo">Not one that the cleaner may be reading, nor of a disk that does not answer.</param>
    public Segment? RetireAvoided(Func<Segment, bool> mayGo)
    {
        if (_free.Count <= Reserve(SpaceClass.Data)) return null;
        for (var left = _avoided.Count; left > 0; left--)
        {
            var segment = _avoided.Dequeue();
            if (mayGo(segment))
            {
                Retire(segment);
                return segment;
            }
            _avoided.Enqueue(segment);
        }
        return null;
    }

    /// <summary>The same of one disk, that has to give room, beyond the reserve.</summary>
    public Segment? RetireOf(StoreDisk disk, Segment? except)
    {
        if (_free.Count <= Reserve(SpaceClass.Data) + 1) return null;
        for (var left = _free.Count; left > 0; left--)
        {
            var segment = _free.Dequeue();
            if (segment.IsOn(disk) && segment != except)
            {
                Retire(segment);
                return segment;
            }
            _free.Enqueue(segment);
        }
        return null;
    }

    private void Retire(Segment segment)
    {
        segment.IsRetired = true;
        _retired++;
        // Whether there is room for another in its place, only the file system knows: it is asked again before that is counted on.
        SegmentsMax = Math.Max(0, SegmentsMax - 1);
    }

    /// <summary>A free segment that leaves the reserve whole; segments are made on the spot if too few are ready. NoSpace;
    /// DeviceError.</summary>
    public DiskResult Take(Func<Guid> newId, SpaceClass space, out Segment? segment)
    {
        segment = null;
        while (_free.Count <= Reserve(space))
        {
            var result = CanCreate ? Create(disk, newId(), out segment) : DiskResult.Failed(IoStatus.NoSpace, "the store's capacity is used up");
            if (result.IsOk)
            {
                Free(segment!);
                continue;
            }
            segment = null;
            if (result.Status != IoStatus.NoSpace) return result;
            if (CanCreate) Refuse();
            // Better on a disk that is to be emptied than nowhere.
            if (_free.Count + _avoided.Count <= Reserve(space)) return result;
            break;
        }
        segment = _free.Count > 0 ? NextFree() : _avoided.Dequeue();
        return DiskResult.Done();
    }

    /// <summary>A free segment whose file is there already, and that no reserve needs.</summary>
    public bool TryTakeReady(out Segment segment)
    {
        segment = null!;
        if (_free.Count <= Reserve(SpaceClass.Data)) return false;
        segment = NextFree();
        return true;
    }

    /// <summary>The one that is free for longest, but those of a slow disk only so often as its share says, as long as others have some.</summary>
    private Segment NextFree()
    {
        for (var left = _free.Count; left > 0; left--)
        {
            if (_free.Peek().IsTurn()) break;
            _free.Enqueue(_free.Dequeue());
        }
        return _free.Dequeue();
    }

    private DiskResult Create(IDisk disk, Guid id, out Segment? made)
    {
        var result = Create(disk, id, SegmentBytes, out var file);
        made = result.IsOk ? Add(id, file!) : null;
        return result;
    }

    public void Refuse()
    {
        Allow(Count - _avoided.Count);
        IsRefused = true;
    }

    public void Allow(int segmentsMax)
    {
        (SegmentsMax, IsRefused) = (segmentsMax, false);
        ReserveOf(segmentsMax, SegmentBytes).CopyTo(_reserve, 0);
    }

    private static int[] ReserveOf(int segmentsMax, int segmentBytes)
    {
        int SegmentsOf(long bytes) => (int)Math.Max(1, (Math.Min(bytes, (long)segmentsMax * segmentBytes / ReserveParts) + segmentBytes - 1) / segmentBytes);
        var headers = SegmentsOf(HeaderBytes);
        var cleaner = headers + CleanerSegments;
        return [cleaner + SegmentsOf(TrimBytes), cleaner, headers, 0];
    }

    /// <summary>Makes a segment's file, its space and its name durable. Any thread.</summary>
    public static DiskResult Create(IDisk disk, Guid id, int segmentBytes, out IDiskFile? file)
    {
        var result = disk.Open(NameOf(id), create: true, out file);
        if (!result.IsOk) return result;
        result = file!.Preallocate(segmentBytes);
        if (result.IsOk) result = file.Sync();
        if (result.IsOk) result = disk.SyncDirectoryOf(NameOf(id));
        if (result.IsOk) return result;
        file.Dispose();
        file = null;
        // The name goes if it can: if not, the next open finds a segment without a header, which is free.
        _ = disk.Delete(NameOf(id));
        return result;
    }

    /// <summary>Segments below this number of the log that hold nothing and wait for a checkpoint to be free.</summary>
    /// <param name="onlyAvoided">Only on disks that are to be emptied.</param>
    public int CountDead(ulong endNumber, bool onlyAvoided = false)
    {
        var count = 0;
        foreach (var segment in _all)
        {
            if (onlyAvoided && !segment.IsAvoided) continue;
            if (segment.Number > 0 && segment.Number < endNumber && segment is { IsDead: true, Readers: 0 }) count++;
        }
        return count;
    }

    public void AddLive(in MapEntry entry)
    {
        if (entry.Segment < 0) return;
        var segment = _all[entry.Segment];
        segment.LiveBlocks++;
        segment.LiveBytes += entry.LengthBytes;
        LiveBytes += entry.LengthBytes;
    }

    public void RemoveLive(in MapEntry entry)
    {
        if (entry.Segment < 0) return;
        var segment = _all[entry.Segment];
        segment.LiveBlocks--;
        segment.LiveBytes -= entry.LengthBytes;
        LiveBytes -= entry.LengthBytes;
    }
}
