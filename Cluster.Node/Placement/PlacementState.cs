using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>A copy that is on its way to another node.</summary>
public sealed record Replacement(ReplicaId Lost, ReplicaPlacement To);

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

    /// <summary>What the volume's owner is still to be told, or null.</summary>
    public IVolumeCommand? Order => this switch
    {
        { Removal: { } removal } => new VolumeProtocol.Delete(Spec.Id, removal.Force, removal.Expected),
        { Phase: CataloguePhase.Creating } => new VolumeProtocol.Create(Spec.Id, Spec, Replicas),
        { Phase: CataloguePhase.Deleting } => new VolumeProtocol.Delete(Spec.Id, Force: true),
        { SpecPending: true } => new VolumeProtocol.ChangeSpec(Spec.Id, Spec),
        { Replacement: { } replacement } => new VolumeProtocol.ReplaceReplica(Spec.Id, replacement.Lost, replacement.To),
        _ => null,
    };

    public bool UsesNode(NodeId node) => Replicas.Any(replica => replica.Node == node) || Replacement?.To.Node == node;
}

public sealed record KnownNode(NodeDescription Description, bool Cordoned);

/// <summary>The catalogue as its journal says it is: the fold of <see cref="PlacementEvent"/>s. Immutable.</summary>
public sealed record PlacementState
{
    public static readonly PlacementState Empty = new();

    public ImmutableSortedDictionary<VolumeId, PlacedVolume> Volumes { get; init; } = ImmutableSortedDictionary<VolumeId,
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
            cordoned.Node, Nodes[cordoned.Node] with { Cordoned = cordoned.Cordoned })
        },
        VolumePlaced placed => ApplyPlaced(placed),
        VolumeConfirmed confirmed => Change(confirmed.Volume, volume =>
            volume.Phase == CataloguePhase.Creating ? volume with { Phase = CataloguePhase.Ready } : volume),
        VolumeRespecified respecified => Change(respecified.Spec.Id, volume => volume with { Spec = respecified.Spec, SpecPending = true }),
        RespecificationConfirmed confirmed => Change(confirmed.Volume, volume => volume with { SpecPending = false }),
        ReplacementPlaced placed => Change(placed.Volume, volume => volume with
        {
            Replacement = new Replacement(placed.Lost, placed.Replacement),
            LastReplica = Math.Max(volume.LastReplica, placed.Replacement.Id.Number),
        }),
        ReplacementConfirmed confirmed => Change(confirmed.Volume, volume => Swap(volume, confirmed.Lost)),
        RemovalAsked asked => Change(asked.Volume, volume => volume with { Removal = new Removal(asked.Force, asked.Expected) }),
        RemovalWithdrawn withdrawn => Change(withdrawn.Volume, volume => volume with { Removal = null }),
        VolumeRemoved removed => ApplyRemoved(removed),
        RemovalConfirmed confirmed => this with { Volumes = Volumes.Remove(confirmed.Volume) },
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
        var cordoned = Nodes.TryGetValue(node.Id, out var known) && known.Cordoned;
        return this with { Nodes = nodes.SetItem(node.Id, new KnownNode(node, cordoned)) };
    }

    private PlacementState ApplyPlaced(VolumePlaced placed)
    {
        var id = placed.Spec.Id;
        Invariant.That(id.Value == LastVolume + 1, "volume ids are given out one after the other");
        var last = placed.Replicas.Max(replica => replica.Id.Number);
        return this with
        {
            Volumes = Volumes.Add(id, new PlacedVolume(placed.Spec, placed.Replicas, CataloguePhase.Creating, false, null, last)),
            Names = Names.Add(placed.Spec.FullName, id),
            LastVolume = id.Value,
        };
    }

    private PlacementState ApplyRemoved(VolumeRemoved removed)
    {
        var volume = Volumes[removed.Volume];
        var deleting = volume with { Phase = CataloguePhase.Deleting, Replacement = null };
        return this with
        {
            Volumes = volume.Removal is null ? Volumes.SetItem(removed.Volume, deleting) : Volumes.Remove(removed.Volume),
            Names = Names.Remove(volume.Spec.FullName),
            Tombstones = Tombstones.Add(removed.Volume),
        };
    }

    private PlacementState Change(VolumeId id, Func<PlacedVolume, PlacedVolume> change) =>
        this with { Volumes = Volumes.SetItem(id, change(Volumes[id])) };

    private static PlacedVolume Swap(PlacedVolume volume, ReplicaId lost)
    {
        if (volume.Replacement is not { } replacement || replacement.Lost != lost) return volume;
        return volume with { Replicas = volume.Replicas.RemoveAll(replica => replica.Id == lost).Add(replacement.To), Replacement = null };
    }
}
