using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

public sealed class ApiConnectionsSpecs
{
    [Fact(DisplayName = "A connection beyond those that the API takes is ended at once, and the others are served; once one ends the next one is served")]
    public async Task One_too_many()
    {
        await using var server = await ApiServer.StartAsync(new ApiOptions("node-0", IPAddress.Loopback, 0, ConnectionsMax: 2), new FakeControlPlane(), new FakeRecovery(), new FakeDevices(),
            new Health(TimeProvider.System), new Metrics());
        using var first = await ConnectAsync(server);
        using var second = await ConnectAsync(server);
        Assert.True(await IsAnsweredAsync(first));
        Assert.True(await IsAnsweredAsync(second));
        using (var third = await ConnectAsync(server)) Assert.False(await IsAnsweredAsync(third));
        Assert.True(await IsAnsweredAsync(first));
        second.Dispose();
        bool isAnswered;
        var began = Stopwatch.GetTimestamp();
        do
        {
            Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromMinutes(1), "a place that is free again is given to nobody");
            using var next = await ConnectAsync(server);
            isAnswered = await IsAnsweredAsync(next);
        }
        while (!isAnswered);
    }

    private static async Task<TcpClient> ConnectAsync(ApiServer server)
    {
        var client = new TcpClient();
        await client.ConnectAsync(server.Address.Host, server.Address.Port);
        return client;
    }

    /// <summary>False: the connection ended without an answer. What is left of an earlier one is passed over.</summary>
    private static async Task<bool> IsAnsweredAsync(TcpClient client)
    {
        try
        {
            var stream = client.GetStream();
            await stream.WriteAsync("GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
            var (text, bytes) = ("", new byte[16 << 10]);
            while (!text.Contains("HTTP/1.1", StringComparison.Ordinal))
            {
                var read = await stream.ReadAsync(bytes);
                if (read == 0) return false;
                text += Encoding.ASCII.GetString(bytes, 0, read);
            }
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
