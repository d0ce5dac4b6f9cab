using System.Text;
using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>A disk that the store counts on, or was told to use, and that it does not use.</summary>
/// <param name="Problem">One sentence without its full stop.</param>
/// <param name="IsNew">No open has gone on without it yet: the end of the log may be there.</param>
/// <param name="IsEmpty">Nothing of the store is on it: it is only told of.</param>
/// <param name="WasElsewhere">It went while the store ran, which has started anew to go on without it.</param>
internal sealed record AbsentDisk(Guid Id, string Path, DiskState State, string Problem, bool IsNew, bool IsEmpty, bool WasElsewhere);

/// <summary>What is to be on media of a disk.</summary>
internal readonly record struct DiskMark(Guid Disk, bool Drained, bool Suspect, bool Empty);

/// <summary>
/// How an open finds out which directories are the store's disks. First all of them are looked at, and nothing is changed: what does not fit refuses the open. Then labels are written, and, with the
/// open counted, roster and the superblock's feature, in this order, before a segment is put on a new disk.
/// </summary>
public sealed partial class DiskPool
{
    private readonly List<(IDisk Disk, DiskLabel Label)> _labelled = [];
    private readonly List<IDisk> _blank = [];

    /// <summary>Given, and not to be read: (path, why).</summary>
    private readonly List<(string Path, string Problem)> _unreadable = [];
    private readonly List<AbsentDisk> _absent = [];
    private DiskRoster? _roster;

    /// <summary>As it was found: what an open that comes to nothing goes by.</summary>
    private DiskRoster? _found;
    private bool _isAttached;
    private bool _isRosterChanged;

    /// <summary>What it goes on without.</summary>
    internal IReadOnlyList<AbsentDisk> Absent => _absent;

    /// <summary>The end of the log may be on a disk that is not there: no open has gone on without it yet.</summary>
    internal bool LacksLog => _absent.Exists(disk => disk.IsNew);

    /// <summary>A disk is there again that went while the store ran, before any open went on without it: what it was given and had not put on media may be gone from it.</summary>
    internal bool HasReturned { get; private set; }

    /// <summary>All disks, those that are missing too. Any thread, after the open.</summary>
    public IReadOnlyList<StoreDiskFacts> Facts() => [.. Enumerable.Range(0, _disks.Count + _absent.Count).Select(FactsAt)];

    public StoreDiskFacts FactsAt(int index)
    {
        if (index < _disks.Count) return _disks[index].Facts(_segmentBytes);
        var absent = _absent[index - _disks.Count];
        return new StoreDiskFacts(absent.Id, absent.Path, absent.State, false, 0, 0, _segmentBytes, 0, 0, 0, 0, absent.Problem);
    }

    /// <summary>Reads what each directory says of itself. Null, or why the store can't be opened over them.</summary>
    internal string? Look()
    {
        foreach (var disk in _given)
        {
            var names = new List<string>();
            var listed = disk.List(names);
            if (!listed.IsOk) _unreadable.Add((disk.Description, listed.Detail ?? "it can't be listed"));
            else if (names.Contains(DiskLabel.FileName))
            {
                if (LookAtLabel(disk, names) is { } refusal) return refusal;
            }
            else if (names.Count == 0) _blank.Add(disk);
            else if (names.Contains(DeviceDisk.Foreign)) _unreadable.Add((disk.Description, DeviceDisk.Overwritten));
            else return $"{disk.Description} is named as a disk of the store, and holds other files ({names.Order(StringComparer.Ordinal).First()}): name an empty directory, or one that was a disk of this store";
        }
        return null;
    }

    /// <summary>There is no store at the home: none is made beside disks of one.</summary>
    internal string? RefusalOfNew() => _labelled.Count == 0 ? null
        : $"{_labelled[0].Disk.Description} is a disk of store {_labelled[0].Label.Store}, and there is no store in {Description}: put that store's directory back, or name empty directories";

