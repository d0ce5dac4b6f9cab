using Cluster.Messages.Wire;
using Cluster.Node.Cli.Dev;
using Cluster.Node.Hosting.Memory;
using Cluster.Node.Hosting.Options;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>Who keeps a node within its memory-limit, a few times a second.</summary>
public sealed class MemoryGuardSpecs : IDisposable
{
    private static readonly MemoryPlan Plan = MemoryPlan.Of(new NodeOptions { MemoryLimitBytes = 1L << 36 }, null).Plan!;
    private int _looks;

    public void Dispose() => BufferPool.Shared.LimitBytes = long.MaxValue;

    [Fact(DisplayName = "A look that fails does not end the process, and the next one looks anew")]
    public void Fails()
    {
        using var guard = Guard(() => _looks++ == 0 ? throw new IOException("too many open files") : 1);
        guard.TryLook();
        guard.TryLook();
        Assert.Equal(2, _looks);
    }

    [Fact(DisplayName = "While one look is under way there is no other")]
    public void Overlaps()
    {
        MemoryGuard? guard = null;
        using var looking = guard = Guard(() =>
        {
            if (_looks++ == 0) guard!.TryLook();
            return 1;
        });
        guard.TryLook();
        Assert.Equal(1, _looks);
    }

    [Fact(DisplayName = "Memory that the heap has not taken is not looked for by a collection")]
    public void Collects_for_the_heap_only()
    {
        using var guard = Guard(() => Plan.LimitBytes);
        guard.TryLook();
        Assert.Equal(0, guard.Collections);
        using var small = new MemoryGuard(Plan with { HeapBytes = 1 }, NullLogger.Instance, () => Plan.LimitBytes, Timeout.Infinite);
        small.TryLook();
        Assert.Equal(1, small.Collections);
    }

    [Fact(DisplayName = "A local cluster's nodes get a size as it is, and no part of their container's memory each")]
    public void Local_cluster()
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, "myrmidon.memory-limit = 512MiB");
            DevOperations.CheckMemory(file, new DevShape(3, 0));
            File.WriteAllText(file, "myrmidon.memory-limit = auto");
            DevOperations.CheckMemory(file, new DevShape(1, 0));
            Assert.Contains("512MiB, or off", Assert.Throws<DevException>(() => DevOperations.CheckMemory(file, new DevShape(3, 0))).Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static MemoryGuard Guard(Func<long> resident) => new(Plan, NullLogger.Instance, resident, Timeout.Infinite);
}
