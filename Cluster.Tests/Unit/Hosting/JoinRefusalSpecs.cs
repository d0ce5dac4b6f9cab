using System.Diagnostics;
using Akka.Actor;
using Akka.Remote;
using Akka.TestKit.Xunit2;
using Cluster.Node.Hosting.Membership;
using Cluster.Node.Journal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>A node that its cluster has taken out before it knew that it was in; see <see cref="ClusterMember.JoinAsync"/>.</summary>
public sealed class JoinRefusalSpecs() : TestKit(Settings)
{
    private const string Settings = """
        akka { actor.provider = cluster, loglevel = OFF, stdout-loglevel = OFF, remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 } }
        """;

    private static readonly Address Member = Address.Parse("akka.tcp://myrmidon@127.0.0.1:1");
    private static readonly Address Stranger = Address.Parse("akka.tcp://myrmidon@127.0.0.1:2");

    [Fact(DisplayName = "A node that a member which it wants to join refuses for good gives up, so that a new process joins; what others say counts for nothing")]
    public async Task Refused_by_a_member()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var end = new CancellationTokenSource();
        var times = 0;
        var joining = new ClusterMember(Sys, NullLogger<ClusterMember>.Instance).JoinAsync((_, _) =>
        {
            // The second time: the first attempt is under way, and what was heard before it is forgotten by nobody.
            if (++times == 2) asked.TrySetResult();
            return Task.FromResult<AkkaJoinDecision>(times == 1 ? new AkkaJoinDecision.Wait("") : new AkkaJoinDecision.Join([Member.ToString()]));
        }, end.Token);
        await asked.Task.WaitAsync(TestKitSettings.DefaultTimeout * 10);
        var own = Akka.Cluster.Cluster.Get(Sys).SelfAddress;
        Sys.EventStream.Publish(new ThisActorSystemQuarantinedEvent(own, Stranger));
        for (var began = Stopwatch.GetTimestamp(); !joining.IsCompleted;)
        {
            Assert.True(Stopwatch.GetElapsedTime(began) < TestKitSettings.DefaultTimeout * 10, "it goes on to join");
            Sys.EventStream.Publish(new ThisActorSystemQuarantinedEvent(own, Member));
            await Task.WhenAny(joining, Task.Delay(20, end.Token));
        }
        Assert.False(await joining);
    }

    [Fact(DisplayName = "A node that nobody whom it wants to join refuses goes on")]
    public async Task Refused_by_a_stranger()
    {
        using var end = new CancellationTokenSource();
        var rounds = 0;
        var joining = new ClusterMember(Sys, NullLogger<ClusterMember>.Instance).JoinAsync((self, _) =>
        {
            Sys.EventStream.Publish(new ThisActorSystemQuarantinedEvent(Address.Parse(self.Address), Stranger));
            return Task.FromResult<AkkaJoinDecision>(++rounds < 3 ? new AkkaJoinDecision.Wait("") : new AkkaJoinDecision.FormNew(1));
        }, end.Token);
        Assert.True(await joining.WaitAsync(TestKitSettings.DefaultTimeout * 10));
    }
}
