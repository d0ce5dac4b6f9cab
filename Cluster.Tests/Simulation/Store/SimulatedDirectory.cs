using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>Kinds of calls on a directory and its files.</summary>
[Flags]
public enum SimulatedCalls
{
    None = 0,
    Reads = 1,
    Writes = 2,
    Syncs = 4,

    /// <summary>Open, list, delete, and fsync of the directory.</summary>
    Names = 8,
    All = Reads | Writes | Syncs | Names,

    /// <summary>The close of a file: only of file systems over a network, so that it is not among all.</summary>
    Closes = 16,
}

/// <summary>
/// One directory of a simulated disk as a disk of its own: several disks that lose their power at one moment. The home of a store has the empty prefix, the others one such as "d1/". It can be taken
/// away, and made to fail.
/// </summary>
public sealed class SimulatedDirectory(SimulatedDisk disk, string prefix) : IDisk
{
    private bool _locked;

    public string Description => prefix.Length == 0 ? "home" : prefix;

    /// <summary>Every call on it fails.</summary>
    public bool IsGone { get; set; }

    /// <summary>Its file system is unmounted: names lead nowhere for the store that has it, nor do files that it has to open again for a write; who looks anew finds an empty directory.</summary>
    public bool IsUnmounted { get; set; }

    /// <summary>Gone or not, it is one of those that the store is told to use.</summary>
    public bool IsStillNamed { get; set; }

    /// <summary>Writes and syncs fail, reads do not.</summary>
    public bool FailsWrites { get; set; }

    /// <summary>Writes to files whose names begin with this fail; "": to none.</summary>
    public string FailsWritesOf { get; set; } = "";

    /// <summary>The next so many deletions find no room for what they have to write, or syncs of the directory fail.</summary>
    public int FailDeletes { get; set; }

    public IoStatus FailDeletesWith { get; set; } = IoStatus.NoSpace;

    public int FailDirectorySyncs { get; set; }

    /// <summary>Reads of files whose names begin with this fail; "": of none.</summary>
    public string FailsReadsOf { get; set; } = "";

    /// <summary>Reads of any of these bytes fail; the page cache does not have them.</summary>
    public List<(string Name, long From, long End)> Unreadable { get; } = [];

    /// <summary>And each such read returns only once it is let go on (<see cref="HangingScheduler"/>).</summary>
    public bool ErrsSlowly { get; set; }

    private bool IsUnreadable(string name, long from, int length) => Unreadable.Exists(each => each.Name == name && from < each.End && each.From < from + length);

    /// <summary>Reads fail, of open files too.</summary>
    public bool FailsReads { get; set; }

    /// <summary>Called by every preallocation, on its thread.</summary>
    public Action? BeforePreallocate { get; init; }

    /// <summary>These calls do not return, as long as that is so (<see cref="HangingScheduler"/>).</summary>
    public SimulatedCalls Hangs { get; set; }

    private void Call(SimulatedCalls kind)
    {
        while ((Hangs & kind) != 0) HangingScheduler.Hang(Description);
    }

    /// <summary>Writes to files of which this is true do not return, either.</summary>
    public Func<string, bool>? HangsWritesTo { get; set; }

    /// <summary>Each write, sync and read takes so long, by this clock.</summary>
    public int DelayMs { get; set; }

    public SlowClock? Clock { get; set; }

    public long FreeBytes => IsGone ? 0 : FreeLimit - (Names.Sum(name => disk.RoomOf(prefix + name)));

    public long FreeLimit { get; set; } = 1L << 40;

    /// <summary>One of its own, unless the test says otherwise.</summary>
    public ulong FileSystem { get => _fileSystem ?? (ulong)prefix.GetHashCode(StringComparison.Ordinal); set => _fileSystem = value; }

    private ulong? _fileSystem;

    private IEnumerable<string> Names => disk.Names.Where(name => IsIn(prefix, name)).Select(name => name[prefix.Length..]);

    public static bool IsIn(string prefix, string name) => name.StartsWith(prefix, StringComparison.Ordinal) && !name.AsSpan(prefix.Length).Contains('/');

    /// <summary>A store has it.</summary>
    public bool IsLocked => _locked;

