using System.Diagnostics;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;

namespace Cluster.Tests.Integration.Journal;

/// <summary>The control members change by themselves: nodes that join, nodes that are lost, directories that are lost.</summary>
public sealed class GroupSpecs
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact(DisplayName = "One node that formed alone becomes three voters, then five; the first may go then, for good")]
    public async Task Growth()
    {
        await using var cluster = new JournalCluster(5, expect: 1);
        await cluster.StartRegisteredAsync(0);
        await PutAsync(cluster, 0, "alone");
        await cluster.StartRegisteredAsync(1);
        await cluster.GroupAsync("node-0");                    // two nodes: a second voter would be one more that must live
        await cluster.StartRegisteredAsync(2);
        await cluster.GroupAsync("node-0", "node-1", "node-2");
        await cluster.StartRegisteredAsync(3);
        await cluster.StartRegisteredAsync(4);
        await cluster.GroupAsync("node-0", "node-1", "node-2", "node-3", "node-4");
        await PutAsync(cluster, 4, "five");
        await cluster.StopAsync(0);
        await cluster.StopAsync(3);
        foreach (var i in new[] { 1, 2, 4 })
        {
            await PutAsync(cluster, i, $"without the first {i}");
            Assert.NotNull(await cluster.Nodes[i]!.Log.ReadKeyAsync("alone", None));
        }
        Assert.DoesNotContain(cluster.Nodes, n => n?.Log.Status.Role == MetaLogRole.Client);
    }

    [Fact(DisplayName = "A cluster of three goes on without the one that formed it, also after a restart of the others")]
    public async Task First_node_is_lost()
    {
        await using var cluster = new JournalCluster(4, expect: 1);
        for (var i = 0; i < 4; i++) await cluster.StartRegisteredAsync(i);
        await cluster.GroupAsync("node-0", "node-1", "node-2");
        while (cluster.Nodes[3]!.Log.Status.Members.Voters < 3) await Task.Delay(10);         // no member, but it knows them
        for (var i = 0; i < 4; i++) await cluster.StopAsync(i);
        for (var i = 1; i < 4; i++) cluster.Start(i);          // the only seed, and the only member of the formation, stays away
        await PutAsync(cluster, 3, "through a node that is no member");
        Assert.NotNull(await cluster.Nodes[1]!.Log.ReadKeyAsync("through a node that is no member", None));
    }

    [Fact(DisplayName = "A member that lost its directory comes back as another one, is let in, and then a different member may die")]
    public async Task Lost_directory()
    {
        await using var cluster = new JournalCluster(3);
        await StartAllRegisteredAsync(cluster);
        var before = await cluster.GroupAsync("node-0", "node-1", "node-2");
        await PutAsync(cluster, 0, "before");
        await cluster.StopAsync(2);
        Directory.Delete(cluster.Options(2).DataDirectory, recursive: true);
        await PutAsync(cluster, 0, "while it was away");
        await cluster.StartRegisteredAsync(2);
        var after = await ChangedAsync(cluster, before.Members.All.Single(m => m.Node.Name == "node-2").Node.NodeId);
        Assert.Equal(3, after.Members.All.Single(m => m.Node.Name == "node-2").Number);       // 0, 1 and 2 were given away
        await cluster.StopAsync(await cluster.LeaderAsync() == 1 ? 1 : 0);
        await PutAsync(cluster, 2, "and one more is gone");
        foreach (var key in new[] { "before", "while it was away" }) Assert.NotNull(await cluster.Nodes[2]!.Log.ReadKeyAsync(key, None));
    }

    [Fact(DisplayName = "A member that is away for too long is replaced by a node that waits, and finds out when it comes back")]
    public async Task Silent_member()
    {
        await using var cluster = new JournalCluster(4, expect: 3) { ReplaceAfterMs = 500 };
        await StartAllRegisteredAsync(cluster);
        await cluster.GroupAsync("node-0", "node-1", "node-2");
        var lost = (await cluster.LeaderAsync() + 1) % 3;
        await cluster.StopAsync(lost);
        string[] left = [.. Enumerable.Range(0, 4).Where(i => i != lost).Select(i => $"node-{i}")];
        await cluster.GroupAsync(left);
        var back = cluster.Start(lost);
        await UntilAsync(() => back.Log.Status.Role == MetaLogRole.Client, "it still takes itself for a member");
        await PutAsync(cluster, lost, "through the one that was replaced");
        await cluster.GroupAsync(left);
    }

    [Fact(DisplayName = "A group of three whose member is removed (`node remove`) gives its vote to a fourth node long before it would be replaced, and then another may die; what was noted of the removal goes")]
    public async Task Removed_member()
    {
        await using var cluster = new JournalCluster(4, expect: 3);
        await StartAllRegisteredAsync(cluster);
        await cluster.GroupAsync("node-0", "node-1", "node-2");
        var leader = await cluster.LeaderAsync();
        var (lost, other) = ((leader + 1) % 3, (leader + 2) % 3);
        var id = cluster.Nodes[lost]!.NodeId;
        await cluster.StopAsync(lost);
        await PutAsync(cluster, leader, "while it is down");
        var directory = new NodeDirectory(cluster.Nodes[leader]!.Log);
        await directory.RemoveAsync(id, None);
        var view = await cluster.GroupAsync([.. Enumerable.Range(0, 4).Where(i => i != lost).Select(i => $"node-{i}")]);
        Assert.Null(view.Members.Find(id));
        await UntilForgottenAsync(directory);
        await cluster.StopAsync(other);
        await PutAsync(cluster, 3, "without one more");
        foreach (var key in new[] { "while it is down", "without one more" }) Assert.NotNull(await cluster.Nodes[3]!.Log.ReadKeyAsync(key, None));
        await cluster.StartRegisteredAsync(lost);
        await PutAsync(cluster, lost, "through the one that was removed");
        Assert.Empty(await directory.ListRemovedAsync(None));
    }

    [Fact(DisplayName = "Five of which two are removed for good go on as three, of which one may die; that a member was removed which is there all the same is forgotten")]
    public async Task Removed_of_five()
    {
        await using var cluster = new JournalCluster(5);
        await StartAllRegisteredAsync(cluster);
        await cluster.GroupAsync("node-0", "node-1", "node-2", "node-3", "node-4");
        var leader = await cluster.LeaderAsync();
        int[] lost = [(leader + 1) % 5, (leader + 2) % 5];
        var (other, last) = ((leader + 3) % 5, (leader + 4) % 5);
        var log = cluster.Nodes[leader]!.Log;
        var directory = new NodeDirectory(log);
        // As a removal leaves it, in the middle of which the node has come back.
        Assert.True((await log.ProposeAsync(new MetaCommand.SetKey($"removed-node/{cluster.Nodes[other]!.NodeId:N}", 0, [1]), None)).IsOk);
        await UntilForgottenAsync(directory);
        foreach (var number in lost)
        {
            var id = cluster.Nodes[number]!.NodeId;
            await cluster.StopAsync(number);
            await directory.RemoveAsync(id, None);
        }
        await cluster.GroupAsync([.. new[] { leader, other, last }.Order().Select(i => $"node-{i}")]);
        await UntilForgottenAsync(directory);
        await cluster.StopAsync(last);
        await PutAsync(cluster, other, "two of three");
    }

    private static async Task UntilForgottenAsync(NodeDirectory directory)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                if ((await directory.ListRemovedAsync(None)).Count == 0) return;
            }
            catch (MetaLogUnavailableException)
            {
                // an election may take a while on a loaded machine
            }
            Assert.True(Stopwatch.GetElapsedTime(started) < JournalCluster.Patience, "that nodes were removed is noted still");
            await Task.Delay(10);
        }
    }

    [Fact(DisplayName = "A member whose Raft log alone is gone does not start with an empty one: the journal stops and says why")]
    public async Task Lost_log()
    {
        await using var cluster = new JournalCluster(3);
        await StartAllRegisteredAsync(cluster);
        await PutAsync(cluster, 0, "a");
        await cluster.StopAsync(1);
        Directory.Delete(Path.Combine(cluster.Options(1).DataDirectory, "raft"), recursive: true);
        var node = cluster.Start(1);
        var failed = await Assert.ThrowsAsync<JournalFormatException>(() => node.Stopped.WaitAsync(JournalCluster.Patience));
        Assert.Contains("come back as a new member", failed.Message);
        await PutAsync(cluster, 2, "b");
    }

    private static async Task StartAllRegisteredAsync(JournalCluster cluster)
    {
        for (var i = 0; i < cluster.Nodes.Length; i++) cluster.Start(i);
        await Task.WhenAll(cluster.Nodes.Select(n => n!.Formed)).WaitAsync(JournalCluster.Patience);
        for (var i = 0; i < cluster.Nodes.Length; i++) await cluster.RegisterAsync(i);
    }

    private static async Task PutAsync(JournalCluster cluster, int node, string key)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                Assert.True((await cluster.Nodes[node]!.Log.ProposeAsync(new MetaCommand.SetKey(key, 0, [1]), None)).IsOk);
                return;
            }
            catch (MetaLogUnavailableException) when (Stopwatch.GetElapsedTime(started) < JournalCluster.Patience)
            {
                // an election may take a while on a loaded machine
            }
        }
    }

    /// <summary>The group of three once the member of this directory is no part of it.</summary>
    private static async Task<GroupView> ChangedAsync(JournalCluster cluster, Guid gone)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            var view = await cluster.GroupAsync("node-0", "node-1", "node-2");
            if (view.Members.Find(gone) is null) return view;
            Assert.True(Stopwatch.GetElapsedTime(started) < JournalCluster.Patience, "the member whose directory is gone was not replaced");
            await Task.Delay(20);
        }
    }

    private static async Task UntilAsync(Func<bool> condition, string otherwise)
    {
        var started = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(started) < JournalCluster.Patience, otherwise);
            await Task.Delay(10);
        }
    }
}
