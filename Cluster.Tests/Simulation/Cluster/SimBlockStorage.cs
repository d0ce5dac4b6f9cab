using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// The program's own store on a simulated disk. Beside what the clients see, each open is checked: a process that ended keeps what it had written, a host without
/// power what it had synced, and what an open calls durable is on media.
/// </summary>
internal sealed class SimBlockStorage : ISimStorage
{
    /// <summary>As many opens back goes a backup.</summary>
    private const int BackupAge = 2;

    /// <summary>Of so many stores one has no memory for pages of its map: the page goes, and comes back, all the time.</summary>
    private const int WithoutMapMemoryOneIn = 3;

    /// <summary>Makes what is drawn for the map a stream of its own: the others are as they are without it.</summary>
    private const ulong MapStream = 0x6D61702D70616765;

    /// <summary>What two of them write, what they keep of the volume, and what is written of them to a copy that is made empty: a pool that is full for good ends no run.</summary>
    private const int SegmentsForClones = 40;

    /// <summary>In place of a block's value: its bytes are bad.</summary>
    public const ulong BadValue = ulong.MaxValue;

    private readonly SimNode _node;
    private readonly SimRandom _random;
    private readonly SimRandom _mapRandom;
    private readonly StoreOptions _options;
    private readonly List<Written> _written = [];
    private readonly Queue<SimulatedDisk> _backups = new();
    private SimulatedDisk _disk;
    private SimDiskScheduler? _scheduler;
    private BlockStore? _store;
    private SimBlockVolume? _volume;
    private readonly SortedDictionary<VolumeId, SimBlockVolume> _clones = [];
    private Guid _bootId;
    private SimulatedDisk? _asFound;
    private ulong _opens;
    private bool _wasFull;
    private bool _isMediaKnown;
    private bool _hasPowerFailure;

    /// <summary>Below it lies what may rot: it is on media, and so is an entry of the log that says so, so that bad bytes there are no torn tail, also after a loss of power.</summary>
    private LogPosition _noted;

    /// <summary>An entry written by that operation says it of all below.</summary>
    private (LogPosition Below, long Operation) _noting;

    /// <summary>What the next open must find.</summary>
    private ulong _kept;

    /// <summary>What it must find if the power goes before.</summary>
    private ulong _synced;

    /// <summary>What the replica was in its last process, and from which of that on the next open, or one after a loss of power, may find it.</summary>
    private List<SimReplicaState> _states = [];
    private int _keptState;
    private int _syncedState;
    private int _checkpointsSeen;

    /// <summary>In this process bytes were taken for nobody's because the store says that they are.</summary>
    private bool _hasForgotten;

    /// <summary>After that operation of the disk its media had that state.</summary>
    private long _provenAt = -1;
    private int _provenState;

    /// <summary>All that was written up to an operation of the disk, and which of its states the replica then was in.</summary>
    private readonly record struct Written(long Operation, int State);

    public SimBlockStorage(SimNode node)
    {
        (_node, _random) = (node, new SimRandom(node.World.Random.Next()));
        _mapRandom = new SimRandom((node.World.Seed ^ MapStream) + (ulong)node.Index);
        _options = new StoreOptions
        {
            SegmentBytes = StoreOptions.SegmentBytesMin,
            CapacityBytes = (_random.Between(StoreOptions.SegmentsMin, 14) + (node.World.Profile.Clones ? SegmentsForClones : 0)) * StoreOptions.SegmentBytesMin,
            CheckpointIntervalBytes = _random.Between(30, 400) * 1024,
            CleanBelowFreePercent = (int)_random.Between(40, 98),
            WatermarkDelayMs = (int)_random.Between(5, 500),
            NewId = _random.Guid,
            NewMark = () => ++_opens,
            // No draw: streams of other seeds stay what they are. On one node in three deleted snapshots have to wait for a slice, however little they keep.
            HandDownBlocks = (node.World.Seed + (ulong)node.Index) % 3 == 0 ? 0 : 16_384,
            LayerPageVersions = Store.StoreModelRun.LayerPageVersionsOf((int)((node.World.Seed + (ulong)node.Index) % 1000)),
            MapCacheBytes = _mapRandom.Below(WithoutMapMemoryOneIn) == 0 ? 0 : StoreOptions.MapCacheBytesDefault,
        };
        (_disk, _bootId) = (NewDisk(), _random.Guid());
    }

