using Cluster.Node.Journal.Formation;
using Cluster.Node.Replica;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting;

/// <summary>
/// Keeps a store with its cluster. The store carries the cluster's id; a node whose journal directory is of another cluster does not start, and one that has none
/// neither forms a cluster nor joins another one than that (<see cref="Journal.Formation.FormationMachine"/>): its copies are of volumes that another journal decides about.
/// </summary>
internal static class StoreCluster
{
    /// <summary>The cluster that the store belongs to; empty: none yet. Stores of the first versions say it in their copies' headers only.</summary>
    public static Guid Of(BlockStore store)
    {
        if (store.ClusterId != Guid.Empty) return store.ClusterId;
        return store.Volumes.Select(volume => ReplicaHeader.TryDecode(volume.Header.Span)?.ClusterId ?? Guid.Empty)
            .FirstOrDefault(id => id != Guid.Empty);
    }

    /// <summary>Why the node must not start with these two directories, as one sentence, or an empty text.</summary>
    public static string Refusal(Guid ofStore, DataDirectory directory)
    {
        if (ofStore == Guid.Empty) return "";
        var ofJournal = FormationFile.ClusterOf(directory.Journal);
        return ofJournal == ofStore || ofJournal == Guid.Empty ? ""
            : $"The store in {directory.Store} belongs to cluster {ofStore} and the journal in {directory.Journal} to cluster {ofJournal}: "
                + "put the two directories of one node together again.";
    }
}
