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
