using System.Collections.Immutable;
using Akka.Actor;
using Akka.Configuration;
using Cluster.Messages.Model;
using Cluster.Node.Placement;

namespace Cluster.Tests.Integration.Placement;

/// <summary>
/// The shard allocation strategy against a model of one volume on three nodes with copies in sync: a shard that is sent away is handed off and
/// allocated again, a node that gets it serves the volume unless another says that it does (<see cref="Cluster.Node.Owner.VolumeHome"/>).
/// A handoff reaches the owner through its home only, and a shard that follows an early claim has none until something is sent through it.
/// Whatever the start, the shard must come to rest where the volume is served, and a move must end.
/// </summary>
public sealed class VolumeAllocationSpecs(VolumeAllocationSpecs.SystemFixture fixture) : IClassFixture<VolumeAllocationSpecs.SystemFixture>
{
    private const int RoundsMax = 6;
    private static readonly string[] Nodes = ["a", "b", "c"];
    private static readonly VolumeId Volume = new(7);

    public sealed class SystemFixture : IAsyncLifetime
    {
        public ActorSystem System { get; } = ActorSystem.Create("allocation", ConfigurationFactory.ParseString(
            """
            akka { actor.provider = cluster, loglevel = OFF, stdout-loglevel = OFF, remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 } }
            """));

        public Task InitializeAsync() => Task.CompletedTask;

        public Task DisposeAsync() => System.Terminate();
    }

    public static TheoryData<string?, string?, string?, string, bool, bool> Starts()
    {
        var starts = new TheoryData<string?, string?, string?, string, bool, bool>();
        string?[] maybe = [null, .. Nodes];
        var all = from shard in maybe
                  from serves in maybe
                  from move in maybe
                  from attached in (string[])["", "a"]
                  from stale in (bool[])[false, true]
                  from homed in (bool[])[false, true]
                  select (shard, serves, move, attached, stale, homed);
        foreach (var (shard, serves, move, attached, stale, homed) in all) starts.Add(shard, serves, move, attached, stale, homed);
        return starts;
    }

    [Theory(DisplayName = "From every start the shard and who serves the volume end up on one node, and a move on the node that it names")]
    [MemberData(nameof(Starts))]
    public async Task Comes_to_rest(string? shard, string? serves, string? move, string attached, bool stale, bool homed)
    {
        var world = new World(fixture.System, shard, serves, move, attached, stale) { Homed = homed };
        for (var round = 0; round < RoundsMax; round++) await world.RoundAsync();

        Assert.Equal(world.Shard, world.Serves);
        if (move is not null) Assert.Equal((move, null), (world.Serves, world.Move));
        var (rest, handOffs) = (world.Shard, world.HandOffs);
        await world.RoundAsync();
        Assert.Equal((rest, handOffs), (world.Shard, world.HandOffs));
    }

    [Fact(DisplayName = "A move of a volume that is where its shard is takes one handoff, also when the coordinator has not heard yet that the owner ended")]
    public async Task One_handoff()
    {
        foreach (var stale in (bool[])[false, true])
        {
            var world = new World(fixture.System, "a", "a", "b", "", stale);
            await world.RoundAsync();
            Assert.Equal(("b", "b", 1), (world.Shard, world.Serves, world.HandOffs));
        }
    }

    [Fact(DisplayName = "An owner without a home hears of no handoff: its shard would go to and fro for ever, were the home not asked for")]
    public async Task No_home()
    {
        foreach (var asks in (bool[])[false, true])
        {
            var world = new World(fixture.System, "a", "c", "b", "", stale: false) { KeeperAsks = asks };
            for (var round = 0; round < RoundsMax; round++) await world.RoundAsync();
            Assert.Equal(asks ? "b" : "c", world.Serves);
        }
    }

    [Fact(DisplayName = "Nothing is asked of a node that is down: a handoff that never comes would keep the shard from its next home")]
    public async Task No_handoff_of_the_dead()
    {
        var world = new World(fixture.System, "a", "b", null, "", stale: false) { Down = "a" };
        await world.RoundAsync();
        Assert.Equal(("a", 0), (world.Shard, world.HandOffs));
        world.Down = null;
        await world.RoundAsync();
        Assert.Equal(("b", 1), (world.Shard, world.HandOffs));
    }

