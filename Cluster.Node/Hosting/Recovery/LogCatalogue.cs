using Cluster.Messages.Events;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Journal;
using Cluster.Node.Journal.State;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Recovery;

/// <summary>The volumes that one log of the journal knows, for who asks which of them have no copy left. Throws <see cref="EventFormatException"/> on an event of a version that is not known.</summary>
internal static class LogCatalogue
{
    public static IReadOnlyList<RecoveryVolumeResource> Of(MetaState state)
    {
        var (catalogue, last) = (PlacementState.Empty, 0L);
        if (state.Snapshot(PlacementActor.StreamId, MetaSnapshotRange.All) is { } image) (catalogue, last) = (catalogue.Apply(Decode(image.Payload)), image.SequenceNr);
        foreach (var e in state.Events(PlacementActor.StreamId, last + 1, long.MaxValue, long.MaxValue, long.MaxValue)) catalogue = catalogue.Apply(Decode(e.Payload));
        return [.. catalogue.Volumes.Values.Where(volume => volume.Phase != CataloguePhase.Deleting).Select(volume => new RecoveryVolumeResource(
            volume.Spec.Id.ToString(), volume.Spec.FullName, [.. volume.AllCopies().Select(copy => copy.NodeName).Distinct().Order(StringComparer.Ordinal)]))];
    }

    private static PlacementEvent Decode(MetaPayload payload) => (PlacementEvent)EventCodec.Decode(payload.Manifest, payload.Bytes);
}
