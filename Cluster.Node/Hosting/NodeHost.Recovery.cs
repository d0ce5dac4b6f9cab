using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Recovery;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Recovery;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

// A node whose journal is gone waits here, and one of a recovered cluster until the new journal is filled (P7).
public sealed partial class NodeHost
{
    private async Task<FormationRecord> FormedAsync(JournalNode journal, BlockStore store, ILoop loop, CancellationToken cancellation)
    {
        if (journal.Record is null && NodeRecovery.ClusterOf(store) is { } cluster)
        {
            _health.Report("journal", HealthState.Starting,
                $"The store has data of cluster {cluster:N} and this node has no journal: it waits for a node of that cluster, or for `myrmidon recover`.");
            LogWaits(cluster);
        }
        var formed = await journal.Formed.WaitAsync(cancellation);
        LogFormed(formed.ClusterId, formed.Members.Count);
        if (NodeRecovery.ClusterOf(store) is { } other && other != formed.ClusterId) throw new NodeStartException(
            $"The store has data of cluster {other:N}, but the journal is of cluster {formed.ClusterId:N}: the data directory was mixed up.");
        await ClaimAsync(store, loop, formed.ClusterId).WaitAsync(cancellation);
        return formed;
    }

    /// <summary>From here on the store belongs to the cluster, and tells so when the journal is gone.</summary>
    private static async Task ClaimAsync(BlockStore store, ILoop loop, Guid cluster)
    {
        var claimed = new TaskCompletionSource<IoStatus>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Post(() => claimed.SetResult(store.SetClusterId(cluster)));
        var status = await claimed.Task;
        if (status != IoStatus.Ok) throw new NodeStartException($"The store can't be marked as one of cluster {cluster:N}: {status}.");
    }

    private async Task FillRecoveredAsync(JournalNode journal, DataDirectory directory, Guid era, CancellationToken cancellation)
    {
        if (!RecoveryEra.IsRecovered(era)) return;
        RecoveryImage? image;
        try
        {
            image = RecoveryImage.Load(directory.Journal);
        }
        catch (JournalFormatException e)
        {
            throw new NodeStartException($"What the recovered journal begins with can't be read from {directory.Journal}: {e.Message}; delete recovery.bin there if "
                + "another node of this era has it.", e);
        }
        await new RecoveryImport(journal.Log, _log).RunAsync(era, image, cancellation);
        RecoveryImage.Delete(directory.Journal);
    }

    [LoggerMessage(Level = LogLevel.Warning,
        Message = "the store has data of cluster {ClusterId} and this node has no journal: it waits for a node of that cluster, or for `myrmidon recover`")]
    private partial void LogWaits(Guid clusterId);
}
