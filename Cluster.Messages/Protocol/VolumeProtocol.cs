using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Messages.Protocol;

/// <summary>Anything sent to a volume's actor; the shard region routes by <see cref="Volume"/>.</summary>
public interface IVolumeCommand : IControlMessage
{
    VolumeId Volume { get; }
}

/// <summary>Marks what may cross Akka.Remote: each such type stands in the serializer's allow-list (Manifests.cs).</summary>
public interface IControlMessage;

/// <summary>
/// What a volume's actor accepts and answers. Errors are <see cref="Refused"/>, any command also as <see cref="IoStatus.NotOwner"/> on the way from one owner to the next: nothing was begun there (of
/// <see cref="Create"/>, which may be sent again anyway, nothing but its event), and it may be sent again.
/// </summary>
public static class VolumeProtocol
{
    /// <summary>Sent by placement, again until answered: idempotent. Answer: <see cref="Done"/>.</summary>
    public sealed record Create(VolumeId Volume, VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas) : IVolumeCommand;

    /// <summary>Wakes the actor and asks where it serves. Answer: <see cref="Located"/> or <see cref="Refused"/> (Offline or NotOwner: ask again).</summary>
    public sealed record Locate(VolumeId Volume) : IVolumeCommand;

    public sealed record Located(VolumeId Volume, NodeId Node, string NodeName, ulong Epoch) : IControlMessage;

    /// <summary>Answer: <see cref="VolumeView"/>.</summary>
    public sealed record Describe(VolumeId Volume) : IVolumeCommand;

    /// <summary>
    /// New attachment generation (R11). Answer: <see cref="Attached"/> once the owner enforces it; refused as StaleSession when the generation of
    /// <paramref name="Expected"/> (null: any) is not the present one.
    /// </summary>
    public sealed record Attach(VolumeId Volume, NodeId Node, string NodeName, VolumeRevision? Expected = null) : IVolumeCommand;

    public sealed record Attached(VolumeId Volume, Attachment Attachment) : IControlMessage;

    /// <summary>Back to the default attachment, under a new generation. Answer and refusal as for <see cref="Attach"/>.</summary>
    public sealed record Detach(VolumeId Volume, VolumeRevision? Expected = null) : IVolumeCommand;

    /// <summary>
    /// Size, labels and number of copies. Answer: <see cref="Done"/>. Revisions rise with each change; one that a newer one has overtaken changes nothing. A smaller size only if
    /// <paramref name="AllowShrink"/>, and refused then: Conflict when something is stored beyond the new end, or the volume has snapshots; Busy or Offline while nobody can tell.
    /// </summary>
    public sealed record ChangeSpec(VolumeId Volume, VolumeSpec Spec, ulong Revision, bool AllowShrink = false) : IVolumeCommand;

    /// <summary>
    /// The copies are to be as many as the spec of this revision says: <paramref name="Added"/> (in the order of their numbers) are added, and what is
    /// then surplus is dropped, the ones not in sync first, then in the order of <paramref name="DropFirst"/>, never the owner's own. Sent again until
    /// answered by <see cref="CopiesArranged"/>.
    /// </summary>
    public sealed record ArrangeCopies(
        VolumeId Volume, ulong Revision, ImmutableArray<ReplicaPlacement> Added, ImmutableArray<ReplicaId> DropFirst) : IVolumeCommand;

    /// <summary>These are the volume's copies, as journaled; every other number that was given out before is gone for ever.</summary>
    public sealed record CopiesArranged(VolumeId Volume, ImmutableArray<ReplicaPlacement> Replicas) : IControlMessage;

    /// <summary>
    /// Tombstone (R22), also for a volume whose <see cref="Create"/> has not arrived: that comes too late then. Answer: <see cref="Done"/>, also when
    /// it is gone already. Refused: Conflict while it is attached to one node and Busy while a front end has it open (unless forced, which fences
    /// them) or while it has snapshots (unless forced: they go with it), StaleSession like <see cref="Attach"/>, Offline while nobody can tell.
    /// </summary>
    public sealed record Delete(VolumeId Volume, bool Force = false, VolumeRevision? Expected = null) : IVolumeCommand;

    /// <summary>
    /// Placement replaces a copy: the new one is caught up, then the old one is dropped. Answer: <see cref="Done"/>. One of a revision before the
    /// spec's present one was given up and changes nothing.
    /// </summary>
    public sealed record ReplaceReplica(VolumeId Volume, ReplicaId Lost, ReplicaPlacement Replacement, ulong Revision) : IVolumeCommand;

    /// <summary>Asks the owner to serve from that node; it must hold an in-sync replica. Answer: <see cref="Done"/>.</summary>
    public sealed record Move(VolumeId Volume, string NodeName) : IVolumeCommand;

    /// <summary>Tells of the volume's scrub; with <paramref name="Start"/> one is started unless one is under way. Answer: <see cref="ScrubView"/>.</summary>
    public sealed record Scrub(VolumeId Volume, bool Start) : IVolumeCommand;

