using System.Net;
using Akka.Configuration;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Docker;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.Devices;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Node.Hosting.Membership;
using Cluster.Node.Hosting.Memory;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Hosting.Recovery;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Hosting.WarmUp;
using Cluster.Node.Ingress;
using Cluster.Node.Journal;
using Cluster.Node.Placement;
using Cluster.Node.Repair;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

/// <summary>Why a node can't go on, in one sentence.</summary>
/// <param name="StartsAnew">A new start mends it: nothing here is broken.</param>
public sealed record NodeEnd(string Reason, bool StartsAnew);

/// <summary>Thrown by a start that can't go on; the message is one sentence for the operator.</summary>
public sealed class NodeStartException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// One node: every part, started in the order in which they need each other and stopped in the reverse one. The API is up before the
/// cluster is, so that health can be asked for from the first moment.
/// </summary>
public sealed partial class NodeHost
{
    /// <summary>Names of threads, as metrics tell them; the kernel keeps 15 characters.</summary>
    private const string LoopThread = "io-loop";
    private const string DiskThreads = "disk";

    private static readonly string[] HealthParts = ["cluster", "journal", "nbd", "placement", "store"];

    private readonly ProvisionedBytes _provisioned = new();
    private readonly NodeOptions _options;
    private readonly MemoryPlan _plan;
    private readonly Config _operatorFile;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;
    private readonly StopList _parts;
    private readonly Health _health = new(TimeProvider.System);
    private readonly Metrics _metrics = new();
    private readonly ControlPlane _control = new();
    private readonly DeviceControl _devices = new();
    private readonly ClaimReader? _claims;
    private readonly CsiVolumeControl _csi;
    private readonly NodeRecovery _recovery;
    private readonly CancellationTokenSource _standDown = new();
    private readonly TaskCompletionSource<NodeEnd> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile HostDevices? _csiDevices;
    private volatile bool _stopping;

    /// <param name="plan">How the process' memory is divided; null: it has no limit.</param>
    public NodeHost(NodeOptions options, Config operatorFile, ILoggerFactory loggers, MemoryPlan? plan = null)
    {
        _plan = plan ?? MemoryPlan.Of(options with { MemoryLimitBytes = 0 }, null).Plan!;
        (_options, _operatorFile, _loggers) = (options, operatorFile, loggers);
        _log = loggers.CreateLogger("Myrmidon.Node");
        _parts = new StopList(_log);
        _claims = ClaimReader.Of(options, Environment.GetEnvironmentVariable);
        if (_claims is not null) _parts.Add("the reader of claims", _claims);
        _csi = new CsiVolumeControl(options.Name, options.Zone, _control, _health, _claims);
        _recovery = new NodeRecovery(options.Name, era =>
        {
            EraToPutAside = era;
            _standDown.Cancel();
        });
    }

    /// <summary>An operator has decided that this node gives up its journal: it is to stop, put it aside and start anew.</summary>
    public CancellationToken StandsDown => _standDown.Token;

    /// <summary>Of the journal that it gives up.</summary>
    public Guid EraToPutAside { get; private set; }

    /// <summary>Completes when the node can't go on, also in the middle of its start; its process must end or start anew then.</summary>
    public Task<NodeEnd> Ended => _ended.Task;

    /// <summary>Where the API listens, once started.</summary>
    public Uri? Api { get; private set; }

    /// <summary>Where the NBD server listens, once the node is ready.</summary>
    public EndPoint? Nbd { get; private set; }

