using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Node.Cli.Stores;

/// <summary>What one job did. Latency is not told: the engine answers in groups.</summary>
/// <param name="CpuMicroseconds">Of the whole process, per operation.</param>
/// <param name="WriteAmplification">Bytes written to log and checkpoints by encoded bytes of the job; 0 for a job that writes nothing. It is 1 and the next three.</param>
/// <param name="MovedShare">Of that, encoded bytes that the cleaner copied.</param>
/// <param name="CheckpointShare">Of that, checkpoints.</param>
/// <param name="HeaderShare">Of that, what stands around the blocks in the log.</param>
/// <param name="LiveRatio">Live bytes by capacity at the end.</param>
internal sealed record StoreBenchResource(string Job, double Seconds, long Operations, double PerSecond, double MegabytesPerSecond, double CpuMicroseconds,
    double WriteAmplification, double MovedShare, double CheckpointShare, double HeaderShare, double LiveRatio);

/// <summary>One job of the engine's bench.</summary>
/// <param name="Group">Writes per group; the next group begins when this one is in the file, or with <paramref name="Syncs"/> on media.</param>
/// <param name="HotPercent">So many percent of the blocks get 80 % of the writes; 0: all the same.</param>
internal sealed record StoreBenchJob(string Name, bool Reads, bool Sequential, int Group, bool Syncs, int HotPercent);

/// <summary>
/// Drives one replica of a store by itself: no network, no other copy, no front end. Blocks of 4 KiB that don't compress. On the store's loop; one job at a time.
/// </summary>
internal sealed class StoreBench : IVolumeStoreEvents, IReadCompletion
{
    /// <summary>Bytes that blocks are cut from: more than the processor's caches take.</summary>
    private const int PoolBytes = 64 << 20;
    private const int Stride = 512;
    private const int HotWritesPercent = 80;
    private const int ReadsAtOnce = 32;

    private static readonly VolumeId Volume = new(1);

    private readonly ILoop _loop;
    private readonly BlockStore _store;
    private readonly IVolumeStore _volume;
    private readonly ulong _blocks;
    private readonly byte[] _pool = new byte[PoolBytes];
    private readonly Random _random = new(1);
    private StoreBenchJob? _job;
    private TaskCompletionSource<StoreBenchResource>? _done;
    private long _started;
    private long _endAt;
    private TimeSpan _cpuBefore;
    private StoreActivity _before;
    private long _operations;
    private long _operationsMax;
    private ulong _awaited;
    private ulong _cursor;

    /// <summary>On the loop.</summary>
    public StoreBench(ILoop loop, BlockStore store, long workingSetBytes)
    {
        (_loop, _store, _blocks) = (loop, store, (ulong)(workingSetBytes / Limits.BlockBytes));
        _random.NextBytes(_pool);
        (_, var volume) = store.Create(Volume, new byte[] { 1 });
        _volume = volume ?? throw new InvariantException("a new store took no volume");
        _volume.Events = this;
    }

