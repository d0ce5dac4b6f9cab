using System.Collections.Concurrent;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Net;

namespace Cluster.Tests.Integration.Journal;

public sealed class AkkaFormationSpecs
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact(DisplayName = "Only the journal's leader forms the Akka cluster; the others join whoever is up; a restart of all forms one new cluster")]
    public async Task One_former()
    {
        var up = new bool[3];
        await using var cluster = new JournalCluster(3) { Akka = i => () => Self(i, up[i]) };
        await cluster.StartAllAsync();
        var leader = await cluster.LeaderAsync();
        var follower = (leader + 1) % 3;
        Assert.IsType<AkkaJoinDecision.Wait>(await DecideAsync(cluster, follower));
        Assert.Equal(new AkkaJoinDecision.FormNew(1), await DecideAsync(cluster, leader));
        Assert.Equal(new AkkaJoinDecision.FormNew(1), await DecideAsync(cluster, leader));             // asked again before it is up
        up[leader] = true;
        var join = Assert.IsType<AkkaJoinDecision.Join>(await DecideAsync(cluster, follower));
        Assert.Equal([Self(leader, true).Address], join.Addresses);

        up[leader] = false;                                    // all stopped at once: the record names a process that is gone
        await cluster.StopAsync(leader);
        var next = await cluster.LeaderAsync();
        Assert.Equal(new AkkaJoinDecision.FormNew(2), await DecideAsync(cluster, next));
        Assert.IsType<AkkaJoinDecision.Wait>(await DecideAsync(cluster, 3 - leader - next));
    }

    [Fact(DisplayName = "A member that is up and does not answer the first time is joined: no second Akka cluster is formed beside it")]
    public async Task Lost_answers()
    {
        var up = new bool[3];
        await using var cluster = new JournalCluster(3) { Akka = i => () => Self(i, up[i]) };
        await cluster.StartAllAsync();
        var leader = await cluster.LeaderAsync();
        var other = (leader + 1) % 3;
        up[other] = true;
        var asked = new ConcurrentDictionary<JournalAddress, int>();
        Task<HelloAnswer?> AskAsync(JournalAddress address, CancellationToken ct) =>
            asked.AddOrUpdate(address, 1, (_, times) => times + 1) == 1 ? Task.FromResult<HelloAnswer?>(null) : cluster.Nodes[leader]!.AskAsync(address, ct);
        var decision = await new AkkaFormation(cluster.Nodes[leader]!, AskAsync).DecideAsync(Self(leader, false), None);
        Assert.Equal([Self(other, true).Address], Assert.IsType<AkkaJoinDecision.Join>(decision).Addresses);
    }

    [Fact(DisplayName = "Nodes register where they are and find each other; a changed record replaces the old one")]
    public async Task Directory_of_nodes()
    {
        await using var cluster = new JournalCluster(2, expect: 1);
        await cluster.StartAllAsync();
        for (var i = 0; i < 2; i++) Assert.Equal("", await RegisterAsync(cluster.Nodes[i]!, Record(cluster, i, apiPort: 1)));
        var changed = Record(cluster, 1, apiPort: 2);
        Assert.Equal("", await RegisterAsync(cluster.Nodes[1]!, changed));
        var directory = new NodeDirectory(cluster.Nodes[0]!.Log);
        Assert.Equal([Record(cluster, 0, apiPort: 1), changed], await directory.ListAsync(None));
        Assert.Equal(changed, await directory.FindAsync("node-1", None));
        Assert.Null(await directory.FindAsync("node-9", None));
    }

    [Fact(DisplayName = "The name of a node that is up is refused to another; once it is down, the other one has it")]
    public async Task Name_of_a_live_node()
    {
        await using var cluster = new JournalCluster(2, expect: 1);
        await cluster.StartAllAsync();
        var (live, thief) = (Record(cluster, 1, apiPort: 1), Record(cluster, 0, apiPort: 1) with { Name = "node-1" });
        Assert.Equal("", await RegisterAsync(cluster.Nodes[1]!, live));
        Assert.Equal($"The name 'node-1' belongs to the node at {live.Host}:{live.JournalPort} ({live.NodeId}), which is up; give this one ({thief.NodeId}) another --name.",
            await RegisterAsync(cluster.Nodes[0]!, thief));
        var directory = new NodeDirectory(cluster.Nodes[0]!.Log);
        Assert.Equal(live, await directory.FindAsync("node-1", None));
        await cluster.StopAsync(1);
        Assert.Equal("", await RegisterAsync(cluster.Nodes[0]!, thief));
        Assert.Equal(thief, await directory.FindAsync("node-1", None));
    }

    private static Task<string> RegisterAsync(JournalNode node, NodeRecord record) =>
        new NodeDirectory(node.Log).RegisterNodeAsync(record, node.IsUpAsync, node.IsTwinAtAsync, node.NameInGroup, None);

    private static AkkaSelf Self(int i, bool up) => new($"akka.tcp://myrmidon@127.0.0.1:{6000 + i}", 70 + i, up);

    private static NodeRecord Record(JournalCluster cluster, int i, int apiPort)
    {
        var node = cluster.Nodes[i]!;
        return new NodeRecord($"node-{i}", node.NodeId, node.Address.Host, apiPort, 2, node.Address.Port, 4) { Zone = "z" };
    }

    private static Task<AkkaJoinDecision> DecideAsync(JournalCluster cluster, int i) =>
        new AkkaFormation(cluster.Nodes[i]!).DecideAsync(Self(i, false), None);
}