    /// <summary>
    /// Completes when the node serves. Throws <see cref="NodeStartException"/>; whatever it throws, <see cref="StopAsync()"/> is called next.
    /// </summary>
    public async Task StartAsync(CancellationToken cancellation)
    {
        LogStarts(ControlPlane.Version, _options.DataDirectory);
        var (directory, error) = DataDirectory.Open(_options.DataDirectory);
        if (directory is null) throw new NodeStartException(error);
        _parts.Add("the data directory", directory);
        foreach (var part in HealthParts) _health.Report(part, HealthState.Starting, "The node starts.");
        HealthMetrics.Expose(_metrics, _health, HealthParts);
        await StartApiAsync(cancellation);
        await StartCsiAsync(directory, cancellation);
        var loop = new EpollLoop(LoopThread, _loggers.CreateLogger("Myrmidon.Loop"), OnLoopFailed);
        _parts.Add("the I/O loop", loop);
        var store = OpenStore(loop, directory);
        loop.Start();
        CheckCluster(store, directory);
        StoreMetrics.Expose(_metrics, store, _provisioned, _options.OverCommitPercent);
        MemoryMetrics.Expose(_metrics, _plan, store);
        StageMetrics.Expose(_metrics, loop.Stages);
        ThreadMetrics.Expose(_metrics, [LoopThread, .. Enum.GetValues<DiskLane>().Select(lane => $"{DiskThreads} {lane}")]);
        var nodeId = await StoreCluster.IdentifyAsync(store, loop, directory);
        var journal = StartJournal(directory, nodeId, NodeRecovery.ClusterOf(store), out var member);
        _recovery.Open(journal, store, loop, directory.Journal);
        _parts.Add("the recovery", () =>
        {
            _recovery.Close();
            return Task.CompletedTask;
        });
        var formed = await FormedAsync(journal, store, loop, cancellation);
        await FillRecoveredAsync(journal, directory, formed.Era, cancellation);
        var identity = new NodeIdentity(new NodeId(journal.NodeId), _options.Name, formed.ClusterId, formed.Era);
        var runtime = new VolumeRuntime(loop, store, identity, _loggers)
        {
            Repair = new NodeRepair(_options.Repair),
            RepairMetrics = new RepairMetrics(_metrics),
            Failovers = new FailoverMetrics(_metrics),
            Snapshots = new SnapshotMetrics(_metrics),
            LimitMetrics = new LimitMetrics(_metrics),
            VolumeBytesMax = _plan.VolumeBytes,
        };
        runtime.OwnedVolumes.Expose(_metrics);
        var (bridge, meshPort) = await StartMeshAsync(runtime, () => member.Directory, () => member.Value);
        member.Directory = StartDirectory(journal, bridge);
        member.Value = StartAkka(journal.Log);
        await RegisterAsync(journal, member.Value, member.Directory, meshPort, cancellation);
        member.Directory.ReadSoon();
        await JoinAsync(journal, member.Value, cancellation);
        StartOtherClustersWatch(journal, member.Directory, member.Value);
        member.Value.System.ActorOf(Akka.Actor.Props.Create(() => new DiskActor(loop, store)), DiskActor.Name);
        var actors = NodeActors.Start(member.Value.System, _options, runtime, member.Directory, journal.Log, EndTakenOut, _loggers);
        var doubts = StartDoubts(bridge.Mesh, member);
        var catalogue = OpenCatalogue(actors, journal.Log, member, runtime, doubts);
        var (gateway, nbd, sessions) = StartNbd(runtime, actors, catalogue, doubts);
        var known = actors.RegisterAsync(member.Value.System, Describe(identity, store, member.Value, meshPort), () => Report(store),
            bytes => _provisioned.Value = bytes, () => runtime.AwayVolumes);
        // Before anybody can ask: a mount of an earlier process is in use from the first moment.
        var users = new DeviceUsers(Path.Combine(directory.Attach, "operator"), DockerPlugin.MountsIn(directory.Docker), BootId.ToString());
        OpenControl(formed.ClusterId, journal, member, actors, catalogue, sessions, runtime, doubts, users);
        await KnownAsync(known).WaitAsync(cancellation);
        _parts.Add("the warm-up", new NodeWarmUp(member.Value.System, _options.Name, _log));
        await StartDevicesAsync(directory, users, nbd, gateway, cancellation);
        // Stopped first: the others claim what it served while everything here still answers them.
        _parts.Add("the owners", runtime.LeaveAsync);
        _health.Report("placement", HealthState.Healthy);
        LogReady(Api, Nbd);
    }

