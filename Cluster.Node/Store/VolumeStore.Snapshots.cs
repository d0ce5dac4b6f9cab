using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>Placeholder on this branch.</summary>
public sealed partial class VolumeStore
{
    public IReadOnlyList<ulong> Snapshots => [];

    public IoStatus SetSnapshots(IReadOnlyList<ulong> sequences) => IoStatus.Unsupported;

    public ulong DigestSnapshot(ulong snapshot, BlockRange range) => 0;

    public SnapshotUsage UsageOf(ulong snapshot) => default;

    public ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents) => range.End;
}