    /// <summary>Compares what was found with the store's roster. Null, or why the store can't be opened.</summary>
    internal string? Match(in Superblock superblock)
    {
        _segmentBytes = superblock.SegmentBytes;
        _home.Id = superblock.DiskId;
        if (ReadRoster(in superblock) is { } unread) return unread;
        var known = new Dictionary<Guid, string>();
        foreach (var (disk, label) in _labelled)
        {
            if (label.Store != superblock.StoreId)
                return $"{disk.Description} is a disk of store {label.Store}, and the store in {Description} is {superblock.StoreId}: name the disks of this store, or empty that directory if what it holds is not needed";
            if (!known.TryAdd(label.Disk, disk.Description)) return $"{known[label.Disk]} and {disk.Description} are one disk by their labels ({label.Disk}): one is a copy; take it away";
            if (Take(disk, label) is { } refusal) return refusal;
        }
        foreach (var entry in _roster!.Entries.Where(entry => !known.ContainsKey(entry.Disk)))
        {
            // Nothing of the store is on it, and nobody names its place any more: it was taken away.
            if (entry.Empty && !_given.Any(given => given.Description == entry.Path)) (_roster, _isRosterChanged) = (_roster.Without(entry.Disk), true);
            else Miss(entry, entry is { Failed: true, Elsewhere: false } ? DiskState.Failed : DiskState.Missing, WhyMissing(entry));
        }
        var strange = _unreadable.Find(each => !_absent.Exists(missing => missing.Path == each.Path));
        if (strange.Problem is null) return CheckBlank();
        var remedy = strange.Problem == DeviceDisk.Overwritten ? ": a device is taken into use when both are zeroes (blkdiscard -z DEVICE makes them so, and what it holds is gone)" : "";
        return $"{strange.Path} is named as a disk of the store, and can't be used: {strange.Problem}{remedy}";
    }

    /// <summary>Labels new disks: a crash behind it leaves disks of this store that its list does not have, which the next open takes. An error is a sentence for the operator.</summary>
    internal DiskResult Label(Guid store)
    {
        foreach (var disk in _blank)
        {
            var label = new DiskLabel(_options.NewId(), store, NowMs);
            var result = disk.TryLock();
            if (result.IsOk) result = label.Write(disk);
            if (!result.IsOk) return DiskResult.Failed(result.Status, $"{disk.Description} can't be taken into use as a disk of the store: {result.Detail}");
            var entry = new RosterEntry(label.Disk, Failed: false, Without: false, NowMs, disk.Description);
            Use(disk, entry);
            Enter(entry);
        }
        _blank.Clear();
        return DiskResult.Done();
    }

    /// <summary>
    /// Makes the roster true, and durable what was read of it: a process that was killed may have left it in the page cache only, and a failed fdatasync may have called that clean. The feature of the superblock is set last: what is to be used must be missed
    /// when it is gone.
    /// </summary>
    internal DiskResult Attach(SuperblockFile superblock)
    {
        _isAttached = true;
        var synced = DiskRosterFile.Sync(_home.Files);
        if (!synced.IsOk) return synced;
        _isRosterChanged |= !_roster!.Entries.IsEmpty;
        var written = WriteRoster();
        if (!written.IsOk || _roster!.Entries.IsEmpty || (superblock.Current.Incompatible & Superblock.SeveralDisks) != 0) return written;
        return superblock.Write(superblock.Current with { Incompatible = superblock.Current.Incompatible | Superblock.SeveralDisks });
    }

    /// <summary>A checkpoint says what the absence of these disks means: the log does not go on there any more.</summary>
    internal DiskResult GoOnWithout()
    {
        foreach (var entry in _roster!.Entries.Where(entry => !entry.Without && _absent.Exists(disk => disk.Id == entry.Disk)).ToArray())
        {
            // From here on it is like any other one that is missing.
            var failed = entry is { Failed: true, Elsewhere: false };
            Enter(entry with { Without = true, Failed = failed, Elsewhere = false, ChangedAtMs = NowMs });
        }
        return WriteRoster();
    }

