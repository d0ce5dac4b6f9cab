using System.Net;
using System.Net.Sockets;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;

namespace Cluster.Tests.Integration.Journal;

public sealed class JournalPortSpecs
{
    private static readonly FormationMember Stranger = new("stranger", Guid.NewGuid(), new JournalAddress("127.0.0.1", 1));

    [Fact(DisplayName = "A node of another cluster or era, and one that is no member, is refused with the reason")]
    public async Task Strangers_are_refused()
    {
        await using var cluster = new JournalCluster(1);
        await cluster.StartAllAsync();
        await cluster.LeaderAsync();
        var node = cluster.Nodes[0]!;
        var record = await node.Formed;
        Assert.Contains("of cluster", await RefusalAsync(node, HelloPurpose.Ask, Guid.NewGuid(), record.Era));
        Assert.Contains("recovery era", await RefusalAsync(node, HelloPurpose.Client, record.ClusterId, Guid.NewGuid()));
        Assert.Contains("no control member", await RefusalAsync(node, HelloPurpose.Peer, record.ClusterId, record.Era));
        Assert.Contains("of one cluster", await RefusalAsync(node, HelloPurpose.Client, Guid.Empty, Guid.Empty));
    }

    [Fact(DisplayName = "Bytes that are no frame close their connection, and the journal goes on")]
    public async Task Malformed_bytes()
    {
        await using var cluster = new JournalCluster(1);
        await cluster.StartAllAsync();
        var node = cluster.Nodes[0]!;
        var random = new Random(7);
        var hello = JournalFrameHeader.Encode(JournalFrameKind.Hello, 0, new Hello(HelloPurpose.Ask, Stranger, Guid.Empty, Guid.Empty).Encode());
        for (var round = 0; round < 200; round++)
        {
            var bytes = (byte[])hello.Clone();
            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, node.Address.Port);
            var stream = client.GetStream();
            await stream.WriteAsync(bytes);
            Assert.Equal(0, await ReadToEndAsync(client, stream));
        }
        Assert.True((await node.Log.ProposeAsync(new MetaCommand.SetKey("a", 0, [1]), CancellationToken.None)).IsOk);
    }

    [Fact(DisplayName = "A node whose directory was lost comes back under its name as another node, and is not let vote")]
    public async Task Lost_directory()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        await cluster.Nodes[0]!.Log.ProposeAsync(new MetaCommand.SetKey("a", 0, [1]), CancellationToken.None);
        await cluster.StopAsync(2);
        Directory.Delete(cluster.Options(2).DataDirectory, recursive: true);
        var reborn = cluster.Start(2);
        await reborn.Formed.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal([1], (await reborn.Log.ReadKeyAsync("a", CancellationToken.None))!.Value);
        Assert.Equal(MetaLogRole.Client, reborn.Log.Status.Role);
    }

    [Theory(DisplayName = "Addresses are read with and without a port")]
    [InlineData("host", "host", 5709)]
    [InlineData("host:1", "host", 1)]
    [InlineData("[::1]:2", "::1", 2)]
    [InlineData("host:0", null, 0)]
    [InlineData("host:x", null, 0)]
    [InlineData("", null, 0)]
    public void Addresses(string text, string? host, int port)
    {
        Assert.Equal(host is not null, JournalAddress.TryParse(text, out var address));
        if (host is not null) Assert.Equal(new JournalAddress(host, port), address);
    }

    private static async Task<string> RefusalAsync(JournalNode node, HelloPurpose purpose, Guid clusterId, Guid era)
    {
        var dialer = new JournalDialer(p => new Hello(p, Stranger, clusterId, era), timeoutMs: 5000);
        var refused = await Assert.ThrowsAsync<JournalRefusedException>(() => dialer.ConnectAsync(node.Address, purpose, CancellationToken.None));
        return refused.Message;
    }

    private static async Task<int> ReadToEndAsync(TcpClient client, NetworkStream stream)
    {
        var total = 0;
        var buffer = new byte[4096];
        try
        {
            client.Client.Shutdown(SocketShutdown.Send);
            while (await stream.ReadAsync(buffer) is > 0 and var read) total += read;
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return total;                                      // closed by a reset: unread bytes were left
        }
        return total;
    }
}
