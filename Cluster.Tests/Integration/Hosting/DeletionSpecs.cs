using System.Net;
using Cluster.Node.Cli;

namespace Cluster.Tests.Integration.Hosting;

public class DeletionSpecs
{
    private const string Volume = "/v1/volumes/pg";

    [Fact(DisplayName = "A volume with an open NBD connection is deleted only by force, which cuts the client off; a closed one is deleted at once")]
    public async Task Open_volumes()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        var export = await CreateAsync(nodes);
        using (var client = await NbdClient.ConnectAsync(export, CancellationToken.None))
        {
            await client.WriteAsync(0, new byte[4096], CancellationToken.None);
            var (status, problem) = await nodes.DeleteAsync(0, Volume);
            Assert.Equal(HttpStatusCode.Conflict, status);
            Assert.Equal(
                "Volume pg: it is in use through node-0; disconnect its clients there, or delete it with --force, which cuts them off.",
                problem.GetProperty("detail").GetString());
            await client.WriteAsync(0, new byte[4096], CancellationToken.None);
            await client.DisconnectAsync(CancellationToken.None);
        }
        Assert.Equal(HttpStatusCode.NoContent, (await nodes.DeleteAsync(0, Volume)).Status);
        export = await CreateAsync(nodes);
        using var other = await NbdClient.ConnectAsync(export, CancellationToken.None);
        await other.WriteAsync(0, new byte[4096], CancellationToken.None);
        Assert.Equal(HttpStatusCode.NoContent, (await nodes.DeleteAsync(0, $"{Volume}?force=true")).Status);
        await Assert.ThrowsAnyAsync<IOException>(() => other.WriteAsync(0, new byte[4096], CancellationToken.None));
    }

    [Fact(DisplayName = "An attached volume is deleted once it is detached, or by force")]
    public async Task Attached_volumes()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        await CreateAsync(nodes);
        Assert.Equal(HttpStatusCode.OK, (await nodes.PostAsync(0, $"{Volume}/attach", new { node = "node-0" })).Status);
        var (status, problem) = await nodes.DeleteAsync(0, Volume);
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains("attached to node-0; detach it", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await nodes.PostAsync(0, $"{Volume}/detach", new { })).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await nodes.DeleteAsync(0, Volume)).Status);
    }

    private static async Task<Uri> CreateAsync(TestNodes nodes)
    {
        var (status, created) = await nodes.PostAsync(0, "/v1/volumes", new { name = "pg", sizeBytes = 1L << 30 });
        Assert.True(status == HttpStatusCode.Created, created.ToString());
        var (_, node) = await nodes.GetAsync(0, "/v1/nodes/node-0");
        return new Uri($"{node.GetProperty("nbd").GetString()}/pg");
    }
}
