using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Repair;
using Cluster.Node.Replica;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// One node: a process that may be killed, paused, or lose its host's power, a disk that outlives it, and the machines in it. Its
/// turn is the loop's: events, then
/// deliveries within the process, the store's write, and the acks.
/// </summary>
internal sealed class SimNode : IReplicaEffects
{
    private const int LeaseAndDriftMs = Limits.LeaseMs + (Limits.LeaseMs * Limits.ClockDriftPercent / 100);

    /// <summary>Between two attempts to open a store that its disk refused.</summary>
    private const int OpenRetryUs = 1_000_000;

    private readonly bool _hasDisk;
    private readonly Queue<SimEvent> _held = new();
    private readonly Queue<LocalFrame> _local = new();
    private readonly List<ReplicaMachine> _acknowledging = [];
    private readonly long[] _grantedUntilMs;
    private readonly long _clockOffsetMs;
    private readonly int _clockPerMille;
    private long _startedMs;

    private readonly record struct LocalFrame(FrameHeader Header, IoBuffer? Body, bool Small);

    public SimNode(SimWorld world, int index, bool hasDisk)
    {
        (World, Index, _hasDisk, Replica) = (world, index, hasDisk, new ReplicaId((ushort)(index + 1)));
        (Id, Identity) = (new NodeId(world.Random.Guid()), world.Random.Guid());
        Storage = hasDisk && world.Profile.RealStore ? new SimBlockStorage(this) : new SimModelStorage(this);
        Links = new SimLink?[world.Profile.Replicas + world.Profile.Clients];
        _grantedUntilMs = new long[Links.Length];
        // Clocks start anywhere and drift by half of the bound each way.
        (_clockOffsetMs, _clockPerMille) = (world.Random.Between(1000, 100_000_000), (int)world.Random.Between(-5, 5));
        Self = new SimSelfLink(this);
    }

    public SimWorld World { get; }

    public int Index { get; }

    public NodeId Id { get; private set; }

    public string Name => $"n{Index}";

    /// <summary>The newest copy that was placed on this node under the name that it has.</summary>
    public ReplicaId Replica { get; private set; }

    /// <summary>Of the copy that placement wants here.</summary>
    public Guid Identity { get; }

    public ISimStorage Storage { get; }

    public bool IsAlive { get; private set; }

    public bool IsPaused { get; private set; }

    public bool IsWorking => IsAlive && !IsPaused;

    public int Incarnation { get; private set; }

    /// <summary>Links by the index of the node at the other end.</summary>
    public SimLink?[] Links { get; }

    public SimSelfLink Self { get; private set; }

    public IVolumeStore? Store => Storage.Volume;

    public ReplicaMachine? Machine { get; private set; }

    public LocalReplica? Local { get; private set; }

    public SimOwner? Owner { get; set; }

    /// <summary>Of the process; null where nobody claims early.</summary>
    public SimClaims? Claims { get; private set; }

    /// <summary>Of the process: made anew at each start.</summary>
    public NodeRepair Repair { get; private set; } = new(new RepairOptions());

    public List<SimClient> Clients { get; } = [];

    public bool HasNoSpace { get; set; }

    public bool FailsSync { get; set; }

    /// <summary>A failing disk goes on failing; else it says of the next sync that all is well, as kernels do.</summary>
    public bool FailsEverySync { get; set; }

    public bool HasSlowDisk { get; set; }

    /// <summary>The next write, or read, is answered with EIO. The real store's only.</summary>
    public bool FailsWrite { get; set; }

    public bool FailsRead { get; set; }

    /// <summary>The process ends after the next event, before its store wrote anything of it.</summary>
    public bool DiesInNextTurn { get; set; }

    public Guid StoreId => Storage.StoreId;

    public StoreOpens StoreOpens => Storage.Opens;

    /// <summary>The journal knows the present open of its store.</summary>
    public bool IsVouchedFor => World.Journal.State.Member(Replica) is { } known && (known.StoreId, known.StoreOpenCount, known.StoreOpenMark) == (StoreId, StoreOpens.Count, StoreOpens.Mark);