    public Guid StoreId { get; private set; }

    public StoreOpens Opens { get; private set; } = StoreOpens.None;

    public ulong SuspectSince { get; private set; }

    public ulong AppendedSequence => _volume?.AppendedSequence ?? _kept;

    public long ReplacedAtUs { get; private set; } = -1;

    public IVolumeStore? Volume => _volume;

    public bool IsOff => _disk.IsOff;

    /// <summary>Counts the processes.</summary>
    public int Life { get; private set; }

    public SimStoreCounts Counts { get; private set; }

    public bool HasFailed => _store is { HasFailed: true };

    public bool HasNotedFailure => _store is { HasFailed: true, OwesNote: false } && _volume is { HasFailed: true };

    public SimMedia? Media
    {
        get
        {
            if (!_isMediaKnown || _volume is null) return null;
            // Before what is older than the answer is forgotten.
            var before = StateBefore(_disk.FirstMissing(SegmentTable.Prefix));
            var index = StateOnMedia();
            var isBeside = index > before;
            if ((_hasForgotten || isBeside) && Prove(index)) Counts += new SimStoreCounts { ProvenForgotten = _hasForgotten ? 1 : 0, ProvenBeside = isBeside ? 1 : 0 };
            var state = _volume.States[index];
            return new SimMedia(state.Sequence, state.Header);
        }
    }

    /// <summary>
    /// Of the log. No entry of it and no checkpoint names what the cleaner writes beside it (docs/adr/0014-cold-segments.md): that is synced when its segment is whole, so a header that was synced long ago
    /// would count as missing behind it. Once the segment is in the log all of it counts, from when it was written on. Which segments these are only the store can say: what that excuses is proven.
    /// </summary>
    private long FirstMissing()
    {
        var beside = _store is null ? [] : _store.Segments.All.Where(segment => segment.Number == 0).Select(segment => segment.Name).ToHashSet();
        return _disk.FirstMissing(SegmentTable.Prefix, beside.Contains);
    }

    /// <summary>The newest state that is on media as a whole.</summary>
    private int StateOnMedia()
    {
        var missing = FirstMissing();
        _written.RemoveRange(0, Math.Max(0, _written.FindLastIndex(written => written.Operation < missing)));
        return _written[0].State;
    }

    private int StateBefore(long missing) => _written[Math.Max(0, _written.FindLastIndex(written => written.Operation < missing))].State;

    /// <summary>That a state is on media is believed of the store, but for what all of its bytes say. So another one opens what is there, and has to find that state, or one since, and its blocks. False: that is proven already.</summary>
    private bool Prove(int state)
    {
        if (_disk.Operations == _provenAt && state <= _provenState) return false;
        var ids = 0;
        var media = _disk.Copy(media: true);
        var options = _options with { BootId = _bootId, NewId = () => new Guid(++ids, 0, 0, new byte[8]), NewMark = () => 1 };
        var found = BlockStore.Open(options, new SimulatedLoop(), media, new LoopDiskScheduler(new SimulatedLoop()), NullLogger.Instance);
        var replica = found.Store?.Find(SimWorld.Volume) as VolumeStore;
        var (at, damage) = (SimReplicaState.Of(replica), found.Store is null ? found.Reason : replica?.Damage);
        var newest = damage is null ? _volume!.States.FindLastIndex(each => each.Is(in at)) : -1;
        var hasBad = newest >= 0 && replica is not null && !_node.World.Profile.Rots && BlocksOf(found.Store!, replica).Exists(block => block.Value == BadValue);
        media.TurnOff();
        found.Store?.Stop(() => { });
        _node.World.History.Check(newest >= state && !hasBad, () => $"what the store of {_node.Name} says is free is not: without its bytes the media hold {damage ?? at.ToString()}{(hasBad ? " with bad blocks" : "")}, "
            + $"and with them, by what was synced, {_volume!.States[state]}");
        (_provenAt, _provenState) = (_disk.Operations, newest);
        return true;
    }

