using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// One thread per lane of one disk. The queues are bounded by those who submit: one flush, one background step, and the reads that the
/// sessions' limits let through. Dispose after the store: it ends the threads once their queues are empty.
/// </summary>
public sealed class ThreadDiskScheduler : IDiskScheduler, IDisposable
{
    private readonly ILoop _loop;
    private readonly Lane[] _lanes;

    public ThreadDiskScheduler(ILoop loop, string name)
    {
        _loop = loop;
        _lanes = [.. Enum.GetValues<DiskLane>().Select(lane => new Lane(this, $"{name} {lane}"))];
    }

    public void Submit(DiskLane lane, DiskJob job) => _lanes[(int)lane].Add(job);

    public void Dispose()
    {
        foreach (var lane in _lanes) lane.Stop();
        // A probe may hang for good, and nobody waits for it.
        foreach (var lane in _lanes.Where((_, index) => index != (int)DiskLane.Probe)) lane.Join();
    }

    private sealed class Lane
    {
        private readonly ThreadDiskScheduler _owner;
        private readonly Queue<DiskJob> _jobs = new();
        private readonly Thread _thread;
        private bool _stopping;

        public Lane(ThreadDiskScheduler owner, string name)
        {
            _owner = owner;
            _thread = new Thread(Work) { IsBackground = true, Name = name };
            _thread.Start();
        }

        public void Add(DiskJob job)
        {
            lock (_jobs)
            {
                Invariant.That(!_stopping, "a disk job came after the disk's threads were stopped");
                _jobs.Enqueue(job);
                Monitor.Pulse(_jobs);
            }
        }

        public void Stop()
        {
            lock (_jobs)
            {
                _stopping = true;
                Monitor.Pulse(_jobs);
            }
        }

        public void Join() => _thread.Join();

        private void Work()
        {
            while (Next() is { } job)
            {
                job.Execute();
                _owner._loop.Post(job.Completion);
            }
        }

        private DiskJob? Next()
        {
            lock (_jobs)
            {
                while (_jobs.Count == 0)
                {
                    if (_stopping) return null;
                    Monitor.Wait(_jobs);
                }
                return _jobs.Dequeue();
            }
        }
    }
}