    public ulong StoreSuspectSince => Storage.SuspectSince;

    public long NowMs => _clockOffsetMs + (World.NowUs * (1000 + _clockPerMille) / 1_000_000);

    public bool HasReplica => Machine is not null;

    public void AddClient(SimClient client)
    {
        Clients.Add(client);
        client.OnNodeStarted();
    }

    public void Start()
    {
        Invariant.That(!IsAlive, "a node was started twice");
        (IsAlive, IsPaused, _startedMs, DiesInNextTurn) = (true, false, NowMs, false);
        Self = new SimSelfLink(this);
        Repair = new NodeRepair(World.Profile.Repair) { CatchUpMarkBytes = World.Profile.CatchUpMarkBytes, PassedIntervalMs = World.Profile.PassedIntervalMs };
        Array.Clear(_grantedUntilMs);
        if (_hasDisk)
        {
            if (!Storage.Open())
            {
                (IsAlive, Incarnation) = (false, Incarnation + 1);
                World.At(OpenRetryUs, () =>
                {
                    if (!IsAlive) Start();
                });
                return;
            }
            World.History.OnDied(this);
            if (Store is not null) AdoptReplica();
            World.Clones.OnStarted(this);
            if (World.Profile.ClaimsEarly) Claims = new SimClaims(this);
        }
        World.Say(Name, "started");
        PostHeartbeat();
        foreach (var client in Clients) client.OnNodeStarted();
    }

    /// <summary>kill -9.</summary>
    public void Kill() => Die(Storage.Kill);

    public void LosePower(bool keepsSome = true)
    {
        KeepsSome = keepsSome;
        if (IsAlive) Die(Storage.LosePower);
        else if (_hasDisk) Storage.LosePower();
        KeepsSome = true;
    }

    /// <summary>A loss of power leaves some of what was not synced, as disks do.</summary>
    public bool KeepsSome { get; private set; } = true;

    /// <summary>The process ends, and its disk is replaced by an empty one, or by an older one of itself (R5).</summary>
    public void LoseDisk(SimBackup by = SimBackup.None) => Die(() => Storage.Replace(by));

    /// <summary>
    /// The process ends, and with it the node's journal and its name are lost, but not the store. To the volume its copy is gone: its new name is to get another one, and the old
    /// one is in the way until the journal has let it go (R22).
    /// </summary>
    public void LoseName()
    {
        Die(Storage.Kill);
        (Id, Replica) = (new NodeId(World.Random.Guid()), default);
        World.History.OnDied(this);
    }

    public void OnPlaced(ReplicaPlacement copy)
    {
        if (copy.Node == Id) Replica = copy.Id;
    }

    /// <summary>The journal has let the copy go.</summary>
    public void DeleteReplica()
    {
        World.History.OnDeleted(Machine!.Header.Replica);
        Machine.LeaveCatchUp();
        Storage.Delete();
        (Machine, Local) = (null, null);
    }

    public void Pause()
    {
        IsPaused = IsAlive;
        World.Say(Name, "paused");
    }

    public void Resume()
    {
        if (!IsPaused) return;
        IsPaused = false;
        World.Say(Name, "goes on");
        while (!IsPaused && IsAlive && _held.TryDequeue(out var e)) Take(e);
        while (!IsAlive && _held.TryDequeue(out var left)) left.Drop();
    }

    /// <summary>Later, in this incarnation of the process.</summary>
    public void Post(long delayUs, Action run) => World.At(delayUs, new SimEvent(run, this));

    public void Post(long delayUs, Action run, IoBuffer? body) => World.At(delayUs, new SimEvent(run, this, body));

    public void PostTaking(long delayUs, Action run, IoBuffer body) => World.At(delayUs, new SimEvent(run, this, body, takesBody: true));

    public void Take(SimEvent e)
    {
        if (!IsAlive || e.Incarnation != Incarnation) e.Drop();
        else if (IsPaused) _held.Enqueue(e);
        else
        {
            e.Run();
            if (!IsAlive) return;
            if (DiesInNextTurn) Kill();
            else Turn();
            if (Storage.IsOff) Kill();
        }
    }

