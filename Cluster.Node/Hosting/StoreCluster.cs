using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Replica;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting;

/// <summary>
/// Keeps a store with its cluster. The store carries the cluster's id; a node whose journal directory is of another cluster does not start, and one that has none
/// neither forms a cluster nor joins another one than that (<see cref="Journal.Formation.FormationMachine"/>): its copies are of volumes that another journal decides about.
/// And with its node: with the journal directory of another node of the same cluster, the copies that are there would be missed where they should be, given up, and made anew.
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
    public static string Refusal(BlockStore store, DataDirectory directory)
    {
        var (ofStore, nodeOfStore) = (Of(store), store.NodeId);
        var (node, cluster) = FormationFile.IdentityIn(directory.Journal);
        if (ofStore != Guid.Empty && cluster != Guid.Empty && cluster != ofStore) return Mixed(directory, $"cluster {ofStore}", $"cluster {cluster}");
        return nodeOfStore != Guid.Empty && node != Guid.Empty && node != nodeOfStore && node != store.FormerNodeId ? Mixed(directory, $"node {nodeOfStore}", $"node {node}") : "";
    }

    /// <summary>
    /// The identity that the node starts under: that of its journal directory, else a new one. It is on the store's media before it is in the journal directory, so that a crash in between leaves none that
    /// the store contradicts. A store whose journal is gone, or was put aside, goes over to the new identity, and back to the one before if that
    /// journal comes back: it may have been away for one start only.
    /// </summary>
    public static async Task<Guid> IdentifyAsync(BlockStore store, ILoop loop, DataDirectory directory)
    {
        var inJournal = FormationFile.IdentityIn(directory.Journal).NodeId;
        var node = inJournal != Guid.Empty ? inJournal : Guid.NewGuid();
        var marked = new TaskCompletionSource<IoStatus>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Post(() => marked.SetResult(store.SetNodeId(node)));
        var status = await marked.Task;
        return status == IoStatus.Ok ? node : throw new NodeStartException($"The store in {directory.Store} can't be marked as that of node {node}: {status}.");
    }

    private static string Mixed(DataDirectory directory, string ofStore, string ofJournal) =>
        $"The store in {directory.Store} belongs to {ofStore} and the journal in {directory.Journal} to {ofJournal}: put the two directories of one node together again.";
}