    [Fact(DisplayName = "A move to a node that has no copy any more is forgotten: it would stand in the way of every later one")]
    public async Task Move_to_nowhere()
    {
        var world = new World(fixture.System, "a", "a", "gone", "", stale: false);
        await world.RoundAsync();
        Assert.Equal(("a", "a", null), (world.Shard, world.Serves, world.Move));
    }

    /// <param name="stale">What the coordinator hears of an owner that hands off comes after the shard was allocated anew.</param>
    private sealed class World(ActorSystem system, string? shard, string? serves, string? move, string attached, bool stale) : IVolumePlacementView
    {
        private readonly Dictionary<string, IActorRef> _regions = Nodes.ToDictionary(node => node, node => Region(system, node));
        private VolumeAllocationStrategy? _strategy;
        private OwnerSight _sight = new(serves ?? "", 5, serves is not null);
        private string _claimer = serves ?? "b";
        private ulong _epoch = 5;

        public string? Shard { get; private set; } = shard;

        public string? Serves { get; private set; } = serves;

        public string? Move { get; private set; } = move;

        /// <summary>The shard has the volume's home, through which a handoff reaches the owner.</summary>
        public bool Homed { get; set; } = true;

        /// <summary>See <see cref="Cluster.Node.Owner.VolumeKeeper"/>: it has the home made of a volume that runs without one, sooner than the coordinator looks again.</summary>
        public bool KeeperAsks { get; init; } = true;

        public int HandOffs { get; private set; }

        /// <summary>A member that is down, but whose region the coordinator still counts, or null.</summary>
        public string? Down { get; set; }

        private VolumeAllocationStrategy Strategy =>
            _strategy ??= new VolumeAllocationStrategy(system, this, NodeAt, address => NodeAt(address) != Down, _ => _sight);

        public async Task RoundAsync()
        {
            if (Shard is null) await AllocateAsync();
            ServeAtHome();
            if (KeeperAsks && Serves == Shard) Homed = true;
            var away = await Strategy.Rebalance(Allocations(), ImmutableHashSet<string>.Empty);
            if (!away.Contains(Volume.ToString())) return;
            HandOffs++;
            if (Serves == Shard && Homed)
            {
                Serves = null;
                if (!stale) _sight = _sight with { Serves = false };
            }
            Shard = null;
            await AllocateAsync();
        }

        public Task<VolumeWhereabouts> LookAsync(VolumeId volume) => Task.FromResult(Last(volume));

        public Task LookAsync(VolumeId volume, long? now) => Task.CompletedTask;

        public Task<long?> NowAsync() => Task.FromResult<long?>(null);

        public Task<ImmutableDictionary<VolumeId, string>> MovesAsync(long? now) => MovesAsync();

        public VolumeWhereabouts Last(VolumeId volume) => new([.. Nodes], [.. Nodes], attached, _claimer, _epoch);

        public Task<ImmutableDictionary<VolumeId, string>> MovesAsync() => Task.FromResult(Move is null
            ? ImmutableDictionary<VolumeId, string>.Empty : ImmutableDictionary<VolumeId, string>.Empty.Add(Volume, Move));

        public Task ForgetMoveAsync(VolumeId volume, string node)
        {
            if (Move == node) Move = null;
            return Task.CompletedTask;
        }

        private async Task AllocateAsync()
        {
            var region = await Strategy.AllocateShard(_regions["c"], Volume.ToString(), Allocations());
            Shard = _regions.Single(known => known.Value.Equals(region)).Key;
            Homed = false;
            ServeAtHome();
        }

        private void ServeAtHome()
        {
            if (Serves is not null) return;
            (Serves, _claimer, _epoch) = (Shard, Shard!, _epoch + 1);
            _sight = new OwnerSight(Shard!, _epoch, Serves: true);
            Homed = true;
        }

        private ImmutableDictionary<IActorRef, IImmutableList<string>> Allocations() => _regions.ToImmutableDictionary(
            region => region.Value,
            region => (IImmutableList<string>)(region.Key == Shard ? ImmutableList.Create(Volume.ToString()) : ImmutableList<string>.Empty));

        private static string? NodeAt(Address address) => Nodes.FirstOrDefault(node => Host(node) == address.Host);

        private static string Host(string node) => $"192.0.2.{Array.IndexOf(Nodes, node) + 1}";

        private static IActorRef Region(ActorSystem system, string node) =>
            ((ExtendedActorSystem)system).Provider.ResolveActorRef($"akka.tcp://allocation@{Host(node)}:4000/system/sharding/volume");
    }
}
