using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Node.Repair;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// One owner's machine on a node, with what its actor does for it: one proposal at a time, and an end when the journal refuses.
/// </summary>
internal sealed class SimOwner : IVolumeEffects
{
    private const int TickUs = 100_000;
    private const int TightMs = 60;

    private readonly SimNode _node;
    private readonly SimCloneSeat? _seat;
    private readonly Queue<VolumeEvent> _proposals = new();
    private int _journalLength;
    private bool _isForgotten;

    /// <param name="seat">Of a clone; null: of the volume.</param>
    public SimOwner(SimNode node, VolumeState state, int journalLength, SimCloneSeat? seat = null)
    {
        (_node, _journalLength, _seat) = (node, journalLength, seat);
        Machine = new VolumeMachine(state, this);
    }

    public VolumeMachine Machine { get; }

    public SimNode Host => _node;

    /// <summary>Something is on its way to the journal.</summary>
    public bool IsProposing => _proposals.Count > 0;

    public bool IsStopped => Machine.Phase == VolumePhase.Stopped;

    /// <summary>Reads the journal and claims the clone on that node, in place of what it had there.</summary>
    public static void Start(SimCloneSeat seat, Action<SimOwner> started) => seat.Clone.Journal.Read(seat.Node, (state, length) =>
    {
        if (state.Deleted) return;
        seat.Owner?.Machine.Stop();
        var owner = new SimOwner(seat.Node, state, length, seat);
        seat.Owner = owner;
        owner.Machine.Start();
        owner.PostTick();
        started(owner);
    });

    /// <summary>The same of the volume.</summary>
    /// <param name="onlyAt">Not if the journal knows another epoch by then.</param>
    public static void Start(SimNode node, Action<SimOwner> started, ulong? onlyAt = null) => node.World.Journal.Read(node, (state, length) =>
    {
        if (onlyAt is { } epoch && !state.MayClaimEarly(node.Id, epoch)) return;
        node.Owner?.Machine.Stop();
        var owner = new SimOwner(node, state, length);
        node.Owner = owner;
        owner.Machine.Start();
        owner.PostTick();
        started(owner);
    });

    /// <summary>The process is gone, and with it the machine; nothing is said to anybody.</summary>
    public void Forget()
    {
        _isForgotten = true;
        Machine.Stop();
    }

    private bool IsPresent => (_seat is null ? _node.Owner : _seat.Owner) == this;

    private SimJournal Stream => _seat?.Clone.Journal ?? _node.World.Journal;

    private void PostTick() => _node.Post(TickUs, () =>
    {
        if (!IsPresent || IsStopped) return;
        Machine.OnTick();
        PostTick();
    });

    private void PumpProposals()
    {
        // A spec that was overtaken, as its actor would see.
        while (_proposals.TryPeek(out var first) && first is SpecChanged spec && spec.Revision <= Machine.State.SpecRevision) _proposals.Dequeue();
        if (!_proposals.TryPeek(out var next)) return;
        Stream.Propose(_node, _journalLength, next, outcome =>
        {
            if (!IsPresent || IsStopped) return;
            if (outcome != SimOutcome.Success)
            {
                Log($"the journal answered {outcome} to {next.GetType().Name}");
                Machine.Stop();
                return;
            }
            _journalLength++;
            _proposals.Dequeue();
            Machine.OnJournaled(next);
            PumpProposals();
        });
    }

    // ---- what the machine needs ----

    public NodeId Node => _node.Id;

    public string NodeName => _node.Name;

    public Guid Era => default;

    public long NowMs => _node.NowMs;

    public ulong NowUnixMs => (ulong)_node.NowMs;

    /// <summary>Every other moment, where the profile wants it.</summary>
    public bool IsMemoryTight => _node.World.Profile.TightMemory && NowMs / TightMs % 2 == 0;

    public long VolumeBytesMax => long.MaxValue;

    public void OnRefusedForMemory() => _node.World.History.RefusedForMemory++;

    public NodeRepair Repair => _node.Repair;

    public void Journal(VolumeEvent e)
    {
        _proposals.Enqueue(e);
        if (_proposals.Count == 1) PumpProposals();
    }

    public IFrameLink? LinkTo(NodeId node) => _node.LinkTo(node);

    public bool WasLinked(NodeId node) => _node.WasLinked(node);

    public long LeaseUntilMs(IFrameLink link) => link is SimLink up ? up.LeaseUntilMs : long.MaxValue;

    public ILocalReplica? Local => _seat is not null ? _seat.Machine is { IsFailed: false } ? _seat.Local : null : _node.Machine is { IsFailed: false } ? _node.Local : null;

    public void OnServing(bool serving)
    {
        Log(serving ? "serves" : "serves no more");
        if (_seat is not null) return;
        if (serving)
        {
            _node.World.History.OnServing(Machine.EpochNumber);
            _node.World.History.CheckSnapshots(_node, Machine.State);
        }
        if (serving || IsStopped) _node.Claims?.OnServing(Machine.EpochNumber, serving);
    }

    public void Relocate(string reason) => Log($"relocate: {reason}");

    public void OnDeposed(ulong epoch) => Log($"deposed by epoch {epoch}");

    public void Log(string what)
    {
        if (_seat is null) _node.World.History.OnOwnerSaid(what);
        else _seat.Clone.OnOwnerSaid(what);
        // What an owner logs is what is rare: takeovers, catch-ups, changes of the set.
        if (!_isForgotten) _node.World.Faults?.OnDelicate(_node, what);
        if (!_isForgotten) _node.World.Say(_seat is null ? $"{_node.Name}/e{Machine?.EpochNumber}" : $"{_node.Name}/{_seat.Clone.Name}/e{Machine?.EpochNumber}", what);
    }

    public void OnPresented(int writes) => _node.World.History.Presented += writes;

    public void OnRepair(in RepairEvent repair)
    {
        if (_seat is null) _node.World.History.OnRepair(in repair);
    }

    public void OnHeldForRoom(string? reason)
    {
        Log(reason is null ? "no write is held for room any more" : $"held for room: {reason}");
        if (reason is not null) _node.World.History.HeldForRoom++;
    }

    public void OnSlow(string copy, bool isOwner, string reason)
    {
        Log($"slow: {reason}");
        if (isOwner) _node.World.History.SlowOwners++;
        else _node.World.History.SlowCopies++;
    }

    public void OnGroupHold(long heldMs, bool isCommitted) => _node.World.History.Snapshots.Add(isCommitted ? "Released" : "HeldInVain");

    public void Wake(int afterMs) => _node.Post(afterMs * 1000L, () =>
    {
        if (IsPresent && !IsStopped) Machine.OnWake();
    });

    public void OnThrottled(ulong ios, ulong waitedMs) => _node.World.History.Throttled += ios;

    public string NameOf(NodeId node) => node.ToString();

    public void MoveOwner(NodeId node, string name, string reason)
    {
        if (_seat is null) _node.World.Director.Move(_node.World.Replicas.FirstOrDefault(other => other.Id == node) ?? _node);
        else _seat.Clone.Move(node);
    }

    public void OnChanged()
    {
    }
}
