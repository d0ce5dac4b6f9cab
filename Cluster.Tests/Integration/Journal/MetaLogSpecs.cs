using Cluster.Node.Journal;

namespace Cluster.Tests.Integration.Journal;

public sealed class MetaLogSpecs
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact(DisplayName = "One node without seeds forms a cluster at once and keeps what was written across a restart")]
    public async Task One_node()
    {
        await using var cluster = new JournalCluster(1);
        await cluster.StartAllAsync();
        var answer = await cluster.Nodes[0]!.Log.ProposeAsync(new MetaCommand.SetKey("a", 0, [1]), None);
        Assert.True(answer.IsOk);
        await cluster.StopAsync(0);
        await cluster.StartAllAsync();
        Assert.Equal([1], (await cluster.Nodes[0]!.Log.ReadKeyAsync("a", None))!.Value);
    }

    [Fact(DisplayName = "Every node writes and reads through whichever leads, also one that is no control member")]
    public async Task Three_and_a_client()
    {
        await using var cluster = new JournalCluster(4, expect: 3);
        await cluster.StartAllAsync();
        for (var i = 0; i < 4; i++)
        {
            var log = cluster.Nodes[i]!.Log;
            Assert.True((await log.ProposeAsync(new MetaCommand.SetKey($"key-{i}", 0, [(byte)i]), None)).IsOk);
            await log.ReadBarrierAsync(None);
            foreach (var other in cluster.Nodes) Assert.Equal([(byte)i], (await other!.Log.ReadKeyAsync($"key-{i}", None))!.Value);
        }
        Assert.Equal(MetaLogRole.Client, cluster.Nodes[3]!.Log.Status.Role);
        Assert.Equal(4, (await cluster.Nodes[3]!.Log.ReadKeysAsync("key-", None)).Count);
    }

    [Fact(DisplayName = "Writers on all nodes go on while each node in turn is stopped and started, and nothing acknowledged is lost")]
    public async Task Rolling_restarts()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        await cluster.LeaderAsync();
        for (var round = 0; round < 6; round++)
        {
            var victim = round % 2 == 0 ? await cluster.LeaderAsync() : round % 3;
            var writer = cluster.Nodes[(victim + 1) % 3]!.Log;
            var writing =
                Enumerable.Range(0, 20).Select(i => writer.ProposeAsync(new MetaCommand.SetKey($"r{round}-{i}", 0, [1]), None)).ToArray();
            await cluster.StopAsync(victim);
            foreach (var write in writing) Assert.True((await write).IsOk);
            cluster.Start(victim);
            Assert.Equal(20, (await cluster.Nodes[victim]!.Log.ReadKeysAsync($"r{round}-", None)).Count);
        }
    }

    [Fact(DisplayName = "Without a majority operations fail with a reason within their limit, and work again after it is back")]
    public async Task Minority_is_refused()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        await cluster.LeaderAsync();
        await cluster.StopAsync(0);
        await cluster.StopAsync(1);
        var log = cluster.Nodes[2]!.Log;
        await Assert.ThrowsAsync<MetaLogUnavailableException>(() => log.ProposeAsync(new MetaCommand.SetKey("a", 0, [1]), None));
        await Assert.ThrowsAsync<MetaLogUnavailableException>(() => log.ReadKeyAsync("a", None));
        cluster.Start(0);
        Assert.True((await log.ProposeAsync(new MetaCommand.SetKey("b", 0, [1]), None)).IsOk);
    }

    [Fact(DisplayName = "A planned stop hands the leadership over")]
    public async Task Handover()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        var leader = await cluster.LeaderAsync();
        await cluster.Nodes[leader]!.Log.ReadBarrierAsync(None);
        await cluster.Nodes[leader]!.HandOverAsync();
        while (cluster.Nodes[leader]!.Log.Status.Role == MetaLogRole.Leader) await Task.Delay(5);      // the handover waits but a moment
        Assert.NotEqual(leader, await cluster.LeaderAsync());
    }

    [Fact(DisplayName = "The log is compacted behind snapshots, and a node that missed everything is brought up by one")]
    public async Task Compaction_and_snapshot_install()
    {
        await using var cluster = new JournalCluster(3);
        await cluster.StartAllAsync();
        var leader = await cluster.LeaderAsync();
        var behind = (leader + 1) % 3;
        await cluster.StopAsync(behind);
        var log = cluster.Nodes[leader]!.Log;
        var value = new byte[1 << 20];
        for (long i = 0, version = 0; i < 20; i++)
        {
            value[0] = (byte)i;
            var answer = await log.ProposeAsync(new MetaCommand.SetKey("big", version, [.. value]), None);
            Assert.True(answer.IsOk);
            version = answer.Current;
        }
        cluster.Start(behind);
        var other = (leader + 2) % 3;
        await cluster.StopAsync(other);            // now the one that was behind makes the majority
        Assert.Equal(19, (await cluster.Nodes[behind]!.Log.ReadKeyAsync("big", None))!.Value[0]);
    }
}
