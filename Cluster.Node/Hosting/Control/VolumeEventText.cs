using System.Collections.Immutable;
using System.Globalization;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Control;

/// <summary>A volume's journaled events as sentences, for `volume explain`.</summary>
internal static class VolumeEventText
{
    public static VolumeEventResource Of(long number, DateTime at, VolumeEvent e)
    {
        var manifest = EventCodec.ManifestOf(e);
        var time = at.ToString("yyyy-MM-dd HH:mm:ss.fff", CultureInfo.InvariantCulture);
        return new VolumeEventResource(number, manifest[..manifest.IndexOf('/', StringComparison.Ordinal)], $"{time}Z {TextOf(e)}");
    }

    private static string TextOf(VolumeEvent e) => e switch
    {
        VolumeCreated { Spec.Source: { } source } created => $"cloned from {TextOf(source)} with {created.Spec.SizeBytes} B and copies {Copies(created.Replicas)}",
        VolumeCreated created => $"created with {created.Spec.SizeBytes} B and copies {Copies(created.Replicas)}",
        EpochStarted started => $"node {started.NodeName} claims epoch {started.Epoch}",
        EpochOpened opened => $"epoch {opened.Epoch} serves from sequence {opened.StartSequence}, in sync are {Members(opened.Members)}",
        InSyncChanged changed => $"in sync are now {Members(changed.Members)}: {changed.Reason}",
        ReplicaAdded added => $"copy {added.Replica.Id} is added on node {added.Replica.NodeName}",
        ReplicaRemoved removed => $"copy {removed.Replica} is dropped: {removed.Reason}",
        AttachmentChanged { Attachment: { Mode: AttachmentMode.Exclusive } attachment } =>
            $"attached to node {attachment.NodeName} alone, generation {attachment.Generation}",
        AttachmentChanged { Attachment: var attachment } => $"attached to any node, generation {attachment.Generation}",
        SpecChanged changed => $"size is now {changed.Spec.SizeBytes} B, copies {changed.Spec.Replicas}, labels {Labels(changed.Spec)}",
        SnapshotCreated created => $"snapshot {created.Name} holds what was written up to sequence {created.Sequence}",
        SnapshotDeleted deleted => $"the snapshot of sequence {deleted.Sequence} is deleted",
        CloneStarted started => $"volume {started.CloneName} is being cloned from it, as of sequence {started.Sequence}",
        CloneEnded ended => $"volume {ended.CloneName} needs its snapshot no more",
        RestoreStarted started => $"it is being put back to the snapshot of sequence {started.Sequence}",
        RestoreEnded => "it is back at that snapshot",
        VolumeRecovered recovered => $"recovered from {recovered.Members.Length} of its copies, up to sequence {recovered.StartSequence}",
        VolumeDeleted => "deleted",
        _ => e.GetType().Name,
    };

    private static string TextOf(VolumeSource source) => source.Snapshot.Length > 0 ? $"snapshot {source.Snapshot} of volume {source.OriginName}" : $"volume {source.OriginName}";

    private static string Copies(ImmutableArray<ReplicaPlacement> replicas) =>
        string.Join(", ", replicas.Select(replica => $"{replica.Id} on {replica.NodeName}"));

    private static string Members(ImmutableArray<InSyncMember> members) =>
        string.Join(", ", members.Select(member => member.Id.ToString()).DefaultIfEmpty("none"));

    private static string Labels(VolumeSpec spec) =>
        string.Join(", ", spec.Labels.Select(label => $"{label.Key}={label.Value}").DefaultIfEmpty("none"));
}
