using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.Sharding;
using Akka.Cluster.Tools.Singleton;
using Akka.Configuration;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Membership;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Journal;
using Cluster.Node.Journal.State;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Bench;

/// <summary>
/// What a cluster of many nodes costs its control plane: as many actor systems of hocon/akka.conf in this process, joined over loopback sockets, with the placement singleton,
/// its proxies, every node's reports, and sharding with one shard a volume. Unlike real nodes they have no store, mesh, I/O loop or REST, the journal is one state machine in memory
/// (no Raft, no fsync), an owner answers at once, all share one heap, one thread pool and two processors, and one that "dies" is found by heartbeats alone: real ones are found over
/// the mesh at once (docs/operations.md). What is measured is therefore an upper bound for gossip, heartbeats and memory, and a lower bound for a create. On a machine that is busy with
/// something else heartbeats come late, and members take each other out: then it fails.
/// </summary>
internal static class ClusterOfMany
{
    private const int NodesDefault = 50;
    private const int VolumesDefault = 300;
    private const int JoinsAtOnce = 5;
    private const int FirstVolumes = 20;
    private static readonly TimeSpan PatienceMax = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>A system that ends says nothing to the others, as a process that is killed; nor does anybody log what it meets then.</summary>
    private static readonly Config Abrupt = ConfigurationFactory.ParseString("akka { loglevel = OFF, stdout-loglevel = OFF, coordinated-shutdown.run-by-actor-system-terminate = off }");

    private sealed record Member(ActorSystem System, Akka.Cluster.Cluster Cluster, IActorRef Placement, Task Known);

    public static async Task<int> RunAsync(string[] arguments)
    {
        var count = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : NodesDefault;
        var volumes = arguments.Length > 1 ? int.Parse(arguments[1], CultureInfo.InvariantCulture) : VolumesDefault;
        Console.WriteLine($"{count} nodes, {volumes} volumes, {Environment.ProcessorCount} processors, load {File.ReadAllText("/proc/loadavg").Trim()}");
        await using var log = new MemoryLog();
        var (before, clock) = (ResidentMiB(), Stopwatch.StartNew());
        var members = new List<Member> { Start(0, log) };
        await members[0].Cluster.JoinAsync(members[0].Cluster.SelfAddress);
        while (members.Count < count)
        {
            var more = Enumerable.Range(members.Count, Math.Min(JoinsAtOnce, count - members.Count)).Select(number => Start(number, log)).ToArray();
            await Task.WhenAll(more.Select(member => member.Cluster.JoinAsync(members[0].Cluster.SelfAddress)));
            members.AddRange(more);
        }
        await UntilAsync("all see all", () => members.All(member => member.Cluster.State.Members.Count(one => one.Status == MemberStatus.Up) == count));
        await Task.WhenAll(members.Select(member => member.Known)).WaitAsync(PatienceMax);
        Console.WriteLine($"- formed and registered with placement: {clock.Elapsed.TotalSeconds:F1} s");
        Console.WriteLine($"- memory: {(ResidentMiB() - before) / count:F1} MiB a node ({ResidentMiB():F0} MiB in all)");
        var (crossed, resting) = (LoopbackBytes(), Stopwatch.StartNew());
        var atRest = await CpuAsync();
        var crossedBytesPerSecond = (LoopbackBytes() - crossed) / resting.Elapsed.TotalSeconds;
        Console.WriteLine($"- CPU at rest: {atRest:F1} % of a core in all, {atRest / count:F2} % a node");
        Console.WriteLine($"- over the network at rest (gossip, heartbeats, reports): {crossedBytesPerSecond / count / 1000:F1} kB/s that a node sends");
        var created = new List<double>();
        for (var number = 0; number < volumes; number++) created.Add(await CreateAsync(members[1 % count].Placement, number));
        Tell($"create, the first {FirstVolumes}", created.Take(FirstVolumes));
        Tell("create, the others", created.Skip(FirstVolumes));
        Console.WriteLine($"- CPU at rest with {volumes} volumes: {await CpuAsync():F1} % of a core in all");
        clock.Restart();
        var lost = members[count / 2];
        await lost.System.Terminate();
        var address = lost.Cluster.SelfAddress;
        var left = members.Where(member => member != lost).ToArray();
        await UntilAsync("one sees it unreachable", () => left.Any(member => member.Cluster.State.Unreachable.Any(one => one.Address == address) || !Has(member, address)));
        Console.WriteLine($"- one that is gone: seen unreachable after {clock.Elapsed.TotalSeconds:F1} s");
        await UntilAsync("all have taken it out", () => left.All(member => !Has(member, address)));
        Console.WriteLine($"- taken out at all others after {clock.Elapsed.TotalSeconds:F1} s");
        await Task.WhenAll(left.Select(member => member.System.Terminate()));
        Sizes();
        return 0;
    }

