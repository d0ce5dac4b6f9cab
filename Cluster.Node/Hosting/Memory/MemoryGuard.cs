using System.Globalization;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Memory;

/// <summary>
/// Keeps the process within its <see cref="MemoryPlan"/>: gives the collector its limit and the buffers theirs at the start, and looks a few times a second what there is. A heap that has
/// grown beyond its part takes from the buffers, nearly all of theirs if it must: who has work to bring in then waits earlier. Any thread.
/// </summary>
internal sealed partial class MemoryGuard : IDisposable
{
    private const int LookMs = 200;

    /// <summary>Of the limit: from here on what is only kept for later is given back.</summary>
    private const int FullPercent = 92;

    /// <summary>Collecting all garbage at once stops everything for a moment.</summary>
    private const int CollectMsMin = 10_000;
    private const string Memory = "/proc/self/statm";
    private const string HeapHardLimit = "GCHeapHardLimit";

    private readonly MemoryPlan _plan;
    private readonly ILogger _log;
    private readonly Timer _timer;
    private long _collectedMs = Environment.TickCount64 - CollectMsMin;
    private long _collections;
    private int _isLooking;

    private readonly Func<long> _resident;

    /// <param name="resident">Bytes that the process has in memory.</param>
    internal MemoryGuard(MemoryPlan plan, ILogger log, Func<long> resident, int lookMs = LookMs)
    {
        (_plan, _log, _resident) = (plan, log, resident);
        _timer = new Timer(_ => TryLook(), null, lookMs, lookMs);
    }

    public MemoryPlan Plan => _plan;

    /// <summary>Times that garbage was collected for want of memory.</summary>
    public long Collections => Interlocked.Read(ref _collections);

    /// <summary>Bytes that the process has in memory.</summary>
    public static long ResidentBytes => long.Parse(File.ReadAllText(Memory).Split(' ')[1], CultureInfo.InvariantCulture) * Environment.SystemPageSize;

    /// <summary>Of the last collection; what was allocated since lies within it.</summary>
    public static long HeapBytes => GC.GetGCMemoryInfo(GCKind.Any).TotalCommittedBytes;

    /// <summary>What was not garbage then.</summary>
    public static long HeapLiveBytes => GC.GetGCMemoryInfo(GCKind.Any) is var last ? last.HeapSizeBytes - last.FragmentedBytes : 0;

    /// <summary>Null without a limit.</summary>
    public static MemoryGuard? Start(MemoryPlan plan, ILogger log)
    {
        BufferPool.Shared.LimitBytes = plan.BuffersBytes;
        if (plan.LimitBytes == 0) return null;
        AppContext.SetData(HeapHardLimit, (ulong)(plan.LimitBytes - MemoryPlan.ProgramBytes - MemoryPlan.BuffersBytesFloor));
        GC.RefreshMemoryLimit();
        LogDivided(log, plan.LimitBytes >> 20, MemoryPlan.ProgramBytes >> 20, plan.HeapBytes >> 20, plan.MapCacheBytes >> 20, plan.BuffersBytes >> 20, plan.FrontEndBytes >> 20, plan.KeptBytes >> 20,
            plan.ConnectionsMax);
        return new MemoryGuard(plan, log, () => ResidentBytes);
    }

    public void Dispose() => _timer.Dispose();

    /// <summary>One at a time, for one may take longer than the time to the next. Nothing that goes wrong in it may end the process: the next one looks anew.</summary>
    internal void TryLook()
    {
        if (Interlocked.Exchange(ref _isLooking, 1) != 0) return;
        try
        {
            Look();
        }
        catch (Exception e)
        {
            LogFailed(_log, e.Message);
        }
        finally
        {
            Volatile.Write(ref _isLooking, 0);
        }
    }

    private void Look()
    {
        var heap = HeapBytes;
        BufferPool.Shared.LimitBytes = Math.Clamp(_plan.LimitBytes - MemoryPlan.ProgramBytes - heap, MemoryPlan.BuffersBytesFloor, _plan.BuffersBytes);
        var resident = _resident();
        if (resident < _plan.LimitBytes / 100 * FullPercent) return;
        BufferPool.Shared.Trim();
        // What the program or the buffers take no collection gives back.
        if (heap <= _plan.HeapBytes) return;
        if (Environment.TickCount64 - _collectedMs < CollectMsMin) return;
        _collectedMs = Environment.TickCount64;
        Interlocked.Increment(ref _collections);
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        LogFull(_log, resident >> 20, _plan.LimitBytes >> 20, ResidentBytes >> 20, HeapBytes >> 20, BufferPool.Shared.RentedBytes >> 20);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "memory: {Limit} MiB in all: {Program} for the program, {Heap} for the heap with a map cache of {Maps}, {Buffers} for buffers, of which {FrontEnd} for "
        + "payload of clients and {Kept} for writes that are not on media yet; at most {Connections} NBD clients")]
    private static partial void LogDivided(ILogger log, long limit, long program, long heap, long maps, long buffers, long frontEnd, long kept, int connections);

    [LoggerMessage(Level = LogLevel.Error, Message = "memory: how much is used could not be looked at, and is again in a moment: {Error}")]
    private static partial void LogFailed(ILogger log, string error);

    [LoggerMessage(Level = LogLevel.Warning, Message = "memory: {Resident} MiB of {Limit} were used; what was kept for later was given back, and {Left} are now: heap {Heap}, buffers {Buffers}. If this comes again "
        + "and again, memory-limit is too small for the volumes and clients here")]
    private static partial void LogFull(ILogger log, long resident, long limit, long left, long heap, long buffers);
}
