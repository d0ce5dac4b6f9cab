using System.Diagnostics;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Event;
using Akka.Persistence;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Owner;

/// <summary>
/// The sharded entity of one volume: journals what its machine decides, and answers questions. It decides nothing about data. Losing a compare and set
/// in the journal throws in the plug-in and stops this actor, and with it the machine (R1, R18).
/// </summary>
public sealed partial class VolumeActor : ReceivePersistentActor, IWithTimers
{
    /// <summary>Those who wait until the volume serves; more are refused.</summary>
    private const int WaitersMax = 1024;
    public const string TryOrForce = "try again, or delete it with --force";
    private static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan AskedAgain = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan EndedPause = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan DrainMax = TimeSpan.FromSeconds(3);

    private readonly VolumeId _volume;
    private readonly IOwnerHost _host;
    private readonly NodeId _node;
    private readonly string _nodeName;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly List<Waiter> _waiters = [];
    private VolumeState _state = VolumeState.Empty;
    private IOwnerHandle? _owner;
    private bool _serving;
    private readonly ulong? _onlyAt;
    private readonly long _startedAt = Stopwatch.GetTimestamp();
    private bool _machineStopped;
    private bool _handingOff;
    private bool _steppedBack;
    private ulong _epoch;
    private string _endedReason = "";

    /// <summary>Who asked last for a deletion that the machine decides.</summary>
    private IActorRef? _deleter;

    private readonly record struct Waiter(IActorRef Who, bool Created, long UntilMs);

    private sealed record GiveUpWaiting
    {
        public static readonly GiveUpWaiting Instance = new();
    }

    private sealed record Leave
    {
        public static readonly Leave Instance = new();
    }

    /// <param name="onlyAt">An early claim: the volume is taken over only if this is its newest epoch, and this node's copy is in sync.</param>
    public VolumeActor(VolumeId volume, IOwnerHost host, NodeId node, string nodeName, ulong? onlyAt = null)
    {
        (_volume, _host, _node, _nodeName, _onlyAt) = (volume, host, node, nodeName, onlyAt);
        PersistenceId = PersistenceIdOf(volume);
        Recover<VolumeEvent>(e => _state = _state.Apply(e));
        RecoverImages();
        Recover<RecoveryCompleted>(_ => OnRecovered());
        Command<IVolumeCommand>(_ => Refuse(Sender, IoStatus.NotOwner, "another node has claimed it, try again in a moment"), _ => _steppedBack);
        Command<VolumeProtocol.Create>(OnCreate);
        Command<VolumeProtocol.Locate>(OnLocate);
        Command<VolumeProtocol.Describe>(OnDescribe);
        Command<VolumeProtocol.Scrub>(OnScrub);
        Command<VolumeProtocol.Attach>(OnAttach);
        Command<VolumeProtocol.Detach>(detach => ChangeAttachment(AttachmentMode.Shared, default, "", detach.Expected));
        Command<VolumeProtocol.ChangeSpec>(OnChangeSpec);
        Command<ShrinkAnswered>(OnShrinkAnswered);
        Command<VolumeProtocol.ReplaceReplica>(OnReplaceReplica);
        Command<VolumeProtocol.ArrangeCopies>(OnArrangeCopies);
        Command<VolumeProtocol.Delete>(OnDelete);
        CommandSnapshots();
        CommandImages();
        Command<OwnerNotice>(OnNotice);
        Command<VolumeHandOff>(_ => OnHandOff());
        Command<GiveUpWaiting>(_ => DropOldWaiters());
        Command<Leave>(_ => Context.Parent.Tell(new Passivate(PoisonPill.Instance)));
    }

    public override string PersistenceId { get; }

    public ITimerScheduler Timers { get; set; } = null!;

    public static string PersistenceIdOf(VolumeId volume) => $"volume-{volume}";

