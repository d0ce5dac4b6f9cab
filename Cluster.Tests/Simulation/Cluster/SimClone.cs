using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// A volume that was cloned from a snapshot of the volume: own journal, owner and copies, on the same nodes and in the same stores. What it must hold is what the origin's order had made
/// of the blocks below the snapshot (told by <see cref="SimOrder"/>, by no code that is tested), and what its user has written since.
/// </summary>
internal sealed class SimClone
{
    private readonly SimWorld _world;
    private readonly SimRandom _random;
    private readonly List<SimCloneSeat> _seats;
    private SimOwner? _owner;
    private bool _isStarting;
    private int _started;
    private long _lostSinceUs = -1;
    private long _patienceUs;
    private SimNode? _next;
    private bool _wasVerified;
    private bool _isLeaving;

    public SimClone(SimWorld world, SimRandom random, VolumeId volume, VolumeSource source, SimOrder.Content content)
    {
        (_world, _random, Volume, Source) = (world, random, volume, source);
        Blocks = world.Profile.Blocks + (random.Percent(30) ? SimClones.BlocksMore : 0);
        var spec = world.Spec with { Id = volume, Name = $"clone-{volume.Value}", SizeBytes = Blocks * Limits.BlockBytes, Source = source };
        var copies = world.Replicas.Select((node, index) => new ReplicaPlacement(new ReplicaId((ushort)(index + 1)), node.Id, node.Name, random.Guid()));
        Journal = new SimJournal(world, new VolumeCreated(volume, spec, [.. copies]));
        var user = world.Nodes[world.Profile.Replicas + random.Below(world.Profile.Clients)];
        Client = new SimCloneClient(this, user, random, content, (int)random.Between(40, 120));
        _seats = [.. world.Nodes.Select(node => new SimCloneSeat(this, node))];
    }

    public VolumeId Volume { get; }

    public VolumeSource Source { get; }

    public string Name => $"c{Volume.Value}";

    public ulong Blocks { get; }

    public SimJournal Journal { get; }

    public SimCloneClient Client { get; }

    public SimTally Tally => _world.Clones.Tally;

    public SimNode? OwnerNode => _owner?.Host;

    public bool HasItsCopy(NodeId node) => _seats.Any(seat => seat.Node.Id == node && seat.Machine is { IsFailed: false });

    /// <summary>Its first epoch is open: it needs nobody to keep the snapshot any more.</summary>
    public bool HasBegun => Journal.State.Opened != Epoch.None;

    /// <summary>Nothing is on its way, and all copies were found to be what they must.</summary>
    public bool IsVerified { get; private set; }

    private bool IsReadAll { get; set; }

    /// <summary>Nothing of it is left anywhere.</summary>
    public bool IsGone { get; private set; }

    public SimCloneSeat Seat(SimNode node) => _seats[node.Index];

    public bool IsInSync => Journal.Undecided == 0 && Journal.State.InSync.Length == _world.Profile.Replicas;

    public BrokenPromiseException Broken(string what) =>
        new($"clone {Name} of snapshot {Source.Sequence}: {what} (at {_world.NowUs / 1000.0} ms)\n{StateText}");

    public string StateText => $"{Name}: owner {OwnerNode?.Name} {_owner?.Machine.Phase} epoch {_owner?.Machine.EpochNumber} {_owner?.Machine.View().Reason}, in sync "
        + $"{string.Join(",", Journal.State.InSync.Select(member => member.Id))} of {_world.Profile.Replicas}, deleted {Journal.State.Deleted}, client {Client.State}; "
        + string.Join("; ", _seats.Where(seat => seat.Machine is not null).Select(seat => $"{seat.Node.Name} last {seat.Machine!.Store.LastSequence} catching up {seat.Machine.Header.CatchingUp} failed {seat.Machine.IsFailed}"));

    public void OnOwnerSaid(string what)
    {
        if (what.StartsWith("catch-up of", StringComparison.Ordinal)) Tally.Add("CatchUp");
        if (what == "serves") Tally.Add("Serving");
        if (what.Contains("holds other versions", StringComparison.Ordinal)) throw Broken(what);
    }

