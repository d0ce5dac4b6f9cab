using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Owner;

/// <summary>Where the owner stands. Only <see cref="Serving"/> takes I/O.</summary>
public enum VolumePhase : byte
{
    Idle = 0,
    /// <summary>EpochStarted is being journaled.</summary>
    Claiming,
    /// <summary>Collecting promises (R1).</summary>
    Promising,
    /// <summary>Bringing the members to the chosen prefix.</summary>
    Reconciling,
    /// <summary>EpochOpened is being journaled.</summary>
    Opening,
    /// <summary>The members write the epoch into their headers.</summary>
    Stamping,
    Serving,
    /// <summary>A planned stop: what is pending is finished, nothing new is taken.</summary>
    Draining,
    /// <summary>Deposed, relocated, deleted or stopped: says nothing any more.</summary>
    Stopped,
}

/// <summary>
/// The owner of one volume: order of writes, acknowledgement, membership, takeover. Pure: frames, ticks and journal outcomes in; frames, journal proposals
/// and local reads out. Runs on its volume's loop, under the actor in production and under the simulator in tests.
/// <para>Invariants:</para>
/// <para>O1 A write is acknowledged only when every member of every in-sync set that may be journaled has it (R6), and at least the volume's minimum are members (R7).</para>
/// <para>O2 Nothing is served before the epoch is opened in the journal and stamped on all its members (R1).</para>
/// <para>O3 Sequences are dense; every member's log is a prefix of the owner's order.</para>
/// <para>O4 A read is answered from committed blocks, and only if the lease of every member was valid after the data was read (R16).</para>
/// </summary>
public sealed partial class VolumeMachine
{
    private readonly IVolumeEffects _effects;
    private readonly Dictionary<NodeId, ReplicaSession> _replicas = [];
    private readonly PendingRing _pending = new();
    private VolumeState _state;
    private byte[] _specBytes;
    private ulong _epoch;

    public VolumeMachine(VolumeState state, IVolumeEffects effects)
    {
        Invariant.That(state.Spec is not null, "a volume's machine was started before the volume was created");
        (_state, _effects) = (state, effects);
        (_specBytes, _readLease) = (VolumeSpecCodec.Encode(state.Spec), state.Spec.ReadLease);
        SetLimits();
    }

    public VolumePhase Phase { get; private set; }

    /// <summary>How long the takeover took, part by part.</summary>
    public TakeoverTimes Times { get; } = new();

    public VolumeState State => _state;

    public VolumeId Volume => _state.Spec!.Id;

    public ulong EpochNumber => _epoch;

    public ulong Sequence => _pending.Last;

    public ulong Committed => _pending.Base;

    private VolumeSpec Spec => _state.Spec!;

    /// <summary>The journal has this epoch's members.</summary>
    private bool IsOpened => Phase is VolumePhase.Stamping or VolumePhase.Serving or VolumePhase.Draining;

    private bool IsServing => Phase is VolumePhase.Serving or VolumePhase.Draining;

    /// <summary>Claims the volume (R1).</summary>
    public void Start()
    {
        Invariant.That(Phase == VolumePhase.Idle, "a volume's machine was started twice");
        (Phase, Times.ClaimMs) = (VolumePhase.Claiming, _effects.NowMs);
        _effects.Journal(new EpochStarted(Volume, _state.Epoch.Next(), _effects.Node, _effects.NodeName));
    }

    /// <summary>Journals a change that the actor was asked for (attachment, spec, replica, deletion).</summary>
    public void Propose(VolumeEvent e)
    {
        if (Phase != VolumePhase.Stopped) _effects.Journal(e);
    }