    /// <summary>A further disk has failed, and the store with it: a new open can go on without that disk.</summary>
    internal bool HasFailed => _disks.Exists(disk => disk is { IsHome: false, Failure: not null });

    /// <summary>Notes on media which further disks failed, so that the next open does not use them. Blocks; one thread at a time.</summary>
    internal DiskResult NoteFailed()
    {
        if (_roster is null || !HasFailed) return DiskResult.Done();
        // The open was not counted: nothing else that it found is noted.
        if (!_isAttached) (_roster, _isRosterChanged) = (_found!, false);
        foreach (var disk in _disks.Where(disk => disk is { IsHome: false, Failure: not null }))
        {
            if (_roster.Find(disk.Id) is { } entry && (!entry.Failed || (entry.Elsewhere && !disk.IsElsewhere)))
                Enter(entry with { Failed = true, Elsewhere = disk.IsElsewhere, ChangedAtMs = NowMs });
        }
        return WriteRoster();
    }

    /// <summary>Notes on media why a disk is avoided, and that nothing is on it. Blocks; one thread at a time, that of <see cref="NoteFailed"/>.</summary>
    internal DiskResult Mark(DiskMark mark)
    {
        if (_roster?.Find(mark.Disk) is not { } entry) return DiskResult.Done();
        var before = (_roster, _isRosterChanged);
        Enter(entry with { Drained = mark.Drained, Suspect = mark.Suspect, Empty = mark.Empty, ChangedAtMs = NowMs });
        var result = WriteRoster();
        if (!result.IsOk) (_roster, _isRosterChanged) = before;
        return result;
    }

    /// <summary>
    /// A disk that was named, is not there, and may have the end of the log: to go on without it would give up every copy of the node for good, and where it was only mounted late, or on all nodes at
    /// once, for nothing. So that is done only with one that was seen to fail, or that is not named any more. Null, or why the store is not opened.
    /// </summary>
    internal string? RefusalWithoutLog()
    {
        var missing = _absent.Find(disk => disk is { IsNew: true, State: DiskState.Missing, WasElsewhere: false } && _given.Any(given => given.Description == disk.Path));
        return missing is null ? null : $"its disk {missing.Id} at {missing.Path} is missing ({missing.Problem}), and the store was not stopped in order, so that the end of its log may be there: "
            + "put the disk back; if it is gone for good, take it out of myrmidon.disks, and the store goes on without it, with its copies made anew from others";
    }

    private ulong NowMs => (ulong)_options.Clock.GetUtcNow().ToUnixTimeMilliseconds();

    private string? LookAtLabel(IDisk disk, List<string> names)
    {
        var status = DiskLabel.TryRead(disk, out var label, out var reason);
        if (status == IoStatus.Unsupported) return $"{disk.Description} can't be used: {reason}";
        if (status == IoStatus.Ok) _labelled.Add((disk, label));
        // A crash came between the file and its bytes: segments come only behind a whole label.
        else if (status == IoStatus.Missing && names.Count == 1) _blank.Add(disk);
        else _unreadable.Add((disk.Description, reason.Length > 0 ? reason : "its label is gone"));
        return null;
    }

    private string? ReadRoster(in Superblock superblock)
    {
        var status = DiskRosterFile.TryRead(_home.Files, out _roster, out var reason);
        var isExpected = (superblock.Incompatible & Superblock.SeveralDisks) != 0;
        if (status == IoStatus.Missing && !isExpected) _roster = new DiskRoster(superblock.StoreId, 0, []);
        else if (status != IoStatus.Ok) return $"the list of its disks ({DiskRosterFile.Name}) can't be used: {reason}";
        _found = _roster;
        return _roster!.Store == superblock.StoreId ? null : $"the list of its disks ({DiskRosterFile.Name}) is that of store {_roster.Store}";
    }