    /// <summary>On the loop. Ends after the time, or after as many operations as the working set has blocks if the job is sequential.</summary>
    public void Begin(StoreBenchJob job, TimeSpan time, TaskCompletionSource<StoreBenchResource> done)
    {
        (_job, _done, _operations, _cursor) = (job, done, 0, 0);
        _operationsMax = job.Sequential ? (long)_blocks : long.MaxValue;
        (_started, _cpuBefore, _before) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime, _store.Activity);
        _endAt = _started + (long)(time.TotalSeconds * Stopwatch.Frequency);
        Next();
    }

    public void OnAppended(ulong appendedSequence)
    {
        _volume.Commit(appendedSequence);
        if (_job is { Syncs: false } && appendedSequence >= _awaited) _loop.Post(Next);
    }

    public void OnDurable(ulong durableSequence, ulong headerNumber)
    {
        if (_job is { Syncs: true } && durableSequence >= _awaited) _loop.Post(Next);
    }

    public void OnFailed(IoStatus status, string reason) => _done?.TrySetException(new IOException(reason));

    /// <summary>A group that found no room goes on.</summary>
    public void OnRoom() => _loop.Post(Next);

    public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
    {
        reply?.Release();
        if (status != IoStatus.Ok) _done?.TrySetException(new IOException($"a read failed: {status}"));
        _operations++;
        if (--_awaited == 0) _loop.Post(Next);
    }

    private void Next()
    {
        if (_job is not { } job || _done is not { Task.IsCompleted: false }) return;
        if (Stopwatch.GetTimestamp() >= _endAt && !job.Sequential || _operations >= _operationsMax) Finish(job);
        else if (job.Reads) Read();
        else Write(job);
    }

    private void Read()
    {
        _awaited = ReadsAtOnce;
        for (var count = 0; count < ReadsAtOnce; count++) _volume.Read(new BlockRange((ulong)_random.NextInt64((long)_blocks), 1), this, 0);
    }

    private void Write(StoreBenchJob job)
    {
        var written = 0;
        for (; written < job.Group; written++)
        {
            var buffer = Record(job.Sequential ? _cursor : Pick(job), out var header);
            var status = _volume.Append(buffer, in header);
            buffer.Release();
            if (status == IoStatus.NoSpace) break;
            if (status != IoStatus.Ok) _done!.TrySetException(new IOException($"a write failed: {status}"));
            _cursor++;
            _operations++;
        }
        _awaited = _volume.LastSequence;
        if (job.Syncs) _volume.RequestSync();
        // Room comes by the cleaner, which goes on in its own turns.
        if (written == 0) _volume.Grant();
    }

    private ulong Pick(StoreBenchJob job)
    {
        if (job.HotPercent == 0) return (ulong)_random.NextInt64((long)_blocks);
        var hot = Math.Max(1, (long)_blocks * job.HotPercent / 100);
        return (ulong)(_random.Next(100) < HotWritesPercent ? _random.NextInt64(hot) : hot + _random.NextInt64((long)_blocks - hot));
    }

    private IoBuffer Record(ulong block, out RecordHeader header)
    {
        header = new RecordHeader
        {
            Kind = RecordKind.Write,
            Volume = Volume,
            Epoch = 1,
            Sequence = _volume.LastSequence + 1,
            Range = new BlockRange(block, 1),
            DescriptorCount = 1,
            PayloadLength = Limits.BlockBytes,
            CommitWatermark = _volume.CommitWatermark,
        };
        var bytes = _pool.AsSpan(_random.Next((PoolBytes - Limits.BlockBytes) / Stride) * Stride, Limits.BlockBytes);
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        BlockDescriptor.Of(BlockEncoding.Raw, Volume, 0, block, bytes).Write(buffer.Span[RecordHeader.SizeBytes..]);
        bytes.CopyTo(buffer.Span[header.PayloadOffset..]);
        header.Encode(buffer.Span);
        return buffer;
    }

    private void Finish(StoreBenchJob job)
    {
        var seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
        var (cpu, now, usage) = (Environment.CpuUsage.TotalTime - _cpuBefore, _store.Activity, _store.Usage);
        var bytes = _operations * (double)Limits.BlockBytes;
        double Share(double part) => job.Reads ? 0 : part / bytes;
        var (appended, moved, checkpoints) = (now.AppendedBytes - _before.AppendedBytes, now.MovedBytes - _before.MovedBytes, now.CheckpointBytes - _before.CheckpointBytes);
        _done!.TrySetResult(new StoreBenchResource(job.Name, seconds, _operations, _operations / seconds, bytes / seconds / 1e6,
            cpu.TotalMicroseconds / Math.Max(1, _operations), Share(appended + checkpoints), Share(moved), Share(checkpoints), Share(appended - moved - bytes),
            (double)usage.LiveBytes / Math.Max(1, usage.CapacityBytes)));
        _job = null;
    }
}
