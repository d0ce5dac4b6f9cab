using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Messages.Protocol;

/// <summary>Anything sent to the placement singleton (through the proxy that every node has).</summary>
public interface IPlacementCommand : IControlMessage;

/// <summary>What kind of refusal it was, so that front ends can map it to their own world's errors.</summary>
public enum RefusalKind : byte
{
    /// <summary>The request itself is wrong and will stay so.</summary>
    Invalid = 1,
    NotFound = 2,
    /// <summary>The name is taken by something else, or the thing is in a state that forbids it.</summary>
    Conflict = 3,
    /// <summary>The cluster can't do it as it is now: too few nodes or too little space.</summary>
    Impossible = 4,
    /// <summary>No answer now; the same request may be sent again.</summary>
    Unavailable = 5,
    /// <summary>The volume is at another revision than the one that the caller has seen.</summary>
    Stale = 6,
}

/// <summary>What the placement singleton accepts and answers. Errors are <see cref="Refused"/>. All commands are idempotent.</summary>
public static class PlacementProtocol
{
    /// <summary>
    /// Makes a volume; policy comes from the labels (docs of the labels: VolumeLabels). The size is rounded up to a whole block. Answered
    /// by
    /// <see cref="Found"/> once the volume may be used. The same name with the same spec answers the same; with another spec it is a
    /// conflict.
    /// </summary>
    /// <param name="Source">Null: the volume is empty. Else it is a clone: not smaller than what it comes from, and with at least one copy on one of the nodes <paramref name="Near"/>.</param>
    public sealed record CreateVolume(
        string Namespace, string Name, ulong SizeBytes, ImmutableSortedDictionary<string, string> Labels, VolumeSource? Source, ImmutableArray<NodeId> Near)
        : IPlacementCommand;

    /// <summary>By "NAME" or "NAMESPACE/NAME". Answer: <see cref="Found"/>.</summary>
    public sealed record GetVolume(string FullName) : IPlacementCommand;

    /// <summary>All of a namespace, or of every one with "". Answer: <see cref="VolumeList"/>, sorted by full name.</summary>
    public sealed record ListVolumes(string Namespace) : IPlacementCommand;

    /// <summary>
    /// A new size (0: as it is; a smaller one only if <paramref name="AllowShrink"/>, and only over space in which nothing is stored) and labels to set (an empty value removes one). Answered by <see cref="Found"/> once the owner
    /// has it; of another number of copies: once those to come are added and those to go are gone. Refused as Stale when the catalogue's part of <paramref name="Expected"/> (null: any) is not the present one.
    /// </summary>
    /// <param name="Id">The volume that is meant: one of another id with that name is not found. None (zero): whichever has the name.</param>
    public sealed record ChangeVolume(
        string FullName, ulong SizeBytes, ImmutableSortedDictionary<string, string> Labels, VolumeRevision? Expected = null, bool AllowShrink = false, VolumeId Id = default)
        : IPlacementCommand;

    /// <summary>
    /// Answered by <see cref="Removed"/> once the owner has stopped for ever and the tombstone is journaled (R22). Refused as Conflict while the
    /// volume is attached to one node or a front end has it open, unless <paramref name="Force"/>: then they are fenced. Refused as Stale like
    /// <see cref="ChangeVolume"/>, here also for the attachment's part.
    /// </summary>
    /// <param name="Id">As of <see cref="ChangeVolume"/>.</param>
    public sealed record DeleteVolume(string FullName, VolumeRevision? Expected = null, bool Force = false, VolumeId Id = default) : IPlacementCommand;

    /// <summary>Answer: <see cref="NodeList"/>, sorted by name.</summary>
    public sealed record ListNodes : IPlacementCommand;

    /// <summary>A cordoned node gets no new copies. Answer: <see cref="NodeList"/> with just that node.</summary>
    public sealed record CordonNode(string NodeName, bool Cordoned) : IPlacementCommand;

    /// <summary>
    /// Begins: cordons a node that is not, for a restart. Ends: takes back such a cordon and no other; sent by who began it, and by the node's own actor after its start. Answer as for
    /// <see cref="CordonNode"/>.
    /// </summary>
    public sealed record CordonForRestart(string NodeName, bool Begins) : IPlacementCommand;

    /// <summary>
    /// Takes a node out of the catalogue that is down for good and holds no copy. Answer: <see cref="NodeList"/> with just that node, as it was; <see cref="Refused"/> as Conflict while it is up or holds copies.
    /// </summary>
    /// <param name="NodeName">Or its id, where two had one name.</param>
    /// <param name="OnlyCheck">Nothing is done: whether it would be.</param>
    public sealed record RemoveNode(string NodeName, bool OnlyCheck) : IPlacementCommand;

    /// <summary>
    /// Sent by each node's own actor at its start and until answered. Answer: <see cref="Registered"/>, or <see cref="Refused"/> (name
    /// taken).
    /// </summary>
    public sealed record RegisterNode(NodeDescription Description, NodeReport Report) : IPlacementCommand;

