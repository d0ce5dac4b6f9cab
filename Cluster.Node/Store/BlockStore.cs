using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Store;

/// <summary>
/// The log-structured store of one disk. All replicas of the node share one log; each has its own map. <see cref="Open"/> blocks and may
/// run on any thread; then the caller adds the store to its loop (<see cref="ILoop.AddPhase"/> with <see cref="TurnPhase.Store"/>), and
/// all else happens there. docs/disk-format.md has the layout and the order that crashes depend on.
/// </summary>
public sealed partial class BlockStore : IBlockStore
{
    private readonly Dictionary<VolumeId, VolumeStore> _volumes = [];
    private readonly Stack<ReadJob> _readJobs = new();
    private long _readBytes;
    private readonly List<VolumeStore> _touched = [];
    private readonly List<VolumeStore> _notifying = [];
    private readonly List<VolumeStore> _unsynced = [];
    private readonly SyncJob _sync;
    private readonly Cleaner _cleaner;
    private readonly StoreOptions _options;
    private readonly ILoop _loop;
    private readonly DiskPool _disk;
    private readonly IDiskScheduler _scheduler;
    private readonly ILogger _logger;
    private readonly SuperblockFile _superblock;
    private LogWriter _writer = null!;
    private bool _syncWanted;
    private bool _syncing;
    private bool _stopped;

    private BlockStore(StoreEnvironment environment, SuperblockFile superblock)
    {
        (_options, _loop, _disk, _scheduler, _logger) = environment;
        _superblock = superblock;
        Segments = new SegmentTable(_disk, (int)superblock.Current.SegmentBytes);
        Maps = new MapCache(this, Segments, _disk, _options.MapCacheBytes, _options.HandDownBlocks, _options.LayerPageVersions);
        _sync = new SyncJob(this);
        _cleaner = new Cleaner(this);
    }

    public Guid StoreId => _superblock.Current.StoreId;

    public StoreOpens Opens => _superblock.Current.Opens;

    public ulong OpenCount => Opens.Count;

    public bool Suspect { get; private set; }

    /// <summary>The open count at which the store was last found suspect; 0: never.</summary>
    public ulong SuspectSince => _superblock.Current.SuspectSince;

    /// <summary>The cluster that the store belongs to; empty: none yet.</summary>
    public Guid ClusterId => _superblock.Current.ClusterId;

    /// <summary>The identity of the node whose store it is; empty: none yet, or a version before this was noted had it.</summary>
    public Guid NodeId => _superblock.Current.NodeId;

    public Guid FormerNodeId => _superblock.Current.FormerNodeId;

    public IReadOnlyCollection<IVolumeStore> Volumes => _volumes.Values;

    /// <summary>Why nothing more can be written; null as long as the disk works.</summary>
    public string? FailureReason { get; private set; }

    internal bool HasFailed => FailureReason is not null;

    /// <summary>The newest flush watermark that an entry carries; that entry may still have to be written.</summary>
    internal LogPosition NotedDurable => _writer.NotedDurable;

    internal LoopStages Stages => _loop.Stages;

    internal SegmentTable Segments { get; }

    internal StoreIdentity Identity => new(StoreId, OpenCount, _options.NewId);

    public IVolumeStore? Find(VolumeId volume) => _volumes.GetValueOrDefault(volume);

    public (IoStatus Status, IVolumeStore? Volume) Create(VolumeId volume, ReadOnlyMemory<byte> header)
    {
        Invariant.That(volume.IsValid && !_volumes.ContainsKey(volume), "a replica that exists was created");
        if (HasFailed || _stopped) return (IoStatus.DeviceError, null);
        if (!_writer.HasRoom(StoreLimits.HeaderBytesMax * 2, SpaceClass.Control))
        {
            _backgroundDue = true;
            return (IoStatus.NoSpace, null);
        }
        var made = new VolumeStore(this, volume);
        var status = made.StageFirstHeader(header);
        if (status != IoStatus.Ok) return (status, null);
        _volumes.Add(volume, made);
        return (IoStatus.Ok, made);
    }

    public IoStatus Delete(VolumeId volume)
    {
        if (!_volumes.TryGetValue(volume, out var found)) return IoStatus.Missing;
        if (HasFailed || _stopped) return IoStatus.DeviceError;
        var record = StoreRecord.Build(new RecordHeader { Kind = StoreRecordKind.Delete, Volume = volume }, []);
        var status = Stage(found, record, record.Length, SpaceClass.Last, out _);
        record.Release();
        if (status != IoStatus.Ok) return status;
        DropMoves(volume);
        _volumes.Remove(volume);
        found.OnDeleted();
        return IoStatus.Ok;
    }

    /// <summary>Writes the batch of the turn, tells the replicas, and begins the fdatasync that they wait for.</summary>
    public bool Run()
    {
        if (_stopped || HasFailed || FailWithLog()) return false;
        WatchLater();
        var before = Stages.Enter(LoopStage.Replica);
        var worked = WriteAndNotify();
        if (_syncWanted && !_syncing && !_writer.HasStaged && !HasFailed)
        {
            BeginSync();
            worked = true;
        }
        if (worked || _backgroundDue) RunBackground();
        HandDownLater();
        worked |= FailWithLog();
        Stages.Leave(before);
        return worked || (_syncWanted && !_syncing && !HasFailed);
    }

    internal IoStatus Stage(VolumeStore volume, IoBuffer record, int lengthBytes, SpaceClass space, out EntryPlace place) =>
        Stage(volume.Volume, volume, record, lengthBytes, space, out place);