    /// <summary>
    /// The newest state that the next process finds for certain: all of it was written before what a failed sync left. The disk is asked for that, not the store: a process
    /// may end before it hears of the failure, and its pages are dropped all the same (docs/consistency.md, known limits).
    /// </summary>
    private int StateOutliving(long firstLost) => _written[Math.Max(0, _written.FindLastIndex(written => written.Operation < firstLost))].State;

    public bool Open()
    {
        if (_node.World.Faults is { IsOver: false } && _random.Percent(5)) DieWithin(12, _node.World.Profile.PowerLoss && _random.Percent(50));
        ApplyFaults();
        if (_node.World.Profile.LosesDisks) _asFound = _disk.Copy(media: false);
        _scheduler = new SimDiskScheduler(_node, _random, _mapRandom, ApplyFaults);
        var opened = BlockStore.Open(_options with { BootId = _bootId }, new SimNodeLoop(_node), _disk, _scheduler, NullLogger.Instance);
        // What was to break the open does not break the process later: nobody would start it again.
        if (!_disk.IsOff) Calm();
        if (opened.Store is null)
        {
            _node.World.Say(_node.Name, $"the open was refused: {opened.Reason}");
            Counts += new SimStoreCounts { Refused = 1 };
            if (_disk.IsOff) Restart(_hasPowerFailure);
            else if (opened.Status != IoStatus.DeviceError && opened.Status != IoStatus.NoSpace) throw new BrokenPromiseException(opened.Reason);
            else Restart(power: false);
            return false;
        }
        _store = opened.Store;
        Counts += new SimStoreCounts { Opens = 1, Suspect = _store.Suspect ? 1 : 0 };
        (StoreId, Opens, SuspectSince) = (_store.StoreId, _store.Opens, _store.SuspectSince);
        _node.World.Say(_node.Name, $"the store is open, {Opens.Count}, suspect since {SuspectSince}, last {_store.Find(SimWorld.Volume)?.LastSequence}, {_store.Usage}");
        Adopt(isNew: false);
        CheckOpened();
        return true;
    }

    public IoStatus Create(ReadOnlyMemory<byte> header)
    {
        var (status, _) = _store!.Create(SimWorld.Volume, header);
        if (status == IoStatus.Ok) Adopt(isNew: true);
        return status;
    }

    /// <summary>What comes back after a kill would have to be known anew: copies change over the model only.</summary>
    public void Delete() => throw new NotSupportedException("copies do not change over the program's own store");

    public IVolumeStore? Clone(VolumeId clone) => _clones.GetValueOrDefault(clone);

    public IEnumerable<VolumeId> Clones => _clones.Keys;

    public IoStatus CreateClone(VolumeId clone, ReadOnlyMemory<byte> header, ulong snapshot)
    {
        var (status, made) = snapshot != 0 ? _store!.CreateClone(clone, header, SimWorld.Volume, snapshot) : _store!.Create(clone, header);
        if (made is VolumeStore real) _clones.Add(clone, new SimBlockVolume(this, _node, real, isNew: true));
        return status;
    }

    public void DeleteClone(VolumeId clone)
    {
        // Without room for the record, or with a store that has failed, it is tried again.
        if (_store!.Delete(clone) != IoStatus.Ok) return;
        _clones[clone].Real.Events = null;
        _clones.Remove(clone);
    }

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedOf(VolumeId clone)
    {
        if (_disk.IsOff) return null;
        var faults = (_disk.FailReads, _disk.FailWrites);
        (_disk.FailReads, _disk.FailWrites) = (0, 0);
        _ = _store!.WriteStaged();
        var blocks = _disk.IsOff ? null : BlocksOf(_store, _clones[clone].Real).Where(block => block.Value != 0).ToList();
        (_disk.FailReads, _disk.FailWrites) = faults;
        return blocks;
    }

    public string LeftOfClones => _clones.Count > 0 ? "" : string.Join(", ", _store!.Detached.Select(map => $"a map of {map.Volume} without a volume")
        .Concat(_volume!.Real.Map.Layers.Where(layer => layer.IsHidden).Select(layer => $"snapshot {layer.Sequence}, which is deleted")));

    /// <summary>A segment that was given up before it was in the log is free with bytes that were never synced: nobody's, also when the log uses it anew. From then on it is proven what is on media.</summary>
    private void ForgetFree()
    {
        foreach (var segment in _store!.Segments.FreeSegments) _hasForgotten |= _disk.ForgetUnsynced(segment.Name);
    }

