using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Store;

public sealed class RealThreadsSpecs
{
    private const ulong Writes = 3000;
    private const ulong Blocks = 200;

    /// <summary>Each block in a page of its own.</summary>
    private const ulong Stride = MapPage.Blocks;

    private long _mapCacheBytes;

    [Theory(DisplayName = "On the real loop, threads and files: flushes, reads, checkpoints and cleaning at the same time, a stop in the middle, and all is there; also with memory for a few pages of the map")]
    [InlineData(0)]
    [InlineData(10)]
    public async Task Whole(int mapPages)
    {
        _mapCacheBytes = mapPages == 0 ? StoreOptions.MapCacheBytesDefault : mapPages * (long)MapCache.PageBytes;

        var directory = Directory.CreateTempSubdirectory("myrmidon-store-");
        try
        {
            var written = await RunAsync(directory.FullName, Write);
            Assert.True(written.SegmentsFreed > 0 && written.CheckpointsWritten > 0);
            // The log zeroes files of a file system ahead of itself (LogAheadSpecs).
            var log = written.Segments.All.MaxBy(segment => segment.Number)!;
            Assert.True(log.ZeroedBytes >= log.WrittenBytes && log.ZeroedBytes % FileDiskFile.ZeroesAheadBytes == 0, $"zeroed up to {log.ZeroedBytes}, written up to {log.WrittenBytes}");
            if (mapPages > 0) Assert.True(written.Maps.Facts is { Evictions: > 1000, Written: > 1000, LostPages: 0, WriteFailures: 0 } facts && facts.LoadsInPlace + facts.LoadsByThread > 1000, $"{written.Maps.Facts}");
            Assert.False(File.Exists(Path.Combine(directory.FullName, MapPageFile.Name)));
            await RunAsync(directory.FullName, ReadAll);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact(DisplayName = "On real threads and files, a disk is drained under writes: it has no segment left, and with its directory gone all is there")]
    public async Task Drained()
    {
        var directory = Directory.CreateTempSubdirectory("myrmidon-drain-");
        try
        {
            var (home, further) = (directory.CreateSubdirectory("home").FullName, directory.CreateSubdirectory("disk").FullName);
            var store = await RunAsync(home, async (loop, opened) =>
            {
                var writing = Write(loop, opened);
                // It is drained once it has something.
                using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
                using var atMost = new CancellationTokenSource(TimeSpan.FromSeconds(60));
                while (opened.DiskAt(1).Segments < 2) await timer.WaitForNextTickAsync(atMost.Token);
                var answer = new TaskCompletionSource<DrainAnswer>(TaskCreationOptions.RunContinuationsAsynchronously);
                loop.Post(() => opened.Drain(opened.DiskAt(1).Id, drains: true, answer.SetResult));
                Assert.Equal(IoStatus.Ok, (await answer.Task).Status);
                await writing;
                while (opened.DiskAt(1).State != DiskState.Drained) await timer.WaitForNextTickAsync(atMost.Token);
            }, further);
            Assert.True(store.SegmentsFreed > 0);
            Assert.Empty(Directory.GetFiles(further, "segment-*"));
            Directory.Delete(further, recursive: true);
            await RunAsync(home, ReadAll);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact(DisplayName = "A probe of a disk that hangs holds up no stop: the other threads end all the same")]
    public async Task Hanging_probe()
    {
        await using var loop = new EpollLoop("probe test", NullLogger.Instance, error => Assert.Fail(error.ToString()));
        loop.Start();
        var probe = new HangingJob();
        var scheduler = new ThreadDiskScheduler(loop, "probe test");
        scheduler.Submit(DiskLane.Probe, probe);
        await probe.Begun.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await Task.Run(scheduler.Dispose).WaitAsync(TimeSpan.FromSeconds(30));
        probe.End.Set();
    }

    private async Task<BlockStore> RunAsync(string directory, Func<ILoop, BlockStore, Task> work, params string[] further)
    {
        var options = new StoreOptions
        {
            SegmentBytes = 1 << 20,
            CapacityBytes = 24 << 20,
            CheckpointIntervalBytes = 2 << 20,
            CleanBelowFreePercent = 70,
            MapCacheBytes = _mapCacheBytes,
        };
        await using var loop = new EpollLoop("store test", NullLogger.Instance, error => Assert.Fail(error.ToString()));
        using var scheduler = new ThreadDiskScheduler(loop, "store test");
        var opened = BlockStore.Open(options, loop, new FileDisk(directory), scheduler, NullLogger.Instance, [.. further.Select(each => new FileDisk(each, mustExist: true))]);
        Assert.True(opened.Store is not null, opened.Reason);
        loop.Start();
        loop.Post(() => loop.AddPhase(TurnPhase.Store, opened.Store));
        try
        {
            await work(loop, opened.Store);
        }
        finally
        {
            await opened.Store.DisposeAsync();
        }
        return opened.Store;
    }

    private static Task Write(ILoop loop, BlockStore store)
    {
        var writer = new Writer(loop, store);
        loop.Post(writer.Begin);
        return writer.Done.Task;
    }

    private static Task ReadAll(ILoop loop, BlockStore store)
    {
        var reader = new Reader((VolumeStore)store.Find(StoreRig.Volume)!);
        loop.Post(reader.Begin);
        return reader.Done.Task;
    }

    private sealed class HangingJob : DiskJob
    {
        public TaskCompletionSource Begun { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ManualResetEventSlim End { get; } = new();

        public override void Execute()
        {
            Begun.SetResult();
            End.Wait();
        }

        public override void Complete()
        {
        }
    }

    /// <summary>Appends a few records, waits for their flush, reads one block back, and goes on.</summary>
    private sealed class Writer(ILoop loop, BlockStore store) : IVolumeStoreEvents, IReadCompletion
    {
        private IVolumeStore _volume = null!;

        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Begin()
        {
            _volume = store.Create(StoreRig.Volume, new byte[] { 1 }).Volume!;
            _volume.Events = this;
            Append();
        }

        public void OnAppended(ulong appendedSequence) => _volume.Commit(appendedSequence);

        public void OnDurable(ulong durableSequence, ulong headerNumber)
        {
            if (durableSequence == _volume.LastSequence) _volume.Read(new BlockRange(durableSequence % Blocks * Stride, 1), this, durableSequence);
        }

        public void OnFailed(IoStatus status, string reason) => Done.TrySetException(new IOException(reason));

        public void OnRoom()
        {
        }

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            var isRight = status == IoStatus.Ok && reply!.Span[ReadDescriptor.SizeBytes..].SequenceEqual(StoreRig.Bytes(token));
            reply?.Release();
            if (!isRight) Done.TrySetException(new IOException($"read {token}: {status}"));
            else if (token >= Writes) Done.TrySetResult();
            else loop.Post(Append);
        }

        private void Append()
        {
            for (var count = 0; count < 7; count++)
            {
                var sequence = _volume.LastSequence + 1;
                var status = StoreRig.AppendBlock(_volume, sequence % Blocks * Stride, StoreRig.Bytes(sequence), 1, _volume.CommitWatermark);
                if (status != IoStatus.Ok) Done.TrySetException(new IOException($"append: {status}"));
            }
            _volume.RequestSync();
        }
    }

    private sealed class Reader(VolumeStore volume) : IReadCompletion
    {
        private ulong _block;

        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Begin()
        {
            volume.Commit(volume.LastSequence);
            volume.Read(new BlockRange(0, 1), this, 0);
        }

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            var newest = volume.LastSequence - ((volume.LastSequence - _block) % Blocks);
            var isRight = status == IoStatus.Ok && reply!.Span[ReadDescriptor.SizeBytes..].SequenceEqual(StoreRig.Bytes(newest));
            reply?.Release();
            if (!isRight) Done.TrySetException(new IOException($"block {_block}: {status}"));
            else if (++_block == Blocks) Done.TrySetResult();
            else volume.Read(new BlockRange(_block * Stride, 1), this, _block);
        }
    }
}
