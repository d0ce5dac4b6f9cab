using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>A copy that is on its way to another node.</summary>
public sealed record Replacement(ReplicaId Lost, ReplicaPlacement To);

/// <summary>Another number of copies that its owner has not confirmed yet.</summary>
public sealed record Arrangement(ImmutableArray<ReplicaPlacement> Added, ImmutableArray<ReplicaId> DropFirst);

/// <summary>A deletion that its owner has not confirmed yet.</summary>
public sealed record Removal(bool Force, VolumeRevision? Expected);

/// <summary>A volume of the catalogue.</summary>
/// <param name="SpecPending">Its owner has not confirmed the spec yet.</param>
/// <param name="LastReplica">Highest number given to a copy: numbers are never used again.</param>
public sealed record PlacedVolume(
    VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas, CataloguePhase Phase, bool SpecPending, Replacement? Replacement,
        ushort LastReplica)
{
    public VolumeEntry Entry => new(Spec, Replicas, Phase);

    /// <summary>The catalogue's part of the volume's revision.</summary>
    public ulong Revision => VolumeRevision.CatalogueOf(Spec, Replicas);

    public Removal? Removal { get; init; }

    /// <summary>What the volume is to be, smaller than it is, once its owner has agreed.</summary>
    public VolumeSpec? ShrinkTo { get; init; }

    /// <summary>Counts the changes of the spec: orders of an older one are overtaken.</summary>
    public ulong SpecRevision { get; init; }

    public Arrangement? Arrangement { get; init; }

    /// <summary>Copies that were journaled out of the volume: gone for ever (R22).</summary>
    public ImmutableHashSet<ReplicaId> Dropped { get; init; } = [];

    /// <summary>What the volume's owner is still to be told, or null.</summary>
    public IVolumeCommand? Order => this switch
    {
        { Removal: { } removal } => new VolumeProtocol.Delete(Spec.Id, removal.Force, removal.Expected),
        { Phase: CataloguePhase.Creating } => new VolumeProtocol.Create(Spec.Id, Spec, Replicas),
        { Phase: CataloguePhase.Deleting } => new VolumeProtocol.Delete(Spec.Id, Force: true),
        { ShrinkTo: { } smaller } => new VolumeProtocol.ChangeSpec(Spec.Id, smaller, SpecRevision, AllowShrink: true),
        { SpecPending: true } => new VolumeProtocol.ChangeSpec(Spec.Id, Spec, SpecRevision),
        { Arrangement: { } arrangement } => new VolumeProtocol.ArrangeCopies(Spec.Id, SpecRevision, arrangement.Added, arrangement.DropFirst),
        { Replacement: { } replacement } => new VolumeProtocol.ReplaceReplica(Spec.Id, replacement.Lost, replacement.To, SpecRevision),
        _ => null,
    };

    /// <summary>The copies, and those on their way.</summary>
    public IEnumerable<ReplicaPlacement> AllCopies()
    {
        IEnumerable<ReplicaPlacement> coming = Arrangement?.Added ?? [];
        if (Replacement is { } replacement) coming = coming.Append(replacement.To);
        return Replicas.Concat(coming.Where(copy => Replicas.All(replica => replica.Id != copy.Id)));
    }

    public bool UsesNode(NodeId node) => AllCopies().Any(replica => replica.Node == node);
}

/// <param name="ForRestart">The cordon ends with the node's next start.</param>
public sealed record KnownNode(NodeDescription Description, bool Cordoned, bool ForRestart = false);

/// <summary>The catalogue as its journal says it is: the fold of <see cref="PlacementEvent"/>s. Immutable.</summary>
public sealed partial record PlacementState
{
    public static readonly PlacementState Empty = new();

    public ImmutableSortedDictionary<VolumeId, PlacedVolume> Volumes { get; private init; } = ImmutableSortedDictionary<VolumeId,
        PlacedVolume>.Empty;

    /// <summary>Full name to id, of volumes that are not being deleted: a deleted volume's name is free at once.</summary>
    public ImmutableDictionary<string, VolumeId> Names { get; init; } = ImmutableDictionary.Create<string,
        VolumeId>(StringComparer.Ordinal);

    public ImmutableSortedDictionary<NodeId, KnownNode> Nodes { get; init; } = ImmutableSortedDictionary<NodeId, KnownNode>.Empty;

    /// <summary>Ids that are deleted for ever (R22).</summary>
    public ImmutableHashSet<VolumeId> Tombstones { get; init; } = [];

    /// <summary>The highest id given out.</summary>
    public ulong LastVolume { get; init; }

    public PlacedVolume? Find(string fullName) => Names.TryGetValue(VolumeNames.Key(fullName), out var id) ? Volumes[id] : null;

