using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

// Another number of copies.
public static partial class PlacementMachine
{
    private static PlacementDecision ChangeCopies(
        IReadOnlyList<CandidateNode> nodes, PlacedVolume volume, VolumeSpec spec, VolumePolicy policy, Func<Guid> newGuid)
    {
        if (volume is not { Phase: CataloguePhase.Ready, Arrangement: null })
            return PlacementDecision.Refuse(RefusalKind.Conflict,
                $"Volume {spec.FullName} is being given {volume.Spec.Replicas} copies; ask for {spec.Replicas} once it has them.");
        // A copy that was to replace another one becomes one more copy.
        ImmutableArray<ReplicaPlacement> coming = spec.Replicas > volume.Replicas.Length && volume.Replacement is { } replacement ? [replacement.To] : [];
        var (added, refusal) = Add(nodes, volume, coming, spec, policy, newGuid, spec.SizeBytes);
        if (refusal is not null) return PlacementDecision.Refuse(refusal.Waiting ? RefusalKind.Unavailable : RefusalKind.Impossible, refusal.Refusal);
        return new PlacementDecision(new CopiesChanged(spec, added, DropFirst(nodes, volume)), null,
            new PlacementWait(spec.Id, PlacementWaitKind.Changed));
    }

    /// <summary>
    /// The next volume that has fewer copies than it is to have (a replacement was given up that had just happened), with the copies to add, or null.
    /// </summary>
    public static CopiesChanged? Complete(PlacementState state, IReadOnlyList<CandidateNode> nodes, Func<Guid> newGuid)
    {
        foreach (var volume in state.Volumes.Values)
        {
            if (!IsSettled(volume) || volume.Replicas.Length >= volume.Spec.Replicas) continue;
            if (VolumeLabels.Read(volume.Spec.Labels).Policy is not { } policy) continue;
            var (added, refusal) = Add(nodes, volume, [], volume.Spec, policy, newGuid, provisionBytes: 0);
            if (refusal is null) return new CopiesChanged(volume.Spec, added, DropFirst(nodes, volume));
        }
        return null;
    }

    private static bool IsSettled(PlacedVolume volume) =>
        volume is { Phase: CataloguePhase.Ready, Replacement: null, Removal: null, Arrangement: null, ShrinkTo: null, LastReplica: < ushort.MaxValue };

    /// <summary>Those that are coming already, and as many more as the spec asks for.</summary>
    private static (ImmutableArray<ReplicaPlacement> Added, NodeChoice? Refusal) Add(
        IReadOnlyList<CandidateNode> nodes, PlacedVolume volume, ImmutableArray<ReplicaPlacement> coming, VolumeSpec spec, VolumePolicy policy, Func<Guid> newGuid,
        ulong provisionBytes)
    {
        var more = spec.Replicas - volume.Replicas.Length - coming.Length;
        if (more <= 0) return (coming, null);
        var taken = volume.AllCopies().Select(replica => replica.Node).ToImmutableHashSet();
        var subject = $"To have {spec.Replicas} copies instead of {volume.Replicas.Length}, volume {spec.FullName}";
        var choice = NodeChooser.Choose(subject, more, policy.ZoneSpread, nodes, taken, provisionBytes);
        if (choice.Nodes.IsEmpty) return ([], choice);
        var made = choice.Nodes.Select((node, index) =>
            new ReplicaPlacement(new ReplicaId(checked((ushort)(volume.LastReplica + 1 + index))), node.Id, node.Name, newGuid()));
        return ([.. coming, .. made], null);
    }

    /// <summary>All copies, those first that the volume does best without: on a node that is down or cordoned, in the fullest zone, with the least room.</summary>
    private static ImmutableArray<ReplicaId> DropFirst(IReadOnlyList<CandidateNode> nodes, PlacedVolume volume)
    {
        var left = volume.AllCopies().Select(copy => (copy.Id, Node: nodes.FirstOrDefault(node => node.Description.Id == copy.Node))).ToList();
        var order = ImmutableArray.CreateBuilder<ReplicaId>();
        while (left.Count > 0)
        {
            var next = left.OrderBy(copy => copy.Node is { Up: true }).ThenBy(copy => copy.Node is { Cordoned: false })
                .ThenByDescending(copy => left.Count(other => NodeChooser.ZoneOf(other.Node) == NodeChooser.ZoneOf(copy.Node)))
                .ThenBy(copy => copy.Node?.Report?.AvailableBytes ?? 0).ThenByDescending(copy => copy.Id.Number).First();
            left.Remove(next);
            order.Add(next.Id);
        }
        return order.ToImmutable();
    }
}
