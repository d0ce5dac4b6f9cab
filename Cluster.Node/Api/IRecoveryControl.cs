namespace Cluster.Node.Api;

/// <summary>What REST asks of one node when the journal is to be recovered. There from the moment the node has its store open, cluster or not.</summary>
public interface IRecoveryControl
{
    Task<ControlResult<RecoveryResource>> LookAsync(CancellationToken cancellation);

    /// <summary>The node belongs to the new era when this answers. Conflict: it has a journal, or its copies are not as the plan has them.</summary>
    Task<ControlResult<RecoveryResource>> RecoverAsync(RecoverRequest request, CancellationToken cancellation);

    /// <summary>
    /// The node puts its journal aside and starts anew: it then joins the cluster of its store's data, or waits. Conflict: its journal has a leader.
    /// </summary>
    Task<ControlResult<RecoveryResource>> StandDownAsync(CancellationToken cancellation);
}