    /// <summary>Plays sharding, as <see cref="SimDirector"/> does for the volume.</summary>
    public void Look()
    {
        if (IsGone) return;
        if (Journal.State.Deleted)
        {
            IsGone = _seats.TrueForAll(seat => seat.Node.IsAlive && seat.Reap());
            if (IsGone) Tally.Add("Gone");
            return;
        }
        if (_owner is { IsStopped: false } owner && Seat(owner.Host).Owner == owner && owner.Host.IsWorking && _world.Network.ReachesJournal(owner.Host))
        {
            _lostSinceUs = -1;
            if (_world.Faults is { IsOver: false } && _random.Below(200) == 0) BreakOwner(owner);
            return;
        }
        if (_lostSinceUs < 0) (_lostSinceUs, _patienceUs) = (_world.NowUs, _random.Between(20_000, 2_500_000));
        if (_isStarting || _world.NowUs - _lostSinceUs < _patienceUs) return;
        var able = _world.Replicas.Where(node => node.IsWorking && _world.Network.ReachesJournal(node)).ToList();
        var next = _next is { IsWorking: true } planned ? planned : able.Count == 0 ? null : able[_random.Below(able.Count)];
        _next = null;
        if (next is null) return;
        _lostSinceUs = -1;
        Claim(next);
    }

    /// <summary>What an owner asks for, or a planned move.</summary>
    public void Move(NodeId to)
    {
        if (_owner is not { IsStopped: false } owner || !owner.Host.IsWorking || owner.Host.Id == to) return;
        _next = _world.Replicas.FirstOrDefault(node => node.Id == to);
        owner.Host.Post(0, owner.Machine.Drain);
        owner.Host.Post(3_000_000, () =>
        {
            if (!owner.IsStopped) owner.Machine.Stop();
        });
    }

    /// <summary>Once the client is done: every copy is in sync, and holds exactly that.</summary>
    public void TryVerify()
    {
        if (IsVerified || !Client.IsDone || !IsInSync || _owner is not { Machine.Phase: VolumePhase.Serving } owner) return;
        if (!IsReadAll)
        {
            IsReadAll = true;
            Client.ReadAll();
            return;
        }
        var machine = owner.Machine;
        var expected = Client.Expected;
        List<(ulong Block, ulong Sequence, ulong Value)>? first = null;
        foreach (var node in _world.Replicas)
        {
            if (!node.IsWorking || Seat(node).Machine is not { IsFailed: false, Store: var store } || store.CommitWatermark != machine.Committed || store.LastSequence != machine.Sequence) return;
        }
        foreach (var node in _world.Replicas)
        {
            if (node.Storage.CommittedOf(Volume) is not { } held) return;
            // A read that the disk is made to fail later leaves nothing bad behind.
            if (!held.Select(block => (block.Block, block.Value)).SequenceEqual(expected))
                throw Broken($"{node.Name} does not hold what it must:\n  {string.Join(" ", held)}\n  {string.Join(" ", expected)}");
            first ??= [.. held];
            if (!held.SequenceEqual(first)) throw Broken($"{node.Name} holds the blocks as of other sequences:\n  {string.Join(" ", held)}\n  {string.Join(" ", first)}");
        }
        IsVerified = true;
        Tally.Add(_wasVerified ? "VerifiedAgain" : "Verified");
        _wasVerified = true;
    }

    /// <summary>What has happened meanwhile may have changed what its copies hold: all is read and compared once more. Not of one that is being deleted, which nobody reads.</summary>
    public void LookAnew()
    {
        if (!_isLeaving) (IsVerified, IsReadAll) = (false, false);
    }

    /// <summary>By order, whoever uses it.</summary>
    public void Delete()
    {
        _isLeaving = true;
        Client.End();
        if (Journal.State.Deleted || _owner is not { IsStopped: false, IsProposing: false, Machine.Phase: VolumePhase.Serving } owner || !owner.Host.IsWorking) return;
        owner.Host.Post(0, () => owner.Machine.Propose(new VolumeDeleted(Volume)));
    }

    private void BreakOwner(SimOwner owner)
    {
        var other = _world.Nodes[_random.Below(_world.Profile.Replicas)];
        if (_random.Percent(40)) Move(other.Id);
        else if (other != owner.Host) Claim(other);
    }

    private void Claim(SimNode node)
    {
        if (!node.IsWorking || _isStarting) return;
        _isStarting = true;
        var number = ++_started;
        SimOwner.Start(Seat(node), owner => (_owner, _isStarting) = (owner, false));
        _world.At(1_000_000, () => _isStarting = _isStarting && number != _started);
    }
}