    public static Props Props(VolumeId volume, IOwnerHost host, NodeId node, string nodeName, ulong? onlyAt = null) =>
        Akka.Actor.Props.Create(() => new VolumeActor(volume, host, node, nodeName, onlyAt));

    protected override void PostStop()
    {
        // The machine stops serving before anything else can start in its place on this node (an Akka restart takes a new epoch).
        _owner?.Stop();
        foreach (var waiter in _waiters) Refuse(waiter.Who, IoStatus.NotOwner, "its owner is moving");
        EndSnapshotWork("its owner is moving");
        base.PostStop();
    }

    /// <summary>The actor ends after this. A journal that does not answer now is asked again with the next message; what can't be read will not be better then.</summary>
    protected override void OnRecoveryFailure(Exception reason, object? message = null)
    {
        if (reason.GetBaseException() is EventFormatException or InvariantException) Context.Parent.Tell(new VolumeUnreadable(_volume, reason.GetBaseException()));
        else base.OnRecoveryFailure(reason, message);
    }

    private void OnRecovered()
    {
        if (_state.Deleted) KeepImageOfDeleted();
        if (_onlyAt is not { } epoch || _state.MayClaimEarly(_node, epoch)) StartOwner();
        else StepBack(epoch);
    }

    /// <summary>Without a machine nothing may be changed or answered here: who has asked meanwhile asks again.</summary>
    private void StepBack(ulong epoch)
    {
        _log.Info("volume {0}: node {1} does not claim it after all: it lost epoch {2} and the journal is at {3}", _volume, _nodeName, epoch, _state.Epoch.Value);
        _steppedBack = true;
        Context.Parent.Tell(new Passivate(PoisonPill.Instance));
    }

    private void StartOwner()
    {
        if (_state.Spec is null || _state.Deleted) return;
        (_endedReason, _serving, _machineStopped, _shrinking) = ("", false, false, null);
        _owner = _host.Start(_state, Self, Stopwatch.GetElapsedTime(_startedAt));
    }

    private void Commit(VolumeEvent e, Action? then = null) => Persist(e, journaled =>
    {
        _state = _state.Apply(journaled);
        KeepImage();
        if (_owner is { } owner) owner.OnJournaled(journaled, then);
        else then?.Invoke();
        if (journaled is SnapshotCreated created) OnSnapshotCreated(created);
        else if (journaled is SpecChanged) FollowSchedule();
    });

    private void OnCreate(VolumeProtocol.Create create)
    {
        if (_state.Deleted) Refuse(Sender, IoStatus.Deleted, "it was deleted");
        else if (_serving) Sender.Tell(new VolumeProtocol.Done(_volume));
        else if (AddWaiter(created: true) && _state.Spec is null)
        {
            Persist<VolumeEvent>(new VolumeCreated(_volume, create.Spec, create.Replicas), journaled =>
            {
                _state = _state.Apply(journaled);
                StartOwner();
            });
        }
    }

    private void OnLocate(VolumeProtocol.Locate locate)
    {
        if (_state.Deleted) Refuse(Sender, IoStatus.Deleted, "it was deleted");
        else if (_state.Spec is null) Refuse(Sender, IoStatus.Missing, "no volume with this id was created");
        else if (_serving) Sender.Tell(new VolumeProtocol.Located(_volume, _node, _nodeName, _epoch));
        else AddWaiter(created: false);
    }

    private bool AddWaiter(bool created)
    {
        // Who asks again has given up its earlier question.
        if (!created) _waiters.RemoveAll(waiter => !waiter.Created && waiter.UntilMs < WaitedMs - (long)AskedAgain.TotalMilliseconds);
        if (_waiters.Count >= WaitersMax)
        {
            Refuse(Sender, IoStatus.Busy, $"{WaitersMax} others wait for it already");
            return false;
        }
        _waiters.Add(new Waiter(Sender, created, WaitedMs));
        Timers.StartSingleTimer("waiters", GiveUpWaiting.Instance, WaitMax);
        return true;
    }

