using Cluster.Csi.Attach;
using Cluster.Csi.Fuse;
using Cluster.Csi.Nbd;
using Cluster.Tests.Integration.Mesh;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>The NBD server's connections, as the kernel's devices ask for them.</summary>
public class DeviceLinkSpecs
{
    [Fact(DisplayName = "A device is served while a connection with simple replies uses its export; once dropped, nothing that came by it is taken any more")]
    public async Task Served_and_dropped()
    {
        await using var loop = new LoopFixture();
        var volume = new MemoryDevice(loop.Loop, 1 << 20);
        var server = new NbdServer(new NbdOptions(), loop.Loop, new FakeExports(("v@v7.1", volume), ("w@v8.1", volume)), NullLoggerFactory.Instance);
        var path = Path.Combine(Path.GetTempPath(), $"myrmidon-{Guid.NewGuid():N}.sock");
        server.Start(null, path);
        using (NbdLink.Connect(new NbdAddress(path), "v@v7.1", allocation: true)) Assert.False(await server.IsServedAsync("v@v7.1"));
        using var other = NbdLink.Connect(new NbdAddress(path), "w@v8.1");
        using var link = NbdLink.Connect(new NbdAddress(path), "v@v7.1");
        Assert.True(await server.IsServedAsync("v@v7.1"));
        var dropping = server.DropAsync("v@v7.1");
        await dropping;
        var write = new byte[NbdLink.RequestBytes + 4096];
        NbdLink.Encode(write, NbdCommandType.Write, 1, 0, 4096);
        Assert.ThrowsAny<Exception>(() =>
        {
            link.Send(write);
            link.Receive(new byte[1]);
        });
        Assert.Equal(0, await loop.On(() => volume.AllocatedBlocks));
        Assert.False(await server.IsServedAsync("v@v7.1"));
        Assert.True(await server.IsServedAsync("w@v8.1"));
        await server.Stop();
    }
}
