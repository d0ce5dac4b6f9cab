using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A block device: one file of a simulated disk, whose un-synced sectors are lost and torn with that disk's. Its name has a "/", so that it is none of the home's files.</summary>
public sealed class SimulatedDevice : IRawDevice
{
    public const string Prefix = "dev/";
    private readonly SimulatedDisk _disk;
    private readonly string _name;
    private bool _isClaimed;

    public SimulatedDevice(SimulatedDisk disk, int index, long bytes)
    {
        (_disk, _name) = (disk, $"{Prefix}{index}");
        Assert.True(disk.Open(_name, create: true, out var file).IsOk);
        Assert.True(file!.Preallocate(bytes).IsOk && file.Sync().IsOk && disk.SyncDirectory(Prefix).IsOk);
    }

    public string Description => _name;

    public ulong Number => (ulong)_name.GetHashCode(StringComparison.Ordinal);

    public byte[] Content => _disk.Content(_name);

    public DiskResult Open(out IDiskFile? bytes) => _disk.Open(_name, create: false, out bytes);

    public DiskResult Claim()
    {
        if (_isClaimed) return DiskResult.Failed(IoStatus.Busy, "claimed");
        _isClaimed = true;
        return DiskResult.Done();
    }

    /// <summary>Its process has ended.</summary>
    public void Restart() => _isClaimed = false;

    public void Dispose() => _isClaimed = false;
}