    /// <summary>Until when one who asks now waits, by the clock that nobody sets.</summary>
    private static long WaitedMs => Environment.TickCount64 + (long)WaitMax.TotalMilliseconds;

    private void DropOldWaiters()
    {
        var now = Environment.TickCount64;
        foreach (var waiter in _waiters.Where(waiter => waiter.UntilMs <= now)) Refuse(waiter.Who, IoStatus.Offline, NotServingReason());
        _waiters.RemoveAll(waiter => waiter.UntilMs <= now);
        if (_waiters.Count > 0) Timers.StartSingleTimer("waiters", GiveUpWaiting.Instance, WaitMax);
    }

    private string NotServingReason() =>
        _endedReason.Length > 0 ? $"its owner on node {_nodeName} ended: {_endedReason}" : $"its owner on node {_nodeName} is taking over";

    private void OnDescribe(VolumeProtocol.Describe describe)
    {
        var (sender, snapshots) = (Sender, ShownSnapshots.Count());
        // Of a deleted one no spec is kept, and its machine is over.
        if (_state.Deleted) Refuse(sender, IoStatus.Deleted, "it was deleted");
        else if (_owner is { } owner) owner.View(view => sender.Tell(view with { Snapshots = snapshots }, ActorRefs.NoSender));
        else if (_state.Spec is null) Refuse(sender, IoStatus.Missing, "no volume with this id was created");
        else Refuse(sender, IoStatus.NotOwner, NotServingReason());
    }