    /// <summary>
    /// Stops in order, within the time of the settings. Owners drain and hand over first, while everything else still runs.
    /// </summary>
    public Task StopAsync() => StopAsync(_options.StopTimeout);

    public Task StopAsync(TimeSpan atMost)
    {
        _stopping = true;
        return _parts.StopAsync(atMost);
    }

    private static async Task KnownAsync(Task known)
    {
        try
        {
            await known;
        }
        catch (PlacementRefusedException e)
        {
            throw new NodeStartException(e.Message, e);
        }
    }

    /// <summary>Parts that are made later than those that refer to them.</summary>
    private sealed class MemberSlot
    {
        private volatile ClusterMember? _value;
        private volatile PeerDirectory? _directory;

        public ClusterMember? Value { get => _value; set => _value = value; }

        public PeerDirectory? Directory { get => _directory; set => _directory = value; }
    }

    private async Task StartApiAsync(CancellationToken cancellation)
    {
        try
        {
            var api = await ApiServer.StartAsync(
                new ApiOptions(_options.Name, Bind(), _options.ApiPort, OpenFiles.Clients(OpenFiles.OfProcess(), ApiServer.ConnectionsMax)), _control, _recovery, _devices, _health, _metrics, cancellation);
            Api = api.Address;
            _parts.Add("the API", api);
        }
        catch (System.Net.Sockets.SocketException e) when (e.SocketErrorCode == System.Net.Sockets.SocketError.AddressNotAvailable)
        {
            throw new NodeStartException($"The address {Bind()} (myrmidon.host) is none of this host's: give one that `ip address` lists.", e);
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            throw new NodeStartException($"The API can't listen on port {_options.ApiPort} (myrmidon.api-port): {e.Message}", e);
        }
    }

    private BlockStore OpenStore(EpollLoop loop, DataDirectory directory)
    {
        var scheduler = new ThreadDiskScheduler(loop, DiskThreads);
        var segments = new OpenSegments(OpenFiles.Segments(OpenFiles.OfProcess()));
        var opened = BlockStore.Open(
            new StoreOptions { CapacityBytes = _options.CapacityBytes, MapCacheBytes = _plan.MapCacheBytes }, loop, new FileDisk(directory.Store, segments: segments), scheduler, _loggers.CreateLogger("Myrmidon.Store"),
            [.. _options.Disks.Select(path => FileDisk.Further(path, segments: segments))]);
        if (opened.Store is not { } store)
        {
            scheduler.Dispose();
            throw new NodeStartException($"The store does not open: {opened.Reason}");
        }
        _parts.Add("the disk threads", scheduler);
        _parts.Add("the store", store);
        _health.AddProbe("store", () => StoreHealth.Of(store));
        _metrics.AddGauge("myrmidon_store_open_segment_files", "Segment files of directories that are open now; those that were not used for longest are closed where there are more than the limit of open files has room for.", () => segments.Count);
        store.StartsAnew = reason => End(reason, startsAnew: true);
        return store;
    }

    private static void CheckCluster(BlockStore store, DataDirectory directory)
    {
        try
        {
            if (StoreCluster.Refusal(store, directory) is { Length: > 0 } refusal) throw new NodeStartException(refusal);
        }
        catch (Exception e) when (e is IOException or Journal.Format.JournalFormatException)
        {
            throw new NodeStartException($"The journal directory {directory.Journal} can't be read: {e.Message}", e);
        }
    }

