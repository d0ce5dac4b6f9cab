using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Control;

/// <summary>A volume of the catalogue and what its owner says of it, as REST shows them.</summary>
internal static class VolumeResources
{
    /// <param name="view">Null when the owner did not answer; then the reason says why.</param>
    public static VolumeResource Of(VolumeEntry entry, VolumeView? view, string reason)
    {
        var spec = view?.Spec ?? entry.Spec;
        var attachment = view?.Attachment ?? Attachment.Default;
        return new VolumeResource
        {
            Name = spec.Name,
            Namespace = spec.Namespace,
            Id = spec.Id.ToString(),
            SizeBytes = spec.SizeBytes,
            State = StateOf(entry, view),
            Reason = view?.Reason ?? reason,
            Owner = view is { Owner.Length: > 0 } ? view.Owner : null,
            Epoch = view?.Epoch ?? 0,
            ReplicaCount = spec.Replicas,
            InSyncMin = view?.InSyncMin ?? spec.InSyncMin,
            SingleCopy = spec.Replicas == 1,
            Replicas = view is null ? [.. entry.Replicas.Select(Placed)] : [.. view.Replicas.Select(Of)],
            Labels = spec.Labels,
            Attachment = new AttachmentResource
            {
                Mode = attachment.Mode == AttachmentMode.Exclusive ? "exclusive" : "shared",
                Generation = attachment.Generation,
                Node = attachment.Mode == AttachmentMode.Exclusive ? attachment.NodeName : null,
            },
            UsedBytes = (ulong?)view?.Space?.UsedBytes,
            StoredBytes = (ulong?)view?.Space?.StoredBytes,
            SnapshotBytes = (ulong?)view?.Space?.SnapshotBytes,
            SharedBytes = (ulong?)view?.Space?.SharedBytes,
            Source = spec.Source is { } source ? Of(source) : null,
            Sequence = view?.Sequence ?? 0,
            Snapshots = view?.Snapshots ?? 0,
            Usage = view?.Usage ?? "",
            Throttling = view?.Throttling is { } waited
                ? new VolumeThrottlingResource { Ios = waited.Ios, WaitedMilliseconds = waited.WaitedMs, Waiting = waited.Waiting } : null,
            Revision = RevisionOf(entry, view),
        };
    }

    private static VolumeSourceResource Of(VolumeSource source) => new()
    {
        Volume = source.OriginName,
        Id = source.Origin.ToString(),
        Snapshot = source.Snapshot.Length > 0 ? source.Snapshot : null,
        Sequence = source.Sequence,
    };

    private static string StateOf(VolumeEntry entry, VolumeView? view)
    {
        if (entry.Phase == CataloguePhase.Deleting) return "deleting";
        return view?.State is "healthy" or "degraded" or "held" ? view.State : "starting";
    }

    private static ReplicaResource Placed(ReplicaPlacement placement) => new()
    {
        Node = placement.NodeName,
        State = "placed",
        Replica = placement.Id.ToString(),
    };

    private static ReplicaResource Of(ReplicaView replica) => new()
    {
        Node = replica.Node,
        State = replica.State,
        Replica = replica.Replica,
        AppendedSequence = replica.AppendedSequence,
        CatchUpBytesSent = replica.CatchUpBytesSent,
        CatchUpBytesTotal = replica.CatchUpBytesTotal,
        CatchUpBytesPerSecond = replica.CatchUpBytesPerSecond,
        CatchUpEtaSeconds = replica.CatchUpEtaSeconds < 0 ? null : replica.CatchUpEtaSeconds,
    };

    /// <summary>Without the owner's word the attachment's part is unknown: such a revision matches none, so no change rests on it.</summary>
    private static string RevisionOf(VolumeEntry entry, VolumeView? view)
    {
        var catalogue = VolumeRevision.CatalogueOf(entry.Spec, entry.Replicas);
        return view is null ? VolumeRevision.UnknownGeneration(catalogue) : new VolumeRevision(catalogue, view.Attachment.Generation).ToString();
    }
}
