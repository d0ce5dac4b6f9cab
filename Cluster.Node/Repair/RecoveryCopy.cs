using Cluster.Messages.Model;
using Cluster.Node.Replica;

namespace Cluster.Node.Repair;

/// <summary>One copy of a volume as a node's store has it, when no journal says anything any more.</summary>
/// <param name="LastRecordEpoch">Epoch of its last record, 0 with none.</param>
/// <param name="Damage">Why it can't say what it holds; null: it can.</param>
public sealed record RecoveryCopy(
    NodeId Node, string NodeName, Guid StoreId, StoreOpens StoreOpens, ReplicaHeader Header, ulong LastRecordEpoch, ulong LastSequence, string? Damage)
{
    public ReplicaId Id => Header.Replica;

    /// <summary>What its header relies on, in the journal's order: versions rise, and every epoch begins with a higher one.</summary>
    public (ulong Epoch, ulong Version) Stamp => (Header.InSyncEpoch, Header.InSyncVersion);

    public bool WasInSync => Header.InSyncVersion > 0;

    /// <summary>It is a whole prefix of some order, and it knows of which.</summary>
    public bool IsWhole => Damage is null && !Header.CatchingUp;

    public ReplicaPlacement Placement => new(Header.Replica, Node, NodeName, Header.Identity);

    /// <summary>
    /// It is the copy that was confirmed, on the same store and no older backup of it (R5). One that was opened too often since to prove it is believed: nobody acknowledges
    /// anything meanwhile, and others that are demanded must be here too.
    /// </summary>
    public bool Is(StampedMember member) => Damage is null && Header.Replica == member.Id && Header.Identity == member.Copy.Identity
        && StoreId == member.StoreId
        && StoreOpens.DescentFrom(member.StoreOpenCount, member.StoreOpenMark, Header.StampedOpen(StoreId)) != StoreDescent.Foreign;
}