    public IFrameLink? LinkTo(NodeId node)
    {
        if (node == Id) return Self;
        foreach (var link in Links)
        {
            if (link is { IsUp: true } && link.Peer == node) return link;
        }
        return null;
    }

    public bool WasLinked(NodeId node) => node == Id || Array.Exists(Links, link => link is not null && link.Peer == node);

    // ---- the turn ----

    internal void QueueLocal(FrameHeader header, IoBuffer? body, bool small) => _local.Enqueue(new LocalFrame(header, body, small));

    private void Turn()
    {
        bool worked;
        do
        {
            worked = _local.Count > 0;
            while (_local.TryDequeue(out var frame))
            {
                Dispatch(Self, frame.Header, frame.Body is null ? default : frame.Body.Span, frame.Small ? null : frame.Body);
                frame.Body?.Release();
            }
            if (Storage.RunPhase()) worked = true;
            if (_acknowledging.Count == 0) continue;
            worked = true;
            foreach (var machine in _acknowledging) machine.Acknowledge();
            _acknowledging.Clear();
        }
        while (worked);
    }

    public void Dispatch(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (World.Clones.SeatOf(header.Volume, this) is { } seat)
        {
            seat.Dispatch(from, in header, body, buffer);
            return;
        }
        switch (header.Kind)
        {
            case FrameKind.SessionOpen or FrameKind.SessionClose or FrameKind.ClientWrite or FrameKind.ClientRead or FrameKind.ClientFlush
                or FrameKind.ClientStatus or FrameKind.Presented or FrameKind.ClientReadCached:
                ToOwner(from, in header, body, buffer);
                break;
            case FrameKind.SessionOpened or FrameKind.SessionNotice or FrameKind.ClientAck or FrameKind.ClientReadReply or FrameKind.ClientStatusReply
                or FrameKind.ClientCommitted or FrameKind.Present or FrameKind.ClientReadCachedReply:
                foreach (var client in Clients) client.OnFrame(from, in header, body);
                break;
            case FrameKind.Promised or FrameKind.AppendAck or FrameKind.TailRecord or FrameKind.TailEnd or FrameKind.Truncated or FrameKind.Stamped
                or FrameKind.CatchUpAck or FrameKind.Deposed or FrameKind.ReplicaBlocks or FrameKind.RepairAck
                or FrameKind.ScrubReport or FrameKind.EpochConfirmed:
                Owner?.Machine.OnReplicaFrame(from, in header, body, buffer);
                break;
            case FrameKind.OwnerServes or FrameKind.OwnerEnded:
                Claims?.OnFrame(from, in header);
                break;
            default:
                ToReplica(from, in header, body, buffer);
                break;
        }
    }

    private void ToOwner(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (Owner is { IsStopped: false } owner) owner.Machine.OnClientFrame(from, in header, body, buffer);
        else Refuse(from, in header);
    }

    /// <summary>The node owns no such volume.</summary>
    public static void Refuse(IFrameLink from, in FrameHeader header)
    {
        var answer = FrameKinds.AnswerTo(header.Kind);
        if (answer != FrameKind.Invalid)
            from.Send(FrameHeader.Of(answer, header.Volume, header.Epoch, header.RequestId, header.Argument, IoStatus.NotOwner), new byte[24]);
    }

    private void ToReplica(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (!_hasDisk) return;
        if (header.Kind == FrameKind.Promise && !Prepare(from, in header, body)) return;
        if (Machine is not null) Machine.OnFrame(from, in header, body, buffer);
        else from.Send(FrameHeader.Of(FrameKind.AppendAck, header.Volume, header.Epoch, status: IoStatus.Missing), new byte[32]);
    }

