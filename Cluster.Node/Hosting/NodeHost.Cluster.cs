using System.Net;
using Akka.Actor;
using Cluster.Csi.Attach;
using Cluster.Csi.Client;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Node.Hosting.Membership;
using Cluster.Node.Hosting.Memory;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Ingress;
using Cluster.Node.Journal;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

// The half that needs a cluster: membership, actors, front ends.
public sealed partial class NodeHost
{
    private static readonly Guid BootId = Guid.Parse(File.ReadAllText("/proc/sys/kernel/random/boot_id"));

    private ClusterMember StartAkka(IMetaLog log)
    {
        ActorSystem system;
        try
        {
            system = ActorSystem.Create(AkkaSettings.SystemName, AkkaSettings.Setup(_options, _operatorFile, log, _loggers));
        }
        catch (Exception e) when (e is System.Net.Sockets.SocketException or AggregateException or Akka.Remote.RemoteTransportException)
        {
            throw new NodeStartException(
                $"Akka.Remote can't listen on port {_options.RemotePort} (myrmidon.remote-port): {e.GetBaseException().Message}", e);
        }
        // Owners drain and shards are handed over within this; what comes after it is only the process's own.
        _parts.Add("cluster membership", () => CoordinatedShutdown.Get(system).Run(CoordinatedShutdown.ClrExitReason.Instance));
        system.WhenTerminated.ContinueWith(_ => EndTakenOut(), TaskScheduler.Default);
        return new ClusterMember(system, _loggers.CreateLogger<ClusterMember>());
    }

    /// <summary>From here on the mesh knows its peers, as soon as the journal has a leader to tell them.</summary>
    private PeerDirectory StartDirectory(JournalNode journal, MeshBridge bridge)
    {
        var directory = new PeerDirectory(new NodeDirectory(journal.Log, _loggers.CreateLogger<NodeDirectory>()), bridge.Mesh.UpdatePeers, _loggers.CreateLogger<PeerDirectory>());
        directory.Start();
        directory.ReadSoon();
        _parts.Add("the directory of nodes", directory);
        return directory;
    }

    /// <summary>From here on other nodes find this one.</summary>
    private async Task RegisterAsync(JournalNode journal, ClusterMember member, PeerDirectory directory, int meshPort, CancellationToken cancellation)
    {
        var record = new NodeRecord(_options.Name, journal.NodeId, _options.AdvertisedHost, Api!.Port, meshPort, journal.Address.Port,
            member.Address.Port!.Value)
        { Zone = _options.Zone };
        var own = new OwnRecord(record, new NodeDirectory(journal.Log), journal.IsUpAsync, journal.IsTwinAtAsync, journal.NameInGroup, TimeProvider.System, _loggers.CreateLogger<OwnRecord>());
        if (await own.RegisterAsync(cancellation) is { Length: > 0 } refusal) throw new NodeStartException(refusal);
        directory.Own = own;
        _metrics.AddCounter("myrmidon_node_registered_again_total", "Times that this node was gone from the directory of nodes and was registered again.", () => own.WrittenAnew);
    }

    private NodeDescription Describe(NodeIdentity identity, BlockStore store, ClusterMember member, int meshPort)
    {
        var host = _options.AdvertisedHost.Contains(':', StringComparison.Ordinal) ? $"[{_options.AdvertisedHost}]"
            : _options.AdvertisedHost;
        return new NodeDescription(identity.Id, identity.Name, _options.Zone, $"{host}:{Api!.Port}", $"{host}:{((IPEndPoint)Nbd!).Port}",
            $"{host}:{meshPort}", member.Address.ToString(), store.StoreId);
    }

    private NodeReport Report(BlockStore store) => StoreHealth.Report(store, BootId, _options.OverCommitPercent);

