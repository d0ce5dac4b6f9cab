using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// Lanes as a disk's threads are, for disks whose calls may hang. A job runs on a thread of its own, and the test's thread waits until it has ended or hangs, so that only one runs at a time and each
/// run is the same. A job that hangs holds up its lane, and of the lanes of single disks only that disk's.
/// </summary>
internal sealed class HangingScheduler(ILoop loop) : IDiskScheduler, IDisposable
{
    [ThreadStatic]
    private static Lane? _current;

    private readonly Dictionary<(DiskLane, int), Lane> _lanes = [];

    /// <summary>Jobs that hang now.</summary>
    public int Hanging => _lanes.Values.Count(lane => lane.IsHanging);

    /// <summary>Called by a disk, in a call that does not return: returns once the disk may answer again.</summary>
    public static void Hang(string disk)
    {
        var lane = _current ?? throw new InvalidOperationException($"the loop has called {disk}, which hangs");
        lane.HangHere();
    }

    public void Submit(DiskLane lane, DiskJob job) => Submit(lane, 0, job);

    public void Submit(DiskLane lane, int disk, DiskJob job)
    {
        if (!_lanes.TryGetValue((lane, disk), out var found)) _lanes.Add((lane, disk), found = new Lane());
        found.Jobs.Enqueue(job);
        loop.Post(() => Step(found));
    }

    /// <summary>What hung goes on: call it once the disks answer.</summary>
    public void Release()
    {
        foreach (var lane in _lanes.Values.Where(lane => lane.IsHanging).ToArray())
        {
            if (!lane.GoOn()) continue;
            loop.Post(lane.Current!.Completion);
            for (var left = lane.Jobs.Count; left > 0; left--) loop.Post(() => Step(lane));
        }
    }

    /// <summary>The threads of jobs that hang end with the process.</summary>
    public void Dispose()
    {
        foreach (var lane in _lanes.Values) lane.Dispose();
    }

    private static void Step(Lane lane)
    {
        if (lane.IsHanging || !lane.Jobs.TryDequeue(out var job)) return;
        if (lane.Begin(job)) job.Complete();
    }

    private sealed class Lane : IDisposable
    {
        private readonly SemaphoreSlim _stopped = new(0);
        private readonly SemaphoreSlim _mayGoOn = new(0);
        private Exception? _error;
        private volatile bool _isHanging;

        public Queue<DiskJob> Jobs { get; } = new();

        public DiskJob? Current { get; private set; }

        public bool IsHanging => _isHanging;

        /// <summary>True: it has ended.</summary>
        public bool Begin(DiskJob job)
        {
            Current = job;
            new Thread(Execute) { IsBackground = true, Name = "a simulated disk" }.Start();
            return WaitForStop();
        }

        /// <summary>True: it has ended.</summary>
        public bool GoOn()
        {
            _mayGoOn.Release();
            return WaitForStop();
        }

        public void HangHere()
        {
            _isHanging = true;
            _stopped.Release();
            _mayGoOn.Wait();
            _isHanging = false;
        }

        public void Dispose()
        {
            if (_isHanging) return;
            _stopped.Dispose();
            _mayGoOn.Dispose();
        }

        private bool WaitForStop()
        {
            _stopped.Wait();
            return _error is null ? !_isHanging : throw new InvalidOperationException("a job has failed", _error);
        }

        private void Execute()
        {
            _current = this;
            try
            {
                Current!.Execute();
            }
            catch (Exception error) when (error is not OutOfMemoryException)
            {
                _error = error;
            }
            _stopped.Release();
        }
    }
}
