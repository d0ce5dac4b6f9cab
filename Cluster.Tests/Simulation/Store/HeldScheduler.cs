using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>The jobs of one lane wait until the test runs them, and until it lets their ends be told; all others run in a later event of the loop.</summary>
internal sealed class HeldScheduler(ILoop loop, DiskLane held) : IDiskScheduler
{
    private readonly LoopDiskScheduler _others = new(loop);
    private readonly Queue<DiskJob> _waiting = new();
    private readonly Queue<DiskJob> _executed = new();

    public bool IsHolding { get; set; }

    public int Waiting => _waiting.Count;

    public void Submit(DiskLane lane, DiskJob job)
    {
        if (IsHolding && lane == held) _waiting.Enqueue(job);
        else _others.Submit(lane, job);
    }

    public void Execute()
    {
        while (_waiting.TryDequeue(out var job))
        {
            job.Execute();
            _executed.Enqueue(job);
        }
    }

    public void Complete()
    {
        Execute();
        while (_executed.TryDequeue(out var job)) loop.Post(job.Completion);
    }
}
