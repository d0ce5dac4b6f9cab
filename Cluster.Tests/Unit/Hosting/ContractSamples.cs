using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>One filled instance of each type that is journaled or remoted, with fixed values so that bytes can be pinned.</summary>
internal static class ContractSamples
{
    public static readonly VolumeId Volume = new(7);
    public static readonly NodeId Node = new(new Guid("00112233-4455-6677-8899-aabbccddeeff"));
    public static readonly Guid Store = new("0f0e0d0c-0b0a-0908-0706-050403020100");
    public static readonly VolumeSpec Spec = VolumeSpecCodecSpecs.Spec;
    public static readonly VolumeSource Source = new(new VolumeId(3), 17, "pg", "monday");
    public static readonly ReplicaPlacement Placement = new(new ReplicaId(2), Node, "node-1", Store);
    public static readonly Attachment Attachment = new(3, AttachmentMode.Exclusive, Node, "node-1");
    public static readonly VolumeRevision Revision = new(0x0123456789abcdef, 3);
    public static readonly NodeDescription Description = new(Node, "node-1", "z1", "h:1", "h:2", "h:3", "akka.tcp://myrmidon@h:4", Store);
    public static readonly NodeReport Report = new(100, 40, 60, 3, Store, "0.1.0", 25, 200)
    {
        Disks = [new DiskReport(Store, "/disks/1", "missing", 60, 40, 0.5, 1.5, 2, "its directory is empty")],
        MissingBytes = 7,
    };

    public static readonly VolumeEntry Entry = new(Spec, [Placement], CataloguePhase.Ready);
    private static readonly ImmutableArray<InSyncMember> Members = [new(new ReplicaId(1), Store, 4, 0x41), new(new ReplicaId(2), Store, 5, 0x51)];

    public static readonly ImmutableArray<object> Events =
    [
        new VolumeCreated(Volume, Spec, [Placement]),
        new EpochStarted(Volume, new Epoch(9), Node, "node-1"),
        new EpochOpened(Volume, new Epoch(9), 1234, 5, Members),
        new InSyncChanged(Volume, new Epoch(9), 6, Members, "node-2 is silent"),
        new ReplicaAdded(Volume, Placement),
        new ReplicaRemoved(Volume, new ReplicaId(1), "replaced"),
        new AttachmentChanged(Volume, Attachment),
        new SpecChanged(Volume, Spec, 4),
        new VolumeDeleted(Volume),
        new NodeRegistered(Description),
        new NodeCordoned(Node, true),
        new VolumePlaced(Spec, [Placement]),
        new VolumeConfirmed(Volume),
        new VolumeRespecified(Spec),
        new RespecificationConfirmed(Volume),
        new ReplacementPlaced(Volume, new ReplicaId(1), Placement),
        new ReplacementConfirmed(Volume, new ReplicaId(1)),
        new VolumeRemoved(Volume),
        new RemovalConfirmed(Volume),
        new RemovalAsked(Volume, true, Revision),
        new RemovalWithdrawn(Volume),
        new VolumeRecovered(Volume, Spec, [Placement], new Epoch(1UL << 32), 9, 1234, 1UL << 32, Members),
        new CatalogueRecovered(17),
        new RecoveredPlaced(Spec, [Placement], 3),
        new CopiesChanged(Spec, [Placement], [new ReplicaId(2), new ReplicaId(1)]),
        new CopiesConfirmed(Volume, [Placement]),
        new SnapshotCreated(Volume, 0x1122334455667788, "monday", 1_800_000_000_123),
        new SnapshotDeleted(Volume, 0x1122334455667788),
        new VolumeImage(Volume, Spec, [Placement], 3, 4, 2, new Epoch(9), "node-1", new Epoch(8), 5, Members, Members, [new OpenedEpoch(7, 1234), new OpenedEpoch(8, 1300)], true, 11, 12,
            new Attachment(13, AttachmentMode.Exclusive, Placement.Node, "node-1"), [new VolumeSnapshot(1250, "monday", 1_800_000_000_123)], [new StartedClone(1250, "db2", 1_800_000_000_124)], 14, [15, 16], true),
        new ShrinkAsked(Spec),
        new ShrinkWithdrawn(Volume),
        new CloneStarted(Volume, 0x1122334455667788, "copy", 1_800_000_000_123),
        new CloneEnded(Volume, "copy"),
        new RestoreStarted(Volume, 0x1122334455667788),
        new RestoreEnded(Volume),
        new PlacementImage(17, [new IdRange(1, 6), new IdRange(9, 9)], [new NodeRegistered(Description)], [Node], [Node],
            [new ImagedVolume(Spec, [Placement], CataloguePhase.Ready, true, 5, 4, [new IdRange(1, 2)])
            {
                Replacement = new ReplacementPlaced(Spec.Id, new ReplicaId(3), Placement),
                Removal = new RemovalAsked(Spec.Id, true, Revision),
                Shrink = new ShrinkAsked(Spec),
                Arrangement = new CopiesChanged(Spec, [Placement], [new ReplicaId(2), new ReplicaId(1)]),
            },
            new ImagedVolume(Spec, [], CataloguePhase.Deleting, false, 0, 0, [])]),
        new NodeCordonedForRestart(Node),
        new NodeRemoved(Node),
    ];

