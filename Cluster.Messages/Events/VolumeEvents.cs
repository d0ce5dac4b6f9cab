using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Messages.Events;

/// <summary>
/// Everything that may be journaled about one volume, under the persistence id "volume-ID". Folded by the owner's VolumeState; the order is the journal's, and an
/// event counts only once it was read back or acknowledged by the journal (R6). Layouts and manifests: Manifests.cs, append-only.
/// </summary>
public abstract record VolumeEvent(VolumeId Volume);

/// <summary>First event: the volume exists, with these copies; none has been in sync yet.</summary>
public sealed record VolumeCreated(VolumeId Volume, VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas) : VolumeEvent(Volume);

/// <summary>A node claims the volume (R1). From here on every lower epoch is deposed.</summary>
public sealed record EpochStarted(VolumeId Volume, Epoch Epoch, NodeId Node, string NodeName) : VolumeEvent(Volume);

/// <summary>The claim succeeded: these members hold the chosen prefix, which ends at the start sequence.</summary>
public sealed record EpochOpened(VolumeId Volume, Epoch Epoch, ulong StartSequence, ulong Version, ImmutableArray<InSyncMember> Members) : VolumeEvent(Volume);

/// <summary>The in-sync set is now this one (R6).</summary>
public sealed record InSyncChanged(VolumeId Volume, Epoch Epoch, ulong Version, ImmutableArray<InSyncMember> Members, string Reason) : VolumeEvent(Volume);

public sealed record ReplicaAdded(VolumeId Volume, ReplicaPlacement Replica) : VolumeEvent(Volume);

/// <summary>Never a member of the in-sync set: it is journaled out first.</summary>
public sealed record ReplicaRemoved(VolumeId Volume, ReplicaId Replica, string Reason) : VolumeEvent(Volume);

public sealed record AttachmentChanged(VolumeId Volume, Attachment Attachment) : VolumeEvent(Volume);

/// <summary>Size, labels or number of copies changed.</summary>
/// <param name="Revision">Placement's number of this change, rising; 0 as the first versions wrote it.</param>
public sealed record SpecChanged(VolumeId Volume, VolumeSpec Spec, ulong Revision) : VolumeEvent(Volume);

/// <summary>
/// The snapshot exists (R19): its marker, at this place in the order, is on media on every member of the in-sync set.
/// </summary>
/// <param name="Name">Unique among the volume's snapshots.</param>
/// <param name="UnixMs">When it was asked for, by the owner's clock: shown, and used for nothing else but a retention policy.</param>
public sealed record SnapshotCreated(VolumeId Volume, ulong Sequence, string Name, ulong UnixMs) : VolumeEvent(Volume);

/// <summary>The snapshot is gone; a marker that leaves it out follows in the order, however often owners change until then (R22).</summary>
public sealed record SnapshotDeleted(VolumeId Volume, ulong Sequence) : VolumeEvent(Volume);

/// <summary>The snapshot stays, however it is asked for: a clone is being made from it, and may not have begun on every node yet.</summary>
/// <param name="CloneName">Full name of the new volume.</param>
/// <param name="UnixMs">When, by the owner's clock: one that nobody ends is ended after a while.</param>
public sealed record CloneStarted(VolumeId Volume, ulong Sequence, string CloneName, ulong UnixMs) : VolumeEvent(Volume);

/// <summary>That clone serves, or was given up.</summary>
public sealed record CloneEnded(VolumeId Volume, string CloneName) : VolumeEvent(Volume);

/// <summary>
/// The volume goes back to the snapshot (R19): from here on markers put it back part by part, and whoever owns it begins that anew, until it has ended. Nobody uses it meanwhile, and the snapshot stays.
/// </summary>
/// <param name="Sequence">Of the snapshot.</param>
public sealed record RestoreStarted(VolumeId Volume, ulong Sequence) : VolumeEvent(Volume);

/// <summary>Every part is back, on media on every member of the in-sync set.</summary>
public sealed record RestoreEnded(VolumeId Volume) : VolumeEvent(Volume);

/// <summary>
/// First event of a volume that was recovered from its copies' headers (P7): these members hold all that there is, which ends with a record of that epoch at the start
/// sequence. Of the epochs before nothing is known: other copies are prefixes if their last record is of that very epoch, else they are copied in full.
/// </summary>
public sealed record VolumeRecovered(
    VolumeId Volume, VolumeSpec Spec, ImmutableArray<ReplicaPlacement> Replicas, Epoch Epoch, ulong RecordEpoch, ulong StartSequence, ulong Version,
    ImmutableArray<InSyncMember> Members) : VolumeEvent(Volume);

/// <summary>
/// All that the events up to a place in the stream come to: kept as the stream's snapshot, so that they need not be kept for ever. In no stream itself. The fields are the
/// owner's VolumeState's.
/// </summary>
/// <param name="EverInSync">Of the copies that there are.</param>
/// <param name="History">Ascending.</param>
/// <param name="Snapshots">Ascending by sequence.</param>
/// <param name="RestoringTo">0: the volume is not being put back, and the image has the layout of before there was that.</param>
public sealed record VolumeImage(
    VolumeId Volume, VolumeSpec? Spec, ImmutableArray<ReplicaPlacement> Replicas, ulong SpecRevision, ushort LastReplica, int CopiesInForce, Epoch Epoch, string EpochNodeName,
    Epoch Opened, ulong Version, ImmutableArray<InSyncMember> InSync, ImmutableArray<InSyncMember> EverInSync, ImmutableArray<OpenedEpoch> History, bool HistoryCut,
    ulong ForgottenAfter, ulong ForgottenBefore, Attachment Attachment, ImmutableArray<VolumeSnapshot> Snapshots, ImmutableArray<StartedClone> Clones, ulong RecoveredUpTo,
    ImmutableArray<ulong> RecoveredAndDeleted, bool Deleted, ulong RestoringTo = 0) : VolumeEvent(Volume);

/// <summary>Last event: the tombstone (R22).</summary>
public sealed record VolumeDeleted(VolumeId Volume) : VolumeEvent(Volume);
