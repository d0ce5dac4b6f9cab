using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

// The state as a whole: kept now and then, so that the events before need not be (PlacementActor.Images.cs).
public sealed partial record PlacementState
{
    public PlacementImage Image => new(LastVolume, RangesOf(Tombstones.Select(id => id.Value)), [.. Nodes.Values.Select(node => new NodeRegistered(node.Description))],
        [.. Nodes.Where(node => node.Value.Cordoned).Select(node => node.Key)], [.. Nodes.Where(node => node.Value.ForRestart).Select(node => node.Key)], [.. Volumes.Values.Select(ImageOf)]);

    private static ImagedVolume ImageOf(PlacedVolume volume) =>
        new(volume.Spec, volume.Replicas, volume.Phase, volume.SpecPending, volume.SpecRevision, volume.LastReplica, RangesOf(volume.Dropped.Select(id => (ulong)id.Number)))
        {
            Replacement = volume.Replacement is { } replacement ? new ReplacementPlaced(volume.Spec.Id, replacement.Lost, replacement.To) : null,
            Removal = volume.Removal is { } removal ? new RemovalAsked(volume.Spec.Id, removal.Force, removal.Expected) : null,
            Shrink = volume.ShrinkTo is { } smaller ? new ShrinkAsked(smaller) : null,
            Arrangement = volume.Arrangement is { } arrangement ? new CopiesChanged(volume.Spec, arrangement.Added, arrangement.DropFirst) : null,
        };

    private static PlacementState Of(PlacementImage image)
    {
        var (cordoned, forRestart) = (image.Cordoned.ToHashSet(), image.ForRestart.ToHashSet());
        return WithAll(image.Volumes.Select(Of)) with
        {
            LastVolume = image.LastVolume,
            Tombstones = [.. image.Tombstones.SelectMany(Ids).Select(id => new VolumeId(id))],
            Nodes = image.Nodes.ToImmutableSortedDictionary(node => node.Node.Id, node => new KnownNode(node.Node, cordoned.Contains(node.Node.Id), forRestart.Contains(node.Node.Id))),
            Names = image.Volumes.Where(volume => volume.Phase != CataloguePhase.Deleting)
                .ToImmutableDictionary(volume => volume.Spec.FullName, volume => volume.Spec.Id, StringComparer.Ordinal),
        };
    }

    private static PlacedVolume Of(ImagedVolume volume) =>
        new(volume.Spec, volume.Replicas, volume.Phase, volume.SpecPending, volume.Replacement is { } placed ? new Replacement(placed.Lost, placed.Replacement) : null, volume.LastReplica)
        {
            Removal = volume.Removal is { } asked ? new Removal(asked.Force, asked.Expected) : null,
            ShrinkTo = volume.Shrink?.Spec,
            SpecRevision = volume.SpecRevision,
            Arrangement = volume.Arrangement is { } changed ? new Arrangement(changed.Added, changed.DropFirst) : null,
            Dropped = [.. volume.Dropped.SelectMany(Ids).Select(number => new ReplicaId((ushort)number))],
        };

    /// <summary>Ids are given out one after the other: of those that are gone most are beside another one.</summary>
    private static ImmutableArray<IdRange> RangesOf(IEnumerable<ulong> ids)
    {
        var ranges = ImmutableArray.CreateBuilder<IdRange>();
        foreach (var id in ids.Order())
        {
            if (ranges.Count > 0 && ranges[^1].Last + 1 == id) ranges[^1] = ranges[^1] with { Last = id };
            else ranges.Add(new IdRange(id, id));
        }
        return ranges.ToImmutable();
    }

    private static IEnumerable<ulong> Ids(IdRange range)
    {
        for (var id = range.First; id <= range.Last; id++) yield return id;
    }
}