    public bool RunPhase()
    {
        if (_store is null || _disk.IsOff) return false;
        ForgetFree();
        ApplyFaults();
        // What was staged so far is written by this; what is staged as its answer is not yet.
        var (state, noted) = (_volume?.States.Count - 1, _store.NotedDurable);
        var worked = _store.Run();
        if (_node.World.Profile.Rots && !_store.HasFailed && FirstMissing() > _noting.Operation) (_noted, _noting) = (_noting.Below, (noted, _disk.Operations));
        if (worked && !_store.HasFailed && state is not null && state > _written[^1].State) _written.Add(new Written(_disk.Operations, state.Value));
        if (_store.CheckpointsWritten != _checkpointsSeen && !_disk.IsOff) CheckMedia();
        return worked;
    }

    public void Kill() => EndProcess(_disk.IsOff && _hasPowerFailure);

    public void LosePower()
    {
        if (_store is not null) EndProcess(power: true);
        else Restart(power: true);
    }

    public void Replace(SimBackup by)
    {
        EndProcess(power: false);
        _disk = by == SimBackup.AsFound ? _asFound!.Copy(media: false) : by == SimBackup.Older && _backups.Count == BackupAge + 1 ? _backups.Dequeue() : NewDisk();
        _backups.Clear();
        (_kept, _synced, ReplacedAtUs, _isMediaKnown, _states) = (0, 0, _node.World.NowUs, false, []);
    }

    /// <summary>The process is killed, or its host loses its power, in the middle of one of its next calls that change the disk.</summary>
    public void DieWithin(int operations, bool power) =>
        (_disk.PowerOffAt, _hasPowerFailure) = (_disk.Operations + _random.Between(1, operations), power);

    public bool Rot(ulong block)
    {
        if (_volume is null) return false;
        var snapshots = _volume.Real.Snapshots;
        var kept = snapshots.Count > 0 && _random.Percent(60) ? snapshots[_random.Below(snapshots.Count)] : 0;
        if (!_volume.Real.Map.TryGetKept(kept, block, out var entry) || entry.Segment == MapEntry.NoSegment) return false;
        var segment = _store!.Segments[entry.Segment];
        if (new LogPosition(segment.Number, entry.OffsetBytes) >= _noted) return false;
        _disk.FlipBit(segment.Name, (entry.OffsetBytes * 8L) + _random.Below(entry.LengthBytes * 8));
        Counts += new SimStoreCounts { Rotted = 1, RottedKept = kept != 0 ? 1 : 0 };
        return true;
    }

    public bool IsIntact => _volume is null || (!Committed().Any(block => block.Value == BadValue)
        && _volume.Real.Snapshots.All(snapshot => CommittedIn(snapshot) is not { } seen || !seen.Any(block => block.Value == BadValue)));

    public bool DiesSoon => _disk.PowerOffAt > 0;

    public int ReadsFailed => _disk.ReadsFailed;

    public void Calm() => (_disk.PowerOffAt, _disk.FailReads, _disk.FailWrites, _disk.FailSyncs) = (0, 0, 0, 0);

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> Committed() => BlocksOf(_store!, _volume!.Real);

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedIn(ulong snapshot)
    {
        if (_disk.IsOff) return null;
        // Faults are for the program, not for who looks on.
        var faults = (_disk.FailReads, _disk.FailWrites);
        (_disk.FailReads, _disk.FailWrites) = (0, 0);
        var blocks = new List<(ulong, ulong, ulong)>();
        // What the cleaner or a catch-up has moved in this turn is not in the file yet. If that fails, the store will say so in its own phase.
        _ = _store!.WriteStaged();
        for (ulong block = 0; block < _node.World.Profile.Blocks; block++)
        {
            if (_volume!.Real.Map.FindAt(snapshot, block, out var entry, out var holder) && entry.Segment != MapEntry.NoSegment)
                blocks.Add((block, entry.Sequence, ValueOf(_store, holder.Volume, block, in entry)));
        }
        (_disk.FailReads, _disk.FailWrites) = faults;
        return _disk.IsOff ? null : blocks;
    }

