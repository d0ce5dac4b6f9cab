using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Store;

/// <summary>What a store works with.</summary>
internal sealed record StoreEnvironment(StoreOptions Options, ILoop Loop, DiskPool Disk, IDiskScheduler Scheduler, ILogger Logger);

/// <summary>The way from a directory to a store: lock, superblock, checkpoint, log.</summary>
public sealed partial class BlockStore
{
    private readonly long _openBegan = Stopwatch.GetTimestamp();

    private const string BootIdPath = "/proc/sys/kernel/random/boot_id";

    /// <summary>
    /// Opens the store on this disk, or makes a new one where there is none. Blocks (reads the log since the last checkpoint); any
    /// thread, before the loop has it. Busy: another process has it open; Unsupported: a newer format; BadChecksum: what can't be
    /// replaced is damaged; Conflict: a disk is not this store's; DeviceError; NoSpace. The disks are disposed with the store, or here if there is none.
    /// </summary>
    /// <param name="home">Has the superblock and the checkpoint, and segments like the others.</param>
    /// <param name="further">The other disks. Those that are new are taken into use; those of the store that are not among them are missing, and it goes on without them.</param>
    public static StoreOpenResult Open(StoreOptions options, ILoop loop, IDisk home, IDiskScheduler scheduler, ILogger logger, IReadOnlyList<IDisk>? further = null)
    {
        var pool = new DiskPool(home, further ?? [], options);
        var environment = new StoreEnvironment(options, loop, pool, scheduler, logger);
        var result = options.Problem() is { } problem
            ? new StoreOpenResult(IoStatus.OutOfRange, problem, null)
            : OpenLocked(environment);
        if (result.Store is null) pool.Dispose();
        return result;
    }

    private static StoreOpenResult OpenLocked(StoreEnvironment environment)
    {
        var disk = environment.Disk;
        var locked = disk.TryLock();
        if (locked.Status == IoStatus.Busy) return Refused(IoStatus.Busy, $"the store at {disk.Description} is in use by another process");
        if (!locked.IsOk) return Refused(locked.Status, $"the store at {disk.Description} can't be locked: {locked.Detail}");
        var names = new List<string>();
        var listed = disk.List(names);
        if (!listed.IsOk) return Refused(listed.Status, $"the store at {disk.Description} can't be listed: {listed.Detail}");
        if (disk.Look() is { } strange) return Refused(IoStatus.Conflict, strange);

        var status = SuperblockFile.TryOpen(disk, out var superblock, out var reason);
        if (status == IoStatus.Missing && disk.RefusalOfNew() is { } refusal) return Refused(IoStatus.Conflict, refusal);
        if (status == IoStatus.Missing) (status, superblock, reason) = CreateSuperblock(environment, names);
        if (status != IoStatus.Ok) return Refused(status, $"the superblock at {disk.Description} can't be used: {reason}");
        if (disk.Match(superblock!.Current) is not { } mismatch) return OpenOver(environment, superblock);
        superblock.Dispose();
        return Refused(IoStatus.Conflict, mismatch);
    }

    /// <summary>The disks are known to be the store's.</summary>
    private static StoreOpenResult OpenOver(StoreEnvironment environment, SuperblockFile superblock)
    {
        var disk = environment.Disk;
        LogPosition? cleanEnd = superblock.Current.CleanStop && !superblock.MayBeOld ? superblock.Current.CleanEnd : null;
        if (cleanEnd is null && disk.RefusalWithoutLog() is { } refusal)
        {
            // Before the open is counted: nothing is changed.
            superblock.Dispose();
            return Refused(IoStatus.Conflict, $"the store at {disk.Description} can't be opened: {refusal}");
        }
        var store = new BlockStore(environment, superblock);
        var failure = store.Read(cleanEnd, out var reading);
        // Nothing was changed so far: an open that is refused uses up no stop in order.
        failure ??= store.Begin(keepsStop: cleanEnd is not null);
        failure ??= store.GoOn(reading!, cleanEnd);
        disk.OnOpened();
        if (failure is null) return new StoreOpenResult(IoStatus.Ok, "", store);
        store.CloseFiles();
        // If it was one of the further disks, the next open goes on without it.
        var noted = disk.NoteFailed();
        var then = disk.HasFailed ? noted.IsOk ? " (the next start goes on without that disk)" : $" (that could not be noted: {noted.Detail})" : "";
        return Refused(failure.Status, $"the store at {disk.Description} can't be opened: {failure.Reason}{then}");
    }

