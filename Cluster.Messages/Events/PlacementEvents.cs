using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Messages.Events;

/// <summary>
/// Everything that may be journaled about the catalogue, under the persistence id "placement". What the nodes report of their space is not
/// journaled: they say it again. Layouts and manifests: EventCodec and Manifests.cs, append-only.
/// </summary>
public abstract record PlacementEvent;

/// <summary>A node appeared, or came back with another description.</summary>
public sealed record NodeRegistered(NodeDescription Node) : PlacementEvent;

/// <summary>By an operator, until an operator takes it back; a cordon for a restart is over with it.</summary>
public sealed record NodeCordoned(NodeId Node, bool Cordoned) : PlacementEvent;

/// <summary>For as long as the node restarts: its next start takes it back if whoever asked does not.</summary>
public sealed record NodeCordonedForRestart(NodeId Node) : PlacementEvent;

/// <summary>The node is gone for good; it held no copies. It is a new one if it registers again.</summary>
public sealed record NodeRemoved(NodeId Node) : PlacementEvent;

/// <summary>The volume has its id and its nodes. Its owner is told until it confirms.</summary>
public sealed record VolumePlaced(VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas) : PlacementEvent;

/// <summary>The owner confirmed the volume as it was placed.</summary>
public sealed record VolumeConfirmed(VolumeId Volume) : PlacementEvent;

/// <summary>Size or labels are to be these; the owner is told until it confirms.</summary>
public sealed record VolumeRespecified(VolumeSpec Spec) : PlacementEvent;

public sealed record RespecificationConfirmed(VolumeId Volume) : PlacementEvent;

/// <summary>
/// The volume is to have as many copies as the spec says: the owner is told until it confirms the spec, then until the copies are so. A replacement
/// under way is given up.
/// </summary>
/// <param name="Added">In the order of their numbers.</param>
/// <param name="DropFirst">All copies, those first that are to go first when some are surplus.</param>
public sealed record CopiesChanged(VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Added, ImmutableArray<ReplicaId> DropFirst) : PlacementEvent;

/// <summary>The owner confirmed that these are the copies; every other number that was given out is gone for ever (R22).</summary>
public sealed record CopiesConfirmed(VolumeId Volume, ImmutableArray<ReplicaPlacement> Replicas) : PlacementEvent;

/// <summary>A copy is to move: the owner is told until it confirms, then the lost one is dropped.</summary>
public sealed record ReplacementPlaced(VolumeId Volume, ReplicaId Lost, ReplicaPlacement Replacement) : PlacementEvent;

public sealed record ReplacementConfirmed(VolumeId Volume, ReplicaId Lost) : PlacementEvent;

/// <summary>
/// The tombstone (R22): from here on the id is deleted for ever and its name is free. Behind a <see cref="RemovalAsked"/> the owner has stopped
/// for ever before; without one (as the first versions wrote it) the owner is told until it confirms.
/// </summary>
public sealed record VolumeRemoved(VolumeId Volume) : PlacementEvent;

public sealed record RemovalConfirmed(VolumeId Volume) : PlacementEvent;

/// <summary>The volume is to be deleted; its owner is told until it has stopped for ever, or says who uses the volume.</summary>
/// <param name="Force">Whoever uses it is fenced.</param>
/// <param name="Expected">The revision that the deletion rests on; null: any.</param>
public sealed record RemovalAsked(VolumeId Volume, bool Force, VolumeRevision? Expected) : PlacementEvent;

/// <summary>The owner refused; the volume stays.</summary>
public sealed record RemovalWithdrawn(VolumeId Volume) : PlacementEvent;

/// <summary>The volume is to be as small as that spec says; its owner is told until it confirms (<see cref="RespecificationConfirmed"/>), or refuses.</summary>
public sealed record ShrinkAsked(VolumeSpec Spec) : PlacementEvent;

/// <summary>The owner refused. It is told the spec as it was, under a new revision, so that no order to shrink that comes late can count.</summary>
public sealed record ShrinkWithdrawn(VolumeId Volume) : PlacementEvent;

/// <summary>
/// The whole state at a place of the stream: kept now and then, so that the events before need not be. Names follow from the volumes.
/// </summary>
/// <param name="Tombstones">Ids that are deleted for ever (R22), ascending.</param>
/// <param name="ForRestart">Those of the cordoned nodes whose next start takes it back.</param>
public sealed record PlacementImage(
    ulong LastVolume, ImmutableArray<IdRange> Tombstones, ImmutableArray<NodeRegistered> Nodes, ImmutableArray<NodeId> Cordoned, ImmutableArray<NodeId> ForRestart,
    ImmutableArray<ImagedVolume> Volumes) : PlacementEvent;

/// <summary>Ids from the first to the last one.</summary>
public readonly record struct IdRange(ulong First, ulong Last);

/// <summary>What the catalogue knows of a volume.</summary>
/// <param name="Dropped">Numbers of copies that are gone for ever (R22), ascending.</param>
public sealed record ImagedVolume(
    VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas, CataloguePhase Phase, bool SpecPending, ulong SpecRevision, ushort LastReplica, ImmutableArray<IdRange> Dropped)
{
    public ReplacementPlaced? Replacement { get; init; }

    public RemovalAsked? Removal { get; init; }

    public ShrinkAsked? Shrink { get; init; }

    public CopiesChanged? Arrangement { get; init; }
}

/// <summary>First event of a catalogue that was recovered (P7): ids up to here may have been given out.</summary>
public sealed record CatalogueRecovered(ulong LastVolume) : PlacementEvent;

/// <summary>A volume that was recovered: it has an owner's journal already.</summary>
/// <param name="LastReplica">Numbers of copies up to here may have been given out.</param>
public sealed record RecoveredPlaced(VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas, ushort LastReplica) : PlacementEvent;
