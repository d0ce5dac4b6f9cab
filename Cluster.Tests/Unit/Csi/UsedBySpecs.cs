using System.Collections.Immutable;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Cluster.Csi.Csi;
using Cluster.Messages.Model;
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

    private static VolumeFacts Volume => new(new VolumeId(7), "db", 1 << 30, ImmutableSortedDictionary<string, string>.Empty, "node-1", 7, 1000, true, "", "", false);

    private NodeFacts Asked => new("node-1", "", true, true, 0, $"http://{_listener.LocalEndpoint}");

    [Fact(DisplayName = "A node whose I/O loop is not heard, and whose API answers, is believed")]
    public async Task Answers()
    {
        var asked = _control.IsUsedByAsync(Volume, Asked, default);
        await AnswerAsync("{\"volume\":\"db\"}");
        Assert.True(await asked);
    }

    [Theory(DisplayName = "What an operator had under an attachment that has ended is no use of the volume; what CSI, Docker or an operator has now is, and all that a node of an earlier version says")]
    [InlineData("\"outsideCsi\":true,\"generation\":6,\"open\":false", false, false)]
    [InlineData("\"outsideCsi\":true,\"generation\":6,\"open\":true", true, false)]
    [InlineData("\"outsideCsi\":true,\"generation\":7,\"open\":false", true, true)]
    [InlineData("\"outsideCsi\":true,\"generation\":null,\"open\":false", true, true)]
    [InlineData("\"outsideCsi\":true", true, true)]
    [InlineData("\"outsideCsi\":false", true, false)]
    public async Task Ended(string told, bool isUsed, bool outsideCsi)
    {
        var asked = _control.IsUsedByAsync(Volume, Asked, default);
        await AnswerAsync($"{{\"volume\":\"db\",{told}}}");
        Assert.Equal(isUsed, await asked);
        asked = _control.IsUsedOutsideCsiAsync(Volume, Asked, default);
        await AnswerAsync($"{{\"volume\":\"db\",{told}}}");
        Assert.Equal(outsideCsi, await asked);
    }

    [Fact(DisplayName = "One that is not heard and does not answer has no say; it is given half a second")]
    public async Task Does_not_answer()
    {
        var watch = Stopwatch.StartNew();
        Assert.False(await _control.IsUsedByAsync(Volume, Asked, default));
        Assert.True(watch.ElapsedMilliseconds >= 490, $"only {watch.ElapsedMilliseconds} ms");
    }

    private async Task AnswerAsync(string volume)
    {
        using var client = await _listener.AcceptTcpClientAsync();
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(
            $"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {volume.Length + 2}\r\nConnection: close\r\n\r\n[{volume}]"));
    }

    public void Dispose() => _listener.Dispose();
}
