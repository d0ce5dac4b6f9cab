using System.Net;
using System.Net.Sockets;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>A node's loop as its store sees it: work and timers are events of the node's process, and end with it.</summary>
internal sealed class SimNodeLoop(SimNode node) : ILoop
{
    public long NowMs => node.NowMs;

    public bool IsCurrent => true;

    public long FreshNowMs() => node.NowMs;

    public void Post(Action work) => node.Post(0, work);

    public ILoopTimer Schedule(int delayMs, Action work)
    {
        var timer = new Timer();
        node.Post(delayMs * 1000L, () =>
        {
            if (!timer.IsCancelled) work();
        });
        return timer;
    }

    /// <summary>The node runs its store itself.</summary>
    public void AddPhase(int order, ITurnPhase phase)
    {
    }

    public ILoopSocket Adopt(Socket socket, ISocketEvents events) => throw new NotSupportedException();

    public ILoopSocket Connect(EndPoint endPoint, ISocketEvents events) => throw new NotSupportedException();

    public ILoopListener Listen(EndPoint endPoint, Action<Socket> accept) => throw new NotSupportedException();

    private sealed class Timer : ILoopTimer
    {
        public bool IsCancelled { get; private set; }

        public void Cancel() => IsCancelled = true;
    }
}

/// <summary>
/// The disk's threads: each lane in order, each job as long as the disk takes. What a job does to the disk happens as it begins or as it ends: both are
/// true of some disk. What pages of maps take is drawn from a stream of its own.
/// </summary>
internal sealed class SimDiskScheduler(SimNode node, SimRandom others, SimRandom maps, Action beforeExecute) : IDiskScheduler
{
    private readonly long[] _freeAtUs = new long[Enum.GetValues<DiskLane>().Length];
    private readonly List<Pending> _pending = [];

    private sealed class Pending(DiskJob job)
    {
        public DiskJob Job => job;

        public bool WasExecuted { get; set; }

        /// <summary>Its process has ended: one that came while it did has its events in the node's next life, where nothing is to be done for it.</summary>
        public bool IsOver { get; set; }
    }

    public void Submit(DiskLane lane, DiskJob job)
    {
        var random = lane == DiskLane.Map ? maps : others;
        var now = node.World.NowUs;
        // One disk: a scrub's reads and what is behind a checkpoint take turns there all the same.
        var turns = lane == DiskLane.Scrub ? DiskLane.Background : lane;
        var startUs = Math.Max(now, _freeAtUs[(int)turns]);
        var endUs = startUs + (lane == DiskLane.Sync ? node.SyncDelayUs() : node.HasSlowDisk ? random.Between(1_000, 300_000) : random.Between(20, 4_000));
        _freeAtUs[(int)turns] = endUs;
        var pending = new Pending(job);
        _pending.Add(pending);
        if (random.Percent(50)) node.Post(startUs - now, () => Execute(pending));
        node.Post(endUs - now, () =>
        {
            if (pending.IsOver) return;
            Execute(pending);
            _pending.Remove(pending);
            job.Complete();
        });
    }

    /// <summary>The process has ended: what is under way finds a dead disk and nobody to tell.</summary>
    public void End()
    {
        while (_pending.Count > 0)
        {
            var pending = _pending[0];
            _pending.RemoveAt(0);
            if (!pending.WasExecuted) pending.Job.Execute();
            (pending.WasExecuted, pending.IsOver) = (true, true);
            pending.Job.Complete();
        }
    }

    private void Execute(Pending pending)
    {
        if (pending.WasExecuted) return;
        pending.WasExecuted = true;
        beforeExecute();
        pending.Job.Execute();
    }
}
