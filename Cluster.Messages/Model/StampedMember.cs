namespace Cluster.Messages.Model;

/// <summary>
/// A member of the in-sync set as the headers of all members name it (P7), with the store that it was confirmed on (R5).
/// </summary>
/// <param name="IsJoining">It may have been journaled in since: a recovery needs its copy too.</param>
/// <param name="StoreOpenMark">Of the open that it was confirmed at; 0: named by a version that knew none.</param>
public sealed record StampedMember(ReplicaPlacement Copy, Guid StoreId, ulong StoreOpenCount, bool IsJoining, ulong StoreOpenMark = 0)
{
    public ReplicaId Id => Copy.Id;
}
