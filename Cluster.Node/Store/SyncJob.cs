using System.Diagnostics;

namespace Cluster.Node.Store;

/// <summary>One fdatasync of all segments written to since the last; serves everybody who waited when it began (group commit).</summary>
internal sealed class SyncJob(BlockStore store) : DiskJob
{
    public List<Segment> Segments { get; } = [];

    public List<VolumeStore> Volumes { get; } = [];

    /// <summary>End of the log that the sync covers.</summary>
    public LogPosition Position { get; set; }

    public DiskResult Result { get; private set; }

    /// <summary>What it took, in ticks of Stopwatch.</summary>
    public long Ticks { get; private set; }

    public override void Execute()
    {
        var began = Stopwatch.GetTimestamp();
        Sync();
        Ticks = Stopwatch.GetTimestamp() - began;
    }

    private void Sync()
    {
        Result = DiskResult.Done();
        // In the order of the log: what is durable is always a prefix of it.
        foreach (var segment in Segments)
        {
            Result = segment.File.Sync();
            if (!Result.IsOk) return;
        }
    }

    public override void Complete() => store.OnSyncDone();
}
