using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Memory;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>How myrmidon.memory-limit is divided, and what is refused.</summary>
public sealed class MemoryPlanSpecs
{
    private const long MiB = 1L << 20;

    [Theory(DisplayName = "The parts are no more than the limit together, whatever it is, and none is too small to work with")]
    [InlineData(256, 0)]
    [InlineData(300, 0)]
    [InlineData(512, 0)]
    [InlineData(768, 64)]
    [InlineData(4096, 0)]
    [InlineData(1 << 20, 0)]
    public void Divided(long limitMiB, long mapCacheMiB)
    {
        var plan = MemoryPlan.Of(Options(limitMiB * MiB, mapCacheMiB * MiB), null).Plan!;
        Assert.Equal(limitMiB * MiB, plan.LimitBytes);
        Assert.Equal(plan.LimitBytes, MemoryPlan.ProgramBytes + plan.HeapBytes + plan.BuffersBytes);
        Assert.Equal(plan.MapCacheBytes * MemoryPlan.MapsTimes, plan.MapsBytes);
        Assert.True(plan.HeapBytes >= MemoryPlan.HeapBaseBytes + plan.MapsBytes);
        if (mapCacheMiB > 0) Assert.Equal(mapCacheMiB * MiB, plan.MapCacheBytes);
        Assert.InRange(plan.MapCacheBytes, 4 * MiB, StoreOptions.MapCacheBytesDefault);
        Assert.InRange(plan.BuffersBytes, MemoryPlan.BuffersBytesMin, MemoryPlan.BuffersBytesMax);
        // A payload is there twice, in buffers that are a little larger; owners and copies have the rest.
        Assert.InRange((plan.FrontEndBytes * 2.2) + plan.KeptBytes, 1, plan.BuffersBytes * 0.6);
        Assert.InRange(plan.FrontEndBytes, 4 * NbdLimits.ChunkBytes, NbdLimits.ServerBytesMax);
        Assert.InRange(plan.ConnectionsMax * (long)(NbdLimits.SpareChunkBytes + plan.ReceiveBytes), 1, plan.BuffersBytes);
    }

    [Fact(DisplayName = "Much memory gives every part what it has without a limit, and more goes to the heap")]
    public void Much()
    {
        var plan = MemoryPlan.Of(Options(8192 * MiB), null).Plan!;
        Assert.Equal((MemoryPlan.Unlimited.MapCacheBytes, MemoryPlan.Unlimited.KeptBytes, MemoryPlan.Unlimited.ConnectionsMax, MemoryPlan.Unlimited.ReceiveBytes),
            (plan.MapCacheBytes, plan.KeptBytes, plan.ConnectionsMax, plan.ReceiveBytes));
        Assert.InRange(plan.FrontEndBytes, NbdLimits.ServerBytesMax / 2, NbdLimits.ServerBytesMax);
    }

    [Fact(DisplayName = "A limit that is too small is refused with the least that works, and that one works")]
    public void Too_small()
    {
        Assert.Equal("myrmidon.memory-limit is 200MiB; the least that works is 256MiB.", MemoryPlan.Of(Options(200 * MiB), null).Error);
        Assert.NotNull(MemoryPlan.Of(Options(256 * MiB), null).Plan);
        Assert.Null(MemoryPlan.Of(Options((256 * MiB) - 1), null).Plan);
    }

    [Fact(DisplayName = "A map-cache by hand that the limit has no room for is refused by its name, with what would fit; both do")]
    public void Too_large_a_part()
    {
        var error = MemoryPlan.Of(Options(512 * MiB, 128 * MiB), null).Error;
        Assert.Equal("myrmidon.memory-limit is 512MiB, but myrmidon.map-cache = 128MiB takes up to 4 times as much while a checkpoint is written: "
            + "give the limit 752MiB or more, or map-cache 68MiB or less, or auto.", error);
        Assert.NotNull(MemoryPlan.Of(Options(752 * MiB, 128 * MiB), null).Plan);
        Assert.NotNull(MemoryPlan.Of(Options(512 * MiB, 68 * MiB), null).Plan);
        Assert.Null(MemoryPlan.Of(Options(512 * MiB, 69 * MiB), null).Plan);
    }

