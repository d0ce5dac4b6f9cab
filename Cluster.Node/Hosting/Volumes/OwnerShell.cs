using System.Collections.Immutable;
using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Node.Repair;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>
/// The world of one owner's machine: links and local replica of the runtime, journal and answers of its actor. Lives on the loop from
/// <see cref="VolumeRuntime.AddOwner"/> to <see cref="VolumeRuntime.RemoveOwner"/>; what it tells the actor carries itself, so that the
/// actor can ignore one that it has replaced.
/// </summary>
internal sealed partial class OwnerShell : IVolumeEffects, IOwnerHandle
{
    /// <summary>Of one answer of <see cref="ChangedBlocks"/>: it crosses the network as one control message.</summary>
    private const int ChangedRunsMax = 4096;

    private readonly VolumeRuntime _runtime;
    private readonly VolumeRuntime.LocalReplicaSource _local;
    private int _cloneDepth;
    private readonly IActorRef _actor;
    private readonly ILogger _logger;
    private readonly long _recoveredMs;
    private readonly long _startedMs;
    private readonly Action _wake;
    private ulong _sizeBytes;

    public OwnerShell(VolumeRuntime runtime, VolumeState state, IActorRef actor, TimeSpan recovery, ILogger logger)
    {
        (_runtime, _actor, _logger) = (runtime, actor, logger);
        _recoveredMs = runtime.Loop.FreshNowMs();
        _startedMs = _recoveredMs - (long)recovery.TotalMilliseconds;
        Volume = state.Spec!.Id;
        FullName = state.Spec.FullName;
        _local = runtime.LocalOf(Volume);
        (SnapshotCount, _sizeBytes) = (state.Snapshots.Length, state.Spec.SizeBytes);
        foreach (var placement in state.Replicas) runtime.RepairMetrics.Expect(placement.NodeName);
        Machine = new VolumeMachine(state, this);
        _wake = Machine.OnWake;
    }

    public VolumeId Volume { get; }

    public string FullName { get; }

    public VolumeMachine Machine { get; }

    /// <summary>As journaled.</summary>
    public int SnapshotCount { get; private set; }

    public NodeId Node => _runtime.Identity.Id;

    public string NodeName => _runtime.Identity.Name;

    public Guid Era => _runtime.Identity.Era;

    public ulong NowUnixMs => (ulong)DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();

    public bool IsMemoryTight => BufferPool.Shared.IsTight;

    public long VolumeBytesMax => _runtime.VolumeBytesMax;

    public void OnRefusedForMemory() => _runtime.OnRefusedForMemory();

    public NodeRepair Repair => _runtime.Repair;

    public long NowMs => _runtime.Loop.FreshNowMs();

    public ILocalReplica? Local => _local.Current;

    public int CloneDepth => Volatile.Read(ref _cloneDepth);

    public void Journal(VolumeEvent e) => _actor.Tell(new OwnerNotice.JournalThis(this, e), ActorRefs.NoSender);

    public IFrameLink? LinkTo(NodeId node) => _runtime.LinkTo(node);

    public bool WasLinked(NodeId node) => _runtime.WasLinked(node);

    public long LeaseUntilMs(IFrameLink link) => _runtime.LeaseUntilMs(link);

    public void OnServing(bool serving)
    {
        if (serving)
        {
            Volatile.Write(ref _cloneDepth, Local?.CloneDepth ?? 0);
            LogTakeover();
        }
        // While it drains nobody else can serve it either. That it has ended is told after it gave its leases back, on the same links: who claims
        // the volume then waits for none of them.
        if (serving || Machine.Phase == VolumePhase.Stopped) _runtime.Announce(Volume, Machine.EpochNumber, serving);
        _actor.Tell(new OwnerNotice.ServingChanged(this, serving, Machine.EpochNumber), ActorRefs.NoSender);
    }

    public void OnPresented(int writes) => _runtime.Failovers.CountPresented(writes);

    /// <summary>Before it is announced: then the loss is forgotten.</summary>
    private void LogTakeover()
    {
        var loss = _runtime.LossOf(Volume);
        var parts = _runtime.Failovers.Count(loss, _startedMs, _recoveredMs, Machine.Times);
        var why = loss is { } gone ? $"its owner on node {_runtime.NameOf(gone.Node)} was {gone.Loss.ToString().ToLowerInvariant()}" : "it was moved or started";
        LogFailover(FullName, NodeName, Machine.EpochNumber, why, parts);
    }