    /// <summary>Bytes of what crosses between nodes or goes into the journal as a whole.</summary>
    private static void Sizes()
    {
        var serializer = new ControlSerializer(null!);
        foreach (var volumes in (int[])[10, 1_000, 5_000, 8_000])
        {
            var (state, _) = PlacementBenchmarks.Catalogue(volumes);
            var board = new NodeBoard(TimeProvider.System);
            var list = PlacementMachine.List(state, new PlacementProtocol.ListVolumes(""));
            var nodes = new PlacementProtocol.NodeList([.. state.Nodes.Values.Select(node => board.Entry(state, node))]);
            var report = new PlacementProtocol.ReportNode(state.Nodes.Keys.First(), new NodeReport(1, 1, 1, 1, Guid.NewGuid(), "0.1.0"));
            string listed;
            try
            {
                listed = $"{serializer.ToBinary(list).Length}";
            }
            catch (System.Runtime.Serialization.SerializationException e)
            {
                listed = e.Message;
            }
            Console.WriteLine($"- {volumes} volumes: image {EventCodec.Encode(state.Image).Length} B (of the catalogue's bound {state.VolumesBytes * 100 / PlacementState.VolumesBytesMax} %), "
                + $"list of volumes {listed} B, list of {state.Nodes.Count} nodes {serializer.ToBinary(nodes).Length} B, one report {serializer.ToBinary(report).Length} B");
        }
    }

    private static Member Start(int number, IMetaLog log)
    {
        var options = new NodeOptions { Name = $"node-{number}", DataDirectory = "/nowhere", Host = "127.0.0.1", AdvertisedHost = "127.0.0.1", RemotePort = FreePort() };
        var system = ActorSystem.Create(AkkaSettings.SystemName, AkkaSettings.Setup(options, Abrupt, log, NullLoggerFactory.Instance));
        var cluster = Akka.Cluster.Cluster.Get(system);
        var id = new NodeId(Guid.NewGuid());
        var region = ClusterSharding.Get(system).Start(VolumeSharding.TypeName, Props.Create(() => new Owner(id, options.Name)), ClusterShardingSettings.Create(system), new ByVolume());
        var setup = new PlacementSetup(region, TimeSpan.FromMinutes(10), 4, () => Task.CompletedTask, TimeProvider.System);
        system.ActorOf(ClusterSingletonManager.Props(Props.Create(() => new PlacementActor(setup)), PoisonPill.Instance, ClusterSingletonManagerSettings.Create(system)), "placement");
        var placement = system.ActorOf(ClusterSingletonProxy.Props("/user/placement", ClusterSingletonProxySettings.Create(system)), "placement-proxy");
        var description = new NodeDescription(id, options.Name, $"zone-{number % 3}", "", "", "", cluster.SelfAddress.ToString(), Guid.NewGuid());
        var known = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Func<NodeReport> report = () => new NodeReport(1L << 40, 0, 1L << 40, 1, Guid.Empty, "0.1.0");
        Action<ulong> onProvisioned = _ => { };
        Func<ImmutableArray<AwayVolume>> away = () => [];
        system.ActorOf(Props.Create(() => new NodeActor(placement, description, report, known, onProvisioned, away)), "node");
        return new Member(system, cluster, placement, known.Task);
    }

