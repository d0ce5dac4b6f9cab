using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Messages;

/// <summary>
/// The names under which types are journaled and cross Akka.Remote. Append-only: a manifest is never given to another type or layout; a
/// changed layout gets the next version after the slash, and journaled versions stay readable for ever.
/// </summary>
public static class Manifests
{
    /// <summary>Journaled events; their layouts are <see cref="EventCodec"/>'s.</summary>
    public static readonly ImmutableArray<KeyValuePair<string, Type>> Events =
    [
        Of<VolumeCreated>("volume-created/1"),
        Of<EpochStarted>("epoch-started/1"),
        Of<EpochOpened>("epoch-opened/2"),
        Of<InSyncChanged>("in-sync-changed/2"),
        Of<ReplicaAdded>("replica-added/1"),
        Of<ReplicaRemoved>("replica-removed/1"),
        Of<AttachmentChanged>("attachment-changed/1"),
        Of<SpecChanged>("spec-changed/2"),
        Of<VolumeDeleted>("volume-deleted/1"),
        Of<NodeRegistered>("node-registered/1"),
        Of<NodeCordoned>("node-cordoned/1"),
        Of<VolumePlaced>("volume-placed/1"),
        Of<VolumeConfirmed>("volume-confirmed/1"),
        Of<VolumeRespecified>("volume-respecified/1"),
        Of<RespecificationConfirmed>("respecification-confirmed/1"),
        Of<ReplacementPlaced>("replacement-placed/1"),
        Of<ReplacementConfirmed>("replacement-confirmed/1"),
        Of<VolumeRemoved>("volume-removed/1"),
        Of<RemovalConfirmed>("removal-confirmed/1"),
        Of<RemovalAsked>("removal-asked/1"),
        Of<RemovalWithdrawn>("removal-withdrawn/1"),
        Of<VolumeRecovered>("volume-recovered/2"),
        Of<CatalogueRecovered>("catalogue-recovered/1"),
        Of<RecoveredPlaced>("recovered-placed/1"),
        Of<CopiesChanged>("copies-changed/1"),
        Of<CopiesConfirmed>("copies-confirmed/1"),
        Of<SnapshotCreated>("snapshot-created/1"),
        Of<SnapshotDeleted>("snapshot-deleted/1"),
        Of<VolumeImage>("volume-image/1"),
        Of<ShrinkAsked>("shrink-asked/1"),
        Of<ShrinkWithdrawn>("shrink-withdrawn/1"),
        Of<CloneStarted>("clone-started/1"),
        Of<CloneEnded>("clone-ended/1"),
        Of<PlacementImage>("placement-image/1"),
        Of<NodeCordonedForRestart>("node-cordoned-for-restart/1"),
        Of<RestoreStarted>("restore-started/1"),
        Of<RestoreEnded>("restore-ended/1"),
        Of<NodeRemoved>("node-removed/1"),
    ];

    /// <summary>The image of a volume that is being put back to a snapshot has one field more; any other is written as earlier versions can read it.</summary>
    public const string ImageInRestore = "volume-image/2";

    /// <summary>Manifests that are read and not written any more.</summary>
    public static readonly ImmutableArray<string> OlderEvents = ["spec-changed/1", "epoch-opened/1", "in-sync-changed/1", "volume-recovered/1"];