    private bool Prepare(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!PromiseBody.TryDecode(body, out var promise)) return false;
        var step = ReplicaAdmission.Decide(Machine?.Header, in promise);
        if (step == AdmissionStep.Held) World.History.Copies.Add("Held");
        var status = step switch
        {
            AdmissionStep.Answer => IoStatus.Ok,
            AdmissionStep.Make => Make(header.Volume, in promise),
            AdmissionStep.Held => IoStatus.Conflict,
            _ => IoStatus.Missing,
        };
        if (status == IoStatus.Ok) return true;
        Span<byte> answer = stackalloc byte[PromisedBody.SizeBytesMax];
        var missing = new PromisedBody(promise.Identity, StoreId, StoreOpens, 0, 0, 0, 0, 0, 0, 0, false, 0, 0, 0, 0);
        var held = step == AdmissionStep.Held ? Machine!.Header.Replica.Number : 0UL;
        from.Send(FrameHeader.Of(FrameKind.Promised, header.Volume, header.Epoch, argument: held, status: status), missing.Encode(answer));
        return false;
    }

    private IoStatus Make(VolumeId volume, in PromiseBody promise)
    {
        if (Machine is not null) DeleteReplica();
        var fresh = new ReplicaHeader(default, default, volume, promise.Replica, promise.Identity, 0, default, 0, 0, 0, false, 0, 0, promise.Spec);
        var status = Storage.Create(fresh.Encode());
        if (status == IoStatus.Ok) AdoptReplica();
        return status;
    }

    private void AdoptReplica()
    {
        Machine = new ReplicaMachine(Store!, this);
        Local = new LocalReplica(Machine, LoopStages.Off);
    }

    private void Die(Action toDisk)
    {
        if (!IsAlive) return;
        World.Say(Name, "dies");
        (IsAlive, IsPaused) = (false, false);
        Incarnation++;
        Self.IsUp = false;
        World.Network.OnNodeDied(this);
        Owner?.Forget();
        World.Clones.OnDied(this);
        (Owner, Machine, Local, Claims) = (null, null, null, null);
        _acknowledging.Clear();
        while (_local.TryDequeue(out var frame)) frame.Body?.Release();
        while (_held.TryDequeue(out var e)) e.Drop();
        (HasNoSpace, FailsSync, HasSlowDisk, FailsWrite, FailsRead) = (false, false, false, false, false);
        toDisk();
        World.History.OnDied(this);
        foreach (var client in Clients) client.OnNodeDied();
    }

    // ---- links ----

    public void OnLinkUp(SimLink link)
    {
        Owner?.Machine.OnLinkUp(link);
        Claims?.OnLinkUp(link);
        World.Clones.OnLinkUp(this, link);
        foreach (var client in Clients) client.OnLinkUp(link);
    }

    public void OnLinkDown(SimLink link)
    {
        Machine?.OnLinkDown(link);
        Owner?.Machine.OnLinkDown(link);
        Claims?.OnLinkDown(link);
        World.Clones.OnLinkDown(this, link);
        foreach (var client in Clients) client.OnLinkDown(link);
    }

    /// <summary>A renewal arrived: reads there may rely on it for this long, by this node's clock.</summary>
    public void Grant(int peer) => _grantedUntilMs[peer] = NowMs + LeaseAndDriftMs;

    private void PostHeartbeat() => Post(Limits.HeartbeatMs * 1000, () =>
    {
        World.Network.Heartbeat(this);
        PostHeartbeat();
    });

    // ---- what the replica's machine needs ----

    public uint LeaseLeftMs(NodeId owner)
    {
        if (owner == Id) return 0;
        // A restarted process assumes that it had granted a full lease at its start.
        var until = _startedMs + LeaseAndDriftMs;
        for (var index = 0; index < World.Nodes.Count; index++)
        {
            if (World.Nodes[index].Id == owner) until = Math.Max(until, _grantedUntilMs[index]);
        }
        return (uint)Math.Max(0, until - NowMs);
    }

    public void OnReplicaFailed(VolumeId volume, IoStatus status, string reason) => World.Say(Name, $"replica failed: {status}");

    public void WantsAcknowledge(ReplicaMachine machine) => _acknowledging.Add(machine);

    public long SyncDelayUs() => HasSlowDisk ? World.Random.Between(500_000, 2_500_000)
        : World.Random.Percent(3) ? World.Random.Between(20_000, 200_000) : World.Random.Between(200, 8_000);
}