    /// <param name="volume">Null: there is none of that name any more.</param>
    private IoStatus Stage(VolumeId id, VolumeStore? volume, IoBuffer record, int lengthBytes, SpaceClass space, out EntryPlace place)
    {
        place = default;
        if (_stopped || HasFailed) return IoStatus.DeviceError;
        if (space == SpaceClass.Data && _grantedBytes > 0 && _writer.DataRoomBytes - _grantedBytes < Limits.CreditOf(lengthBytes))
        {
            NoteWanted(Limits.CreditOf(lengthBytes));
            return IoStatus.NoSpace;
        }
        var status = _writer.Stage(id, record, lengthBytes, space, out place);
        if (status == IoStatus.Ok && volume is not null) Touch(volume);
        if (status == IoStatus.NoSpace && space != SpaceClass.Cleaner) NoteWanted(Limits.CreditOf(lengthBytes));
        return status;
    }

    /// <summary>Writes what is staged now, for a read that may want it. The replicas are told at the end of the turn as ever.</summary>
    internal IoStatus WriteStaged() => !_writer.HasStaged || (!HasFailed && Flush().IsOk) ? IoStatus.Ok : IoStatus.DeviceError;

    private DiskResult Flush()
    {
        var before = Stages.Enter(LoopStage.Disk);
        var result = _writer.Flush();
        Stages.Leave(before);
        return result;
    }

    internal void RequestSync(VolumeStore volume)
    {
        _syncWanted = true;
        AddUnsynced(volume);
    }

    /// <summary>Every job calls <see cref="OnJobDone()"/> last: the stop waits for all of these. Probes, which may hang for good, are none.</summary>
    internal void Submit(DiskLane lane, DiskJob job)
    {
        CountJob(job);
        _scheduler.Submit(lane, job);
    }

    internal ReadJob TakeReadJob() => _readJobs.TryPop(out var job) ? job : new ReadJob(this);

    internal void Return(ReadJob job) => _readJobs.Push(job);

    /// <summary>Encoded bytes of blocks that were read for front ends. Any thread.</summary>
    public long ReadBytes => Volatile.Read(ref _readBytes);

    internal void NoteRead(int bytes) => Volatile.Write(ref _readBytes, _readBytes + bytes);

    /// <summary>The disk is no longer to be trusted: every replica hears of it once, nothing is retried (R10).</summary>
    internal void Fail(IoStatus status, string reason)
    {
        if (!BeginFailure(reason)) return;
        TellFailed(status, reason);
        NoteFailedDisks();
    }

    /// <summary>From here on nothing is staged, written, checkpointed or freed. False: it is so already.</summary>
    private bool BeginFailure(string reason)
    {
        if (HasFailed) return false;
        FailureReason = reason;
        StoreLog.Failed(_logger, _disk.Description, reason);
        return true;
    }

    private void TellFailed(IoStatus status, string reason)
    {
        foreach (var volume in _volumes.Values.ToArray()) volume.Events?.OnFailed(status, reason);
        AnswerOrders(-1, $"the store has failed ({reason})");
    }

    /// <summary>A write of the log failed, whoever it was for: nothing that was to lie there or behind is there.</summary>
    private bool FailWithLog()
    {
        if (HasFailed || _writer.Failure is not { } failure) return false;
        Fail(failure.Status, failure.Detail ?? "a write failed");
        return true;
    }

    internal void OnSyncDone()
    {
        EndSync();
        OnJobDone();
    }

    private void EndSync()
    {
        _syncing = false;
        if (_sync.Segments.Count > 0) Stages.Add(LoopWait.Sync, _sync.Ticks);
        if (!_sync.Result.IsOk)
        {
            Fail(_sync.Result.Status, _sync.Result.Detail ?? "fdatasync failed");
            NoteFailedSync();
            return;
        }
        if (HasFailed || _stopped) return;
        if (_sync.Position > _writer.Durable) _writer.Durable = _sync.Position;
        NoteDurableLater();
        foreach (var volume in _sync.Volumes) volume.OnSynced();
        EndReclaim();
        WriteCheckpointOnceDurable();
    }

    private bool WriteAndNotify()
    {
        if (_touched.Count == 0 && !_writer.HasStaged && _writer.Failure is null) return false;
        var result = Flush();
        if (!result.IsOk)
        {
            Fail(result.Status, result.Detail ?? "a write failed");
            return true;
        }
        _notifying.AddRange(_touched);
        _touched.Clear();
        foreach (var volume in _notifying)
        {
            AddUnsynced(volume);
            volume.NoteWritten();
        }
        foreach (var volume in _notifying) volume.TellWritten();
        _notifying.Clear();
        return true;
    }

    private void BeginSync()
    {
        _syncWanted = false;
        _sync.Segments.Clear();
        _sync.Volumes.Clear();
        foreach (var segment in _writer.Dirty)
        {
            segment.IsDirty = false;
            _sync.Segments.Add(segment);
        }
        _writer.Dirty.Clear();
        _sync.Position = _writer.End;
        foreach (var volume in _unsynced)
        {
            volume.OnSyncBegins();
            _sync.Volumes.Add(volume);
        }
        _unsynced.Clear();
        _syncing = true;
        if (_sync.Segments.Count > 0) Submit(DiskLane.Sync, _sync);
        else
        {
            // Nothing was written since the last one: all is on media already.
            _sync.Execute();
            EndSync();
        }
    }

    private void Touch(VolumeStore volume)
    {
        if (volume.IsTouched) return;
        volume.IsTouched = true;
        _touched.Add(volume);
    }

    private void AddUnsynced(VolumeStore volume)
    {
        if (volume.IsUnsynced) return;
        volume.IsUnsynced = true;
        _unsynced.Add(volume);
    }
}
