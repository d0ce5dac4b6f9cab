using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>Layouts of <see cref="PlacementEvent"/>s.</summary>
internal static class PlacementEventLayouts
{
    public static void Write(ref BodyWriter writer, PlacementEvent e)
    {
        if (OnlyVolumeOf(e) is { } volume)
        {
            writer.U64(volume.Value);
            return;
        }
        switch (e)
        {
            case NodeRegistered registered:
                EventFields.Node(ref writer, registered.Node);
                break;
            case NodeCordoned cordoned:
                writer.Guid(cordoned.Node.Value);
                writer.Bool(cordoned.Cordoned);
                break;
            case NodeCordonedForRestart cordoned:
                writer.Guid(cordoned.Node.Value);
                break;
            case NodeRemoved removed:
                writer.Guid(removed.Node.Value);
                break;
            case VolumePlaced placed:
                EventFields.Spec(ref writer, placed.Spec);
                EventFields.Placements(ref writer, placed.Replicas);
                break;
            case VolumeRespecified respecified:
                EventFields.Spec(ref writer, respecified.Spec);
                break;
            case CopiesChanged changed:
                EventFields.Spec(ref writer, changed.Spec);
                EventFields.Placements(ref writer, changed.Added);
                EventFields.Replicas(ref writer, changed.DropFirst);
                break;
            case CopiesConfirmed confirmed:
                writer.U64(confirmed.Volume.Value);
                EventFields.Placements(ref writer, confirmed.Replicas);
                break;
            case ReplacementPlaced placed:
                writer.U64(placed.Volume.Value);
                writer.Replica(placed.Lost);
                EventFields.Placement(ref writer, placed.Replacement);
                break;
            case ReplacementConfirmed confirmed:
                writer.U64(confirmed.Volume.Value);
                writer.Replica(confirmed.Lost);
                break;
            case RemovalAsked asked:
                writer.U64(asked.Volume.Value);
                writer.Bool(asked.Force);
                EventFields.Revision(ref writer, asked.Expected);
                break;
            case ShrinkAsked asked:
                EventFields.Spec(ref writer, asked.Spec);
                break;
            case CatalogueRecovered recovered:
                writer.U64(recovered.LastVolume);
                break;
            case RecoveredPlaced placed:
                EventFields.Spec(ref writer, placed.Spec);
                EventFields.Placements(ref writer, placed.Replicas);
                writer.U16(placed.LastReplica);
                break;
            default:
                throw new EventFormatException($"{e.GetType()} may not be journaled: it has no layout");
        }
    }

    /// <summary>Of an event that is nothing but its volume's id.</summary>
    private static VolumeId? OnlyVolumeOf(PlacementEvent e) => e switch
    {
        VolumeConfirmed confirmed => confirmed.Volume,
        RespecificationConfirmed confirmed => confirmed.Volume,
        VolumeRemoved removed => removed.Volume,
        RemovalConfirmed confirmed => confirmed.Volume,
        RemovalWithdrawn withdrawn => withdrawn.Volume,
        ShrinkWithdrawn withdrawn => withdrawn.Volume,
        _ => null,
    };

    /// <summary>Null for a manifest that is not a placement event's.</summary>
    public static PlacementEvent? Read(string manifest, ref BodyReader reader) => manifest switch
    {
        "node-registered/1" => new NodeRegistered(EventFields.Node(ref reader)),
        "node-cordoned/1" => new NodeCordoned(new NodeId(reader.Guid()), reader.Bool()),
        "node-cordoned-for-restart/1" => new NodeCordonedForRestart(new NodeId(reader.Guid())),
        "node-removed/1" => new NodeRemoved(new NodeId(reader.Guid())),
        "volume-placed/1" => new VolumePlaced(EventFields.Spec(ref reader), EventFields.Placements(ref reader)),
        "volume-confirmed/1" => new VolumeConfirmed(new VolumeId(reader.U64())),
        "volume-respecified/1" => new VolumeRespecified(EventFields.Spec(ref reader)),
        "respecification-confirmed/1" => new RespecificationConfirmed(new VolumeId(reader.U64())),
        "copies-changed/1" => new CopiesChanged(
            EventFields.Spec(ref reader), EventFields.Placements(ref reader), EventFields.Replicas(ref reader)),
        "copies-confirmed/1" => new CopiesConfirmed(new VolumeId(reader.U64()), EventFields.Placements(ref reader)),
        "replacement-placed/1" => new ReplacementPlaced(new VolumeId(reader.U64()), reader.Replica(), EventFields.Placement(ref reader)),
        "replacement-confirmed/1" => new ReplacementConfirmed(new VolumeId(reader.U64()), reader.Replica()),
        "volume-removed/1" => new VolumeRemoved(new VolumeId(reader.U64())),
        "removal-confirmed/1" => new RemovalConfirmed(new VolumeId(reader.U64())),
        "removal-asked/1" => new RemovalAsked(new VolumeId(reader.U64()), reader.Bool(), EventFields.Revision(ref reader)),
        "removal-withdrawn/1" => new RemovalWithdrawn(new VolumeId(reader.U64())),
        "shrink-asked/1" => new ShrinkAsked(EventFields.Spec(ref reader)),
        "shrink-withdrawn/1" => new ShrinkWithdrawn(new VolumeId(reader.U64())),
        "catalogue-recovered/1" => new CatalogueRecovered(reader.U64()),
        "placement-image/1" => PlacementImageLayout.Read(ref reader),
        "recovered-placed/1" => new RecoveredPlaced(EventFields.Spec(ref reader), EventFields.Placements(ref reader), reader.U16()),
        _ => null,
    };
}
