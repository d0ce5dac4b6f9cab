using Cluster.Messages.Model;
using Cluster.Node.Repair;

namespace Cluster.Node.Replica;

/// <summary>What a replica's machine needs of the world, besides its store and the links that frames come from.</summary>
public interface IReplicaEffects
{
    Guid StoreId { get; }

    StoreOpens StoreOpens { get; }

    /// <summary>The newest open of the store after which un-flushed bytes may be gone, since its host had lost power or crashed (R9); 0: none.</summary>
    ulong StoreSuspectSince { get; }

    /// <summary>What all volumes of this node share when they repair.</summary>
    NodeRepair Repair { get; }

    /// <summary>The clock of <see cref="LeaseLeftMs"/>, read anew, in ms.</summary>
    long NowMs { get; }

    /// <summary>
    /// How long reads of an owner on that node may still be covered by a lease that this node granted (R17); 0 for this node itself. The default node stands for any
    /// that this process can't know of: what is left of one full lease (with drift) counted from the start of the process.
    /// </summary>
    uint LeaseLeftMs(NodeId owner);

    /// <summary>The replica failed and takes no more part (R10).</summary>
    void OnReplicaFailed(VolumeId volume, IoStatus status, string reason);

    /// <summary>The machine has an ack to send: <see cref="ReplicaMachine.Acknowledge"/> is called in this turn's Acknowledge phase.</summary>
    void WantsAcknowledge(ReplicaMachine machine);
}