    public void Relocate(string reason)
    {
        LogRelocate(FullName, NodeName, reason);
        _actor.Tell(new OwnerNotice.Ended(this, reason), ActorRefs.NoSender);
    }

    public void OnDeposed(ulong epoch) => _actor.Tell(new OwnerNotice.Ended(this, $"epoch {epoch} was promised elsewhere"), ActorRefs.NoSender);

    public void Log(string what) => LogOwner(FullName, NodeName, what);

    public void OnRepair(in RepairEvent repair)
    {
        _runtime.RepairMetrics.Count(in repair);
        if (repair.Mended > 0) LogMended(FullName, NodeName, repair.Mended, repair.Range, repair.Copy, repair.Cause);
        if (repair.Lost > 0) LogLost(FullName, NodeName, repair.Lost, repair.Range, repair.Cause);
    }

    public void OnSlow(string copy, bool isOwner, string reason)
    {
        _runtime.RepairMetrics.CountSlow(copy, isOwner);
        LogSlow(FullName, NodeName, reason, isOwner ? "the owner moves" : "the copy is journaled out");
    }

    public void OnHeldForRoom(string? reason)
    {
        _runtime.RepairMetrics.HeldForRoom(reason is not null);
        if (reason is not null) LogHeldForRoom(FullName, NodeName, reason);
        else LogRoomAgain(FullName, NodeName);
    }

    public void OnGroupHold(long heldMs, bool isCommitted) => _runtime.Snapshots.CountHold(heldMs, isCommitted);

    public void MoveOwner(NodeId node, string name, string reason) => _runtime.MoveOwner(Volume, name);

    public void Wake(int afterMs) => _runtime.Loop.Schedule(afterMs, _wake);

    public void OnThrottled(ulong ios, ulong waitedMs) => _runtime.LimitMetrics.Count(FullName, ios, waitedMs);

    public string NameOf(NodeId node) => _runtime.NameOf(node);

    public void OnChanged()
    {
        if (Machine.Phase == VolumePhase.Stopped) _actor.Tell(new OwnerNotice.Stopped(this), ActorRefs.NoSender);
    }

    // ---- as the actor's handle: any thread, in order ----

    public void OnJournaled(VolumeEvent e, Action? then) => _runtime.Loop.Post(() =>
    {
        Note(e);
        Machine.OnJournaled(e);
        then?.Invoke();
    });

    private void Note(VolumeEvent e)
    {
        if (e is SpecChanged changed) _sizeBytes = changed.Spec.SizeBytes;
        if (e is ReplicaAdded added) _runtime.RepairMetrics.Expect(added.Replica.NodeName);
        if (e is not (SnapshotCreated or SnapshotDeleted)) return;
        var by = e is SnapshotCreated ? 1 : -1;
        SnapshotCount += by;
        _runtime.CountSnapshots(this, by);
    }

    public void Drain() => _runtime.Loop.Post(Machine.Drain);

    public void Stop() => _runtime.Loop.Post(() => _runtime.RemoveOwner(this));

    public void DropSurplus(ImmutableArray<ReplicaId> first) => _runtime.Loop.Post(() => Machine.DropSurplus(first));

    public void DropReplaced(ReplicaId copy, string reason) => _runtime.Loop.Post(() => Machine.DropReplaced(copy, reason));

    public void Delete(Action<IoStatus, string> refused) => _runtime.Loop.Post(() =>
    {
        var answer = Machine.Delete();
        if (answer.Status == IoStatus.Ok) return;
        refused(answer.Status, answer.Status != IoStatus.Busy
            ? $"its owner on node {NodeName} does not serve it now, so nobody knows who uses it; {VolumeActor.TryOrForce}"
            : answer.Users.Count == 0 ? "its owner has just changed and who used it may be on the way back; try again"
            : $"it is in use through {string.Join(" and ", answer.Users.Select(_runtime.NameOf))}; disconnect its clients there, or delete it with "
                + "--force, which cuts them off");
    });

    public void Scrub(bool start, Action<VolumeProtocol.ScrubView> answer) => _runtime.Loop.Post(() =>
    {
        if (start) Machine.StartScrub();
        answer(Machine.ScrubView());
    });

    public void CreateSnapshot(string name, Action<IoStatus, string> refused) => _runtime.Loop.Post(() =>
    {
        var answer = Machine.CreateSnapshot(name);
        if (answer.Status != IoStatus.Ok) refused(answer.Status, answer.Sentence);
    });