    /// <summary>Sent when the report changed, and now and then. Answer: <see cref="ReportTaken"/>, or <see cref="RegisterAgain"/> when the node is unknown to a new singleton.</summary>
    public sealed record ReportNode(NodeId Node, NodeReport Report) : IPlacementCommand;

    /// <summary>
    /// Volumes that the node owns and that only the front end of another node uses, which has an in-sync copy: in place of what it reported before. Sent every second while there are any, and
    /// once more when there are none. No answer.
    /// </summary>
    public sealed record ReportAway(NodeId Node, ImmutableArray<AwayVolume> Volumes) : IPlacementCommand;

    /// <summary>
    /// Which of these are gone for ever: their volume has a tombstone, or the copy itself was journaled out of it (R22). Answered after a read through
    /// the journal's barrier by <see cref="Deleted"/>; no answer means ask again.
    /// </summary>
    public sealed record WhichAreDeleted(ImmutableArray<HeldCopy> Copies) : IPlacementCommand;

    public sealed record Found(VolumeEntry Volume) : IControlMessage;

    public sealed record VolumeList(ImmutableArray<VolumeEntry> Volumes) : IControlMessage;

    public sealed record Removed(VolumeId Volume) : IControlMessage;

    public sealed record NodeList(ImmutableArray<NodeEntry> Nodes) : IControlMessage;

    public sealed record Registered(NodeId Node) : IControlMessage;

    public sealed record RegisterAgain(NodeId Node) : IControlMessage;

    /// <param name="ProvisionedBytes">As <see cref="NodeEntry"/> has them.</param>
    public sealed record ReportTaken(NodeId Node, ulong ProvisionedBytes) : IControlMessage;

    public sealed record Deleted(ImmutableArray<HeldCopy> Copies) : IControlMessage;

    /// <summary>One sentence that names the input and what would be right.</summary>
    public sealed record Refused(RefusalKind Kind, string Reason) : IControlMessage;
}

/// <summary>A volume that is used away from its owner.</summary>
/// <param name="FrontEnd">The only node with sessions of it.</param>
/// <param name="Generation">Of its attachment.</param>
public sealed record AwayVolume(VolumeId Volume, NodeId FrontEnd, ulong Generation);

/// <summary>A copy that a node holds, as its header names it.</summary>
public sealed record HeldCopy(VolumeId Volume, ReplicaId Replica);

/// <summary>What a node says of itself once per start. Addresses are "host:port" as others reach them.</summary>
/// <param name="Zone">Failure domain, or "" when the node carries none.</param>
/// <param name="AkkaAddress">The node's address as a cluster member.</param>
public sealed record NodeDescription(
    NodeId Id, string Name, string Zone, string ApiAddress, string NbdAddress, string MeshAddress, string AkkaAddress, Guid StoreId);

/// <summary>What changes while a node runs. Bytes of its store; the boot id is the host's (R9).</summary>
/// <param name="AvailableBytes">What new data finds room for, after cleaning.</param>
/// <param name="LiveBytes">Of what volumes and snapshots have there: what cleaning can't free.</param>
/// <param name="OverCommitPercent">Sizes of copies may come to so much of the capacity there; 0: to any.</param>
public sealed record NodeReport(long CapacityBytes, long UsedBytes, long AvailableBytes, ulong StoreOpenCount, Guid BootId, string Version, long LiveBytes = 0,
    int OverCommitPercent = 0)
{
    /// <summary>Of its store, its own directory first.</summary>
    public ImmutableArray<DiskReport> Disks { get; init; } = [];

    /// <summary>Of blocks on disks that are missing, which are not mended yet.</summary>
    public long MissingBytes { get; init; }
}

/// <summary>One disk of a node's store. State: in-use, failing, missing, failed, suspect, draining or drained. Bytes and latencies as of lately; Problem: one sentence without its full stop, or "".</summary>
public sealed record DiskReport(Guid Id, string Path, string State, long FreeBytes, long UsedBytes, double WriteMs, double SyncMs, long Errors, string Problem);

/// <summary>A node as users see it. State: up, unreachable or down; unknown while nobody tells.</summary>
/// <param name="ForRestart">It is cordoned, and will not be once it has started anew.</param>
/// <param name="ProvisionedBytes">Sizes of the volumes with a copy there, or one on its way.</param>
public sealed record NodeEntry(NodeDescription Description, NodeReport Report, string State, bool Cordoned, bool ForRestart, int Replicas, ulong ProvisionedBytes);

/// <summary>How far a volume is in its life.</summary>
public enum CataloguePhase : byte
{
    /// <summary>Placed, but its owner has not confirmed it yet.</summary>
    Creating = 1,
    Ready = 2,
    /// <summary>The tombstone is journaled.</summary>
    Deleting = 3,
}

/// <summary>A volume as the catalogue has it. Its running state is <see cref="VolumeProtocol.Describe"/>'s.</summary>
public sealed record VolumeEntry(VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas, CataloguePhase Phase)
{
    public VolumeId Id => Spec.Id;
}