    public DiskResult TryLock()
    {
        if (IsGone) return Gone;
        if (_locked) return DiskResult.Failed(IoStatus.Busy, "locked");
        _locked = true;
        return DiskResult.Done();
    }

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        file = null;
        Call(SimulatedCalls.Names);
        if (IsGone || (create && FailsWrites)) return Gone;
        if (IsUnmounted) return _locked ? Elsewhere : DiskResult.Failed(IoStatus.Missing, name);
        var result = disk.Open(prefix + name, create, out var opened);
        if (result.IsOk) file = new Handle(this, opened!, name, FailsReadsOf.Length > 0 && name.StartsWith(FailsReadsOf, StringComparison.Ordinal));
        return result;
    }

    public DiskResult List(List<string> names)
    {
        Call(SimulatedCalls.Names);
        if (IsGone) return Gone;
        if (IsUnmounted) return _locked ? Elsewhere : DiskResult.Done();
        names.AddRange(Names);
        return DiskResult.Done();
    }

    public DiskResult Delete(string name)
    {
        Call(SimulatedCalls.Names);
        if (IsGone) return Gone;
        if (IsUnmounted) return Elsewhere;
        if (FailDeletes == 0) return disk.Delete(prefix + name);
        FailDeletes--;
        return DiskResult.Failed(FailDeletesWith, FailDeletesWith == IoStatus.NoSpace ? "unlink: no space" : "unlink: injected error");
    }

    public DiskResult Rename(string from, string to) => IsGone ? Gone : disk.Rename(prefix + from, prefix + to);

    public DiskResult SyncDirectory()
    {
        Call(SimulatedCalls.Names);
        if (IsGone || FailsWrites) return Gone;
        if (IsUnmounted) return Elsewhere;
        if (FailDirectorySyncs == 0) return disk.SyncDirectory(prefix);
        FailDirectorySyncs--;
        return DiskResult.Failed(IoStatus.DeviceError, "fsync of the directory: injected error");
    }

    public void Dispose() => _locked = false;

    public void Restart() => _locked = false;

    private static DiskResult Gone => DiskResult.Failed(IoStatus.DeviceError, "the disk is gone");

    private static DiskResult Elsewhere => DiskResult.Failed(IoStatus.DeviceError, "its file system was unmounted") with { IsElsewhere = true };

    private sealed class Handle(SimulatedDirectory directory, IDiskFile file, string name, bool failsReads) : IDiskFile
    {
        private bool _isClosed;

        public long LengthBytes => file.LengthBytes;

        public int AheadBytes => file.AheadBytes;

        private bool CanWrite => directory is { IsGone: false, FailsWrites: false };

        public DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
        {
            ObjectDisposedException.ThrowIf(_isClosed, this);
            directory.Call(SimulatedCalls.Writes);
            while (directory.HangsWritesTo?.Invoke(name) == true) HangingScheduler.Hang(directory.Description);
            directory.Clock?.Pass(directory.DelayMs);
            var fails = directory.FailsWritesOf.Length > 0 && name.StartsWith(directory.FailsWritesOf, StringComparison.Ordinal);
            if (directory is { IsUnmounted: true, FailsWrites: false }) return Elsewhere;
            return CanWrite && !fails ? file.Write(offsetBytes, vectors) : Gone;
        }

        public DiskResult Read(long offsetBytes, Span<byte> to)
        {
            ObjectDisposedException.ThrowIf(_isClosed, this);
            directory.Call(SimulatedCalls.Reads);
            directory.Clock?.Pass(directory.DelayMs);
            var isUnreadable = directory.IsUnreadable(name, offsetBytes, to.Length);
            if (isUnreadable && directory.ErrsSlowly) HangingScheduler.Hang(directory.Description);
            return directory.IsGone || directory.FailsReads || failsReads || isUnreadable ? Gone : file.Read(offsetBytes, to);
        }

        public DiskResult TryReadCached(long offsetBytes, Span<byte> to) => directory.IsGone || directory.IsUnreadable(name, offsetBytes, to.Length) ? new DiskResult(IoStatus.Busy, 0, null) : file.TryReadCached(offsetBytes, to);

        public DiskResult Sync()
        {
            ObjectDisposedException.ThrowIf(_isClosed, this);
            directory.Call(SimulatedCalls.Syncs);
            directory.Clock?.Pass(directory.DelayMs);
            return CanWrite ? file.Sync() : Gone;
        }

        public DiskResult Preallocate(long lengthBytes)
        {
            directory.BeforePreallocate?.Invoke();
            if (!CanWrite) return Gone;
            return lengthBytes - file.LengthBytes > directory.FreeBytes ? DiskResult.Failed(IoStatus.NoSpace, "fallocate: no space") : file.Preallocate(lengthBytes);
        }

        public DiskResult Keep(long lengthBytes) => !CanWrite ? Gone
            : lengthBytes - file.LengthBytes > directory.FreeBytes ? DiskResult.Failed(IoStatus.NoSpace, "fallocate: no space") : file.Keep(lengthBytes);

        public void Dispose()
        {
            directory.Call(SimulatedCalls.Closes);
            _isClosed = true;
            file.Dispose();
        }
    }
}