    [Fact(DisplayName = "Without a limit the parts have the bounds that they always had, and map-cache counts as it is")]
    public void Unlimited()
    {
        Assert.Equal(MemoryPlan.Unlimited, MemoryPlan.Of(Options(0), 1 << 30).Plan);
        Assert.Equal(MemoryPlan.Unlimited, MemoryPlan.Of(Options(null), null).Plan);
        Assert.Equal(1L << 32, MemoryPlan.Of(Options(0, 1L << 32), null).Plan!.MapCacheBytes);
        Assert.Equal((NbdLimits.ServerBytesMax, Limits.KeptBytesOfProcessMax, long.MaxValue), (MemoryPlan.Unlimited.FrontEndBytes, MemoryPlan.Unlimited.KeptBytes, MemoryPlan.Unlimited.BuffersBytes));
    }

    [Fact(DisplayName = "Nothing is limited unless it is asked for, in a container neither")]
    public void Off_by_default()
    {
        Assert.Equal(0, NodeSettings.Load(new Dictionary<string, string>(), new Dictionary<string, string>(), null).Options!.MemoryLimitBytes);
        Assert.Equal(MemoryPlan.Unlimited, MemoryPlan.Of(new NodeOptions(), 1 << 30).Plan);
        Assert.Equal((NbdLimits.ConnectionBytesMax, long.MaxValue), (MemoryPlan.Unlimited.ConnectionBytes, MemoryPlan.Unlimited.VolumeBytes));
    }

    [Theory(DisplayName = "No client may fill more than a quarter of what front ends may, no volume more than an eighth of the buffers; each has room for several pieces")]
    [InlineData(256)]
    [InlineData(512)]
    [InlineData(8192)]
    public void Nobody_takes_all(long limitMiB)
    {
        var plan = MemoryPlan.Of(Options(limitMiB * MiB), null).Plan!;
        Assert.InRange(plan.ConnectionBytes, 4 * NbdLimits.ChunkBytes, Math.Min(NbdLimits.ConnectionBytesMax, plan.FrontEndBytes / 4));
        Assert.InRange(plan.VolumeBytes, 16 * NbdLimits.ChunkBytes, plan.BuffersBytes / 8);
    }

    [Fact(DisplayName = "Auto: three quarters of a container's limit count; one that is too small is told with what it should be")]
    public void Container()
    {
        Assert.Equal(768 * MiB, MemoryPlan.Of(Options(null), 1024 * MiB).Plan!.LimitBytes / MiB * MiB + (MemoryPlan.Of(Options(null), 1024 * MiB).Plan!.LimitBytes % MiB > 0 ? MiB : 0));
        Assert.Equal(300 * MiB, MemoryPlan.Of(Options(300 * MiB), 1024 * MiB).Plan!.LimitBytes);
        var error = MemoryPlan.Of(Options(null), 256 * MiB).Error;
        Assert.StartsWith("myrmidon.memory-limit is auto, which is 192MiB, 75 % of this container's memory limit of 256MiB; the least that works is 256MiB: give the container 342MiB", error, StringComparison.Ordinal);
        Assert.NotNull(MemoryPlan.Of(Options(null), 342 * MiB).Plan);
    }

    [Fact(DisplayName = "A limit beyond what the host or the container has is told: it would hold nothing")]
    public void Beyond()
    {
        var plan = MemoryPlan.Of(Options(2048 * MiB), null).Plan!;
        Assert.Null(plan.WarningOf(null, 2048 * MiB));
        Assert.Null(plan.WarningOf(2048 * MiB, 8192 * MiB));
        Assert.Null(MemoryPlan.Unlimited.WarningOf(64 * MiB, 64 * MiB));
        Assert.Equal("myrmidon.memory-limit is 2048MiB, and this host's memory is 1000MiB: the system ends the node before that limit holds it. Use 750MiB or less.", plan.WarningOf(null, 1000 * MiB));
        Assert.Equal("myrmidon.memory-limit is 2048MiB, and this container's memory limit is 1000MiB: the system ends the node before that limit holds it. Use 750MiB or less, or auto.",
            plan.WarningOf(1000 * MiB, 8192 * MiB));
    }

