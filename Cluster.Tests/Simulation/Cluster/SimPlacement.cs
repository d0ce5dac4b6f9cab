using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// Plays placement and the nodes' reapers: while the run goes on the volume gets fewer and more copies and other failure modes, new copies are placed where none is, surplus
/// ones are asked to go, and a node deletes a copy that the journal has let go (R22). At the end all is as it was at the beginning.
/// </summary>
internal sealed class SimPlacement(SimWorld world)
{
    private const int LookUs = 100_000;

    private readonly SimRandom _random = new(world.Seed ^ 0x97ACE);
    private VolumeSpec _wanted = world.Spec;
    private bool _isToRestore;

    public void Start()
    {
        world.Every(LookUs, Look);
        if (world.Profile.ChangesCopies) PostNext();
    }

    /// <summary>From here on the volume is to be what it was created as.</summary>
    public void Restore() => (_wanted, _isToRestore) = (world.Spec, true);

    /// <summary>The volume has as many copies as it is to have, each on a node that is there.</summary>
    public bool IsDone => world.Journal.State is { } state && state.Spec == world.Spec && state.Replicas.Length == world.Profile.Replicas
        && world.Replicas.All(node => state.Placement(node.Replica)?.Node == node.Id);

    private void PostNext() => world.At(_random.Between(500_000, 6_000_000), () =>
    {
        if (_isToRestore) return;
        if (_random.Percent(60))
        {
            world.History.Copies.Add("Wanted");
            _wanted = _wanted with { Replicas = (int)_random.Between(1, world.Profile.Replicas) };
        }
        else
        {
            world.History.Copies.Add("Modes");
            _wanted = _wanted with { FailureMode = (FailureModeKind)_random.Below(4), FailureThreshold = (int)_random.Between(1, world.Profile.Replicas) };
        }
        world.Say("placement", $"wants {_wanted.Replicas} copies, {_wanted.FailureMode} {_wanted.FailureThreshold}");
        PostNext();
    });

    private void Look()
    {
        foreach (var node in world.Replicas) Reap(node);
        if (world.Director.Owner is not { IsProposing: false, IsStopped: false } owner || !owner.Host.IsWorking) return;
        // What the owner knows may be older than the journal; its compare and set then ends it.
        var state = owner.Machine.State;
        if (!world.Director.IsServing) HelpOut(owner, state);
        else if (state.Spec != _wanted) Propose(owner, new SpecChanged(SimWorld.Volume, _wanted, state.SpecRevision + 1));
        else if (state.Replicas.Count(IsThere) < _wanted.Replicas && FreeNode(state) is { } free) Add(owner, state, free);
        else if (state.Replicas.Length > _wanted.Replicas && state.Replicas.All(IsThere)) owner.Host.Post(0, () => owner.Machine.DropSurplus([]));
        else if (Replaced(state) is { } lost) owner.Host.Post(0, () => owner.Machine.DropReplaced(lost.Id, $"replaced, and {lost.NodeName} has another name now"));
    }

    /// <summary>
    /// What an operator does whose volume waits at its minimum for a copy that is gone for good: nobody opens an epoch below it, and nobody makes another copy without one. Less is
    /// enough until it serves again; the journal takes that from any owner that has claimed the volume.
    /// </summary>
    private void HelpOut(SimOwner owner, VolumeState state)
    {
        var isGone = state.Replicas.Any(copy => state.Member(copy.Id) is not null && !IsThere(copy));
        if (isGone && state.Spec is { FailureMode: not FailureModeKind.AlwaysOn } spec)
            Propose(owner, new SpecChanged(SimWorld.Volume, spec with { FailureMode = FailureModeKind.AlwaysOn }, state.SpecRevision + 1));
    }

    private static void Propose(SimOwner owner, VolumeEvent e) => owner.Host.Post(0, () => owner.Machine.Propose(e));

    /// <summary>Its node still has the name that it was placed under.</summary>
    private bool IsThere(ReplicaPlacement copy) => world.Replicas.Any(node => node.Id == copy.Node);

    /// <summary>
    /// A copy whose node is gone, once enough others are in sync: the last step of a replacement. Its node may hold nothing that would remind the owner of it: it can have lost
    /// its disk before its name.
    /// </summary>
    private ReplicaPlacement? Replaced(VolumeState state) =>
        state.Replicas.Count(copy => IsThere(copy) && state.Member(copy.Id) is not null) < _wanted.Replicas ? null : state.Replicas.FirstOrDefault(copy => !IsThere(copy));

    private SimNode? FreeNode(VolumeState state) =>
        world.Replicas.FirstOrDefault(node => node.IsWorking && !state.Replicas.Any(copy => copy.Node == node.Id));

    private void Add(SimOwner owner, VolumeState state, SimNode node)
    {
        world.History.Copies.Add("Added");
        Propose(owner, new ReplicaAdded(SimWorld.Volume, new ReplicaPlacement(new ReplicaId((ushort)(state.LastReplica + 1)), node.Id, node.Name, _random.Guid())));
    }

    /// <summary>A node asks, through the journal's barrier, whether what it holds is still a copy of the volume.</summary>
    private void Reap(SimNode node)
    {
        if (!node.IsWorking || node.Machine is not { } machine || !_random.Percent(20)) return;
        var held = machine.Header.Replica;
        if (world.Journal.State.Placement(held) is not null) return;
        world.Journal.Read(node, (state, _) =>
        {
            if (node.Machine != machine || state.Placement(held) is not null) return;
            world.History.Copies.Add("Deleted");
            node.DeleteReplica();
        });
    }
}