    private void OnScrub(VolumeProtocol.Scrub scrub)
    {
        var sender = Sender;
        if (_state.Spec is null || _state.Deleted) Refuse(sender, IoStatus.Missing, "it does not exist");
        else if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.NotOwner, NotServingReason());
        else owner.Scrub(scrub.Start, view => sender.Tell(view, ActorRefs.NoSender));
    }

    private void OnAttach(VolumeProtocol.Attach attach)
    {
        var now = _state.Attachment;
        // A second identical call finds what the first one did.
        if (attach.Expected is null && now.Mode == AttachmentMode.Exclusive && now.Node == attach.Node)
            Sender.Tell(new VolumeProtocol.Attached(_volume, now));
        else ChangeAttachment(AttachmentMode.Exclusive, attach.Node, attach.NodeName, attach.Expected);
    }

    /// <summary>R11: answered only after the owner's machine enforces the new generation.</summary>
    private void ChangeAttachment(AttachmentMode mode, NodeId node, string nodeName, VolumeRevision? expected)
    {
        var sender = Sender;
        if (_state.Spec is null || _state.Deleted)
        {
            Refuse(sender, IoStatus.Missing, "it does not exist");
            return;
        }
        if (IsStale(expected))
        {
            RefuseStale(sender, expected!);
            return;
        }
        if (RestoringTo is { } snapshot && mode == AttachmentMode.Exclusive)
        {
            Refuse(sender, IoStatus.Busy, $"it is being put back to snapshot \"{snapshot.Name}\"; try again when that has ended");
            return;
        }
        if (mode == AttachmentMode.Shared && _state.Attachment.Mode == AttachmentMode.Shared)
        {
            sender.Tell(new VolumeProtocol.Attached(_volume, _state.Attachment));
            return;
        }
        var attachment = new Attachment(_state.Attachment.Generation + 1, mode, node, nodeName);
        Commit(new AttachmentChanged(_volume, attachment), () => sender.Tell(new VolumeProtocol.Attached(_volume, attachment), ActorRefs.NoSender));
    }

    /// <summary>Sent again by placement until Done: the new copy is added, caught up and journaled in by the machine, then the lost one is struck off.</summary>
    private void OnReplaceReplica(VolumeProtocol.ReplaceReplica replace)
    {
        var to = replace.Replacement;
        if (_state.Spec is null || _state.Deleted || _state.Placement(replace.Lost) is null || replace.Revision < _state.SpecRevision)
            Sender.Tell(new VolumeProtocol.Done(_volume));
        else if (_state.Placement(to.Id) is null)
        {
            Refuse(Sender, IoStatus.Busy, $"the new copy on node {to.NodeName} is being made");
            AddCopy(to);
        }
        else if (_state.Member(to.Id) is null) Refuse(Sender, IoStatus.Busy, $"the new copy on node {to.NodeName} is catching up");
        else
        {
            Refuse(Sender, IoStatus.Busy, $"the old copy is being dropped for the one on node {to.NodeName}");
            _owner?.DropReplaced(replace.Lost, $"replaced by the copy on node {to.NodeName}");
        }
    }

    /// <summary>Sent again by placement until it is so. The machine chooses what goes, and journals it.</summary>
    private void OnArrangeCopies(VolumeProtocol.ArrangeCopies arrange)
    {
        if (_state.Spec is not { } spec || _state.Deleted) Refuse(Sender, IoStatus.Missing, "it does not exist");
        else if (arrange.Revision != _state.SpecRevision) Refuse(Sender, IoStatus.Busy, $"its spec is at revision {_state.SpecRevision}, not at {arrange.Revision}");
        else if (arrange.Added.Any(IsToAdd))
        {
            Refuse(Sender, IoStatus.Busy, "its new copies are being added");
            foreach (var added in arrange.Added.Where(IsToAdd)) AddCopy(added);
        }
        else if (_state.Replicas.Length <= spec.Replicas) Sender.Tell(new VolumeProtocol.CopiesArranged(_volume, _state.Replicas));
        else
        {
            Refuse(Sender, _serving ? IoStatus.Busy : IoStatus.Offline,
                _serving ? $"{_state.Replicas.Length - spec.Replicas} of its copies are being dropped" : NotServingReason());
            _owner?.DropSurplus(arrange.DropFirst);
        }
    }

    /// <summary>A number up to the highest given out that is not among the copies is gone for ever; and no node holds two copies.</summary>
    private bool IsToAdd(ReplicaPlacement copy) =>
        copy.Id.Number > _state.LastReplica && !_state.Replicas.Any(replica => replica.Node == copy.Node);

    private void AddCopy(ReplicaPlacement copy)
    {
        if (IsToAdd(copy)) Commit(new ReplicaAdded(_volume, copy));
    }

    /// <summary>
    /// Sent again by placement until Done. A volume that was never created gets its tombstone too, so that a Create that was delayed can't revive it
    /// (R22).
    /// </summary>
    private void OnDelete(VolumeProtocol.Delete delete)
    {
        var sender = Sender;
        if (_state.Deleted) sender.Tell(new VolumeProtocol.Done(_volume));
        else if (IsStale(delete.Expected)) RefuseStale(sender, delete.Expected!);
        else if (delete.Force || _state.Spec is null || _state.Opened == Epoch.None)
            Commit(new VolumeDeleted(_volume), () => sender.Tell(new VolumeProtocol.Done(_volume), ActorRefs.NoSender));
        else if (_state.Attachment is { Mode: AttachmentMode.Exclusive } attachment)
            Refuse(sender, IoStatus.Conflict, $"it is attached to {attachment.NodeName}; detach it (myrmidon volume detach {_state.Spec.FullName}), "
                + "or delete it with --force, which cuts that node off");
        else if (_state.Clones.Length > 0 || IsCloneAsked)
            Refuse(sender, IoStatus.Conflict, $"volume {_state.Clones.Select(clone => clone.Name).FirstOrDefault("NEW")} is being cloned from it; delete it when that has ended, "
                + "or now with --force, which leaves the clone empty-handed if it has not begun");
        else if (ShownSnapshots.Any())
            Refuse(sender, IoStatus.Conflict, $"it has {CountOfSnapshots()}, which would go with it; delete its snapshots first (myrmidon snapshot list {_state.Spec.FullName}), "
                + "or all of it with --force, which also cuts off whoever uses it");
        else if (_groupAskers.Count > 0) Refuse(sender, IoStatus.Busy, $"snapshot \"{_groupAskers[0].Commit.Name}\" of it is being made; try again");
        else if (_creating is not null) Refuse(sender, IoStatus.Busy, $"snapshot \"{_creating}\" of it is being made; try again");
        else if (_owner is not { } owner || !_serving) Refuse(sender, IoStatus.Offline, $"{NotServingReason()}, so nobody knows who uses it; {TryOrForce}");
        else
        {
            _deleter = sender;
            owner.Delete((status, reason) => sender.Tell(Refusal(status, reason), ActorRefs.NoSender));
        }
    }

    private void OnNotice(OwnerNotice notice)
    {
        if (notice.Owner != _owner) return;
        switch (notice)
        {
            case OwnerNotice.JournalThis { Event: SpecChanged overtaken } when overtaken.Revision <= _state.SpecRevision: break;
            // Asked before the machine knew that it is over. The deletion stays the last event (R22).
            case OwnerNotice.JournalThis when _state.Deleted: break;
            case OwnerNotice.JournalThis journal:
                Invariant.That(journal.Event is not SnapshotCreated created || SnapshotOf(created.Name) is null, "a volume gets two snapshots of one name");
                var deleter = journal.Event is VolumeDeleted ? _deleter : null;
                Commit(journal.Event, () => deleter?.Tell(new VolumeProtocol.Done(_volume), ActorRefs.NoSender));
                break;
            case OwnerNotice.ServingChanged changed:
                (_serving, _epoch) = (changed.Serving, changed.Epoch);
                if (_serving) AnswerWaiters();
                if (_serving) FollowSchedule();
                if (_serving) LookAtClones();
                else EndSnapshotWork($"its owner on node {_nodeName} stops serving it");
                break;
            case OwnerNotice.Ended ended:
                (_serving, _endedReason) = (false, ended.Reason);
                EndSnapshotWork(NotServingReason());
                // The next message starts this actor anew, here or where sharding has moved it meanwhile. Not at once: two nodes that both believe
                // themselves to be the volume's home would depose each other in turns.
                Timers.StartSingleTimer("leave", Leave.Instance, EndedPause);
                break;
            case OwnerNotice.Stopped:
                (_serving, _machineStopped) = (false, true);
                EndSnapshotWork($"its owner on node {_nodeName} stopped");
                if (_handingOff) Context.Stop(Self);
                break;
            default:
                Unhandled(notice);
                break;
        }
    }

    private void AnswerWaiters()
    {
        foreach (var waiter in _waiters)
        {
            waiter.Who.Tell(waiter.Created
                ? new VolumeProtocol.Done(_volume)
                : new VolumeProtocol.Located(_volume, _node, _nodeName, _epoch));
        }
        _waiters.Clear();
        Timers.Cancel("waiters");
    }

    private void OnHandOff()
    {
        _handingOff = true;
        // One that has ended by itself, or with its node, has nothing left to drain.
        if (_owner is null || _machineStopped)
        {
            Context.Stop(Self);
            return;
        }
        _log.Info("volume {0}: node {1} hands it over", _volume, _nodeName);
        _owner.Drain();
        // What did not drain by then is replayed by the front ends at the next owner.
        Timers.StartSingleTimer("drain", PoisonPill.Instance, DrainMax);
    }

    private bool IsStale(VolumeRevision? expected) => expected is not null && expected.Generation != _state.Attachment.Generation;

    private void RefuseStale(IActorRef to, VolumeRevision expected) =>
        Refuse(to, IoStatus.StaleSession, $"its attachment has changed since revision {expected}; read it again and decide anew");

    private void Refuse(IActorRef to, IoStatus status, string reason) => to.Tell(Refusal(status, reason));

    private VolumeProtocol.Refused Refusal(IoStatus status, string reason) =>
        new(_volume, status, $"Volume {_state.Spec?.FullName ?? _volume.ToString()}: {reason}.");
}
