using System.Diagnostics;
using Cluster.Csi.Nbd;
using Cluster.Node.Api;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Nbd;

/// <summary>What clients do with each volume is counted, of so many volumes as memory allows.</summary>
public sealed class NbdVolumesSpecs
{
    private readonly FakeLoop _loop = new();

    [Fact(DisplayName = "Commands, bytes and errors are counted by volume, whichever of its exports and connections they came by; a device's export is one of its volume")]
    public void By_volume()
    {
        var wire = NbdWire.Connected(new NbdOptions(), ("shop/db", new MemoryDevice(_loop, 1 << 20)), ("shop/db@v7.3", new MemoryDevice(_loop, 1 << 20)), ("other", new MemoryDevice(_loop, 1 << 20)));
        wire.Feed(NbdWire.Request(1, 1, 0, 4, payload: "cafef00d") + NbdWire.Request(0, 2, 0, 512) + NbdWire.Request(6, 3, 0, 4096) + NbdWire.Request(4, 4, 8192, 4096) + NbdWire.Request(3, 5, 0, 0));
        var device = wire.Another("shop/db@v7.3");
        device.Feed(NbdWire.Request(0, 6, 0, 1024) + NbdWire.Request(0, 7, 1 << 20, 512));
        wire.Another("other").Feed(NbdWire.Request(0, 8, 0, 100));
        _loop.Run();
        var volumes = wire.Server.Volumes.All.ToDictionary(StringComparer.Ordinal);
        Assert.Equal(["other", "shop/db"], volumes.Keys.Order(StringComparer.Ordinal));
        var db = volumes["shop/db"];
        Assert.Equal((3L, 2L, 1L, 1L), (db.CountOf(NbdVolumeCommand.Read), db.CountOf(NbdVolumeCommand.Write), db.CountOf(NbdVolumeCommand.Flush), db.CountOf(NbdVolumeCommand.Trim)));
        Assert.Equal((1536L, 4100L, 0L, 4096L), (db.BytesOf(NbdVolumeCommand.Read), db.BytesOf(NbdVolumeCommand.Write), db.BytesOf(NbdVolumeCommand.Flush), db.BytesOf(NbdVolumeCommand.Trim)));
        Assert.Equal((1L, 0L), (db.Failed, volumes["other"].Failed));

        var metrics = new Metrics();
        VolumeIoMetrics.Expose(metrics, wire.Server.Volumes);
        var page = metrics.Write();
        Assert.Contains("# TYPE myrmidon_volume_bytes_total counter\nmyrmidon_volume_bytes_total{volume=\"other\",command=\"read\"} 100\nmyrmidon_volume_bytes_total{volume=\"shop/db\",command=\"read\"} 1536\n",
            page, StringComparison.Ordinal);
        Assert.Contains("myrmidon_volume_errors_total{volume=\"shop/db\"} 1\n", page, StringComparison.Ordinal);
        Assert.DoesNotContain("volume=\"other\",command=\"write\"", page, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Commands that were timed give their mean")]
    public void Times()
    {
        var volume = new NbdVolumes().Join("db");
        volume.Ended(NbdCommandType.Write, 4096, failed: false, Stopwatch.Frequency / 1000);
        volume.Ended(NbdCommandType.Write, 4096, failed: false, 0);
        volume.Ended(NbdCommandType.WriteZeroes, 4096, failed: true, 3 * Stopwatch.Frequency / 1000);
        Assert.Equal((3L, 2L), (volume.CountOf(NbdVolumeCommand.Write), volume.WaitsOf(NbdVolumeCommand.Write)));
        Assert.Equal(0.004, volume.WaitSecondsOf(NbdVolumeCommand.Write), 1e-6);
    }

    [Fact(DisplayName = "A volume that was left keeps its counts until others need its place, which the one that was left first gives up")]
    public void Bounded()
    {
        var volumes = new NbdVolumes();
        for (var at = 0; at < NbdVolumes.Max; at++) volumes.Join($"v{at}").Ended(NbdCommandType.Read, 1, failed: false, 0);
        volumes.Leave("v5");
        volumes.Leave("v3");
        Assert.Equal(1, volumes.Join("v3").CountOf(NbdVolumeCommand.Read));
        Assert.Equal(0, volumes.Join("new").CountOf(NbdVolumeCommand.Read));
        Assert.Equal(NbdVolumes.Max, volumes.All.Count());
        Assert.DoesNotContain(volumes.All, each => each.Key == "v5");

        // All are open: the others share one place, and stay there until they are opened anew.
        var shared = volumes.Join("v5");
        Assert.Same(shared, volumes.Join("beyond"));
        shared.Ended(NbdCommandType.Read, 1, failed: false, 0);
        volumes.Leave("v5");
        volumes.Leave("v3");
        Assert.Equal(0, volumes.Join("v5").CountOf(NbdVolumeCommand.Read));
        Assert.Equal(1, volumes.All.Single(each => each.Key == NbdVolumes.Others).Value.CountOf(NbdVolumeCommand.Read));
        Assert.Equal(NbdVolumes.Max + 1, volumes.All.Count());
    }

    [Fact(DisplayName = "A volume with two connections is left when both are closed")]
    public void Twice()
    {
        var volumes = new NbdVolumes();
        for (var at = 0; at < NbdVolumes.Max; at++) volumes.Join($"v{at}");
        volumes.Join("v0");
        volumes.Leave("v0");
        volumes.Join("new");
        Assert.Contains(volumes.All, each => each.Key == "v0");
        volumes.Leave("v0");
        volumes.Join("newer");
        Assert.DoesNotContain(volumes.All, each => each.Key == "v0");
    }
}
