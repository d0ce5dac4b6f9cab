using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// What it means for a store that some of its disks are not there (docs/adr/0012-a-store-over-several-disks.md). Blocks that lie on them stay in the maps, and their reads fail: they
/// are mended from other copies, block by block. Of the end of the log nobody knows what it had on them: unless the last stop was in order, no volume can say what it holds.
/// </summary>
public sealed partial class BlockStore
{
    /// <summary>
    /// An open numbers its segments from its own count, shifted by this, on. What a missing disk has of the log has lower numbers, so that none is given out twice, and what
    /// returns with it later is older than all that was written meanwhile. What is found can't say it: the newest numbers may be on disks that are missing. An open does not use 2^32 segments.
    /// </summary>
    private const int NumbersOfAnOpenLog2 = 32;

    /// <summary>All disks, those that are missing too. Any thread.</summary>
    public IReadOnlyList<StoreDiskFacts> Disks => _disk.Facts();

    /// <summary>One of them: their number and order are settled at the open.</summary>
    public StoreDiskFacts DiskAt(int index) => _disk.FactsAt(index);

    /// <summary>Encoded bytes of blocks that only other copies have: they lie on a disk that is missing. Any thread; true lately.</summary>
    public long MissingBytes => Volatile.Read(ref _missingBytes);

    private long _missingBytes;

    /// <summary>
    /// Called on the loop, with why, when the store has failed and is as it should be once it is opened anew: without a disk that failed, once that is noted on media, or with maps that are read
    /// from checkpoint and log again.
    /// </summary>
    public Action<string>? StartsAnew { get; set; }

    /// <summary>A disk is missing that has something of the store.</summary>
    internal bool LacksDisks => _disk.Absent.Any(disk => !disk.IsEmpty);

    /// <summary>The end of the log may be on a disk that is missing: what that means for each volume is settled by itself (<see cref="DamageWithoutLog"/>).</summary>
    internal bool LacksLog => _disk.LacksLog;

    /// <summary>Lets go of the disks of a store that never ran.</summary>
    internal void CloseDisks() => _disk.Dispose();

    internal void OnDisksNoted(DiskResult result)
    {
        if (!result.IsOk) StoreLog.DiskNoteFailed(_logger, _disk.Description, result.Detail ?? "");
        foreach (var disk in _disk.Disks.Where(disk => disk is { IsHome: false, Failure: not null }))
        {
            StoreLog.DiskFailed(_logger, _disk.Description, disk.Id, disk.Path, disk.Failure!);
            if (result.IsOk) StartsAnew?.Invoke($"Disk {disk.Id:N} of the store, at {disk.Path}, has failed ({disk.Failure}); the node starts anew without it.");
        }
        OnJobDone();
    }

    /// <summary>Before the log goes on, and only of disks beside the home.</summary>
    private void NoteFailedDisks()
    {
        if (!_stopped && _disk.HasFailed) Submit(DiskLane.Sync, new DiskNoteJob(this, _disk));
    }

    /// <summary>
    /// From the second open on its own: what an earlier one has written beside the log (<see cref="ColdSegment"/>), or lost the header of, has numbers that nothing tells of.
    /// </summary>
    private ulong NextNumber(ulong highest) => LacksDisks || OpenCount > 1 ? Math.Max(OpenCount << NumbersOfAnOpenLog2, highest + 1) : highest + 1;

    /// <summary>
    /// Nothing of the log is on the disk that is missing if the last stop was in order and its checkpoint has all of it. Else records that were flushed may be there, of any volume, and no
    /// trace of them anywhere else.
    /// </summary>
    /// <param name="from">Where the checkpoint ends.</param>
    private void DamageWithoutLog(LogPosition from, LogPosition? cleanEnd)
    {
        // A checkpoint behind the end of a stop that still counts is that of an open without a disk, which wrote nothing else.
        if (!_disk.LacksLog || from >= cleanEnd) return;
        var paths = string.Join(", ", _disk.Absent.Where(disk => disk.IsNew).Select(disk => disk.Path));
        foreach (var volume in _volumes.Values) volume.MarkDamaged($"the end of the log may be on a disk that is missing ({paths})");
    }

    /// <summary>
    /// What the absence of disks means is put into a checkpoint, and after that they are not asked for any more: the log does not go on there. It goes on elsewhere first, so that no checkpoint from
    /// here on ends in a segment that is missing for that reason: one whose segment is missing then has lost it otherwise.
    /// </summary>
    private RecoveryFailure? GoOnWithoutDisks()
    {
        Volatile.Write(ref _missingBytes, Segments.MissingBytes);
        if (!_disk.LacksLog) return null;
        // The log's segment must not take the room of the checkpoint.
        BeginKeeping();
        UpdateCapacity();
        // What is damaged is on media before anything is: the log's next segment may be one that the missing disk's part of the log led to.
        if (_volumes.Values.Any(volume => volume.Damage is not null) && WriteCheckpointWithout(out _, out _) is { } unwritten) return unwritten;
        if (BeginLog() is { } failed) return new RecoveryFailure(failed.Status, $"the log could not go on without the missing disks: {failed.Detail}");
        if (WriteCheckpointWithout(out var snapshot, out var bytes) is { } failure) return failure;
        var result = _disk.GoOnWithout();
        if (!result.IsOk) return new RecoveryFailure(result.Status, $"the list of its disks could not be written: {result.Detail}");
        _checkpointAtBytes = _writer.AppendedBytes;
        NoteCheckpointBytes(bytes);
        NoteCheckpoint(snapshot);
        return null;
    }

    private RecoveryFailure? WriteCheckpointWithout(out CheckpointSnapshot snapshot, out long bytes)
    {
        snapshot = TakeSnapshot();
        var result = CheckpointWriter.Write(_disk, snapshot, Maps.File, out bytes);
        return result.IsOk ? null : new RecoveryFailure(result.Status, $"a checkpoint without the missing disks could not be written: {result.Detail}");
    }

    /// <summary>
    /// From here on the log may be written. Where it ends in a segment that is missing, and there was no room for another, only the stop in order says that nothing is missing behind it: that counts until
    /// there is a segment. The loop waits for the superblock then, once.
    /// </summary>
    private DiskResult MakeUsable()
    {
        var end = _writer.End.Number;
        if (!LacksDisks || Segments.All.Any(segment => segment.Number == end && !segment.IsMissing)) return UseUpStop();
        _writer.BeforeFirst = UseUpStop;
        return DiskResult.Done();
    }

    /// <summary>An entry in a segment of this open, on media. With no room for a segment there will be no log either: it ends where it did.</summary>
    private DiskResult? BeginLog()
    {
        var status = _writer.StageWatermark();
        if (status == IoStatus.NoSpace) return null;
        var result = status == IoStatus.Ok ? _writer.Flush() : DiskResult.Failed(status, "no segment can be made");
        if (result.IsOk) result = _writer.Active!.File.Sync();
        if (!result.IsOk) return result;
        _writer.Durable = _writer.End;
        foreach (var segment in _writer.Dirty) segment.IsDirty = false;
        _writer.Dirty.Clear();
        return null;
    }
}

/// <summary>Notes on media which disks failed, so that the next open goes on without them.</summary>
internal sealed class DiskNoteJob(BlockStore store, DiskPool disks) : DiskJob
{
    private DiskResult _result;

    public override void Execute() => _result = disks.NoteFailed();

    public override void Complete() => store.OnDisksNoted(_result);
}
