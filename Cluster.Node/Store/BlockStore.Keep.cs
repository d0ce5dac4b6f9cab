using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// Room for the next checkpoint: it is reserved in the file that it will be written to, before the log or anybody else takes it. The superblock and the list of disks are written in place, and need
/// none. Loop only, unless said otherwise.
/// </summary>
public sealed partial class BlockStore
{
    /// <summary>What a checkpoint may need is told in multiples of this, and so much more is reserved: one part in so many. So it is reserved anew only now and then.</summary>
    private const int KeepStepBytes = 64 * 1024;
    private const int KeepMoreParts = 8;

    private const int KeepRetryMs = 5000;

    private long _keepBytes;
    private long _keptBytes;
    private long _keepNotBeforeMs;
    private bool _isKeeping;

    /// <summary>The file system can't reserve: the store's own segments leave the room, and nothing is reserved of it.</summary>
    private bool _cannotKeep;
    private string _keepProblem = "";

    /// <summary>What the next checkpoint may need, and what of that is reserved. Any thread; true lately.</summary>
    public (long Bytes, long ReservedBytes) CheckpointReserve => (Volatile.Read(ref _keepBytes), Math.Min(Volatile.Read(ref _keptBytes), Volatile.Read(ref _keepBytes)));

    private void BeginKeeping()
    {
        _keepBytes = EstimateCheckpoint();
        _disk.HomeKeptBytes = _keepBytes;
        LeaveToCheckpoint();
    }

    private void KeepRoom()
    {
        Volatile.Write(ref _keepBytes, EstimateCheckpoint());
        _disk.HomeKeptBytes = Math.Max(0, _keepBytes - _keptBytes);
        LeaveToCheckpoint();
        if (IsStopping || _isKeeping || _cannotKeep || _keptBytes >= _keepBytes || _loop.NowMs < _keepNotBeforeMs) return;
        _isKeeping = true;
        Submit(DiskLane.Background, new KeepJob(this, _disk, _keepBytes + (_keepBytes / KeepMoreParts)));
    }

    /// <summary>What the page file of the maps, which never gets shorter, leaves free: as much as the next checkpoint may need, and more than the last one took.</summary>
    private void LeaveToCheckpoint() => Maps.File.ReserveBytes = Math.Max(CheckpointsReserved * _checkpointBytes, _keepBytes + (_keepBytes / KeepMoreParts));

    /// <summary>What has the room, as far as the store knows.</summary>
    private string WhatFills => Maps.Facts.FileBytes is > 0 and var pages
        ? $"its file system is full, {pages >> 10} KiB of it with pages of the store's maps ({MapPageFile.Name}), the rest with the store's segments or something else" : "something else fills its file system";

    /// <summary>It was written to what was reserved, or was deleted when it could not be.</summary>
    private void OnKeptUsed()
    {
        Volatile.Write(ref _keptBytes, 0);
        _keepNotBeforeMs = 0;
        KeepRoom();
    }

    internal void OnKept(KeepJob job)
    {
        _isKeeping = false;
        _cannotKeep |= job.Result.Status == IoStatus.Unsupported;
        if (job.Result.IsOk)
        {
            Volatile.Write(ref _keptBytes, job.Bytes);
            if (_keepProblem.Length > 0) StoreLog.CheckpointRoomAgain(_logger, _disk.Description);
            _keepProblem = "";
        }
        else if (!_cannotKeep)
        {
            _keepNotBeforeMs = _loop.NowMs + KeepRetryMs;
            // What is the store's own may be spared; the rest is others'.
            if (!IsStopping && !_retiring.ContainsKey(_disk.Disks[0]) && job.Result.Status == IoStatus.NoSpace) BeginRetire(OneOf(_disk.Disks[0]));
            if (_keepProblem.Length == 0) StoreLog.NoCheckpointRoom(_logger, _disk.Description, job.Bytes >> 10, _disk.Disks[0].FreeBytes >> 10, job.Result.Detail ?? "", WhatFills);
            _keepProblem = $"it has no room for the store's next checkpoint ({_keepBytes >> 10} KiB): {WhatFills}, and the log is kept as long as none can be written";
        }
        _disk.HomeKeptBytes = Math.Max(0, _keepBytes - _keptBytes);
        Describe();
        OnJobDone();
    }

    private Func<Segment?> OneOf(StoreDisk disk)
    {
        var isTaken = false;
        return () =>
        {
            if (isTaken) return null;
            isTaken = true;
            return Segments.RetireOf(disk, _cleaner.Source);
        };
    }

    /// <summary>As <see cref="CheckpointWriter"/> would write it now, at most about that.</summary>
    private long EstimateCheckpoint()
    {
        var bytes = CheckpointRoom.OfSegments(Segments.All.Count);
        foreach (var volume in _volumes.Values) bytes += CheckpointRoom.Of(volume.Map) + CheckpointRoom.OfState(volume);
        foreach (var map in _detached) bytes += CheckpointRoom.Of(map);
        return (bytes + KeepStepBytes - 1) / KeepStepBytes * KeepStepBytes;
    }
}

/// <summary>Reserves room for the next checkpoint, in the lane that writes it.</summary>
internal sealed class KeepJob(BlockStore store, DiskPool disks, long bytes) : DiskJob
{
    public long Bytes => bytes;

    public DiskResult Result { get; private set; }

    public override void Execute() => Result = CheckpointRoom.Keep(disks, bytes);

    public override void Complete() => store.OnKept(this);
}