    public void PrepareSnapshot(Guid attempt, string name, Action<PreparedSnapshot> answer) => _runtime.Loop.Post(() => Machine.PrepareSnapshot(attempt, name, answer));

    public void CommitSnapshot(Guid attempt, Action<IoStatus, string> refused) => _runtime.Loop.Post(() =>
    {
        var answer = Machine.CommitSnapshot(attempt);
        if (answer.Status != IoStatus.Ok) refused(answer.Status, answer.Sentence);
    });

    public void AbortSnapshot(Guid attempt) => _runtime.Loop.Post(() => Machine.AbortSnapshot(attempt));

    public void RestoreSnapshot(ulong snapshot, Action<IoStatus, string> answer) => _runtime.Loop.Post(() => Machine.RestoreSnapshot(snapshot, answer));

    public void Shrink(SpecChanged change, Action<IoStatus, string> answer) => _runtime.Loop.Post(() => Machine.Shrink(change, answer));

    /// <summary>Without a copy here there is nothing to tell; such an owner is about to move.</summary>
    public void SnapshotUsages(Action<long, IReadOnlyList<(ulong Snapshot, long Bytes, long Blocks, long? SharedBytes)>> answer) => _runtime.Loop.Post(() =>
    {
        if (Local is { } local) answer(local.StoredBytes, [.. local.Snapshots.Select(snapshot => UsageOf(local, snapshot))]);
        else answer(0, []);
    });

    private static (ulong Snapshot, long Bytes, long Blocks, long? SharedBytes) UsageOf(ILocalReplica local, ulong snapshot)
    {
        var (bytes, blocks, shared) = local.SnapshotUsage(snapshot);
        return (snapshot, bytes, blocks, shared);
    }

    public void ChangedBlocks(ulong from, ulong to, ulong first, Action<(IReadOnlyList<BlockRange> Runs, ulong UpTo)?> answer) => _runtime.Loop.Post(() =>
    {
        // One that is journaled and not in the map here: a deletion that is under way, or a copy that has just changed.
        if (Local is not { } local || !Has(local, from) || !Has(local, to))
        {
            answer(null);
            return;
        }
        var blocks = (_sizeBytes + Limits.BlockBytes - 1) / Limits.BlockBytes;
        var runs = new List<BlockRange>();
        var upTo = first >= blocks ? first : local.Changed(from, to, new BlockRange(first, (uint)Math.Min(blocks - first, uint.MaxValue)), ChangedRunsMax, runs);
        answer((runs, upTo));
    });

    private static bool Has(ILocalReplica local, ulong snapshot) => snapshot == 0 || local.Snapshots.Contains(snapshot);

    public void View(Action<VolumeView> answer) => _runtime.Loop.Post(() => answer(Machine.View()));

    [LoggerMessage(Level = LogLevel.Information, Message = "failover: volume {Volume} is served by node {Node} in epoch {Epoch}, since {Why}: {Parts}")]
    private partial void LogFailover(string volume, string node, ulong epoch, string why, string parts);

    [LoggerMessage(Level = LogLevel.Information, Message = "volume {Volume} on node {Node}: {What}")]
    private partial void LogOwner(string volume, string node, string what);

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume} on node {Node}: {Blocks} blocks of {Range} were bad on the copy on node {Copy} and "
        + "were written anew from another copy (found by {Cause})")]
    private partial void LogMended(string volume, string node, int blocks, BlockRange range, string copy, RepairCause cause);

    [LoggerMessage(Level = LogLevel.Error, Message = "volume {Volume} on node {Node}: {Blocks} blocks of {Range} are bad on every in-sync copy; reads of them "
        + "fail until they are written anew (found by {Cause})")]
    private partial void LogLost(string volume, string node, int blocks, BlockRange range, RepairCause cause);

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume} on node {Node}: {Reason}; {Consequence}")]
    private partial void LogSlow(string volume, string node, string reason, string consequence);

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume} on node {Node}: {Reason}")]
    private partial void LogHeldForRoom(string volume, string node, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "volume {Volume} on node {Node}: no write is held for want of room any more")]
    private partial void LogRoomAgain(string volume, string node);

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume} can't be served by node {Node}: {Reason}")]
    private partial void LogRelocate(string volume, string node, string reason);
}