    /// <summary>The event is in the journal. Called in the order of the proposals.</summary>
    public void OnJournaled(VolumeEvent e)
    {
        if (Phase == VolumePhase.Stopped) return;
        _state = _state.Apply(e);
        switch (e)
        {
            case EpochStarted started: OnClaimed(started); break;
            case EpochOpened opened: OnOpened(opened); break;
            case InSyncChanged changed: OnInSyncChanged(changed); break;
            case ReplicaAdded added: OnReplicaAdded(added); break;
            case ReplicaRemoved removed: OnReplicaRemoved(removed); break;
            case AttachmentChanged: OnAttachmentChanged(); break;
            case SpecChanged changed: OnSpecChanged(changed); break;
            case SnapshotCreated created: OnSnapshotCreated(created); break;
            case SnapshotDeleted deleted: OnSnapshotDeleted(deleted); break;
            case RestoreStarted started: OnRestoreStarted(started); break;
            case RestoreEnded: OnRestoreEnded(); break;
            case CloneStarted or CloneEnded: break;
            case VolumeDeleted: Stop(IoStatus.Deleted); break;
            default: throw new InvariantException($"volume {Volume}: an event of the unknown type {e.GetType().Name} was journaled");
        }
        _effects.OnChanged();
    }

    /// <summary>A frame of kinds 30-62 from a replica's node.</summary>
    public void OnReplicaFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (Phase == VolumePhase.Stopped) return;
        if (header.Kind == FrameKind.Deposed)
        {
            if (header.Epoch > _epoch) OnDeposed(header.Epoch);
            return;
        }
        if (!_replicas.TryGetValue(from.Peer, out var session) || session.Link != from || header.Epoch != _epoch) return;
        session.IsSilent = false;
        switch (header.Kind)
        {
            case FrameKind.Promised: OnPromised(session, in header, body); break;
            case FrameKind.AppendAck: OnAppendAck(session, in header, body); break;
            case FrameKind.TailRecord: OnTailRecord(session, body, buffer!); break;
            case FrameKind.TailEnd: OnTailEnd(session, in header); break;
            case FrameKind.Truncated: OnTruncated(session, in header, body); break;
            case FrameKind.Stamped: OnStamped(session, body); break;
            case FrameKind.CatchUpAck: OnCatchUpAck(session, in header, body); break;
            case FrameKind.ReplicaBlocks: OnReplicaBlocks(session, in header, body, buffer); break;
            case FrameKind.RepairAck: OnRepairAck(session, in header); break;
            case FrameKind.ScrubReport: OnScrubReport(session, in header, body); break;
            case FrameKind.EpochConfirmed: OnEpochConfirmed(session, in header); break;
            default: throw new InvariantException($"a frame of kind {header.Kind} was routed to an owner");
        }
    }

    public void OnLinkUp(IFrameLink link)
    {
        if (Phase is VolumePhase.Stopped or VolumePhase.Idle or VolumePhase.Claiming) return;
        if (!_replicas.TryGetValue(link.Peer, out var session) || session.Link == link) return;
        // A new link means that the old one is gone, whoever says so first.
        if (session.Link is { } old) OnLinkDown(old);
        Reset(session, link);
        SendPromise(session);
    }

    public void OnLinkDown(IFrameLink link)
    {
        if (Phase == VolumePhase.Stopped) return;
        OnClientLinkDown(link);
        if (!_replicas.TryGetValue(link.Peer, out var session) || session.Link != link) return;
        PardonSilence(session);
        Reset(session, null);
        ForgetMendsOf(session);
        // Its answer went with the link, and it may be back before the next tick looks.
        if (_scrub is { Question: not 0 }) _scrub.Retry();
        if (Phase == VolumePhase.Reconciling) RestartDeciding();
        else if (Phase == VolumePhase.Promising) TryDecide();
        else if (IsMember(session)) Leave(session, $"the connection to {session.Placement.NodeName} is down");
        _effects.OnChanged();
    }

    /// <summary>Called about every 100 ms, also at rest.</summary>
    public void OnTick()
    {
        if (Phase is VolumePhase.Stopped or VolumePhase.Idle or VolumePhase.Claiming) return;
        var now = _effects.NowMs;
        if (now < _restUntilMs && IsAtRest()) return;
        foreach (var session in _replicas.Values) TickReplica(session, now);
        if (Phase == VolumePhase.Promising) TryDecide();
        if (Phase == VolumePhase.Stamping) TryServe();
        if (!IsServing) return;
        PumpDrops();
        PumpProposals();
        RetryHeldReads();
        PumpThrottled();
        TellThrottled();
        TickGathers();
        TickScrub();
        TickSlow(now);
        TickRoom(now);
        PumpPresented();
        TickPassed(now);
        _pending.Trim();
        StartNextCatchUp();
        SendIdleWatermarks();
        TryCommit();
        ReleaseFlushes();
        TickGroup(now);
        PumpMarker();
        PumpSnapshots();
        PumpRestore();
        PumpShrink();
        if (Phase == VolumePhase.Draining) TryFinishDraining();
        RestUntilNext(now);
    }

    /// <summary>
    /// A planned stop: takes nothing new, finishes what is pending if the members answer (see <see cref="IsDrained"/>), and releases the leases.
    /// </summary>
    public void Drain()
    {
        if (Phase != VolumePhase.Serving)
        {
            Stop(IoStatus.NotOwner);
            return;
        }
        if (IsGathering)
        {
            // The next owner would not know that sessions have something to present.
            _drainsAfterwards = true;
            return;
        }
        Phase = VolumePhase.Draining;
        if (_shrink is { IsProposed: false }) EndShrink(IoStatus.Offline, "its owner is moving; try again");
        if (IsHeldForGroup) GiveUpGroup("its owner is moving; try again");
        _effects.OnServing(false);
        TryFinishDraining();
    }

    public bool IsDrained => Phase == VolumePhase.Stopped;

    /// <summary>Stops at once; sessions are told to look for the owner again (R14: no request gets an error).</summary>
    public void Stop() => Stop(IoStatus.NotOwner);

    private void TryFinishDraining()
    {
        // A snapshot that is being made is journaled first: it would have to be made again.
        if (_pending.Count > 0 || _marker is not null) return;
        foreach (var session in _replicas.Values)
        {
            if (session is { Link.IsUp: true, Aligned: true }) session.Link.Send(Frame(FrameKind.Release), ReadOnlySpan<byte>.Empty);
        }
        Stop(IoStatus.NotOwner);
    }

    private void Stop(IoStatus notice)
    {
        if (Phase == VolumePhase.Stopped) return;
        var served = IsServing;
        Phase = VolumePhase.Stopped;
        // Before the sessions hear of it: they look for the next owner, and must not find this one.
        if (served) _effects.OnServing(false);
        EndSessions(notice);
        DropGathers();
        DropScrub();
        foreach (var session in _replicas.Values) EndCatchUp(session, isDone: false);
        _pending.Restart(_pending.Last);
        DropMarker();
        EndShrink(IoStatus.Offline, "its owner ended before this was known to be done; look at the volume, and try again");
        DropHeldWrites();
        TellHeld(_effects.NowMs);
        DropTail();
        _effects.OnChanged();
    }

    private void OnDeposed(ulong epoch)
    {
        _effects.Log($"deposed: epoch {epoch} was promised while this owner has epoch {_epoch}");
        Stop(IoStatus.NotOwner);
        _effects.OnDeposed(epoch);
    }

    private void Relocate(string reason)
    {
        Stop(IoStatus.NotOwner);
        _effects.Relocate(reason);
    }

    private bool IsMember(ReplicaSession session) => _state.Member(session.Id) is not null;

    private bool IsLocal(ReplicaSession session) => session.Placement.Node == _effects.Node;

    /// <summary>
    /// A frame to a replica: epoch and watermark ride on each (R4). Before the epoch is opened in the journal nothing of a tail is certain: another
    /// takeover, with other members, may still choose a shorter prefix.
    /// </summary>
    private FrameHeader Frame(FrameKind kind, ulong requestId = 0) =>
        FrameHeader.Of(kind, Volume, _epoch, requestId, IsOpened ? Committed : 0);

    private static void SendBody(IFrameLink link, FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (body.Length <= Limits.SmallBodyBytesMax)
        {
            link.Send(header, body);
            return;
        }
        var buffer = BufferPool.Shared.Rent(body.Length);
        body.CopyTo(buffer.Span);
        link.Send(header, buffer);
        buffer.Release();
    }
}
