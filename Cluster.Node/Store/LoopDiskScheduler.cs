using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Runs each job on the loop itself, in a later event of it: for simulations, where nothing blocks and the order must be the
/// same each time.</summary>
public sealed class LoopDiskScheduler(ILoop loop) : IDiskScheduler
{
    public void Submit(DiskLane lane, DiskJob job) => loop.Post(() =>
    {
        job.Execute();
        job.Complete();
    });
}
