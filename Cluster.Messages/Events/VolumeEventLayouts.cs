using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>Layouts of <see cref="VolumeEvent"/>s: the volume's id u64, then the record's own fields.</summary>
internal static class VolumeEventLayouts
{
    public static void Write(ref BodyWriter writer, VolumeEvent e)
    {
        writer.U64(e.Volume.Value);
        switch (e)
        {
            case VolumeCreated created:
                EventFields.Spec(ref writer, created.Spec);
                EventFields.Placements(ref writer, created.Replicas);
                break;
            case EpochStarted started:
                writer.U64(started.Epoch.Value);
                writer.Guid(started.Node.Value);
                writer.Text(started.NodeName);
                break;
            case EpochOpened opened:
                writer.U64(opened.Epoch.Value);
                writer.U64(opened.StartSequence);
                writer.U64(opened.Version);
                EventFields.Members(ref writer, opened.Members);
                break;
            case InSyncChanged changed:
                writer.U64(changed.Epoch.Value);
                writer.U64(changed.Version);
                EventFields.Members(ref writer, changed.Members);
                EventFields.Reason(ref writer, changed.Reason);
                break;
            case ReplicaAdded added:
                EventFields.Placement(ref writer, added.Replica);
                break;
            case ReplicaRemoved removed:
                writer.Replica(removed.Replica);
                EventFields.Reason(ref writer, removed.Reason);
                break;
            case AttachmentChanged changed:
                EventFields.Attachment(ref writer, changed.Attachment);
                break;
            case SpecChanged changed:
                EventFields.Spec(ref writer, changed.Spec);
                writer.U64(changed.Revision);
                break;
            case VolumeRecovered recovered:
                EventFields.Spec(ref writer, recovered.Spec);
                EventFields.Placements(ref writer, recovered.Replicas);
                writer.U64(recovered.Epoch.Value);
                writer.U64(recovered.RecordEpoch);
                writer.U64(recovered.StartSequence);
                writer.U64(recovered.Version);
                EventFields.Members(ref writer, recovered.Members);
                break;
            default:
                WriteOfSnapshots(ref writer, e);
                break;
        }
    }

    private static void WriteOfSnapshots(ref BodyWriter writer, VolumeEvent e)
    {
        switch (e)
        {
            case SnapshotCreated created:
                writer.U64(created.Sequence);
                writer.Text(created.Name);
                writer.U64(created.UnixMs);
                break;
            case SnapshotDeleted deleted:
                writer.U64(deleted.Sequence);
                break;
            case VolumeImage image:
                VolumeImageLayout.Write(ref writer, image);
                break;
            case CloneStarted started:
                writer.U64(started.Sequence);
                writer.Text(started.CloneName);
                writer.U64(started.UnixMs);
                break;
            case CloneEnded ended:
                writer.Text(ended.CloneName);
                break;
            case RestoreStarted started:
                writer.U64(started.Sequence);
                break;
            case RestoreEnded or VolumeDeleted:
                break;
            default:
                throw new EventFormatException($"{e.GetType()} may not be journaled: it has no layout");
        }
    }

    /// <summary>Null for a manifest that is not a volume event's.</summary>
    public static VolumeEvent? Read(string manifest, ref BodyReader reader) => manifest switch
    {
        "volume-created/1" => new VolumeCreated(Id(ref reader), EventFields.Spec(ref reader), EventFields.Placements(ref reader)),
        "epoch-started/1" => new EpochStarted(Id(ref reader), new Epoch(reader.U64()), new NodeId(reader.Guid()),
            reader.Text(EventFields.TextBytesMax)),
        "epoch-opened/1" or "epoch-opened/2" => new EpochOpened(
            Id(ref reader), new Epoch(reader.U64()), reader.U64(), reader.U64(), Members(manifest, ref reader)),
        "in-sync-changed/1" or "in-sync-changed/2" => new InSyncChanged(Id(ref reader), new Epoch(reader.U64()), reader.U64(), Members(manifest, ref reader),
            EventFields.Reason(ref reader)),
        "replica-added/1" => new ReplicaAdded(Id(ref reader), EventFields.Placement(ref reader)),
        "replica-removed/1" => new ReplicaRemoved(Id(ref reader), reader.Replica(), EventFields.Reason(ref reader)),
        "attachment-changed/1" => new AttachmentChanged(Id(ref reader), EventFields.Attachment(ref reader)),
        "spec-changed/1" => new SpecChanged(Id(ref reader), EventFields.Spec(ref reader), 0),
        "spec-changed/2" => new SpecChanged(Id(ref reader), EventFields.Spec(ref reader), reader.U64()),
        "volume-recovered/1" or "volume-recovered/2" => new VolumeRecovered(Id(ref reader), EventFields.Spec(ref reader), EventFields.Placements(ref reader), new Epoch(reader.U64()),
            reader.U64(), reader.U64(), reader.U64(), Members(manifest, ref reader)),
        "snapshot-created/1" => new SnapshotCreated(Id(ref reader), reader.U64(), reader.Text(EventFields.TextBytesMax), reader.U64()),
        "snapshot-deleted/1" => new SnapshotDeleted(Id(ref reader), reader.U64()),
        "volume-image/1" => VolumeImageLayout.Read(Id(ref reader), ref reader),
        Manifests.ImageInRestore => VolumeImageLayout.Read(Id(ref reader), ref reader) with { RestoringTo = reader.U64() },
        "restore-started/1" => new RestoreStarted(Id(ref reader), reader.U64()),
        "restore-ended/1" => new RestoreEnded(Id(ref reader)),
        "clone-started/1" => new CloneStarted(Id(ref reader), reader.U64(), reader.Text(EventFields.TextBytesMax), reader.U64()),
        "clone-ended/1" => new CloneEnded(Id(ref reader), reader.Text(EventFields.TextBytesMax)),
        "volume-deleted/1" => new VolumeDeleted(Id(ref reader)),
        _ => null,
    };

    private static ImmutableArray<InSyncMember> Members(string manifest, ref BodyReader reader) =>
        EventFields.Members(ref reader, hasMarks: !manifest.EndsWith("/1", StringComparison.Ordinal));

    private static VolumeId Id(ref BodyReader reader) => new(reader.U64());
}