    private JournalNode StartJournal(DataDirectory directory, Guid nodeId, Guid? clusterOfStore, out MemberSlot member)
    {
        var slot = member = new MemberSlot();
        JournalAddress.TryParse($"{_options.AdvertisedHost}:{_options.JournalPort}", out var own);
        var seeds = _options.Seeds.Select(seed => JournalAddress.TryParse(seed, out var address) ? address : own);
        try
        {
            var journal = JournalNode.Start(new JournalOptions
            {
                DataDirectory = directory.Journal,
                NodeId = nodeId,
                NodeName = _options.Name,
                ListenHost = _options.Host,
                ListenPort = _options.JournalPort,
                AdvertisedHost = _options.AdvertisedHost,
                Seeds = [.. seeds],
                BootstrapExpect = _options.BootstrapExpect,
                ClusterOfStore = clusterOfStore,
                ErasPutAside = directory.ErasPutAside,
                ReplaceAfterMs = (long)_options.JournalReplaceAfter.TotalMilliseconds,
            }, _loggers, () => slot.Value?.Self);
            _parts.Add("the journal", journal);
            _ = journal.Stopped.ContinueWith(
                stopped => End(stopped.Exception!.GetBaseException() is NodeTwinException twin ? twin.Message : $"The journal failed: {stopped.Exception.GetBaseException().Message}"), CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            _health.AddProbe("journal", () => journal.Log.Status is not { LeaderName: null } status ? (HealthState.Healthy, "")
                : (HealthState.Unhealthy, JournalText.WhyNoLeader(status, null) ?? "The journal has no leader."));
            HealthMetrics.Expose(_metrics, journal.Log);
            _control.Watch(journal.Log);
            return journal;
        }
        catch (Exception e) when (e is ArgumentException or System.Net.Sockets.SocketException or IOException)
        {
            throw new NodeStartException($"The journal does not start on port {_options.JournalPort} (myrmidon.journal-port): {e.Message}",
                e);
        }
    }

    private async Task<(MeshBridge Bridge, int Port)> StartMeshAsync(
        VolumeRuntime runtime, Func<PeerDirectory?> directory, Func<ClusterMember?> member)
    {
        void OnPeerDead(NodeId peer) => ThreadPool.QueueUserWorkItem(_ =>
        {
            if (directory()?.AddressOf(peer) is { } address) member()?.DownDead(address);
        });
        var bridge = new MeshBridge(runtime, _loggers, OnPeerDead);
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        runtime.Loop.Post(() =>
        {
            bridge.StartVolumes();
            started.SetResult();
        });
        await started.Task;
        try
        {
            var endPoint = (IPEndPoint)bridge.Mesh.Start(new IPEndPoint(Bind(), _options.MeshPort));
            _parts.Add("the mesh", () =>
            {
                bridge.Mesh.Stop();
                return Task.CompletedTask;
            });
            return (bridge, endPoint.Port);
        }
        catch (System.Net.Sockets.SocketException e)
        {
            throw new NodeStartException($"The mesh can't listen on port {_options.MeshPort} (myrmidon.mesh-port): {e.Message}", e);
        }
    }

    private IPAddress Bind() => _options.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(_options.Host);

    private void OnLoopFailed(Exception e)
    {
        LogLoopFailed(e);
        End($"The I/O loop failed: {e.Message}");
    }

    private void EndTakenOut() =>
        End("This node was taken out of its cluster (the others did not hear of it for too long); it starts anew.", startsAnew: true);

    private void End(string reason, bool startsAnew = false)
    {
        if (!_stopping) _ended.TrySetResult(new NodeEnd(reason, startsAnew));
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "starts, version {Version}, data in {Directory}")]
    private partial void LogStarts(string version, string directory);

    [LoggerMessage(Level = LogLevel.Information, Message = "belongs to cluster {ClusterId} with {Members} journal members")]
    private partial void LogFormed(Guid clusterId, int members);

    [LoggerMessage(Level = LogLevel.Information, Message = "serves: API at {Api}, NBD at {Nbd}")]
    private partial void LogReady(Uri? api, EndPoint? nbd);

    [LoggerMessage(Level = LogLevel.Critical, Message = "the I/O loop failed")]
    private partial void LogLoopFailed(Exception e);
}
