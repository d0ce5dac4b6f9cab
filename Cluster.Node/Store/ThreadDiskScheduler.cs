using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>
/// One thread per lane, and for lanes of single disks one for each disk that was ever asked for: at most <see cref="DiskRoster.EntriesMax"/> + 1 of each. The queues are bounded by those who submit:
/// one flush, one background step, and the reads that the sessions' limits let through. Dispose after the store: it ends the threads once their queues are empty, but for what hangs.
/// </summary>
public sealed class ThreadDiskScheduler : IDiskScheduler, IDisposable
{
    private readonly ILoop _loop;
    private readonly string _name;
    private readonly Lane[] _lanes;

    /// <summary>Under its own lock.</summary>
    private readonly Dictionary<(DiskLane Lane, int Disk), Lane> _ofDisks = [];

    public ThreadDiskScheduler(ILoop loop, string name)
    {
        (_loop, _name) = (loop, name);
        _lanes = [.. Enum.GetValues<DiskLane>().Select(lane => new Lane(this, $"{name} {lane}", MayHang(lane)))];
    }

    public void Submit(DiskLane lane, DiskJob job) => _lanes[(int)lane].Add(job);

    public void Submit(DiskLane lane, int disk, DiskJob job)
    {
        // The home has the threads that are there anyhow.
        if (disk == 0) _lanes[(int)lane].Add(job);
        else LaneOf(lane, disk).Add(job);
    }

    public void Dispose()
    {
        List<Lane> lanes = [.. _lanes];
        lock (_ofDisks) lanes.AddRange(_ofDisks.Values);
        foreach (var lane in lanes) lane.Stop();
        foreach (var lane in lanes) lane.Join();
    }

    /// <summary>What these lanes have when the store has stopped is what its stop did not wait for: nothing there may be begun any more.</summary>
    private static bool MayHang(DiskLane lane) => lane is DiskLane.Probe or DiskLane.Drain or DiskLane.Scrub or DiskLane.Read;

    private Lane LaneOf(DiskLane lane, int disk)
    {
        lock (_ofDisks)
        {
            if (!_ofDisks.TryGetValue((lane, disk), out var found)) _ofDisks.Add((lane, disk), found = new Lane(this, $"{_name} {lane} {disk}", MayHang(lane)));
            return found;
        }
    }

    private sealed class Lane
    {
        private readonly ThreadDiskScheduler _owner;
        private readonly Queue<DiskJob> _jobs = new();
        private readonly Thread _thread;
        private readonly bool _mayHang;
        private bool _isExecuting;
        private bool _stopping;

        public Lane(ThreadDiskScheduler owner, string name, bool mayHang)
        {
            (_owner, _mayHang) = (owner, mayHang);
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
                if (_mayHang) _jobs.Clear();
                Monitor.Pulse(_jobs);
            }
        }

        /// <summary>Not for a call that may never return.</summary>
        public void Join()
        {
            bool waits;
            lock (_jobs) waits = !_mayHang || !_isExecuting;
            if (waits) _thread.Join();
        }

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
                _isExecuting = false;
                while (_jobs.Count == 0)
                {
                    if (_stopping) return null;
                    Monitor.Wait(_jobs);
                }
                _isExecuting = true;
                return _jobs.Dequeue();
            }
        }
    }
}
