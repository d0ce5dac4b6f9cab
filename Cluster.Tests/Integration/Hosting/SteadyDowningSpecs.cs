using System.Diagnostics;
using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.SBR;
using Akka.Configuration;
using Akka.Remote;
using Cluster.Node.Hosting.Membership;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>Three members with the split-brain resolver of Akka.Cluster.SBR, which begins anew while one of them is silent; see <see cref="SteadyResolver"/>.</summary>
public sealed class SteadyDowningSpecs : IAsyncLifetime
{
    private const string Settings = """
        akka {
          loglevel = OFF, stdout-loglevel = OFF, actor.provider = cluster
          remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
          cluster {
            gossip-interval = 100ms, leader-actions-interval = 100ms, unreachable-nodes-reaper-interval = 100ms
            failure-detector { heartbeat-interval = 200ms, acceptable-heartbeat-pause = 2s }
            downing-provider-class = "Cluster.Tests.Integration.Hosting.SteadyDowningSpecs+Provider, Cluster.Tests"
            split-brain-resolver { active-strategy = keep-majority, stable-after = 3s, down-all-when-unstable = off }
          }
        }
        """;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly SetClock Clock = new();
    private static int _resolvers;

    private readonly ActorSystem[] _systems = [.. Enumerable.Range(0, 3).Select(_ => ActorSystem.Create("steady", ConfigurationFactory.ParseString(Settings)))];

    [Fact(DisplayName = "A resolver that begins while a member is silent already knows that from the cluster, and takes it out")]
    public async Task Silent_already()
    {
        var clusters = _systems.Select(Akka.Cluster.Cluster.Get).ToArray();
        foreach (var cluster in clusters) await cluster.JoinAsync(clusters[0].SelfAddress).WaitAsync(Patience);
        await UntilAsync(() => clusters.All(cluster => cluster.State.Members.Count(member => member.Status == MemberStatus.Up) == 3), "they are not all up");
        // It answers nobody any more, and never says that it leaves.
        var silent = clusters[2].SelfAddress;
        await ((IRemoteActorRefProvider)((ExtendedActorSystem)_systems[2]).Provider).Transport.Shutdown().WaitAsync(Patience);
        var others = clusters[..2];
        await UntilAsync(() => others.All(cluster => cluster.State.Unreachable.Any(member => member.Address == silent)), "it is not missed");
        var before = Volatile.Read(ref _resolvers);
        Clock.Offset = TimeSpan.FromDays(-1);
        await UntilAsync(() => Volatile.Read(ref _resolvers) >= before + others.Length, "no resolver began anew");
        Assert.All(others, cluster => Assert.Contains(cluster.State.Members, member => member.Address == silent));
        await UntilAsync(() => others.All(cluster => cluster.State.Members.All(member => member.Address != silent)), "it was not taken out");
    }

    private static async Task UntilAsync(Func<bool> done, string otherwise)
    {
        for (var began = Stopwatch.GetTimestamp(); !done(); await Task.Delay(20)) Assert.True(Stopwatch.GetElapsedTime(began) < Patience, otherwise);
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        foreach (var system in _systems) await system.Terminate();
    }

    /// <summary>As <see cref="SteadyDowningProvider"/>, with a clock that is set here.</summary>
    public sealed class Provider(ActorSystem system, Akka.Cluster.Cluster cluster) : IDowningProvider
    {
        private readonly SplitBrainResolverProvider _resolver = new(system, cluster);

        public TimeSpan DownRemovalMargin => _resolver.DownRemovalMargin;

        public Props DowningActorProps => Props.Create(() => new SteadyResolver(_resolver.DowningActorProps, Clock, () => Interlocked.Increment(ref _resolvers)));
    }

    private sealed class SetClock : TimeProvider
    {
        private long _offset;

        public TimeSpan Offset { set => Volatile.Write(ref _offset, value.Ticks); }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + TimeSpan.FromTicks(Volatile.Read(ref _offset));
    }
}