    private List<(ulong Block, ulong Sequence, ulong Value)> BlocksOf(BlockStore store, VolumeStore replica)
    {
        var blocks = new List<(ulong, ulong, ulong)>();
        for (ulong block = 0; block < _node.World.Profile.Blocks + (replica.Volume == SimWorld.Volume ? 0 : SimClones.BlocksMore); block++)
        {
            var sequence = replica.SequenceOf(block, withTail: false);
            if (sequence == 0) continue;
            var isData = replica.Map.Find(block, out var entry, out var holder) && entry.Segment != MapEntry.NoSegment;
            blocks.Add((block, sequence, isData ? ValueOf(store, holder.Volume, block, in entry) : 0));
        }
        return blocks;
    }

    private static ulong ValueOf(BlockStore store, VolumeId holder, ulong block, in MapEntry entry)
    {
        Span<byte> bytes = stackalloc byte[Limits.EncodedBlockBytesMax];
        var encoded = bytes[..entry.LengthBytes];
        var read = store.Segments[entry.Segment].File.ReadExactly(entry.OffsetBytes, encoded);
        return read.IsOk && entry.Descriptor.Matches(holder, 0, block, encoded) ? BinaryPrimitives.ReadUInt64LittleEndian(encoded) : BadValue;
    }

    private SimulatedDisk NewDisk() => new(_random.Next()) { FaultsSpare = MapPageFile.Name, EvictsLost = _node.World.Profile.PowerLoss, ShortWrites = true, UncachedOneIn = 4 };

    private void Adopt(bool isNew)
    {
        (_noted, _noting, _checkpointsSeen) = (default, default, _store!.CheckpointsWritten);
        (_hasForgotten, _provenAt) = (false, -1);
        _volume = _store.Find(SimWorld.Volume) is VolumeStore real ? new SimBlockVolume(this, _node, real, isNew) : null;
        if (!isNew)
        {
            foreach (var clone in _store.Volumes.OfType<VolumeStore>().Where(each => each.Volume != SimWorld.Volume)) _clones.Add(clone.Volume, new SimBlockVolume(this, _node, clone, isNew: false));
        }
        _written.Clear();
        if (_volume is not null) _written.Add(new Written(_disk.Operations, 0));
    }

    private void CheckOpened()
    {
        var last = _volume is { Damage: null } ? _volume.LastSequence : 0;
        var history = _node.World.History;
        history.Check(_volume?.Damage is null, () => $"the store of {_node.Name} is damaged, and nothing rotted: {_volume!.Damage}");
        history.Check(last >= _kept, () => $"the store of {_node.Name} came back with {last}, and it had kept {_kept}");
        foreach (var clone in _clones.Values) history.Check(clone.Damage is null, () => $"clone {clone.Volume} on {_node.Name} is damaged, and nothing rotted: {clone.Damage}");
        CheckState(SimReplicaState.Of(_volume?.Real), _states, _keptState, "came back");
        CheckMedia();
        _kept = _synced = last;
        _disk.Forget();
        _isMediaKnown = true;
        if (!_node.World.Profile.LosesDisks) return;
        _backups.Enqueue(_disk.Copy(media: false));
        if (_backups.Count > BackupAge + 1) _backups.Dequeue();
    }

    private void CheckState(SimReplicaState found, List<SimReplicaState> states, int from, string what)
    {
        var last = states.FindLastIndex(state => state.Is(in found));
        _node.World.History.Check(states.Count == 0 || last >= from, () => $"the store of {_node.Name} {what} at {found}, "
            + (last < 0 ? "as it never was in its last process" : $"as it was {from - last} changes before")
            + $", but it was {string.Join("; ", states.Skip(from).Select(state => $"{state} ({state.Unlike(in found)})"))}");
    }

