using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What becomes of bytes that were written and not synced when the power goes.</summary>
public enum PowerLoss
{
    /// <summary>Nothing is lost: only the process died (kill -9).</summary>
    ProcessOnly,
    /// <summary>Every un-synced sector is lost.</summary>
    LoseAll,
    /// <summary>Each un-synced sector survives or not by the seed: writes are torn and out of order.</summary>
    Torn,
}

/// <summary>
/// A disk in memory, deterministic by its seed, for one thread. Sectors of 512 bytes are atomic and no more; names are durable only
/// after SyncDirectory. It counts the calls that change it (writes, syncs, names), and can go off at any of them.
/// </summary>
public sealed class SimulatedDisk(ulong seed) : IDisk
{
    public const int SectorBytes = 512;
    private readonly Dictionary<string, SimulatedFile> _durableNames = [];
    private Dictionary<string, SimulatedFile> _names = [];
    private ulong _random = seed;
    private bool _locked;

    /// <summary>
    /// A sync worked since the last that failed: what failed ones left may leave the page cache from now on. That sync mostly was the store's note of the failure; without the
    /// note nobody promises anything (docs/consistency.md, known limits).
    /// </summary>
    private bool _mayEvict;
    private bool _hasLost;
    private long _forgottenAt;

    public string Description => "simulated disk";

    public long CapacityBytes { get; set; } = long.MaxValue;

    public long FreeBytes => CapacityBytes == long.MaxValue ? 1L << 40 : Math.Max(0, CapacityBytes - UsedBytes);

    public ulong FileSystem => 1;

    public long UsedBytes => _names.Values.Sum(file => file.RoomBytes);

    /// <summary>Calls so far that change the disk.</summary>
    public long Operations { get; private set; }

    /// <summary>The power goes at this operation (counted from 1), in the middle of it. 0: never.</summary>
    public long PowerOffAt { get; set; }

    public bool IsOff { get; private set; }

    /// <summary>As <see cref="IDiskFile.AheadBytes"/>.</summary>
    public int AheadBytes { get; set; }

    /// <summary>Writes may be short, by the seed.</summary>
    public bool ShortWrites { get; set; }

    /// <summary>One in this many reads is not in the page cache; 0: all are.</summary>
    public int UncachedOneIn { get; set; }

    /// <summary>The next so many syncs, writes or reads fail with EIO.</summary>
    public int FailSyncs { get; set; }

    /// <summary>Nothing is written to a file of this name, for want of room; "": to all is.</summary>
    public string FullFor { get; set; } = "";

    /// <summary>Its file system reserves no space without a change of a file's length.</summary>
    public bool CannotKeep { get; set; }

    public int FailWrites { get; set; }

    public int FailReads { get; set; }

    /// <summary>Not reads and writes of the file of this name; "": of all.</summary>
    public string FaultsSpare { get; init; } = "";

    /// <summary>Reads and writes of the file of this name only; "": of all.</summary>
    public string FaultsOnly { get; set; } = "";

    private bool Spares(string name) => name == FaultsSpare || (FaultsOnly.Length > 0 && name != FaultsOnly);

    /// <summary>Times that the disk was told what it will be asked for.</summary>
    public int Advised { get; private set; }

    /// <summary>Reads that have failed by it.</summary>
    public int ReadsFailed { get; private set; }

    /// <summary>A process that starts anew may find that the page cache has dropped what failed syncs have left there.</summary>
    public bool EvictsLost { get; set; }

    /// <summary>It goes off in place of its next directory sync, or its next preallocation.</summary>
    public bool DiesAtDirectorySync { get; set; }

    public bool DiesAtPreallocate { get; set; }

    /// <summary>The syncs after the next so many that work fail.</summary>
    public void FailSyncsAfter(int working, int failing) => (_syncsToFailures, FailSyncs) = (working, failing);

    private int _syncsToFailures;

    internal int Generation { get; private set; }

    public IReadOnlyCollection<string> Names => _names.Keys;

