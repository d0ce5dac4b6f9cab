using System.Collections.Immutable;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;
using Cluster.Node.Owner;
using Cluster.Node.Repair;
using Cluster.Node.Replica;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>Who this process is, for the parts on the loop.</summary>
public sealed record NodeIdentity(NodeId Id, string Name, Guid ClusterId, Guid Era);

/// <summary>The mesh as the volumes need it. Loop thread only.</summary>
public interface IMeshLinks
{
    /// <summary>The link to that node, if it is up.</summary>
    IFrameLink? LinkTo(NodeId node);

    /// <summary>Until when the peer at this link's other end has granted its lease to this node (R17).</summary>
    long LeaseUntilMs(IFrameLink link);

    /// <summary>Until when this node's own lease to that peer may be relied on by it (R17).</summary>
    long GrantedUntilMs(NodeId peer);

    /// <summary>Tries now to reach that node.</summary>
    void RetryNow(NodeId node);
}

/// <summary>
/// The volumes of one node on its loop: owns the replica machines and the owners' machines, and takes each frame to the one it is for. A thin shell:
/// decisions are the machines'. All members on the loop, unless said otherwise.
/// </summary>
public sealed partial class VolumeRuntime : IFrameHandler, IReplicaEffects, IOwnerHost, IClaimEffects
{
    private const int TickMs = 100;

    /// <summary>Between two looks at which volumes are used elsewhere, in ticks.</summary>
    private const int AwayTicks = 10;

    /// <summary>Volumes told at one time, some 60 B each; of more, the others have their turn once these have moved.</summary>
    private const int AwayMax = 4096;

    private readonly ILoop _loop;
    private readonly IBlockStore _store;
    private readonly ILogger _logger;
    private readonly Dictionary<VolumeId, ReplicaEntry> _replicas = [];
    private readonly Dictionary<VolumeId, OwnerShell> _owners = [];
    private readonly Dictionary<NodeId, IFrameLink> _links = [];
    private readonly HashSet<NodeId> _everLinked = [];
    private readonly List<ReplicaMachine> _acknowledging = [];
    private long _refusedForMemory;
    private IMeshLinks? _mesh;
    private int _ticks;
    private volatile AwayList _away = new([]);

    /// <summary>Requests that owners of this node have sent back for want of memory. Any thread.</summary>
    public long RefusedForMemory => Volatile.Read(ref _refusedForMemory);

    /// <summary>What the writes of one volume may take at its owner here. Set before there are any.</summary>
    internal long VolumeBytesMax { get; init; } = long.MaxValue;

    internal void OnRefusedForMemory() => _refusedForMemory++;

    private sealed record AwayList(ImmutableArray<AwayVolume> Volumes);

    private sealed record ReplicaEntry(ReplicaMachine Machine, LocalReplica Local);

    public VolumeRuntime(ILoop loop, IBlockStore store, NodeIdentity identity, ILoggerFactory loggers)
    {
        (_loop, _store, Identity) = (loop, store, identity);
        _logger = loggers.CreateLogger("Myrmidon.Volumes");
        _claims = new ClaimMachine(identity.Id, this);
    }

    public NodeIdentity Identity { get; }

    public ILoop Loop => _loop;

    /// <summary>Loop thread only.</summary>
    public NodeRepair Repair { get; init; } = new(new RepairOptions());

    /// <summary>Asks for a planned move of a volume's owner to the node of that name. Any thread; set before any volume is served.</summary>
    public Action<VolumeId, string> MoveOwner { get; set; } = (_, _) => { };

    public RepairMetrics RepairMetrics { get; init; } = new(new Api.Metrics());

    /// <summary>Any thread reads what it counts.</summary>
    public OwnedVolumes OwnedVolumes { get; init; } = new();

    public SnapshotMetrics Snapshots { get; init; } = new(new Api.Metrics());

    public LimitMetrics LimitMetrics { get; init; } = new(new Api.Metrics());

    public FailoverMetrics Failovers { get; init; } = new(new Api.Metrics());

    /// <summary>Where every volume is served, as far as this node was told. Any thread.</summary>
    public OwnerTable Owners { get; } = new();

    public Guid StoreId => _store.StoreId;

    public StoreOpens StoreOpens => _store.Opens;

    public ulong StoreSuspectSince => _store.SuspectSince;

