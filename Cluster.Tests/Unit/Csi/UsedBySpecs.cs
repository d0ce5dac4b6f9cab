using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Cluster.Csi.Csi;
using Cluster.Node.Api;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Tests.Integration.Api;

namespace Cluster.Tests.Unit.Csi;

/// <summary>Whether a node uses a volume, asked while its I/O loop is not heard.</summary>
public sealed class UsedBySpecs : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CsiVolumeControl _control = new("node-0", "", new FakeControlPlane(), new Health(TimeProvider.System), null);

    public UsedBySpecs()
    {
        _listener.Start();
        _control.Open(null!, new SilencePorts(_ => { }, _ => true, () => false));
    }

    private NodeFacts Asked => new("node-1", "", true, true, 0, $"http://{_listener.LocalEndpoint}");

    [Fact(DisplayName = "A node whose I/O loop is not heard, and whose API answers, is believed")]
    public async Task Answers()
    {
        var asked = _control.IsUsedByAsync("db", Asked, default);
        using var client = await _listener.AcceptTcpClientAsync();
        const string Body = "[{\"volume\":\"db\"}]";
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {Body.Length}\r\nConnection: close\r\n\r\n{Body}"));
        Assert.True(await asked);
    }

    [Fact(DisplayName = "One that is not heard and does not answer has no say; it is given half a second")]
    public async Task Does_not_answer()
    {
        var watch = Stopwatch.StartNew();
        Assert.False(await _control.IsUsedByAsync("db", Asked, default));
        Assert.True(watch.ElapsedMilliseconds >= 490, $"only {watch.ElapsedMilliseconds} ms");
    }

    public void Dispose() => _listener.Dispose();
}