    public PlacementState Apply(PlacementEvent e) => e switch
    {
        NodeRegistered registered => ApplyRegistered(registered.Node),
        NodeCordoned cordoned => this with
        {
            Nodes = Nodes.SetItem(
            cordoned.Node, Nodes[cordoned.Node] with { Cordoned = cordoned.Cordoned, ForRestart = false })
        },
        NodeCordonedForRestart cordoned => this with { Nodes = Nodes.SetItem(cordoned.Node, Nodes[cordoned.Node] with { Cordoned = true, ForRestart = true }) },
        NodeRemoved removed => this with { Nodes = Nodes.Remove(removed.Node) },
        VolumePlaced placed => ApplyPlaced(placed),
        VolumeConfirmed confirmed => Change(confirmed.Volume, volume =>
            volume.Phase == CataloguePhase.Creating ? volume with { Phase = CataloguePhase.Ready } : volume),
        VolumeRespecified respecified => Change(respecified.Spec.Id, volume => volume with
        {
            Spec = respecified.Spec,
            SpecPending = true,
            SpecRevision = volume.SpecRevision + 1,
        }),
        CopiesChanged changed => Change(changed.Spec.Id, volume => volume with
        {
            Spec = changed.Spec,
            SpecPending = true,
            SpecRevision = volume.SpecRevision + 1,
            Arrangement = new Arrangement(changed.Added, changed.DropFirst),
            Replacement = null,
            LastReplica = changed.Added.Select(copy => copy.Id.Number).Append(volume.LastReplica).Max(),
        }),
        CopiesConfirmed confirmed => Change(confirmed.Volume, volume => Arranged(volume, confirmed.Replicas)),
        RespecificationConfirmed confirmed => Change(confirmed.Volume, volume => volume with { Spec = volume.ShrinkTo ?? volume.Spec, ShrinkTo = null, SpecPending = false }),
        ShrinkAsked asked => Change(asked.Spec.Id, volume => volume with { ShrinkTo = asked.Spec, SpecRevision = volume.SpecRevision + 1 }),
        ShrinkWithdrawn withdrawn => Change(withdrawn.Volume, volume => volume with { ShrinkTo = null, SpecPending = true, SpecRevision = volume.SpecRevision + 1 }),
        ReplacementPlaced placed => Change(placed.Volume, volume => volume with
        {
            Replacement = new Replacement(placed.Lost, placed.Replacement),
            LastReplica = Math.Max(volume.LastReplica, placed.Replacement.Id.Number),
        }),
        ReplacementConfirmed confirmed => Change(confirmed.Volume, volume => Swap(volume, confirmed.Lost)),
        RemovalAsked asked => Change(asked.Volume, volume => volume with { Removal = new Removal(asked.Force, asked.Expected) }),
        RemovalWithdrawn withdrawn => Change(withdrawn.Volume, volume => volume with { Removal = null }),
        VolumeRemoved removed => ApplyRemoved(removed),
        CatalogueRecovered recovered => this with { LastVolume = recovered.LastVolume },
        RecoveredPlaced placed => ApplyRecovered(placed),
        PlacementImage image => Of(image),
        RemovalConfirmed confirmed => Drop(confirmed.Volume),
        _ => throw new InvariantException($"the placement journal holds an event of the unknown type {e.GetType().Name}"),
    };

    /// <summary>A node with a new data directory takes over its predecessor's address, which is therefore down from here on.</summary>
    private PlacementState ApplyRegistered(NodeDescription node)
    {
        var nodes = Nodes;
        foreach (var (id, other) in Nodes)
        {
            if (id != node.Id && other.Description.AkkaAddress == node.AkkaAddress)
                nodes = nodes.SetItem(id, other with { Description = other.Description with { AkkaAddress = "" } });
        }
        var known = Nodes.TryGetValue(node.Id, out var before) ? before with { Description = node } : new KnownNode(node, Cordoned: false);
        return this with { Nodes = nodes.SetItem(node.Id, known) };
    }

    /// <summary>R22: the volume has a tombstone, or the copy was journaled out of it.</summary>
    public bool IsGone(HeldCopy copy) =>
        Tombstones.Contains(copy.Volume) || (Volumes.TryGetValue(copy.Volume, out var volume) && volume.Dropped.Contains(copy.Replica));

    private PlacementState ApplyPlaced(VolumePlaced placed)
    {
        var id = placed.Spec.Id;
        Invariant.That(id.Value == LastVolume + 1, "volume ids are given out one after the other");
        var last = placed.Replicas.Max(replica => replica.Id.Number);
        return Put(new PlacedVolume(placed.Spec, placed.Replicas, CataloguePhase.Creating, false, null, last)) with
        {
            Names = Names.Add(placed.Spec.FullName, id),
            LastVolume = id.Value,
        };
    }

    private PlacementState ApplyRecovered(RecoveredPlaced placed)
    {
        Invariant.That(!Volumes.ContainsKey(placed.Spec.Id), "a volume is recovered once");
        return Put(new PlacedVolume(placed.Spec, placed.Replicas, CataloguePhase.Ready, false, null, placed.LastReplica)) with
        {
            Names = Names.Add(placed.Spec.FullName, placed.Spec.Id),
        };
    }

    private PlacementState ApplyRemoved(VolumeRemoved removed)
    {
        var volume = Volumes[removed.Volume];
        var deleting = volume with { Phase = CataloguePhase.Deleting, Replacement = null, Arrangement = null, ShrinkTo = null };
        return (volume.Removal is null ? Put(deleting) : Drop(removed.Volume)) with
        {
            Names = Names.Remove(volume.Spec.FullName),
            Tombstones = Tombstones.Add(removed.Volume),
        };
    }

    private PlacementState Change(VolumeId id, Func<PlacedVolume, PlacedVolume> change) =>
        Put(change(Volumes[id]));

    private static PlacedVolume Swap(PlacedVolume volume, ReplicaId lost)
    {
        if (volume.Replacement is not { } replacement || replacement.Lost != lost) return volume;
        return volume with
        {
            Replicas = volume.Replicas.RemoveAll(replica => replica.Id == lost).Add(replacement.To),
            Replacement = null,
            Dropped = volume.Dropped.Add(lost),
        };
    }

    /// <summary>The owner adds no number that it was told of before: what it does not name now is gone.</summary>
    private static PlacedVolume Arranged(PlacedVolume volume, ImmutableArray<ReplicaPlacement> replicas)
    {
        var gone = Enumerable.Range(1, volume.LastReplica).Select(number => new ReplicaId((ushort)number))
            .Where(id => replicas.All(replica => replica.Id != id));
        return volume with { Replicas = replicas, Arrangement = null, Dropped = volume.Dropped.Union(gone) };
    }
}