    /// <summary>
    /// Another store opens what is on media now: as after a loss of power that leaves nothing else. It finds the replica whole, as it was at some moment since
    /// that which is known to be on media, and every block that its map names.
    /// </summary>
    private void CheckMedia()
    {
        _checkpointsSeen = _store!.CheckpointsWritten;
        var history = _node.World.History;
        var media = _disk.Copy(media: true);
        var found = BlockStore.Open(_options with { BootId = _bootId }, new SimulatedLoop(), media, new LoopDiskScheduler(new SimulatedLoop()), NullLogger.Instance);
        history.Check(found.Store is not null, () => $"the media of {_node.Name} can't be opened: {found.Reason}");
        var replica = found.Store!.Find(SimWorld.Volume) as VolumeStore;
        history.Check(replica?.Damage is null, () => $"the media of {_node.Name} hold a damaged replica: {replica!.Damage}");
        if (_volume is not null)
        {
            CheckState(SimReplicaState.Of(replica), _volume.States, StateOnMedia(), "has on its media a replica");
            history.Check(replica is null || replica.LastSequence >= _volume.ToldDurable,
                () => $"the store of {_node.Name} calls {_volume.ToldDurable} durable, and {replica?.LastSequence} is on its media");
        }
        var bad = replica is null || _node.World.Profile.Rots ? [] : BlocksOf(found.Store, replica).Where(block => block.Value == BadValue).ToList();
        foreach (var clone in found.Store.Volumes.OfType<VolumeStore>().Where(each => each.Volume != SimWorld.Volume))
        {
            history.Check(clone.Damage is null, () => $"the media of {_node.Name} hold a damaged clone {clone.Volume}: {clone.Damage}");
            bad.AddRange(BlocksOf(found.Store, clone).Where(block => block.Value == BadValue));
        }
        history.Check(bad.Count == 0, () => $"the map on the media of {_node.Name} names bytes that are not there: {string.Join(", ", bad)}");
        media.TurnOff();
        found.Store.Stop(() => { });
    }

    private void ApplyFaults()
    {
        if (_node.HasNoSpace != _wasFull) _disk.CapacityBytes = _node.HasNoSpace ? _disk.UsedBytes : long.MaxValue;
        _wasFull = _node.HasNoSpace;
        if (_node.FailsSync && !_node.FailsEverySync) (_disk.FailSyncs, _node.FailsSync) = (1, false);
        else if (_node.FailsSync || _disk.FailSyncs > 1) _disk.FailSyncs = _node.FailsSync ? int.MaxValue : 0;
        if (_node.FailsWrite) (_disk.FailWrites, _node.FailsWrite) = (1, false);
        if (_node.FailsRead) (_disk.FailReads, _node.FailsRead) = (1, false);
    }

    private void EndProcess(bool power)
    {
        if (_store is not { } store) return;
        Life++;
        _states = [];
        if (_volume is { } volume)
        {
            var firstLost = _disk.FirstLost(SegmentTable.Prefix);
            var isLost = power || firstLost < long.MaxValue;
            (_kept, _synced) = (isLost ? volume.ToldDurable : Math.Max(volume.ToldDurable, volume.ToldAppended), volume.ToldDurable);
            var outliving = StateOutliving(firstLost);
            (_states, _syncedState) = (volume.States, StateOnMedia());
            _keptState = power ? _syncedState : outliving;
            volume.Real.Events = null;
        }
        foreach (var clone in _clones.Values) clone.Real.Events = null;
        _clones.Clear();
        var failure = store.FailureReason ?? (_disk.FirstLost(SegmentTable.Prefix) < long.MaxValue ? "a failed sync that it has not heard of" : "no failure");
        _node.World.Say(_node.Name, $"ends, {(power ? "without power" : "killed")}{(_disk.IsOff ? " in a call" : "")}: keeps {_kept}, {_synced} synced, {failure}");
        Counts += new SimStoreCounts
        {
            DiedInACall = _disk.IsOff ? 1 : 0,
            Failed = store.HasFailed ? 1 : 0,
            Checkpoints = store.CheckpointsWritten,
            Freed = store.SegmentsFreed,
            Cleaned = store.SegmentsCleaned,
            MapLoads = store.Maps.Facts.LoadsInPlace + store.Maps.Facts.LoadsByThread,
        };
        (_store, _volume) = (null, null);
        _disk.TurnOff();
        store.Stop(() => { });
        _scheduler!.End();
        Restart(power);
    }

    private void Restart(bool power)
    {
        _disk.Restart(!power ? PowerLoss.ProcessOnly : _node.KeepsSome ? PowerLoss.Torn : PowerLoss.LoseAll);
        (_wasFull, _hasPowerFailure) = (false, false);
        _disk.CapacityBytes = long.MaxValue;
        if (power) (_bootId, _isMediaKnown, _kept, _keptState) = (_random.Guid(), false, _synced, _syncedState);
    }
}
