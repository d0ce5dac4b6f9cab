using Cluster.Node.Chaos;

namespace Cluster.Node.Cli.Chaos;

/// <summary>A volume that clients work on, and its history.</summary>
internal sealed class ChaosVolume
{
    /// <summary>Units of I/O: whole sectors, a fraction of one, whole blocks.</summary>
    private static readonly int[] CellSizes = [512, 64, 4096];

    public ChaosVolume(string name, int index, ulong areaBytes, int seed)
    {
        Name = name;
        // Smaller cells need more memory: their area is smaller, so that the history of each volume costs the same.
        CellBytes = CellSizes[index % CellSizes.Length];
        AreaBytes = CellBytes < 512 ? Math.Max(1 << 20, areaBytes / 8) : areaBytes;
        History = new VolumeHistory(AreaBytes, CellBytes, ((ulong)(uint)seed << 8) + (ulong)index);
    }

    public string Name { get; }

    public ulong AreaBytes { get; }

    public int CellBytes { get; }

    public VolumeHistory History { get; }
}
