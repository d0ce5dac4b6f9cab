using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>A drain for a restart leaves no cordon behind, whatever becomes of who asked for it: whole nodes and their REST API.</summary>
public sealed class RestartDrainSpecs
{
    [Fact(DisplayName = "A node that was cordoned for a restart by somebody who is gone uncordons itself at its next start; an operator's cordon stays")]
    public async Task The_next_start_ends_it()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        // As a command that was killed leaves it.
        await DrainAsync(nodes);
        Assert.Equal((true, true), CordonOf(await NodeAsync(nodes, 0)));
        await nodes.StopAsync(0);
        await nodes.StartAsync(0);
        await nodes.EventuallyAsync(0, "/v1/nodes/node-0", node => !node.GetProperty("cordoned").GetBoolean());

        await nodes.PostAsync(0, "/v1/nodes/node-0/cordon", new { });
        await DrainAsync(nodes);
        var (status, after) = await nodes.PostAsync(0, "/v1/nodes/node-0/end-restart", new { });
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal((true, false), CordonOf(after));
    }

    private static (bool Cordoned, bool ForRestart) CordonOf(JsonElement node) => (node.GetProperty("cordoned").GetBoolean(), node.GetProperty("cordonedForRestart").GetBoolean());

    [Fact(DisplayName = "A drain for a restart that is cut off while it waits takes its cordon back by itself; a drain without a restart leaves it")]
    public async Task A_request_that_is_cut_off()
    {
        await using var nodes = new TestNodes(2);
        await nodes.StartAllAsync();
        var (made, _) = await nodes.PostAsync(0, "/v1/volumes", new { name = "db", sizeBytes = 1L << 30, replicas = 2 });
        Assert.Equal(HttpStatusCode.Created, made);
        var owner = (await nodes.EventuallyAsync(0, "/v1/volumes/db", volume => volume.GetProperty("state").GetString() == "healthy")).GetProperty("owner").GetString()!;
        var index = owner == "node-0" ? 0 : 1;
        // So that the volume can move nowhere, and the drain waits.
        await nodes.PostAsync(0, $"/v1/nodes/node-{1 - index}/cordon", new { });

        await CutOffAsync(nodes, owner, forRestart: true);
        await nodes.EventuallyAsync(0, $"/v1/nodes/{owner}", node => !node.GetProperty("cordoned").GetBoolean());
        await CutOffAsync(nodes, owner, forRestart: false);
        Assert.True((await NodeAsync(nodes, index)).GetProperty("cordoned").GetBoolean());
    }

    [Fact(DisplayName = "A drain for a restart moves what has another copy, and names what has none; a drain for good refuses")]
    public async Task An_only_copy()
    {
        await using var nodes = new TestNodes(2);
        await nodes.StartAllAsync();
        foreach (var (name, replicas) in new[] { ("one", 1), ("two", 2) })
        {
            var (made, _) = await nodes.PostAsync(0, "/v1/volumes", new { name, sizeBytes = 1L << 30, replicas });
            Assert.Equal(HttpStatusCode.Created, made);
        }
        var owner = (await nodes.EventuallyAsync(0, "/v1/volumes/one", volume => volume.GetProperty("state").GetString() == "healthy")).GetProperty("owner").GetString()!;
        await nodes.EventuallyAsync(0, "/v1/volumes/two", volume => volume.GetProperty("state").GetString() == "healthy");
        await nodes.PostAsync(0, "/v1/volumes/two/move", new { node = owner });
        await nodes.EventuallyAsync(0, "/v1/volumes/two", volume => volume.GetProperty("owner").GetString() == owner && volume.GetProperty("state").GetString() == "healthy");

        var (refused, _) = await nodes.PostAsync(0, $"/v1/nodes/{owner}/drain", new { timeoutSeconds = 20 });
        Assert.Equal(HttpStatusCode.Conflict, refused);
        var (status, drained) = await nodes.PostAsync(0, $"/v1/nodes/{owner}/drain", new { timeoutSeconds = 60, forRestart = true });
        Assert.Equal((HttpStatusCode.OK, "drained", 1), (status, drained.GetProperty("state").GetString(), drained.GetProperty("moved").GetInt32()));
        Assert.Contains("volume one has its only copy on", Assert.Single(drained.GetProperty("stays").EnumerateArray()).GetString(), StringComparison.Ordinal);
        await nodes.EventuallyAsync(0, "/v1/volumes/two", volume => volume.GetProperty("owner").GetString() != owner);
    }

    private static async Task CutOffAsync(TestNodes nodes, string owner, bool forRestart)
    {
        using var cut = new CancellationTokenSource();
        using var http = new HttpClient();
        var drain = http.PostAsJsonAsync(nodes.Url(0, $"/v1/nodes/{owner}/drain"), new { timeoutSeconds = 300, forRestart }, cut.Token);
        await nodes.EventuallyAsync(0, $"/v1/nodes/{owner}", node => node.GetProperty("cordoned").GetBoolean());
        Assert.False(drain.IsCompleted);
        await cut.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => drain);
    }

    private static async Task DrainAsync(TestNodes nodes)
    {
        var (status, drained) = await nodes.PostAsync(0, "/v1/nodes/node-0/drain", new { timeoutSeconds = 5, forRestart = true });
        Assert.Equal((HttpStatusCode.OK, "drained"), (status, drained.GetProperty("state").GetString()));
    }

    private static async Task<JsonElement> NodeAsync(TestNodes nodes, int index) => (await nodes.GetAsync(0, $"/v1/nodes/node-{index}")).Body;
}