    private static bool Has(Member member, Address address) => member.Cluster.State.Members.Any(one => one.Address == address);

    private static async Task<double> CreateAsync(IActorRef placement, int number)
    {
        var clock = Stopwatch.StartNew();
        var command = new PlacementProtocol.CreateVolume("default", $"v{number}", 1UL << 30, ImmutableSortedDictionary<string, string>.Empty, null, []);
        var answer = await placement.Ask<object>(command, TimeSpan.FromSeconds(30));
        return answer is PlacementProtocol.Found ? clock.Elapsed.TotalMilliseconds : throw new InvalidOperationException($"a create was answered: {answer}");
    }

    private static void Tell(string what, IEnumerable<double> times)
    {
        var ordered = times.Order().ToArray();
        if (ordered.Length > 0) Console.WriteLine($"- {what}: median {ordered[ordered.Length / 2]:F1}, p99 {ordered[(int)(ordered.Length * 0.99)]:F1}, max {ordered[^1]:F1} ms");
    }

    private static async Task UntilAsync(string what, Func<bool> condition)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            if (clock.Elapsed > PatienceMax) throw new TimeoutException($"waited in vain until {what}");
            await Task.Delay(Pause);
        }
    }

    private static async Task<double> CpuAsync()
    {
        var (process, clock) = (Process.GetCurrentProcess(), Stopwatch.StartNew());
        var before = process.TotalProcessorTime;
        await Task.Delay(Idle);
        process.Refresh();
        return (process.TotalProcessorTime - before) / clock.Elapsed * 100;
    }

    /// <summary>All that this network namespace's loopback carried, with TCP's headers: give the run one of its own.</summary>
    private static long LoopbackBytes()
    {
        var line = File.ReadLines("/proc/self/net/dev").First(line => line.TrimStart().StartsWith("lo:", StringComparison.Ordinal));
        return long.Parse(line.Split(':')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture);
    }

    private static double ResidentMiB()
    {
        GC.Collect();
        return Process.GetCurrentProcess().WorkingSet64 / (double)(1 << 20);
    }

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    /// <summary>Owns at once what it is told to.</summary>
    private sealed class Owner : ReceiveActor
    {
        public Owner(NodeId node, string name)
        {
            Receive<VolumeProtocol.Create>(create => Sender.Tell(new VolumeProtocol.Done(create.Volume)));
            Receive<VolumeProtocol.Locate>(locate => Sender.Tell(new VolumeProtocol.Located(locate.Volume, node, name, 1)));
        }
    }

    private sealed class ByVolume : IMessageExtractor
    {
        public string? EntityId(object message) => (message as IVolumeCommand)?.Volume.ToString();

        public object? EntityMessage(object message) => message;

        public string? ShardId(object message) => EntityId(message);

        public string ShardId(string entityId, object? messageHint = null) => entityId;
    }

    private sealed class MemoryLog : IMetaLog
    {
        private readonly MetaState _state = new();

        public MetaLogStatus Status => throw new NotSupportedException();

        public event Action<MetaLogStatus>? LeaderChanged
        {
            add { }
            remove { }
        }

        public Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct) => Task.FromResult(_state.Apply(command));

        public Task ReadBarrierAsync(CancellationToken ct) => Task.CompletedTask;

        public async IAsyncEnumerable<MetaEvent> ReadEventsAsync(string persistenceId, long from, long to, long max, [EnumeratorCancellation] CancellationToken ct)
        {
            await Task.CompletedTask;
            foreach (var e in _state.Events(persistenceId, from, to, max, long.MaxValue)) yield return e;
        }

        public Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct) => Task.FromResult(_state.HighestSequenceNr(persistenceId));

        public Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct) => Task.FromResult(_state.Snapshot(persistenceId, range));

        public Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct) => Task.FromResult(_state.Key(key));

        public Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct) => Task.FromResult(_state.Keys(prefix));

        public Task<GroupView> ReadMembersAsync(CancellationToken ct) => throw new NotSupportedException();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
