using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Serialization;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>
/// Code that writes and reads a kind of control message is made when the first one crosses: some 35 ms of a processor each, several kinds one after the other in the first creation or
/// attachment after a start. Here one of each kind that these need is written and read before anybody asks. Nothing is sent.
/// </summary>
public static class ControlWarmUp
{
    /// <summary>Between two messages, so that a node that has just joined has its processors for its volumes.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private static readonly VolumeId Volume = new(1);
    private static readonly NodeId Node = new(Guid.Empty);
    private static readonly VolumeRevision Revision = new(1, 1);
    private static readonly ReplicaPlacement Copy = new(new ReplicaId(1), Node, "", Guid.Empty);
    private static readonly Attachment Attachment = new(1, AttachmentMode.Exclusive, Node, "");
    private static readonly ImmutableSortedDictionary<string, string> Labels = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal).Add("a", "b");
    private static readonly VolumeSource Source = new(Volume, 1, "", "");
    private static readonly VolumeSpec Spec = new(Volume, "", "", 1, 1, FailureModeKind.Hard, 1, 1, true, Labels, Source);
    private static readonly VolumeEntry Entry = new(Spec, [Copy], CataloguePhase.Ready);

    private static readonly NodeReport Report = new(1, 1, 1, 1, Guid.Empty, "") { Disks = [new DiskReport(Guid.Empty, "", "", 1, 1, 1, 1, 1, "")] };

    /// <summary>One of each kind that a volume's creation, attachment, detachment, deletion, and looks at volumes and nodes need. All fields are filled: what is null has its code made later.</summary>
    public static readonly ImmutableArray<IControlMessage> Messages =
    [
        new PlacementProtocol.CreateVolume("", "", 1, Labels, Source, [Node]),
        new VolumeProtocol.Create(Volume, Spec, [Copy]),
        new VolumeProtocol.Done(Volume),
        new PlacementProtocol.Found(Entry),
        new VolumeProtocol.Describe(Volume),
        new VolumeView(Volume, Spec, "", "", 1, 1, 1, [new ReplicaView("", "", "", 1, 1, 1, 1, 1)], Attachment, "", 1, new VolumeSpace(1, 1, 1, 1), 1, "", new VolumeThrottling(1, 1, 1)),
        new PlacementProtocol.GetVolume(""),
        new PlacementProtocol.ListNodes(),
        new PlacementProtocol.NodeList([new NodeEntry(new NodeDescription(Node, "", "", "", "", "", "", Guid.Empty), Report, "", true, true, 1, 1)]),
        new VolumeProtocol.Attach(Volume, Node, "", Revision),
        new VolumeProtocol.Attached(Volume, Attachment),
        new VolumeProtocol.Detach(Volume, Revision),
        new VolumeProtocol.Locate(Volume),
        new VolumeProtocol.Located(Volume, Node, "", 1),
        new VolumeProtocol.Refused(Volume, IoStatus.Offline, ""),
        new PlacementProtocol.Refused(RefusalKind.NotFound, ""),
        new PlacementProtocol.ListVolumes(""),
        new PlacementProtocol.VolumeList([Entry]),
        new PlacementProtocol.DeleteVolume("", Revision, true),
        new VolumeProtocol.Delete(Volume, true, Revision),
        new PlacementProtocol.Removed(Volume),
    ];

    /// <summary>Any thread. What it throws is a fault of the program.</summary>
    public static async Task RunAsync(ControlSerializer serializer, CancellationToken cancellation)
    {
        foreach (var message in Messages)
        {
            serializer.FromBinary(serializer.ToBinary(message), serializer.Manifest(message));
            await Task.Delay(Pause, cancellation).ConfigureAwait(false);
        }
    }
}