    private static StoreOpenResult Refused(IoStatus status, string reason) => new(status, reason, null);

    /// <summary>A new store, but never in place of one whose superblock went missing.</summary>
    private static (IoStatus, SuperblockFile?, string) CreateSuperblock(StoreEnvironment environment, List<string> names)
    {
        if (names.Any(name => SegmentTable.IdOf(name) is not null || name == CheckpointWriter.Name))
            return (IoStatus.BadChecksum, null, "it is missing or was cut off, though segments are there; put it back, or move this directory away to have the node's copies made anew from other nodes");
        var options = environment.Options;
        var first = new Superblock
        {
            SegmentBytes = (uint)options.SegmentBytesFor(options.CapacityBytes > 0 ? options.CapacityBytes : environment.Disk.GivenBytes),
            StoreId = options.NewId(),
            DiskId = options.NewId(),
            CleanStop = true,
        };
        var result = SuperblockFile.Create(environment.Disk, first, out var created);
        return (result.Status, created, result.Detail ?? "");
    }

    /// <summary>From here on the disks are changed: new ones are labelled, the open is counted, and the list of disks is made true.</summary>
    /// <param name="keepsStop">The last stop was in order, and nothing has written to the log since but opens that came to nothing.</param>
    private RecoveryFailure? Begin(bool keepsStop)
    {
        var labelled = _disk.Label(StoreId);
        if (!labelled.IsOk) return new RecoveryFailure(labelled.Status, labelled.Detail ?? "");
        var opened = CountOpen(_options, _superblock, keepsStop, _disk.HasReturned, out var suspect);
        Suspect = suspect;
        if (opened.IsOk) opened = _disk.Attach(_superblock);
        return opened.IsOk ? null : new RecoveryFailure(opened.Status, $"its superblock can't be written: {opened.Detail}");
    }

    /// <summary>The open is counted and marked on media before the store is used (R5), and whether the host came back without a clean stop, or an
    /// fdatasync had failed, is kept (R9). The stop before it counts until <see cref="UseUpStop"/>.</summary>
    /// <param name="mayLack">As after a loss of power, of one disk.</param>
    private static DiskResult CountOpen(StoreOptions options, SuperblockFile file, bool keepsStop, bool mayLack, out bool suspect)
    {
        var before = file.Current;
        var bootId = options.BootId != Guid.Empty ? options.BootId
            : Guid.Parse(File.ReadAllText(BootIdPath).Trim());
        // With one slot lost, the other may be older by one write: no count is given out twice, no clean stop is believed, and the lost one
        // may have noted a failed sync.
        suspect = before.SyncFailed || file.MayBeOld || (!before.CleanStop && before.BootId != bootId);
        suspect |= mayLack && !before.CleanStop;
        // The mark of the open that may have been is not known.
        var opens = (file.MayBeOld ? before.Opens.Next(0) : before.Opens).Next(options.NewMark());
        return file.Write(before with
        {
            Opens = opens,
            BootId = bootId,
            CleanStop = keepsStop,
            SyncFailed = false,
            SuspectSince = suspect ? opens.Count : before.SuspectSince,
        });
    }

    /// <summary>
    /// The stop in order before this open counts no more: on media before the log has anything that is not in the checkpoint. Not earlier: an open that is killed or fails on its way, when it counted
    /// itself, when the checkpoint without a missing disk found no room, lost nothing, and the next one must know that.
    /// </summary>
    private DiskResult UseUpStop() => _superblock.Current.CleanStop ? _superblock.Write(_superblock.Current with { CleanStop = false }) : DiskResult.Done();