    public static readonly ImmutableArray<IControlMessage> ControlMessages =
    [
        new VolumeProtocol.Create(Volume, Spec, [Placement, Placement]),
        new VolumeProtocol.Locate(Volume),
        new VolumeProtocol.Located(Volume, Node, "node-1", 9),
        new VolumeProtocol.Describe(Volume),
        new VolumeView(Volume, Spec, "serving", "node-1", 9, 4, 1234, [new ReplicaView("r1", "node-1", "in-sync", 1234, 0, 0, 5, 6)], Attachment,
            "", 2, new VolumeSpace(8192, 5000, 77, 66), 3, "on node-1", new VolumeThrottling(5, 6, 7)),
        new VolumeProtocol.Attach(Volume, Node, "node-1", Revision),
        new VolumeProtocol.Attached(Volume, Attachment),
        new VolumeProtocol.Detach(Volume, Revision),
        new VolumeProtocol.ChangeSpec(Volume, Spec, 4, true),
        new VolumeProtocol.Delete(Volume, true, Revision),
        new VolumeProtocol.ReplaceReplica(Volume, new ReplicaId(1), Placement, 4),
        new VolumeProtocol.ArrangeCopies(Volume, 4, [Placement], [new ReplicaId(2), new ReplicaId(1)]),
        new VolumeProtocol.CopiesArranged(Volume, [Placement]),
        new VolumeProtocol.Move(Volume, "node-1"),
        new VolumeProtocol.Scrub(Volume, true),
        new VolumeProtocol.ScrubView(Volume, "waiting", "why", new(1, 2, 3, 4, 5), new(6, 7, 8, 9, 10), 11, 12, 13, 14),
        new VolumeProtocol.CreateSnapshot(Volume, "monday"),
        new VolumeProtocol.SnapshotView(Volume, "monday", 17, 1_800_000_000_123, true),
        new VolumeProtocol.DeleteSnapshot(Volume, "monday"),
        new VolumeProtocol.RestoreSnapshot(Volume, "monday"),
        new VolumeProtocol.ListSnapshots(Volume),
        new VolumeProtocol.SnapshotList(Volume, 1 << 20, [new("monday", 17, 1_800_000_000_123, 4096, 1), new("tuesday", 29, 1_800_086_400_123, 0, 0)]),
        new VolumeProtocol.ListShared(Volume),
        new VolumeProtocol.SharedList(Volume, [new(17, 8192), new(29, 0)]),
        new VolumeProtocol.ChangedBlocks(Volume, "monday", "tuesday", 64),
        new VolumeProtocol.ChangedRuns(Volume, [new BlockRange(64, 3), new BlockRange(1UL << 40, 1)], 1UL << 41, false, 1UL << 53),
        new VolumeProtocol.PrepareSnapshot(Volume, Store, "monday"),
        new VolumeProtocol.SnapshotPrepared(Volume, Store, 17, 1_800_000_000_123),
        new VolumeProtocol.CommitSnapshot(Volume, Store, "monday", 17, 1_800_000_000_123),
        new VolumeProtocol.AbortSnapshot(Volume, Store, 17, 1_800_000_000_123),
        new VolumeProtocol.StartClone(Volume, "monday", "copy"),
        new VolumeProtocol.CloneOrigin(Volume, Source, 1 << 20, [Node]),
        new VolumeProtocol.EndClone(Volume, "copy"),
        new VolumeProtocol.Done(Volume),
        new VolumeProtocol.Refused(Volume, IoStatus.Offline, "too few copies"),
        new PlacementProtocol.CreateVolume("default", "pg", 1 << 20, Spec.Labels, Source, [Node]),
        new PlacementProtocol.GetVolume("pg"),
        new PlacementProtocol.ListVolumes(""),
        new PlacementProtocol.ChangeVolume("pg", 1 << 21, Spec.Labels, Revision, true),
        new PlacementProtocol.DeleteVolume("pg", Revision, true),
        new PlacementProtocol.ListNodes(),
        new PlacementProtocol.CordonNode("node-1", true),
        new PlacementProtocol.CordonForRestart("node-1", true),
        new PlacementProtocol.RemoveNode("node-1", true),
        new PlacementProtocol.RegisterNode(Description, Report),
        new PlacementProtocol.ReportNode(Node, Report),
        new PlacementProtocol.ReportAway(Node, [new AwayVolume(Volume, Node, 13)]),
        new PlacementProtocol.WhichAreDeleted([new HeldCopy(Volume, new ReplicaId(1)), new HeldCopy(new VolumeId(8), new ReplicaId(2))]),
        new PlacementProtocol.Found(Entry),
        new PlacementProtocol.VolumeList([Entry]),
        new PlacementProtocol.Removed(Volume),
        new PlacementProtocol.NodeList([new NodeEntry(Description, Report, "up", true, true, 2, 300)]),
        new PlacementProtocol.Registered(Node),
        new PlacementProtocol.RegisterAgain(Node),
        new PlacementProtocol.ReportTaken(Node, 300),
        new PlacementProtocol.Deleted([new HeldCopy(Volume, new ReplicaId(1))]),
        new PlacementProtocol.Refused(RefusalKind.NotFound, "no such volume"),
        new DiskProtocol.Drain(Store, true),
        new DiskProtocol.Disk(Report.Disks[0]),
        new NodeProtocol.Doubted(Node),
        new NodeProtocol.Unheard(Node, Node),
    ];
}
