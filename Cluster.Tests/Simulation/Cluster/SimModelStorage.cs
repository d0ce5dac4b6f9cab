using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>The fast mode: a log of operations in memory and a store after the contract.</summary>
internal sealed class SimModelStorage(SimNode node) : ISimStorage
{
    private SimVolumeStore? _volume;
    private SimDisk? _asFound;
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
        if (node.World.Profile.LosesDisks) _asFound = Disk.Copy(Disk.ReplacedAtUs);
        // Never the same twice, also of two copies of one disk.
        Disk.OnOpened(++_opens);
        if (Disk.Log.Count > 0) _volume = new SimVolumeStore(Disk, node);
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

    public bool RunPhase() => _volume is not null && _volume.RunPhase();

    public void Kill()
    {
        _volume = null;
        Disk.CutToAppended();
    }

    public void LosePower()
    {
        if (_volume is null) return;
        _volume = null;
        Disk.CutToMedia(node.World.Random, node.KeepsSome);
    }

    public void Replace(SimBackup by)
    {
        _volume = null;
        var older = (by == SimBackup.AsFound ? _asFound! : Disk).Copy(node.World.NowUs);
        Disk = new SimDisk(node.World.Random.Guid()) { ReplacedAtUs = node.World.NowUs };
        if (by == SimBackup.None) return;
        if (by == SimBackup.Older) older.Age();
        Disk = older;
    }

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> Committed() => [.. _volume!.Committed()];

    public IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)>? CommittedIn(ulong snapshot) => [.. _volume!.SnapshotContent(snapshot)];
}