    [Fact(DisplayName = "A container's limit is the least of its control group and those above; none, and one beyond the machine, is no limit")]
    public void Groups()
    {
        Assert.Null(Limit([]));
        Assert.Equal(MiB, Limit(new() { ["/sys/fs/cgroup/memory.max"] = $"{MiB}\n" }));
        Assert.Null(Limit(new() { ["/sys/fs/cgroup/memory.max"] = "max\n" }));
        Assert.Null(Limit(new() { ["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n" }));
        Assert.Equal(2 * MiB, Limit(new() { ["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = $"{2 * MiB}\n" }));
        Dictionary<string, string> service = new()
        {
            ["/proc/self/cgroup"] = "0::/system.slice/myrmidon.service\n",
            ["/sys/fs/cgroup/system.slice/myrmidon.service/memory.max"] = "max\n",
            ["/sys/fs/cgroup/system.slice/memory.max"] = $"{3 * MiB}\n",
        };
        Assert.Equal(3 * MiB, Limit(service));
        service["/sys/fs/cgroup/system.slice/myrmidon.service/memory.max"] = $"{2 * MiB}\n";
        Assert.Equal(2 * MiB, Limit(service));
    }

    [Theory(DisplayName = "The setting takes auto, off or a size, and a bad one stops the start with what would be right")]
    [InlineData("off", "")]
    [InlineData("1GiB", "")]
    [InlineData("128MiB", "the least that works is 256MiB")]
    [InlineData("many", "auto, off, or a size such as 512MiB")]
    [InlineData("0B", "auto, off, or a size such as 512MiB")]
    public void Setting(string text, string error)
    {
        var loaded = NodeSettings.Load(new Dictionary<string, string> { ["memory-limit"] = text }, new Dictionary<string, string>(), null);
        Assert.Equal(error.Length == 0, loaded.Options is not null);
        Assert.Contains(error, loaded.Error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "What front ends keep of what they read is what read-cache says, and under a limit an eighth of the buffers at most; owners still take work in with all of it in use")]
    public void Read_cache()
    {
        Assert.Equal(32 * MiB, MemoryPlan.Of(Options(0), null).Plan!.ReadCacheBytes);
        Assert.Equal(64 * MiB, MemoryPlan.Of(Options(0) with { ReadCacheBytes = 64 * MiB }, null).Plan!.ReadCacheBytes);
        var small = MemoryPlan.Of(Options(256 * MiB) with { ReadCacheBytes = 64 * MiB }, null).Plan!;
        Assert.Equal(small.BuffersBytes / 8, small.ReadCacheBytes);
        Assert.InRange((small.FrontEndBytes * 2.2) + small.KeptBytes + small.ReadCacheBytes, 1, small.BuffersBytes / 100.0 * BufferPool.TightPercent);
        Assert.Equal(0, MemoryPlan.Of(Options(256 * MiB) with { ReadCacheBytes = 0 }, null).Plan!.ReadCacheBytes);
    }

    [Theory(DisplayName = "read-cache is off, or a size within its bounds")]
    [InlineData("off", 0)]
    [InlineData("1MiB", 1 << 20)]
    [InlineData("256MiB", 256 << 20)]
    [InlineData("1000KiB", -1)]
    [InlineData("257MiB", -1)]
    [InlineData("auto", -1)]
    public void Read_cache_setting(string text, long bytes)
    {
        var loaded = NodeSettings.Load(new Dictionary<string, string> { ["read-cache"] = text }, new Dictionary<string, string>(), null);
        if (bytes >= 0) Assert.Equal(bytes, loaded.Options!.ReadCacheBytes);
        else Assert.Contains("off, or a size from 1MiB to 256MiB", loaded.Error, StringComparison.Ordinal);
    }

    private static long? Limit(Dictionary<string, string> files) => ContainerMemory.LimitBytes(files.GetValueOrDefault, 1L << 40);

    private static NodeOptions Options(long? limit, long mapCache = 0) => new() { MemoryLimitBytes = limit, MapCacheBytes = mapCache };
}