    private (OwnerGateway Gateway, NbdServer Server, VolumeSessions Sessions) StartNbd(VolumeRuntime runtime, NodeActors actors, Catalogue catalogue, NodeDoubts doubts)
    {
        var gateway = new OwnerGateway(runtime, catalogue, () => actors.Volumes, doubts.Tell);
        var sessions = new VolumeSessions(gateway, _loggers, runtime.Failovers.CountFrontEnd, _plan.KeptBytes) { Cache = new ReadCache(_plan.ReadCacheBytes) };
        runtime.Failovers.Expose(sessions.Kept);
        ReadCacheMetrics.Expose(_metrics, sessions.Cache);
        var options = new NbdOptions(ConnectionsMax: OpenFiles.Clients(OpenFiles.OfProcess(), _plan.ConnectionsMax), BytesMax: _plan.FrontEndBytes, ReceiveBytes: _plan.ReceiveBytes) { ConnectionBytesMax = _plan.ConnectionBytes, HasLimit = _plan.LimitBytes > 0 };
        if (options.HasLimit) options = options with { IsMemoryTight = () => BufferPool.Shared.IsTight };
        var server = new NbdServer(options, gateway, sessions, _loggers);
        try
        {
            server.Start(new IPEndPoint(Bind(), _options.NbdPort), _options.NbdSocket.Length > 0 ? _options.NbdSocket : null);
        }
        catch (System.Net.Sockets.SocketException e)
        {
            throw new NodeStartException($"NBD can't listen on port {_options.NbdPort} (myrmidon.nbd-port): {e.Message}", e);
        }
        StageMetrics.Expose(_metrics, server.Statistics);
        VolumeIoMetrics.Expose(_metrics, server.Volumes);
        MemoryMetrics.Expose(_metrics, _plan, server, sessions, runtime);
        Nbd = server.EndPoint;
        _parts.Add("the NBD server", server.Stop);
        _health.Report("nbd", HealthState.Healthy);
        return (gateway, server, sessions);
    }

    private void ReportGroup(SnapshotMetrics snapshots, string group, IEnumerable<string> volumes, string? failure)
    {
        snapshots.CountGroup(failure is null);
        if (failure is null) LogGroup(group, string.Join(", ", volumes));
        else LogNoGroup(group, string.Join(", ", volumes), failure);
    }

