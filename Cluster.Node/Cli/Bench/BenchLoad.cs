using System.Diagnostics;

namespace Cluster.Node.Cli.Bench;

/// <summary>What one run of a job did, all its I/Os answered.</summary>
/// <param name="ClientCpuSeconds">Of this process.</param>
internal sealed record BenchLoadResult(double Seconds, LatencyHistogram Latencies, long Reads, long Writes, long Flushes, double ClientCpuSeconds)
{
    /// <summary>A write with its flush is one.</summary>
    public long Operations => Latencies.Count;
}

/// <summary>One job on one NBD connection: as many workers as the depth, each with one I/O at a time. Bytes that don't compress.</summary>
internal sealed class BenchLoad(NbdClient client, BenchJob job, ulong sizeBytes)
{
    /// <summary>Bytes that writes are cut from, at steps that no two blocks share.</summary>
    private const int PoolBytes = 16 << 20;
    private const int PoolStep = 512;
    private static readonly byte[] Pool = MakePool();

    private readonly ulong _blocks = sizeBytes / (ulong)job.BlockBytes;
    private readonly LatencyHistogram _latencies = new();
    private long _cursor = -1;
    private long _reads;
    private long _writes;
    private long _flushes;

    /// <summary>I/Os so far, for progress.</summary>
    public long Operations => _latencies.Count;

    /// <summary>Until the time is over and every I/O is answered.</summary>
    public Task<BenchLoadResult> RunAsync(TimeSpan time, CancellationToken cancellation)
    {
        var end = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
        return RunAsync(() => Stopwatch.GetTimestamp() < end, cancellation);
    }

    /// <summary>Each block of the size once.</summary>
    public Task<BenchLoadResult> FillAsync(CancellationToken cancellation) => RunAsync(() => Volatile.Read(ref _cursor) + 1 < (long)_blocks, cancellation);

    private async Task<BenchLoadResult> RunAsync(Func<bool> goesOn, CancellationToken cancellation)
    {
        var (began, cpuBefore) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime);
        await Task.WhenAll(Enumerable.Range(0, job.Depth).Select(worker => Task.Run(() => WorkAsync(worker, goesOn, cancellation), cancellation)));
        return new BenchLoadResult(Stopwatch.GetElapsedTime(began).TotalSeconds, _latencies, _reads, _writes, _flushes,
            (Environment.CpuUsage.TotalTime - cpuBefore).TotalSeconds);
    }

    private async Task WorkAsync(int worker, Func<bool> goesOn, CancellationToken cancellation)
    {
        var random = new Random(worker);
        var into = new byte[job.BlockBytes];
        while (goesOn() && !cancellation.IsCancellationRequested)
        {
            var offset = (ulong)job.BlockBytes * (job.Sequential ? (ulong)Interlocked.Increment(ref _cursor) % _blocks : (ulong)random.NextInt64((long)_blocks));
            var began = Stopwatch.GetTimestamp();
            if (random.Next(100) < job.ReadPercent)
            {
                await client.ReadAsync(offset, into, cancellation);
                Interlocked.Increment(ref _reads);
            }
            else await WriteAsync(random, offset, cancellation);
            _latencies.Record((long)Stopwatch.GetElapsedTime(began).TotalNanoseconds);
        }
        cancellation.ThrowIfCancellationRequested();
    }

    private async Task WriteAsync(Random random, ulong offset, CancellationToken cancellation)
    {
        var from = random.Next((PoolBytes - job.BlockBytes) / PoolStep) * PoolStep;
        await client.WriteAsync(offset, Pool.AsMemory(from, job.BlockBytes), cancellation);
        Interlocked.Increment(ref _writes);
        if (!job.Flushes) return;
        await client.FlushAsync(cancellation);
        Interlocked.Increment(ref _flushes);
    }

    private static byte[] MakePool()
    {
        var pool = new byte[PoolBytes];
        new Random(1).NextBytes(pool);
        return pool;
    }
}
