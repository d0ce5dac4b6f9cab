using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A block device: one file of a simulated disk, whose un-synced sectors are lost and torn with that disk's. Its name has a "/", so that it is none of the home's files.</summary>
public sealed class SimulatedDevice : IRawDevice
{
    public const string Prefix = "dev/";
    private readonly SimulatedDisk _disk;
    private readonly string _name;
    private readonly byte[] _garbage = new byte[4096];
    private bool _isClaimed;

    public SimulatedDevice(SimulatedDisk disk, int index, long bytes)
    {
        (_disk, _name) = (disk, $"{Prefix}{index}");
        Array.Fill(_garbage, (byte)0xDD);
        Assert.True(disk.Open(_name, create: true, out var file).IsOk);
        Assert.True(file!.Preallocate(bytes).IsOk && file.Sync().IsOk && disk.SyncDirectory(Prefix).IsOk);
    }

    public string Description => _name;

    public ulong Number => (ulong)_name.GetHashCode(StringComparison.Ordinal);

    /// <summary>What is discarded reads as anything from then on.</summary>
    public int Discards { get; private set; }

    public byte[] Content => _disk.Content(_name);

    public DiskResult Open(out IDiskFile? bytes) => _disk.Open(_name, create: false, out bytes);

    public DiskResult Claim()
    {
        if (_isClaimed) return DiskResult.Failed(IoStatus.Busy, "claimed");
        _isClaimed = true;
        return DiskResult.Done();
    }

    public void Discard(long offsetBytes, long lengthBytes)
    {
        Discards++;
        if (!_disk.Open(_name, create: false, out var file).IsOk) return;
        for (var at = 0L; at < lengthBytes; at += _garbage.Length) _ = file!.WriteAll(offsetBytes + at, _garbage.AsSpan(0, (int)Math.Min(_garbage.Length, lengthBytes - at)));
    }

    /// <summary>Its process has ended.</summary>
    public void Restart() => _isClaimed = false;

    public void Dispose() => _isClaimed = false;
}