    /// <summary>State: idle, running, or waiting (Reason says for what). Times are in Unix ms, 0: never.</summary>
    /// <param name="Now">The one under way; all zero when idle.</param>
    /// <param name="StoredBytes">What there is to read on each copy, about.</param>
    public sealed record ScrubView(VolumeId Volume, string State, string Reason, ScrubCounts Now, ScrubCounts Last, ulong LastEndedUnixMs, ulong NextUnixMs,
        ulong StoredBytes, ulong BytesPerSecond) : IControlMessage;

    /// <summary>Blocks count once per copy on which they were bad or differed; lost ones are good on no copy.</summary>
    public sealed record ScrubCounts(ulong StartedUnixMs, ulong CheckedBytes, ulong MendedBlocks, ulong DifferingBlocks, ulong LostBlocks);

    /// <summary>
    /// Makes a snapshot (R19). Answer: <see cref="SnapshotView"/>, also when there is one of that name already, and to all who ask for one that is being made. Refused: Conflict when the
    /// volume has <see cref="Limits.SnapshotsMax"/> of them, Busy or Offline while it can't be made now; the same request may be sent again.
    /// </summary>
    public sealed record CreateSnapshot(VolumeId Volume, string Name) : IVolumeCommand;

    /// <param name="Created">False: it was there, or being made, when it was asked for.</param>
    public sealed record SnapshotView(VolumeId Volume, string Name, ulong Sequence, ulong CreatedUnixMs, bool Created) : IControlMessage;

    /// <summary>Answer: <see cref="Done"/> once that is journaled. Refused: Missing when there is none of that name, Busy while the volume is being put back to it.</summary>
    public sealed record DeleteSnapshot(VolumeId Volume, string Name) : IVolumeCommand;

    /// <summary>
    /// Puts the volume back to what it was in the snapshot. Answer: <see cref="Done"/> once that is on media. Refused: Missing when there is none of that name, Conflict while the volume is
    /// attached to one node, Busy while a front end has it open, Offline when the owner ended meanwhile: done again it comes to the same.
    /// </summary>
    public sealed record RestoreSnapshot(VolumeId Volume, string Name) : IVolumeCommand;

    /// <summary>Answer: <see cref="SnapshotList"/>.</summary>
    public sealed record ListSnapshots(VolumeId Volume) : IVolumeCommand;

    /// <param name="StoredBytes">Encoded bytes of the volume on its owner's disk.</param>
    /// <param name="Snapshots">From the oldest to the newest.</param>
    public sealed record SnapshotList(VolumeId Volume, ulong StoredBytes, ImmutableArray<SnapshotEntry> Snapshots) : IControlMessage;

    /// <param name="UniqueBytes">Encoded bytes on each copy that no other snapshot and not the volume itself needs: what its deletion frees.</param>
    /// <param name="UniqueBlocks">The same in blocks of 4 KiB.</param>
    public sealed record SnapshotEntry(string Name, ulong Sequence, ulong CreatedUnixMs, ulong UniqueBytes, ulong UniqueBlocks);

    /// <summary>What snapshots share with others or the volume. Answer: <see cref="SharedList"/>. A node with an older version does not know the question, and answers nothing.</summary>
    public sealed record ListShared(VolumeId Volume) : IVolumeCommand;

    /// <param name="Snapshots">Those of which it is known.</param>
    public sealed record SharedList(VolumeId Volume, ImmutableArray<SnapshotShare> Snapshots) : IControlMessage;

    /// <param name="Sequence">Of the snapshot's marker.</param>
    /// <param name="SharedBytes">Encoded bytes on each copy that it holds beside <see cref="SnapshotEntry.UniqueBytes"/>, and that its deletion does not free.</param>
    public sealed record SnapshotShare(ulong Sequence, ulong SharedBytes);

    /// <summary>
    /// The first half of a snapshot of several volumes at one point (docs/consistency.md, C22): the volume's writes are held behind the snapshot's marker. Answer: <see cref="SnapshotPrepared"/>
    /// once that is on media. Refused: Conflict when the name is taken or the volume has <see cref="Limits.SnapshotsMax"/> of them, Busy or Offline while it can't be made now. What is neither
    /// committed nor aborted within <see cref="Limits.GroupHoldMs"/> is given up by the owner.
    /// </summary>
    /// <param name="Attempt">Random; names this attempt to make the group.</param>
    public sealed record PrepareSnapshot(VolumeId Volume, Guid Attempt, string Name) : IVolumeCommand;

    /// <param name="Sequence">Of the marker; together with <paramref name="CreatedUnixMs"/> it names the snapshot that is to be, and no other.</param>
    public sealed record SnapshotPrepared(VolumeId Volume, Guid Attempt, ulong Sequence, ulong CreatedUnixMs) : IControlMessage;

    /// <summary>
    /// Every volume of the group has its marker: writes go on, and the snapshot is journaled. Answer: <see cref="SnapshotView"/>, also when that is done already. Refused: Missing when the volume's writes
    /// are not held for it (any more), and it was not journaled: it never will be. Offline while nobody can tell.
    /// </summary>
    public sealed record CommitSnapshot(VolumeId Volume, Guid Attempt, string Name, ulong Sequence, ulong CreatedUnixMs) : IVolumeCommand;