    /// <summary>Writes the cluster's id, once. Conflict: the store belongs to another cluster. Blocks; before the loop has the
    /// store.</summary>
    public IoStatus SetClusterId(Guid clusterId)
    {
        Invariant.That(clusterId != Guid.Empty, "an empty cluster id was set");
        if (ClusterId == clusterId) return IoStatus.Ok;
        if (ClusterId != Guid.Empty) return IoStatus.Conflict;
        return _superblock.Write(_superblock.Current with { ClusterId = clusterId }).Status;
    }

    /// <summary>Writes whose the store is, and keeps whose it was. Blocks; before the loop has the store, or on it.</summary>
    public IoStatus SetNodeId(Guid nodeId)
    {
        Invariant.That(nodeId != Guid.Empty, "an empty node id was set");
        return NodeId == nodeId ? IoStatus.Ok : _superblock.Write(_superblock.Current with { NodeId = nodeId, FormerNodeId = NodeId }).Status;
    }

    /// <summary>What the open found.</summary>
    internal RecoveredLog Recovered { get; private set; } = null!;

    internal void LogDamage(VolumeId volume, string reason) => StoreLog.Damaged(_logger, volume, _disk.Description, reason);

    /// <summary>The checkpoint that was loaded names segments that are used anew.</summary>
    private bool _hasLostEntries;

    private sealed record RecoveryFailure(IoStatus Status, string Reason);

    /// <summary>What an open reads before it changes anything.</summary>
    /// <param name="Named">What the checkpoint on media names stays until the next one is there, even if the log behind it has newer blocks.</param>
    /// <param name="Short">Names of segments that have not got their space.</param>
    private sealed record Reading(List<FoundSegment> Found, HashSet<Segment> Named, LogRecovery Recovery, LogPosition Start, ulong NumberMax, List<string> Short);

    /// <summary>Changes nothing on the disks but the page file of the maps, which is memory.</summary>
    /// <param name="cleanEnd">Where the log ended at the last stop; null: that was not in order.</param>
    private RecoveryFailure? Read(LogPosition? cleanEnd, out Reading? reading)
    {
        reading = null;
        var names = new List<string>();
        var listed = _disk.List(names);
        if (!listed.IsOk) return new RecoveryFailure(listed.Status, listed.Detail ?? "a disk can't be listed");
        names.Sort(StringComparer.Ordinal);
        // Of a process that was killed; of no use to any other.
        if (names.Contains(MapPageFile.Name)) listed = _disk.Delete(MapPageFile.Name);
        if (!listed.IsOk) return new RecoveryFailure(listed.Status, listed.Detail ?? $"{MapPageFile.Name} can't be deleted");
        foreach (var absent in _disk.Absent) StoreLog.DiskAbsent(_logger, _disk.Description, absent.Id, absent.Path, absent.Problem);
        var failure = FindSegments(names, out var found, out var shorts);
        if (failure is not null) return failure;
        failure = LoadCheckpoint(ref found, out var start);
        if (failure is not null) return failure;
        var named = Segments.All.Where(segment => !segment.IsDead).ToHashSet();
        var numberMax = found.Count == 0 ? 0 : found.Max(each => each.Number);
        var lastCleanEnd = _superblock.Current.CleanEnd;
        var recovery = new LogRecovery(found, _volumes, AddVolume, this, Segments.SegmentBytes);
        recovery.Run(start, lastCleanEnd > start ? lastCleanEnd : start, cleanEnd);
        if (recovery.Failure is not null || HasFailed) return new RecoveryFailure(IoStatus.DeviceError, recovery.Failure ?? FailureReason!);
        reading = new Reading(found, named, recovery, start, numberMax, shorts);
        return null;
    }