    private string? Take(IDisk disk, DiskLabel label)
    {
        var entry = _roster!.Find(label.Disk);
        if (entry is { Failed: true, Elsewhere: false })
        {
            Miss(entry with { Path = disk.Description }, DiskState.Failed, "it failed before; what it held is made anew from other copies");
            return null;
        }
        var locked = disk.TryLock();
        if (locked.Status == IoStatus.Busy) return $"{disk.Description} is in use by another process, perhaps by an earlier run of this node that a call to the disk does not let go: end that, or take the disk out of myrmidon.disks to start without it";
        if (!locked.IsOk)
        {
            Miss(entry ?? new RosterEntry(label.Disk, false, false, NowMs, disk.Description), DiskState.Missing, $"it can't be locked: {locked.Detail}");
            return null;
        }
        if (PathRefusal(disk) is { } refusal) return refusal;
        var now = (entry ?? new RosterEntry(label.Disk, false, false, 0, "")) with { Without = false, Failed = false, Elsewhere = false, Path = disk.Description };
        HasReturned |= entry is { Elsewhere: true };
        Use(disk, now);
        if (now != entry) Enter(now with { ChangedAtMs = NowMs });
        return _roster!.Entries.Length > DiskRoster.EntriesMax ? TooMany : null;
    }

    /// <summary>An empty directory is a new disk, but not where another one of this store was: there its file system is more likely not mounted.</summary>
    private string? CheckBlank()
    {
        _blank.RemoveAll(disk => _absent.Exists(missing => missing.Path == disk.Description));
        if (_roster!.Entries.Length + _blank.Count > DiskRoster.EntriesMax) return TooMany;
        return _blank.Select(PathRefusal).FirstOrDefault(refusal => refusal is not null);
    }

    private string WhyMissing(RosterEntry entry)
    {
        var at = _unreadable.Find(each => each.Path == entry.Path);
        if (at.Problem is not null) return at.Problem;
        if (entry.Empty && _blank.Exists(disk => disk.Description == entry.Path))
            return "its directory is empty, and it was drained before: if another disk is to take its place, myrmidon store forget lets it";
        if (_blank.Exists(disk => disk.Description == entry.Path)) return "its directory is empty: is its file system mounted?";
        return _given.Any(disk => disk.Description == entry.Path) ? "another disk is in its place" : "no directory that was named is it: name it in myrmidon.disks";
    }

    private void Miss(RosterEntry entry, DiskState state, string problem) => _absent.Add(new AbsentDisk(entry.Disk, entry.Path, state, problem, IsNew: entry is { Without: false, Empty: false }, entry.Empty, entry.Elsewhere));

    private void Use(IDisk disk, RosterEntry entry) => _disks.Add(new StoreDisk(disk, isHome: false, _options.Clock)
    {
        Id = entry.Disk,
        IsDrained = entry.Drained,
        IsSuspect = entry.Suspect,
        IsAvoided = entry.Drained || entry.Suspect,
        IsEmpty = entry.Empty,
    });

    private void Enter(RosterEntry entry) => (_roster, _isRosterChanged) = (_roster!.With(entry), true);

    private DiskResult WriteRoster()
    {
        if (!_isRosterChanged) return DiskResult.Done();
        var result = DiskRosterFile.Write(_home.Files, _roster!, out var put);
        if (result.IsOk) (_roster, _isRosterChanged) = (put, false);
        return result;
    }

    private string TooMany => $"the store would have more than {DiskRoster.EntriesMax} disks beside its own directory: name fewer, or take disks out of its list that are gone for good (myrmidon store forget)";

    private static string? PathRefusal(IDisk disk) => Encoding.UTF8.GetByteCount(disk.Description) <= DiskRoster.PathBytesMax ? null
        : $"the path {disk.Description} of a disk is longer than {DiskRoster.PathBytesMax} bytes: name a shorter one";
}