    /// <summary>Opens the replicas that the store holds and starts the turn's phases. <paramref name="self"/> is the link within the process.</summary>
    public void Start(IMeshLinks mesh, IFrameLink self)
    {
        _mesh = mesh;
        RepairMetrics.Expose(Repair, Identity.Name);
        _links[Identity.Id] = self;
        _everLinked.Add(Identity.Id);
        foreach (var volume in _store.Volumes) AddReplica(volume);
        _loop.AddPhase(TurnPhase.Store, _store);
        _loop.AddPhase(TurnPhase.Acknowledge, new AcknowledgePhase(this));
        _loop.Schedule(TickMs, Tick);
    }

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        var before = _loop.Stages.Enter(StageOf(header.Kind));
        Deliver(from, in header, body, buffer);
        _loop.Stages.Leave(before);
    }

    private void Deliver(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        switch (header.Kind)
        {
            case FrameKind.SessionOpen or FrameKind.SessionClose or FrameKind.ClientWrite or FrameKind.ClientRead or FrameKind.ClientFlush
                or FrameKind.ClientStatus or FrameKind.Presented or FrameKind.ClientReadCached:
                ToOwner(from, in header, body, buffer);
                break;
            case FrameKind.SessionOpened or FrameKind.SessionNotice or FrameKind.ClientAck or FrameKind.ClientReadReply or FrameKind.ClientStatusReply
                or FrameKind.ClientCommitted or FrameKind.Present or FrameKind.ClientReadCachedReply:
                ToFrontEnd(in header, body, buffer);
                break;
            case FrameKind.Promised or FrameKind.AppendAck or FrameKind.TailRecord or FrameKind.TailEnd or FrameKind.Truncated or FrameKind.Stamped
                or FrameKind.Deposed or FrameKind.CatchUpAck or FrameKind.ReplicaBlocks or FrameKind.RepairAck
                or FrameKind.ScrubReport or FrameKind.EpochConfirmed:
                if (_owners.TryGetValue(header.Volume, out var owner)) owner.Machine.OnReplicaFrame(from, in header, body, buffer);
                break;
            case FrameKind.Promise or FrameKind.Append or FrameKind.Sync or FrameKind.FetchTail or FrameKind.Truncate or FrameKind.Stamp
                or FrameKind.CatchUpBegin or FrameKind.CatchUpRecord or FrameKind.CatchUpWindow or FrameKind.CatchUpEnd or FrameKind.Release
                or FrameKind.ReadReplica or FrameKind.RepairRecord or FrameKind.ScrubRange or FrameKind.ScrubMark or FrameKind.ConfirmEpoch
                or FrameKind.CatchUpMark or FrameKind.Passed or FrameKind.CatchUpSnapshots:
                ToReplica(from, in header, body, buffer);
                break;
            case FrameKind.OwnerServes:
                OnOwnerServes(header.Volume, from.Peer, header.Epoch);
                break;
            case FrameKind.OwnerEnded:
                OnOwnerEnded(header.Volume, from.Peer, header.Epoch, header.Argument == (ulong)OwnerEnding.Released);
                break;
            default:
                LogUnroutable(header.Kind, from.Peer);
                break;
        }
    }

    /// <summary>Whose the frames of many I/Os are.</summary>
    private static LoopStage StageOf(FrameKind kind) => kind switch
    {
        FrameKind.ClientWrite or FrameKind.ClientRead or FrameKind.ClientReadCached or FrameKind.ClientFlush or FrameKind.ClientStatus or FrameKind.AppendAck => LoopStage.Owner,
        FrameKind.ClientAck or FrameKind.ClientReadReply or FrameKind.ClientReadCachedReply or FrameKind.ClientStatusReply or FrameKind.ClientCommitted => LoopStage.FrontEnd,
        FrameKind.Append or FrameKind.Sync or FrameKind.CatchUpRecord => LoopStage.Replica,
        _ => LoopStage.Other,
    };

    public void OnLinkUp(IFrameLink link)
    {
        _links[link.Peer] = link;
        _everLinked.Add(link.Peer);
        _silent.TryRemove(link.Peer, out _);
        AnnounceAll(link);
        _claims.OnLinked(link.Peer, _loop.FreshNowMs());
        foreach (var owner in _owners.Values) owner.Machine.OnLinkUp(link);
    }

    /// <param name="silent">It was closed because nothing came over it any more.</param>
    public void OnLinkDown(IFrameLink link, bool silent = false)
    {
        if (_links.TryGetValue(link.Peer, out var known) && known == link)
        {
            _links.Remove(link.Peer);
            OwnersLost(link, silent);
        }
        foreach (var replica in _replicas.Values) replica.Machine.OnLinkDown(link);
        foreach (var owner in _owners.Values) owner.Machine.OnLinkDown(link);
        FrontEndsLost(link);
    }

    internal IFrameLink? LinkTo(NodeId node) => _links.TryGetValue(node, out var link) && link.IsUp ? link : null;

    /// <summary>For people: the node's name, or its id while it is not linked.</summary>
    internal string NameOf(NodeId node) =>
        node == Identity.Id ? Identity.Name : _links.TryGetValue(node, out var link) && link is MeshLink mesh ? mesh.PeerName : node.ToString();

    internal bool WasLinked(NodeId node) => _everLinked.Contains(node);

    internal long LeaseUntilMs(IFrameLink link) => link.Peer == Identity.Id ? long.MaxValue : _mesh!.LeaseUntilMs(link);

    internal LocalReplicaSource LocalOf(VolumeId volume) => new(this, volume);

    // ---- owners ----

    /// <summary>Any thread.</summary>
    public IOwnerHandle Start(VolumeState state, IActorRef actor, TimeSpan recovery)
    {
        var shell = new OwnerShell(this, state, actor, recovery, _logger);
        _loop.Post(() => AddOwner(shell));
        return shell;
    }

    private void AddOwner(OwnerShell owner)
    {
        if (_owners.TryGetValue(owner.Volume, out var old)) RemoveOwner(old);
        _owners.Add(owner.Volume, owner);
        Snapshots.Owned(owner.SnapshotCount);
        owner.Machine.Start();
    }

    internal void RemoveOwner(OwnerShell owner)
    {
        owner.Machine.Stop();
        if (!IsOwner(owner)) return;
        _owners.Remove(owner.Volume);
        Snapshots.Owned(-owner.SnapshotCount);
    }

    /// <summary>The journal has one snapshot more, or less.</summary>
    internal void CountSnapshots(OwnerShell owner, int by)
    {
        if (!IsOwner(owner)) return;
        Snapshots.Owned(by);
        if (by > 0) Snapshots.Created();
    }

    private bool IsOwner(OwnerShell owner) => _owners.TryGetValue(owner.Volume, out var known) && known == owner;

    /// <summary>Volumes that this node owns and that only another one uses (<see cref="VolumeMachine.Away"/>), as of a second ago. Any thread.</summary>
    public ImmutableArray<AwayVolume> AwayVolumes => _away.Volumes;

    private void LookForAway()
    {
        if (++_ticks % AwayTicks != 0) return;
        ImmutableArray<AwayVolume>.Builder? away = null;
        foreach (var owner in _owners.Values)
        {
            if (owner.Machine.Away is not { } one) continue;
            away ??= ImmutableArray.CreateBuilder<AwayVolume>();
            away.Add(one);
            if (away.Count == AwayMax) break;
        }
        if (away is not null) _away = new AwayList(away.ToImmutable());
        else if (_away.Volumes.Length > 0) _away = new AwayList([]);
    }

    public int OwnedCount => _owners.Count;

    private void ToOwner(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (_owners.TryGetValue(header.Volume, out var owner)) owner.Machine.OnClientFrame(from, in header, body, buffer);
        else if (from.IsUp)
        {
            // The front end looks for the owner again; nothing was taken.
            var answer = FrameKinds.AnswerTo(header.Kind);
            if (answer == FrameKind.Invalid) return;
            from.Send(FrameHeader.Of(answer, header.Volume, 0, header.RequestId, header.Argument, IoStatus.NotOwner), ReadOnlySpan<byte>.Empty);
        }
    }

    private void Tick()
    {
        foreach (var owner in _owners.Values.ToArray()) owner.Machine.OnTick();
        CountStates();
        LookForAway();
        TickSeekers();
        _claims.OnTick(_loop.FreshNowMs());
        _loop.Schedule(TickMs, Tick);
    }

    private void CountStates()
    {
        OwnedVolumes.Begin();
        foreach (var owner in _owners.Values) OwnedVolumes.Add(owner.Machine);
        OwnedVolumes.End();
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "a frame of kind {Kind} from node {Peer} has no place to go; it was dropped")]
    private partial void LogUnroutable(FrameKind kind, NodeId peer);
}