    /// <param name="cleanEnd">Where the log ended at the last stop; null: that was not in order.</param>
    private RecoveryFailure? GoOn(Reading reading, LogPosition? cleanEnd)
    {
        var (found, named, recovery, start, numberMax, _) = reading;
        var failure = MakeNamesDurable(reading.Short);
        if (failure is not null) return failure;
        if (recovery.WasCut) StoreLog.Cut(_logger, _disk.Description, recovery.End);
        failure = MakeDurable(recovery);
        if (failure is not null) return failure;
        DamageWithoutLog(start, cleanEnd);
        foreach (var map in _volumes.Values.Select(volume => volume.Map).Concat(Detached)) map.HandDownAll();
        foreach (var volume in _volumes.Values.ToArray())
        {
            if (_hasLostEntries && volume.Map.CountLost() is > 0 and var lost) volume.MarkDamaged($"{lost} of its blocks lie in segments that were used anew");
            // Nothing names the replica any more: it is lost, and not an empty one (R5).
            if (volume.Header.IsEmpty) _volumes.Remove(volume.Volume);
            volume.OnRecovered();
        }
        SettleClones();
        Maps.DrainReleases();
        // Nothing that an open without all of its maps knows may get into a checkpoint; the next one reads them anew.
        if (HasFailed) return new RecoveryFailure(IoStatus.DeviceError, FailureReason!);
        SettleSegments(found, recovery, named);
        _writer = new LogWriter(Segments, Identity, recovery.End, NextNumber(Math.Max(numberMax, start.Number))) { Durable = recovery.End, Leaving = LinkOnLeave };
        _checkpointAtBytes = -recovery.ReplayedBytes;
        failure = GoOnWithoutDisks();
        if (failure is not null) return failure;
        failure = FreeBeforeLog();
        if (failure is not null) return failure;
        if (MakeUsable() is { IsOk: false } failed) return new RecoveryFailure(failed.Status, $"its superblock can't be written: {failed.Detail}");
        Maps.IsOpening = false;
        Recovered = new RecoveredLog(_checkpointNumber, start, recovery.End, recovery.ReplayedBytes, recovery.WasCut);
        BeginWatch();
        UpdateUsage();
        StoreLog.Opened(_logger, _disk.Description, _volumes.Count, Segments.All.Count, recovery.End, OpenCount, recovery.ReplayedBytes >> 20, (long)Stopwatch.GetElapsedTime(_openBegan).TotalMilliseconds);
        return null;
    }

    /// <summary>
    /// A killed process may have left names that a loss of power would undo: of a segment that the log is to go on in, or of the checkpoint that says which segments are free. Segments that it
    /// left without their space go.
    /// </summary>
    private RecoveryFailure? MakeNamesDurable(List<string> shorts)
    {
        foreach (var name in shorts)
        {
            var result = _disk.Delete(name);
            if (!result.IsOk) return new RecoveryFailure(result.Status, result.Detail ?? name);
        }
        var synced = _disk.SyncDirectory();
        return synced.IsOk ? null : new RecoveryFailure(synced.Status, synced.Detail ?? "fsync of the directory failed");
    }

    /// <summary>
    /// A process that was killed may have left these bytes in the page cache only; from here on they count as durable. After a failed
    /// fdatasync the cache calls them clean, and a sync alone would write nothing: what was not known to be flushed is written again.
    /// </summary>
    private RecoveryFailure? MakeDurable(LogRecovery recovery)
    {
        foreach (var (segment, from, end) in recovery.Unflushed())
        {
            var result = Rewrite(segment.File, from, end);
            if (!result.IsOk) return new RecoveryFailure(result.Status, result.Detail ?? "the end of the log could not be written again");
        }
        foreach (var segment in recovery.Replayed)
        {
            var result = segment.File.Sync();
            if (result.IsOk) continue;
            _superblock.Write(_superblock.Current with { SyncFailed = true });
            return new RecoveryFailure(result.Status, result.Detail ?? "fdatasync failed");
        }
        return null;
    }

    private static DiskResult Rewrite(IDiskFile file, uint from, uint end)
    {
        var buffer = BufferPool.Shared.Rent(BufferPool.LargestBytes);
        var result = DiskResult.Done();
        for (var at = from; at < end && result.IsOk; at += (uint)buffer.CapacityBytes)
        {
            var part = buffer.Whole[..(int)Math.Min(end - at, (uint)buffer.CapacityBytes)];
            result = file.ReadExactly(at, part);
            if (result.IsOk) result = file.WriteAll(at, part);
        }
        buffer.Release();
        return result;
    }