    public DiskResult TryLock()
    {
        if (_locked) return DiskResult.Failed(IoStatus.Busy, "locked");
        _locked = true;
        return DiskResult.Done();
    }

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        file = null;
        if (IsOff) return Off;
        if (!_names.TryGetValue(name, out var found))
        {
            if (!create) return DiskResult.Failed(IoStatus.Missing, name);
            if (!Operate()) return Off;
            _names.Add(name, found = new SimulatedFile { NamedAt = Operations });
        }
        file = new Handle(this, found, name);
        return DiskResult.Done();
    }

    public DiskResult List(List<string> names)
    {
        names.AddRange(_names.Keys);
        return DiskResult.Done();
    }

    public DiskResult Delete(string name)
    {
        if (!Operate()) return Off;
        _names.Remove(name);
        return DiskResult.Done();
    }

    public DiskResult Rename(string from, string to)
    {
        if (!Operate()) return Off;
        if (!_names.Remove(from, out var file)) return DiskResult.Failed(IoStatus.Missing, from);
        (_names[to], file.NamedAt) = (file, Operations);
        return DiskResult.Done();
    }

    public DiskResult SyncDirectory()
    {
        if (DiesAtDirectorySync) IsOff = true;
        if (!Operate()) return Off;
        MakeNamesDurable();
        return DiskResult.Done();
    }

    /// <summary>Of one directory: of the names that begin with this and have no "/" behind it.</summary>
    internal DiskResult SyncDirectory(string directory)
    {
        if (!Operate()) return Off;
        bool IsIn(string name) => SimulatedDirectory.IsIn(directory, name);
        foreach (var name in _durableNames.Keys.Where(IsIn).ToArray()) _durableNames.Remove(name);
        foreach (var (name, file) in _names.Where(each => IsIn(each.Key))) _durableNames.Add(name, file);
        return DiskResult.Done();
    }

    public void Dispose() => _locked = false;

    /// <summary>The process or the host died and came back: old handles are dead, what was not synced is as the loss says.</summary>
    public void Restart(PowerLoss loss)
    {
        Generation++;
        (_locked, IsOff, PowerOffAt) = (false, false, 0);
        (FailSyncs, FailWrites, FailReads, _syncsToFailures) = (0, 0, 0, 0);
        (DiesAtDirectorySync, DiesAtPreallocate) = (false, false);
        if (loss == PowerLoss.ProcessOnly)
        {
            if (EvictsLost && _mayEvict) Evict(() => Next(2) == 0);
            return;
        }
        (_mayEvict, _hasLost) = (false, false);
        // Names: all of those changes or none, as a journaled file system does it.
        if (loss == PowerLoss.LoseAll || Next(2) == 0) _names = new Dictionary<string, SimulatedFile>(_durableNames);
        else MakeNamesDurable();
        foreach (var file in _names.Values) file.Crash(() => loss == PowerLoss.Torn && Next(2) == 0);
    }

    /// <summary>Nothing reaches it any more until it starts anew.</summary>
    public void TurnOff() => IsOff = true;

    /// <summary>Drops from the page cache what failed syncs have marked clean, or some of it.</summary>
    public void Evict(Func<bool> drops)
    {
        foreach (var file in _names.Values) file.Evict(drops);
    }

    /// <summary>
    /// The disk as the host would find it with its power gone now, or as the next process would: for looking at. The copy goes its own way.
    /// </summary>
    public SimulatedDisk Copy(bool media)
    {
        var copy = new SimulatedDisk(_random) { FaultsSpare = FaultsSpare, AheadBytes = AheadBytes };
        foreach (var (name, file) in media ? _durableNames : _names) copy._names.Add(name, file.Copy(media));
        copy.MakeNamesDurable();
        return copy;
    }

    /// <summary>The first operation, since the last <see cref="Forget"/>, whose bytes or name are not on media; none: the greatest number.</summary>
    /// <param name="isLeftOut">Files that nothing depends on.</param>
    public long FirstMissing(string prefix, Func<string, bool>? isLeftOut = null)
    {
        var first = long.MaxValue;
        foreach (var (name, file) in _names)
        {
            if (!name.StartsWith(prefix, StringComparison.Ordinal) || isLeftOut?.Invoke(name) == true) continue;
            first = Math.Min(first, file.FirstMissing);
            if (file.NamedAt > _forgottenAt && _durableNames.GetValueOrDefault(name) != file) first = Math.Min(first, file.NamedAt);
        }
        return first;
    }

    /// <summary>The first operation, since the last <see cref="Forget"/>, whose bytes a failed sync left: the next process may not find them. None: the greatest number.</summary>
    public long FirstLost(string prefix)
    {
        var first = long.MaxValue;
        foreach (var (name, file) in _names)
        {
            if (EvictsLost && name.StartsWith(prefix, StringComparison.Ordinal)) first = Math.Min(first, file.FirstLost);
        }
        return first;
    }

    public void Forget()
    {
        _forgottenAt = Operations;
        foreach (var file in _names.Values) file.Forget();
    }

    /// <summary>Nothing names what was written to this file so far. False: all of it was synced, or is forgotten.</summary>
    public bool ForgetUnsynced(string name) => _names[name].ForgetUnsynced();

    /// <summary>Whether all that was written there from this byte on is on media.</summary>
    public bool IsSyncedFrom(string name, long offset) => _names[name].IsSyncedFrom(offset);

    public byte[] Content(string name) => _names[name].Content;

    /// <summary>What the file takes of the disk: its bytes, or what is reserved for it.</summary>
    public long RoomOf(string name) => _names[name].RoomBytes;

    /// <summary>Silent corruption: one bit, on media too.</summary>
    public void FlipBit(string name, long bit) => _names[name].FlipBit(bit);

    /// <summary>SplitMix64.</summary>
    internal ulong Next(ulong below)
    {
        _random += 0x9E3779B97F4A7C15;
        var mixed = (_random ^ (_random >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return (mixed ^ (mixed >> 31)) % below;
    }

    private static DiskResult Off => DiskResult.Failed(IoStatus.DeviceError, "the power is off");

    /// <summary>Counts a call; false if the power is off or goes with it.</summary>
    private bool Operate()
    {
        if (IsOff) return false;
        Operations++;
        if (PowerOffAt == 0 || Operations < PowerOffAt) return true;
        IsOff = true;
        return false;
    }

    private void MakeNamesDurable()
    {
        _durableNames.Clear();
        foreach (var (name, file) in _names) _durableNames.Add(name, file);
    }

    private static bool Take(Func<int> get, Action<int> set)
    {
        if (get() == 0) return false;
        set(get() - 1);
        return true;
    }

    private sealed class Handle(SimulatedDisk disk, SimulatedFile file, string name) : IDiskFile
    {
        private readonly int _generation = disk.Generation;

        public long LengthBytes => file.Content.LongLength;

        public int AheadBytes => disk.AheadBytes;

        private bool IsDead => disk.IsOff || _generation != disk.Generation;

        public void WillNeed(long offsetBytes, long lengthBytes) => disk.Advised++;

        public unsafe DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
        {
            if (IsDead) return Off;
            if (!disk.Spares(name) && Take(() => disk.FailWrites, left => disk.FailWrites = left))
                return DiskResult.Failed(IoStatus.DeviceError, "write: injected error");
            long total = 0;
            foreach (var vector in vectors) total += (long)vector.LengthBytes;
            if (disk.FullFor == name) return DiskResult.Failed(IoStatus.NoSpace, "write: no space");
            if (offsetBytes + total > file.RoomBytes && !disk.HasRoom(offsetBytes + total - file.RoomBytes))
                return DiskResult.Failed(IoStatus.NoSpace, "write: no space");
            var goesOff = !disk.Operate();
            var limit = goesOff || (disk.ShortWrites && disk.Next(4) == 0) ? (long)disk.Next((ulong)total + 1) : total;
            if (!goesOff && limit == 0) limit = total;
            var at = 0L;
            foreach (var vector in vectors)
            {
                var count = (int)Math.Min((long)vector.LengthBytes, limit - at);
                if (count <= 0) break;
                file.Put(offsetBytes + at, new ReadOnlySpan<byte>(vector.Start, count), disk.Operations);
                at += count;
            }
            return goesOff ? Off : DiskResult.Done((int)at);
        }

        public DiskResult Read(long offsetBytes, Span<byte> to)
        {
            if (IsDead) return Off;
            if (!disk.Spares(name) && Take(() => disk.FailReads, left => (disk.FailReads, disk.ReadsFailed) = (left, disk.ReadsFailed + 1)))
                return DiskResult.Failed(IoStatus.DeviceError, "read: injected error");
            var count = (int)Math.Clamp(file.Content.LongLength - offsetBytes, 0, to.Length);
            file.Content.AsSpan((int)Math.Min(offsetBytes, file.Content.LongLength), count).CopyTo(to);
            return DiskResult.Done(count);
        }

        public DiskResult TryReadCached(long offsetBytes, Span<byte> to)
        {
            if (disk.UncachedOneIn > 0 && disk.Next((ulong)disk.UncachedOneIn) == 0) return new DiskResult(IoStatus.Busy, 0, null);
            var result = Read(offsetBytes, to);
            return result.IsOk && result.Count == to.Length ? result : new DiskResult(IoStatus.Busy, 0, null);
        }

        public DiskResult Sync()
        {
            if (IsDead) return Off;
            if (disk._syncsToFailures > 0) disk._syncsToFailures--;
            else if (Take(() => disk.FailSyncs, left => disk.FailSyncs = left))
            {
                file.FailSync();
                (disk._hasLost, disk._mayEvict) = (true, false);
                return DiskResult.Failed(IoStatus.DeviceError, "fdatasync: injected error");
            }
            if (!disk.Operate()) return Off;
            file.Sync();
            disk._mayEvict = disk._hasLost;
            return DiskResult.Done();
        }

        public DiskResult Preallocate(long lengthBytes)
        {
            if (IsDead) return Off;
            if (lengthBytes > file.RoomBytes && !disk.HasRoom(lengthBytes - file.RoomBytes))
                return DiskResult.Failed(IoStatus.NoSpace, "fallocate: no space");
            if (disk.DiesAtPreallocate) disk.IsOff = true;
            if (!disk.Operate()) return Off;
            file.Resize(lengthBytes);
            return DiskResult.Done();
        }

        public DiskResult Keep(long lengthBytes)
        {
            if (IsDead) return Off;
            if (disk.CannotKeep) return DiskResult.Failed(IoStatus.Unsupported, "fallocate: not supported");
            if (disk.FullFor == name || (lengthBytes > file.RoomBytes && !disk.HasRoom(lengthBytes - file.RoomBytes))) return DiskResult.Failed(IoStatus.NoSpace, "fallocate: no space");
            if (!disk.Operate()) return Off;
            file.KeptBytes = Math.Max(file.KeptBytes, lengthBytes);
            return DiskResult.Done();
        }

        public void Dispose()
        {
        }
    }

    private bool HasRoom(long moreBytes) => CapacityBytes == long.MaxValue || UsedBytes + moreBytes <= CapacityBytes;
}