    /// <summary>
    /// The group is not made, or is deleted: writes go on, and the snapshot, if it was journaled, is deleted. Answer: <see cref="Done"/>, also when there is nothing to do. Refused: Busy while it is
    /// being journaled or the volume is put back to it, Conflict while a clone is made of it, Offline while nobody can tell.
    /// </summary>
    /// <param name="Sequence">0: the attempt never came so far that anything can have been journaled.</param>
    public sealed record AbortSnapshot(VolumeId Volume, Guid Attempt, ulong Sequence, ulong CreatedUnixMs) : IVolumeCommand;

    /// <summary>
    /// Keeps a snapshot for a clone that is about to be made, whatever is asked for meanwhile, until <see cref="EndClone"/> or for a while. Answer: <see cref="CloneOrigin"/>, also when asked again.
    /// Refused: Missing when there is none of that name; as <see cref="CreateSnapshot"/>.
    /// </summary>
    /// <param name="Snapshot">Empty: one is made for it, which users do not see.</param>
    /// <param name="CloneName">Full name of the new volume.</param>
    public sealed record StartClone(VolumeId Volume, string Snapshot, string CloneName) : IVolumeCommand;

    /// <param name="InSync">Nodes whose copies hold the snapshot.</param>
    public sealed record CloneOrigin(VolumeId Volume, VolumeSource Source, ulong SizeBytes, ImmutableArray<NodeId> InSync) : IControlMessage;

    /// <summary>The clone serves, or was given up. Answer: <see cref="Done"/>.</summary>
    public sealed record EndClone(VolumeId Volume, string CloneName) : IVolumeCommand;

    /// <summary>
    /// Blocks that changed between two snapshots, from block <paramref name="First"/> on. Answer: <see cref="ChangedRuns"/>. Refused: Missing when there is none of one of the names, OutOfRange
    /// when the first is not the older one.
    /// </summary>
    /// <param name="From">Empty: nothing; the answer is what holds data.</param>
    /// <param name="To">Empty: the volume as it is now.</param>
    public sealed record ChangedBlocks(VolumeId Volume, string From, string To, ulong First) : IVolumeCommand;

    /// <param name="Runs">Ascending. They may hold blocks that have not changed; none that has is left out.</param>
    /// <param name="UpTo">The block up to which they are told: where to go on.</param>
    /// <param name="IsEnd">There is nothing after that.</param>
    /// <param name="SizeBytes">Of the volume: its last block may be cut short.</param>
    public sealed record ChangedRuns(VolumeId Volume, ImmutableArray<BlockRange> Runs, ulong UpTo, bool IsEnd, ulong SizeBytes) : IControlMessage;

    public sealed record Done(VolumeId Volume) : IControlMessage;

    /// <summary>One sentence that names the input and what would be right.</summary>
    public sealed record Refused(VolumeId Volume, IoStatus Status, string Reason) : IControlMessage;
}

/// <summary>State of one copy as users see it: in-sync, unreachable, catching-up, queued, offline, lost, placed.</summary>
/// <param name="CatchUpEtaSeconds">-1: not known, or none is under way.</param>
public sealed record ReplicaView(string Replica, string Node, string State, ulong AppendedSequence, ulong CatchUpBytesSent, ulong CatchUpBytesTotal,
    ulong CatchUpBytesPerSecond, long CatchUpEtaSeconds);

/// <summary>A volume as users see it.</summary>
/// <param name="InSyncMin">Copies that must be in sync now for a write to be acknowledged.</param>
/// <param name="Space">Of the owner's copy; null while it has none.</param>
/// <param name="Snapshots">How many there are, as journaled; filled in by the actor.</param>
/// <param name="Usage">From where it is used, and why its owner is or is not there; empty: from nowhere.</param>
/// <param name="Throttling">Null: it has no limits.</param>
public sealed record VolumeView(
    VolumeId Id, VolumeSpec Spec, string State, string Owner, ulong Epoch, ulong InSyncVersion, ulong Sequence,
    ImmutableArray<ReplicaView> Replicas, Attachment Attachment, string Reason, int InSyncMin,
    VolumeSpace? Space = null, int Snapshots = 0, string Usage = "", VolumeThrottling? Throttling = null) : IControlMessage;

/// <summary>Since its owner began to serve it.</summary>
/// <param name="Ios">Requests that have waited for the volume's limits, for <paramref name="WaitedMs"/> in all.</param>
/// <param name="Waiting">Those that wait now.</param>
public sealed record VolumeThrottling(ulong Ios, ulong WaitedMs, int Waiting);

/// <summary>Bytes of one copy: of the blocks written, of those as stored, of what only snapshots still have, and of what a clone shares with the volume that it came from.</summary>
public sealed record VolumeSpace(long UsedBytes, long StoredBytes, long SnapshotBytes, long SharedBytes = 0);