    private void ReportSwept(SnapshotMetrics snapshots, string group, IEnumerable<string> volumes, string step, string? failure)
    {
        snapshots.CountSwept(step, failure is null);
        if (failure is null) LogSwept(group, string.Join(", ", volumes), step, _options.Name);
        else LogNotSwept(group, string.Join(", ", volumes), step, _options.Name, failure);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "snapshot group {Group} of the volumes {Volumes} is {Step} by node {Node} itself")]
    private partial void LogSwept(string group, string volumes, string step, string node);

    [LoggerMessage(Level = LogLevel.Warning, Message = "snapshot group {Group} of the volumes {Volumes} was to be {Step} by node {Node} itself, which is tried again: {Reason}")]
    private partial void LogNotSwept(string group, string volumes, string step, string node, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "snapshot group {Group} of the volumes {Volumes} is ready")]
    private partial void LogGroup(string group, string volumes);

    [LoggerMessage(Level = LogLevel.Warning, Message = "snapshot group {Group} of the volumes {Volumes} was asked for and failed: {Reason}")]
    private partial void LogNoGroup(string group, string volumes, string reason);

    /// <summary>Does not return when the process has to start anew for it: the start is cancelled then.</summary>
    private async Task JoinAsync(JournalNode journal, ClusterMember member, CancellationToken cancellation)
    {
        if (await member.JoinAsync(new AkkaFormation(journal).DecideAsync, cancellation)) return;
        EndTakenOut();
        await Task.Delay(Timeout.Infinite, cancellation);
    }

    /// <summary>From here on this node notices that it is a member of one of two clusters.</summary>
    private void StartOtherClustersWatch(JournalNode journal, PeerDirectory directory, ClusterMember member)
    {
        var watch = new OtherClustersWatch(journal, directory, member, reason => End(reason, startsAnew: true));
        watch.Start();
        _parts.Add("the watch for other clusters", watch);
    }

    private static string? PlacementHostOf(MemberSlot member) => member.Value!.Oldest is { } oldest ? member.Directory!.NameOf(oldest) : null;

    private bool IsReachable(MemberSlot member, string name) => name == _options.Name || member.Value!.Hears(address => member.Directory!.NameOf(address) == name);

    /// <summary>From here on this node looks at nodes that others doubt, and tells of those that it waits for.</summary>
    private NodeDoubts StartDoubts(MeshNode mesh, MemberSlot member)
    {
        var (cluster, system, directory, self) = (member.Value!, member.Value!.System, member.Directory!, mesh.Identity.Node);
        IEnumerable<(NodeId, ICanTell)> Others() => directory.Nodes.Where(other => other.Node != self && cluster.Hears(address => address == other.Address))
            .Select(other => (other.Node, (ICanTell)system.ActorSelection(new RootActorPath(other.Address) / "user" / DoubtActor.Name)));
        var doubts = new NodeDoubts(self, mesh.Doubt, Others, node => directory.NameOf(node) ?? node.ToString(), _loggers.CreateLogger<NodeDoubts>());
        void OnUnheard(NodeId node, NodeId by)
        {
            if (by == self) doubts.TellUnheard(node);
            else mesh.OnUnheard(node, by);
        }
        Action<NodeId, NodeId> unheard = OnUnheard;
        var actor = system.ActorOf(Props.Create(() => new DoubtActor(mesh.Doubt, unheard)), DoubtActor.Name);
        mesh.TellUnheard = node => actor.Tell(new NodeProtocol.Unheard(node, self));
        _metrics.AddCounter("myrmidon_node_doubts_total", "Times that this node waited for another one in vain, so that all looked whether they hear it.", () => doubts.Told);
        _metrics.AddCounter("myrmidon_node_doubts_true_total", "Connections that this node ended since the other one was waited for in vain and no node heard it.", () => mesh.DoubtsTrue);
        return doubts;
    }

    private Catalogue OpenCatalogue(NodeActors actors, IMetaLog log, MemberSlot member, VolumeRuntime runtime, NodeDoubts doubts)
    {
        bool IsHeard(string name) => IsReachable(member, name) && !IsSilent(runtime, member, name);
        var catalogue = new Catalogue(actors.Placement, new JournalFolds(log), () => PlacementHostOf(member), IsHeard, _loggers.CreateLogger<Catalogue>())
        {
            Doubt = name => TellDoubt(doubts, member, name),
        };
        _metrics.AddCounter("myrmidon_catalogue_journal_reads_total", "Questions to the catalogue that its singleton was silent to, and the journal answered.", () => catalogue.JournalAnswers);
        return catalogue;
    }

    private static bool IsSilent(VolumeRuntime runtime, MemberSlot member, string name) => member.Directory!.NodeOf(name) is { } node && runtime.IsSilent(node);

    private static void TellDoubt(NodeDoubts doubts, MemberSlot member, string name)
    {
        if (member.Directory!.NodeOf(name) is { } node) doubts.Tell(node);
    }

    private void OpenControl(Guid clusterId, JournalNode journal, MemberSlot member, NodeActors actors, Catalogue catalogue, VolumeSessions sessions, VolumeRuntime runtime, NodeDoubts doubts,
        DeviceUsers users)
    {
        var (cluster, directory, snapshots) = (member.Value!, member.Directory!, runtime.Snapshots);
        string? PlacementHost() => PlacementHostOf(member);
        _control.Open(new ControlParts(_options.Name, clusterId, actors.Volumes, journal.Log, actors.Moves, PlacementHost)
        {
            Catalogue = catalogue,
            IsReachable = name => IsReachable(member, name),
            OwnerOf = runtime.Owners.Of,
            Doubt = doubts.Tell,
            OpenVolumes = sessions.Open,
            OutsideCsi = users.OutsideCsi,
            DisksAt = address => DiskActor.At(cluster.System, address),
            OnGroup = (group, volumes, failure) => ReportGroup(snapshots, group, volumes, failure),
            OnSweptGroup = (group, volumes, step, failure) => ReportSwept(snapshots, group, volumes, step, failure),
        });
        Func<bool> isHost = () => PlacementHost() == _options.Name;
        Func<Task> sweep = _control.SweepSnapshotGroupsAsync;
        cluster.System.ActorOf(Props.Create(() => new SnapshotGroupSweeper(isHost, sweep, SnapshotGroupSweeper.Every)), "snapshot-groups");
        _csi.Open(journal.Log, new SilencePorts(name => TellDoubt(doubts, member, name), name => IsSilent(runtime, member, name),
            () => PlacementHost() is { } host && IsSilent(runtime, member, host)));
        _health.AddProbe("cluster", () =>
            cluster.Self.IsUp ? (HealthState.Healthy, "") : (HealthState.Unhealthy, "This node is no member of its cluster."));
        _parts.Add("the control plane", () =>
        {
            _control.Close();
            // A leader that goes hands over first, so that a planned stop costs no election.
            return journal.HandOverAsync();
        });
    }
}