    /// <summary>Control messages: the only types that the remote serializer writes or reads at the top of a message.</summary>
    public static readonly ImmutableArray<KeyValuePair<string, Type>> ControlMessages =
    [
        Of<VolumeProtocol.Create>("volume.create/2"),
        Of<VolumeProtocol.Locate>("volume.locate/1"),
        Of<VolumeProtocol.Located>("volume.located/1"),
        Of<VolumeProtocol.Describe>("volume.describe/1"),
        Of<VolumeView>("volume.view/5"),
        Of<VolumeProtocol.Attach>("volume.attach/2"),
        Of<VolumeProtocol.Attached>("volume.attached/1"),
        Of<VolumeProtocol.Detach>("volume.detach/2"),
        Of<VolumeProtocol.ChangeSpec>("volume.change-spec/3"),
        Of<VolumeProtocol.Delete>("volume.delete/2"),
        Of<VolumeProtocol.ReplaceReplica>("volume.replace-replica/2"),
        Of<VolumeProtocol.ArrangeCopies>("volume.arrange-copies/1"),
        Of<VolumeProtocol.CopiesArranged>("volume.copies-arranged/1"),
        Of<VolumeProtocol.Move>("volume.move/1"),
        Of<VolumeProtocol.Scrub>("volume.scrub/1"),
        Of<VolumeProtocol.ScrubView>("volume.scrub-view/1"),
        Of<VolumeProtocol.CreateSnapshot>("volume.create-snapshot/1"),
        Of<VolumeProtocol.SnapshotView>("volume.snapshot-view/1"),
        Of<VolumeProtocol.DeleteSnapshot>("volume.delete-snapshot/1"),
        Of<VolumeProtocol.RestoreSnapshot>("volume.restore-snapshot/1"),
        Of<VolumeProtocol.ListSnapshots>("volume.list-snapshots/1"),
        Of<VolumeProtocol.SnapshotList>("volume.snapshot-list/1"),
        Of<VolumeProtocol.ListShared>("volume.list-shared/1"),
        Of<VolumeProtocol.SharedList>("volume.shared-list/1"),
        Of<VolumeProtocol.ChangedBlocks>("volume.changed-blocks/1"),
        Of<VolumeProtocol.ChangedRuns>("volume.changed-runs/1"),
        Of<VolumeProtocol.PrepareSnapshot>("volume.prepare-snapshot/1"),
        Of<VolumeProtocol.SnapshotPrepared>("volume.snapshot-prepared/1"),
        Of<VolumeProtocol.CommitSnapshot>("volume.commit-snapshot/1"),
        Of<VolumeProtocol.AbortSnapshot>("volume.abort-snapshot/1"),
        Of<VolumeProtocol.StartClone>("volume.start-clone/1"),
        Of<VolumeProtocol.CloneOrigin>("volume.clone-origin/1"),
        Of<VolumeProtocol.EndClone>("volume.end-clone/1"),
        Of<VolumeProtocol.Done>("volume.done/1"),
        Of<VolumeProtocol.Refused>("volume.refused/1"),
        Of<PlacementProtocol.CreateVolume>("placement.create-volume/2"),
        Of<PlacementProtocol.GetVolume>("placement.get-volume/1"),
        Of<PlacementProtocol.ListVolumes>("placement.list-volumes/1"),
        Of<PlacementProtocol.ChangeVolume>("placement.change-volume/4"),
        Of<PlacementProtocol.DeleteVolume>("placement.delete-volume/3"),
        Of<PlacementProtocol.ListNodes>("placement.list-nodes/1"),
        Of<PlacementProtocol.CordonNode>("placement.cordon-node/1"),
        Of<PlacementProtocol.CordonForRestart>("placement.cordon-for-restart/1"),
        Of<PlacementProtocol.RemoveNode>("placement.remove-node/1"),
        Of<PlacementProtocol.RegisterNode>("placement.register-node/4"),
        Of<PlacementProtocol.ReportNode>("placement.report-node/4"),
        Of<PlacementProtocol.ReportAway>("placement.report-away/1"),
        Of<PlacementProtocol.WhichAreDeleted>("placement.which-are-deleted/2"),
        Of<PlacementProtocol.Found>("placement.found/2"),
        Of<PlacementProtocol.VolumeList>("placement.volume-list/2"),
        Of<PlacementProtocol.Removed>("placement.removed/1"),
        Of<PlacementProtocol.NodeList>("placement.node-list/5"),
        Of<PlacementProtocol.Registered>("placement.registered/1"),
        Of<PlacementProtocol.RegisterAgain>("placement.register-again/1"),
        Of<PlacementProtocol.ReportTaken>("placement.report-taken/1"),
        Of<PlacementProtocol.Deleted>("placement.deleted/2"),
        Of<PlacementProtocol.Refused>("placement.refused/1"),
        Of<DiskProtocol.Drain>("disk.drain/1"),
        Of<DiskProtocol.Disk>("disk.disk/1"),
        Of<NodeProtocol.Doubted>("node.doubted/1"),
        Of<NodeProtocol.Unheard>("node.unheard/1"),
    ];

    /// <summary>Types that may stand inside a control message, beside the primitive ones.</summary>
    public static readonly ImmutableArray<Type> Nested =
    [
        typeof(VolumeId), typeof(NodeId), typeof(ReplicaId), typeof(Epoch), typeof(IoStatus), typeof(FailureModeKind),
            typeof(AttachmentMode),
        typeof(VolumeSpec), typeof(VolumeSource), typeof(VolumeRevision), typeof(ReplicaPlacement), typeof(Attachment), typeof(ReplicaView),
        typeof(NodeDescription), typeof(NodeReport), typeof(DiskReport), typeof(HeldCopy), typeof(AwayVolume), typeof(VolumeProtocol.ScrubCounts), typeof(VolumeSpace), typeof(VolumeThrottling),
        typeof(VolumeProtocol.SnapshotEntry), typeof(VolumeProtocol.SnapshotShare), typeof(BlockRange),
        typeof(NodeEntry), typeof(VolumeEntry), typeof(CataloguePhase), typeof(RefusalKind),
        typeof(Guid), typeof(KeyValuePair<string, string>), typeof(ImmutableSortedDictionary<string, string>),
        typeof(ImmutableArray<ReplicaPlacement>), typeof(ImmutableArray<ReplicaView>), typeof(ImmutableArray<HeldCopy>),
        typeof(ImmutableArray<VolumeEntry>), typeof(ImmutableArray<NodeEntry>), typeof(ImmutableArray<DiskReport>), typeof(ImmutableArray<ReplicaId>), typeof(ReplicaId[]), typeof(ImmutableArray<NodeId>),
        typeof(ImmutableArray<VolumeProtocol.SnapshotEntry>), typeof(ImmutableArray<VolumeProtocol.SnapshotShare>), typeof(ImmutableArray<BlockRange>), typeof(ImmutableArray<AwayVolume>),
    ];

    private static KeyValuePair<string, Type> Of<T>(string manifest) => new(manifest, typeof(T));
}
