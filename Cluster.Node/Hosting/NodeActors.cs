using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;
using Akka.Cluster.Sharding;
using Akka.Cluster.Tools.Singleton;
using Akka.Pattern;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.Membership;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

/// <summary>The actors of a node that is a member of its cluster.</summary>
/// <param name="Placement">Proxy of the singleton.</param>
/// <param name="Volumes">The way to the volumes' owners.</param>
public sealed record NodeActors(IActorRef Placement, IActorRef Volumes, VolumeMoves Moves)
{
    private static readonly TimeSpan PlacementPauseMin = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan PlacementPauseMax = TimeSpan.FromSeconds(3);
    private const double PlacementPauseJitter = 0.2;

    /// <summary>Of the catalogue's supervisor and the shard coordinator's, where their managers put them.</summary>
    private static readonly string[] SingletonPaths = ["/user/placement/singleton", $"/system/sharding/{VolumeSharding.TypeName}Coordinator/singleton"];

    public static NodeActors Start(
        ActorSystem system, NodeOptions options, VolumeRuntime runtime, PeerDirectory directory, IMetaLog log, Action onTakenOut,
        ILoggerFactory loggers)
    {
        var moves = new VolumeMoves(log);
        runtime.MoveOwner = moves.AskTo(loggers.CreateLogger<VolumeMoves>());
        var view = new JournalPlacementView(log, moves, loggers.CreateLogger<JournalPlacementView>());
        var cluster = Akka.Cluster.Cluster.Get(system);
        var strategy = new VolumeAllocationStrategy(
            system, view, directory.NameOf, address => IsUp(cluster, address), volume => SightOf(volume, runtime, directory));
        var keeper = StartKeeper(system, runtime, view);
        var region = VolumeSharding.Start(system, id => HomeOf(id, keeper, runtime), strategy);
        Func<VolumeId, ICanTell?> servedAt = volume => KeeperOf(volume, system, runtime, directory, keeper);
        var router = system.ActorOf(Props.Create(() => new VolumeRouter(region, servedAt)), "owners");
        var placement = StartPlacement(system, options, region, router, log, moves, runtime);
        system.ActorOf(Props.Create(() => new MembershipWatch(directory, runtime.OnTakenOut, onTakenOut)), "membership");
        Func<bool> isHost = () => cluster.SelfAddress.Equals(ClusterMember.OldestOf(cluster));
        Action leave = () => cluster.Down(cluster.SelfAddress);
        system.ActorOf(Props.Create(() => new SingletonWatch(isHost, SingletonPaths, leave, SingletonWatch.Every)), "singletons");
        system.ActorOf(Props.Create(() => new ReplicaReaper(runtime, placement)), "reaper");
        return new NodeActors(placement, router, moves);
    }

    /// <summary>Completes when placement knows the node and may use it.</summary>
    /// <param name="report">What the node has now; quick, any thread.</param>
    /// <param name="onProvisioned">Hears the sizes of the volumes with a copy on the node; any thread.</param>
    /// <param name="away">See <see cref="VolumeRuntime.AwayVolumes"/>.</param>
    public Task RegisterAsync(ActorSystem system, NodeDescription description, Func<NodeReport> report, Action<ulong> onProvisioned,
        Func<ImmutableArray<AwayVolume>> away)
    {
        var placement = Placement;
        var known = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        system.ActorOf(Props.Create(() => new NodeActor(placement, description, report, known, onProvisioned, away)), "node");
        return known.Task;
    }

    /// <summary>
    /// The singleton's manager and proxy. A placement that lost a compare and set, or whose journal failed, stops; its supervisor starts
    /// it anew here while this node is the singleton's host.
    /// </summary>
    private static IActorRef StartPlacement(
        ActorSystem system, NodeOptions options, IActorRef region, IActorRef owners, IMetaLog log, VolumeMoves moves, VolumeRuntime runtime)
    {
        var setup = new PlacementSetup(
            region, options.ReplaceAfter, options.ReplacementsMax, () => log.ReadBarrierAsync(CancellationToken.None), TimeProvider.System)
        { Owners = owners, LocalitySettle = options.LocalitySettle, Moves = moves, OnFollowed = runtime.Failovers.CountFollowed, OnCounted = runtime.OwnedVolumes.CountPlaced };
        var supervised = BackoffSupervisor.Props(Backoff.OnStop(
            Props.Create(() => new PlacementActor(setup)), "catalogue", PlacementPauseMin, PlacementPauseMax, PlacementPauseJitter,
            maxNrOfRetries: -1));
        system.ActorOf(
            ClusterSingletonManager.Props(supervised, PoisonPill.Instance, ClusterSingletonManagerSettings.Create(system)), "placement");
        return system.ActorOf(
            ClusterSingletonProxy.Props("/user/placement", ClusterSingletonProxySettings.Create(system)), "placement-proxy");
    }

    /// <summary>The parent of this node's volume actors, for sharding and for early claims alike.</summary>
    private static IActorRef StartKeeper(ActorSystem system, VolumeRuntime runtime, JournalPlacementView view)
    {
        Props OwnerOf(VolumeId volume, ulong? onlyAt) => VolumeActor.Props(volume, runtime, runtime.Identity.Id, runtime.Identity.Name, onlyAt);
        Func<VolumeId, ulong?, Props> propsOf = OwnerOf;
        // The region is there before any volume runs.
        Action<VolumeId> askHome = volume =>
            ClusterSharding.Get(system).ShardRegion(VolumeSharding.TypeName).Tell(new VolumeProtocol.Locate(volume), ActorRefs.NoSender);
        var keeper = system.ActorOf(Props.Create(() => new VolumeKeeper(propsOf, askHome, null)), "volumes");
        runtime.OpenClaims(new ClaimPorts(
            view.FactsAsync,
            (volume, epoch) => keeper.Tell(new KeeperCommand.Claim(volume, epoch), ActorRefs.NoSender),
            () => keeper.Tell(KeeperCloses.Instance, ActorRefs.NoSender)));
        return keeper;
    }

    private static Props HomeOf(string entityId, IActorRef keeper, VolumeRuntime runtime)
    {
        Invariant.That(VolumeId.TryParse(entityId, out var volume), "a shard was started that is no volume");
        return Props.Create(() => new VolumeHome(volume, keeper, runtime.ServedElsewhere));
    }

    private static bool IsUp(Akka.Cluster.Cluster cluster, Address address)
    {
        var state = cluster.State;
        return state.Members.Any(member => member.Address == address && member.Status is (MemberStatus.Up or MemberStatus.WeaklyUp))
            && state.Unreachable.All(member => member.Address != address);
    }

    private static OwnerSight? SightOf(VolumeId volume, VolumeRuntime runtime, PeerDirectory directory) =>
        runtime.Owners.LastOf(volume) is { } last ? new OwnerSight(directory.NameOf(last.Node) ?? "", last.Epoch, last.Serves) : null;

    private static ICanTell? KeeperOf(VolumeId volume, ActorSystem system, VolumeRuntime runtime, PeerDirectory directory, IActorRef own)
    {
        if (runtime.Owners.Of(volume) is not { } owner) return null;
        if (owner.Node == runtime.Identity.Id) return own;
        return directory.AddressOf(owner.Node) is { } address ? system.ActorSelection(new RootActorPath(address) / "user" / own.Path.Name) : null;
    }
}
