using System.Net;
using Cluster.Csi.Client;
using Cluster.Csi.Nbd;
using Cluster.Tests.Integration.Mesh;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Nbd;

/// <summary>
/// An NBD server on a real loop, on an ephemeral port and a Unix socket, over a device in memory or over sessions at a fake owner.
/// </summary>
internal sealed class NbdFixture : IAsyncDisposable
{
    private readonly LoopFixture _loop = new();

    private NbdFixture() => Directory = System.IO.Directory.CreateTempSubdirectory("myrmidon-nbd-");

    public DirectoryInfo Directory { get; }

    public MemoryDevice Device { get; private set; } = null!;

    public FakeGateway Gateway { get; private set; } = null!;

    public VolumeSessions Sessions { get; private set; } = null!;

    public NbdServer Server { get; private set; } = null!;

    public LoopFixture Loop => _loop;

    public string Uri => $"nbd://127.0.0.1:{((IPEndPoint)Server.EndPoint!).Port}/vol";

    public string UnixUri => $"nbd+unix:///vol?socket={SocketPath}";

    public string SocketPath => Path.Combine(Directory.FullName, "nbd.sock");

    public static NbdFixture OverMemory(ulong sizeBytes)
    {
        var fixture = new NbdFixture();
        fixture.Device = new MemoryDevice(fixture._loop.Loop, sizeBytes);
        var exports = new FakeExports(("vol", fixture.Device));
        fixture.Server = new NbdServer(new NbdOptions(), fixture._loop.Loop, exports, NullLoggerFactory.Instance);
        fixture.Start();
        return fixture;
    }

    public static NbdFixture OverSessions(ulong sizeBytes)
    {
        var fixture = new NbdFixture();
        fixture.Gateway = new FakeGateway(fixture._loop.Loop, sizeBytes, automatic: true);
        fixture.Sessions = new VolumeSessions(fixture.Gateway, NullLoggerFactory.Instance);
        fixture.Server = new NbdServer(new NbdOptions(), fixture.Gateway, fixture.Sessions, NullLoggerFactory.Instance);
        fixture.Start();
        return fixture;
    }

    public string FileOf(string name) => Path.Combine(Directory.FullName, name);

    public string RandomFile(string name, int lengthBytes)
    {
        var bytes = new byte[lengthBytes];
        new Random(lengthBytes).NextBytes(bytes);
        File.WriteAllBytes(FileOf(name), bytes);
        return FileOf(name);
    }

    public async ValueTask DisposeAsync()
    {
        await Server.Stop();
        await _loop.DisposeAsync();
        Directory.Delete(recursive: true);
    }

    private void Start() => Server.Start(new IPEndPoint(IPAddress.Loopback, 0), SocketPath);
}
