using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>The fast mode: a log of operations in memory and a store after the contract.</summary>
internal sealed class SimModelStorage(SimNode node) : ISimStorage
{
    private SimVolumeStore? _volume;
    private SimDisk? _asFound;
    private Dictionary<VolumeId, SimDisk> _cloneDisks = [];
    private Dictionary<VolumeId, SimDisk> _clonesAsFound = [];
    private readonly SortedDictionary<VolumeId, SimVolumeStore> _clones = [];
    private ulong _opens;

    public SimDisk Disk { get; private set; } = new(node.World.Random.Guid());

    public Guid StoreId => Disk.StoreId;

    public StoreOpens Opens => Disk.Opens;

    public ulong SuspectSince => Disk.SuspectSince;

    public ulong AppendedSequence => Disk.AppendedSequence;

    public SimMedia? Media => new SimMedia(Disk.MediaSequence, Disk.DurableHeader);

    public SimLogEnd? Appended() => Disk.EndAt(Disk.Appended);

    public SimLogEnd? OnMedia() => Disk.EndAt(Disk.MediaCount);

    public long ReplacedAtUs => Disk.ReplacedAtUs;

    public IVolumeStore? Volume => _volume;

    public bool Open()
    {
        if (node.World.Profile.LosesDisks) (_asFound, _clonesAsFound) = (Disk.Copy(Disk.ReplacedAtUs), CopyOfClones(Disk.ReplacedAtUs));
        // Never the same twice, also of two copies of one disk.
        Disk.OnOpened(++_opens);
        if (Disk.Log.Count > 0) _volume = new SimVolumeStore(Disk, node);
        foreach (var (clone, disk) in _cloneDisks)
        {
            disk.OnOpened(_opens);
            _clones.Add(clone, new SimVolumeStore(disk, node, clone));
        }
        return true;
    }

    public IoStatus Create(ReadOnlyMemory<byte> header)
    {
        Disk.Log.Add(new SimOperation(SimOperationKind.Header) { Bytes = header.ToArray() });
        _volume = new SimVolumeStore(Disk, node);
        return IoStatus.Ok;
    }

    public void Delete()
    {
        if (_volume is not null) _volume.Events = null;
        (_volume, Disk) = (null, Disk.Emptied());
    }

    public IVolumeStore? Clone(VolumeId clone) => _clones.GetValueOrDefault(clone);

    public IEnumerable<VolumeId> Clones => _clones.Keys;

    public IoStatus CreateClone(VolumeId clone, ReadOnlyMemory<byte> header, ulong snapshot)
    {
        if (snapshot != 0 && (_volume is null || _volume.LastSequence < snapshot)) return IoStatus.Missing;
        if (snapshot != 0 && _volume!.CommitWatermark < snapshot) return IoStatus.Busy;
        if (snapshot != 0 && !_volume!.Snapshots.Contains(snapshot)) return IoStatus.Missing;
        var disk = new SimDisk(StoreId);
        if (snapshot != 0) disk.Log.Add(_volume!.CloneOf(snapshot));
        disk.Log.Add(new SimOperation(SimOperationKind.Header) { Bytes = header.ToArray(), Watermark = snapshot });
        _cloneDisks.Add(clone, disk);
        _clones.Add(clone, new SimVolumeStore(disk, node, clone));
        return IoStatus.Ok;
    }

    public void DeleteClone(VolumeId clone)
    {
        _clones[clone].Events = null;
        _clones.Remove(clone);
        _cloneDisks.Remove(clone);
    }

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedOf(VolumeId clone) => [.. _clones[clone].Committed().Where(block => block.Value != 0)];

    private Dictionary<VolumeId, SimDisk> CopyOfClones(long atUs) => _cloneDisks.ToDictionary(pair => pair.Key, pair => pair.Value.Copy(atUs));

    public bool RunPhase()
    {
        var worked = _volume is not null && _volume.RunPhase();
        foreach (var clone in _clones.Values) worked |= clone.RunPhase();
        return worked;
    }

    public void Kill()
    {
        _volume = null;
        _clones.Clear();
        Disk.CutToAppended();
        foreach (var disk in _cloneDisks.Values) disk.CutToAppended();
    }

    public void LosePower()
    {
        foreach (var disk in _cloneDisks.Values) disk.CutToMedia(node.World.Random, node.KeepsSome);
        _clones.Clear();
        if (_volume is null) return;
        _volume = null;
        Disk.CutToMedia(node.World.Random, node.KeepsSome);
    }

    public void Replace(SimBackup by)
    {
        _volume = null;
        _clones.Clear();
        // What an older backup had of clones is not told apart: it has none.
        _cloneDisks = by == SimBackup.AsFound ? _clonesAsFound : [];
        foreach (var clone in _cloneDisks.Keys.ToList()) _cloneDisks[clone] = _cloneDisks[clone].Copy(node.World.NowUs);
        var older = (by == SimBackup.AsFound ? _asFound! : Disk).Copy(node.World.NowUs);
        Disk = new SimDisk(node.World.Random.Guid()) { ReplacedAtUs = node.World.NowUs };
        if (by == SimBackup.None) return;
        if (by == SimBackup.Older) older.Age();
        Disk = older;
    }

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> Committed() => [.. _volume!.Committed()];

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedIn(ulong snapshot) => [.. _volume!.SnapshotContent(snapshot)];
}