    private RecoveryFailure? LoadCheckpoint(ref List<FoundSegment> found, out LogPosition start)
    {
        start = default;
        var status = CheckpointReader.TryLoad(_disk, StoreId, found, this, out var loaded, out var reason);
        if (status == IoStatus.Missing) return null;
        if (status != IoStatus.Ok) return new RecoveryFailure(status, reason);
        using var checkpoint = loaded!;
        (found, start) = (checkpoint.Found, checkpoint.Position);
        _checkpointNumber = checkpoint.Number;
        NoteCheckpointBytes(checkpoint.LengthBytes);
        NoteCheckpoint(checkpoint);
        _hasLostEntries = checkpoint.HasLost;
        return null;
    }

    internal VolumeStore VolumeOf(VolumeId id) => _volumes.TryGetValue(id, out var volume) ? volume : AddVolume(id);

    private VolumeStore AddVolume(VolumeId id)
    {
        var volume = new VolumeStore(this, id);
        _volumes.Add(id, volume);
        return volume;
    }

    private RecoveryFailure? FindSegments(List<string> names, out List<FoundSegment> found, out List<string> shorts)
    {
        (found, shorts) = ([], []);
        Span<byte> start = stackalloc byte[SegmentHeader.SizeBytes + EntryPrefix.SizeBytes];
        foreach (var name in names)
        {
            if (SegmentTable.IdOf(name) is not { } id) continue;
            var result = _disk.Open(name, create: false, out var file);
            if (!result.IsOk) return new RecoveryFailure(result.Status, result.Detail ?? name);
            start.Clear();
            result = file!.Read(0, start);
            if (!result.IsOk) return new RecoveryFailure(result.Status, result.Detail ?? name);
            if (IsShort(file, start))
            {
                file.Dispose();
                shorts.Add(name);
                continue;
            }
            var segment = Segments.Add(id, file);
            var status = SegmentHeader.TryDecode(start, out var header);
            if (status == IoStatus.Unsupported) return new RecoveryFailure(status, $"{name} was written by a newer version");
            var isOurs = status == IoStatus.Ok && header.Segment == id && header.Store == StoreId
                && header.SegmentBytes == (uint)Segments.SegmentBytes;
            found.Add(isOurs
                ? new FoundSegment(segment, true, header.Number, header.Previous)
                : new FoundSegment(segment, false, EntryPrefix.PeekNumber(start[SegmentHeader.SizeBytes..], segment.Seed), default));
        }
        return null;
    }

    /// <summary>Made by a process that was killed before the file had its space: it holds nothing, and is no reserve.</summary>
    private bool IsShort(IDiskFile file, ReadOnlySpan<byte> start) =>
        file.LengthBytes < Segments.SegmentBytes && !start.ContainsAnyExcept((byte)0);

    /// <summary>Segments that the replayed log or a map needs keep their number; all others are free.</summary>
    private void SettleSegments(List<FoundSegment> found, LogRecovery recovery, HashSet<Segment> named)
    {
        foreach (var each in found)
        {
            var isNeeded = !each.Segment.IsDead || named.Contains(each.Segment) || recovery.Replayed.Contains(each.Segment);
            if (!isNeeded)
            {
                Segments.Free(each.Segment);
                continue;
            }
            each.Segment.Number = each.Number;
            each.Segment.EndBytes = each.Segment.WrittenBytes = (uint)Segments.SegmentBytes;
        }
        // When each was filled nobody knows any more, but for the order.
        var age = 0L;
        foreach (var segment in Segments.All.Where(segment => segment.Number > 0).OrderByDescending(segment => segment.Number)) segment.SealedAtBytes = -(age += Segments.SegmentBytes);
    }

    internal void CloseFiles()
    {
        _superblock.Dispose();
        foreach (var segment in Segments.All) segment.File.Dispose();
        Maps.Dispose();
    }
}
