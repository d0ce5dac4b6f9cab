using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using Cluster.Messages.Events;
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
            InSyncMin = spec.InSyncMin,
            SingleCopy = spec.Replicas == 1,
            Replicas = view is null ? [.. entry.Replicas.Select(Placed)] : [.. view.Replicas.Select(Of)],
            Labels = spec.Labels,
            Attachment = new AttachmentResource
            {
                Mode = attachment.Mode == AttachmentMode.Exclusive ? "exclusive" : "shared",
                Generation = attachment.Generation,
                Node = attachment.Mode == AttachmentMode.Exclusive ? attachment.NodeName : null,
            },
            Sequence = view?.Sequence ?? 0,
            Revision = RevisionOf(spec, attachment, entry),
        };
    }

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
    };

    /// <summary>A hash of what a change request may rest on: spec, attachment and placement.</summary>
    private static string RevisionOf(VolumeSpec spec, Attachment attachment, VolumeEntry entry)
    {
        var hash = new XxHash3();
        hash.Append(VolumeSpecCodec.Encode(spec));
        Span<byte> number = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(number, attachment.Generation);
        hash.Append(number);
        foreach (var replica in entry.Replicas)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(number, replica.Id.Number);
            hash.Append(number);
        }
        return hash.GetCurrentHashAsUInt64().ToString("x16", CultureInfo.InvariantCulture);
    }
}
