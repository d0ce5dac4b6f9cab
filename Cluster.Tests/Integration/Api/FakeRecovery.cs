using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

/// <summary>A node that has nothing to recover.</summary>
public sealed class FakeRecovery : IRecoveryControl
{
    private static readonly ControlFailure None = new(ControlStatus.Unavailable, "This node has nothing to recover.");

    public Task<ControlResult<RecoveryResource>> LookAsync(CancellationToken cancellation) => Task.FromResult<ControlResult<RecoveryResource>>(None);

    public Task<ControlResult<RecoveryResource>> RecoverAsync(RecoverRequest request, CancellationToken cancellation) => Task.FromResult<ControlResult<RecoveryResource>>(None);

    public Task<ControlResult<RecoveryResource>> StandDownAsync(CancellationToken cancellation) => Task.FromResult<ControlResult<RecoveryResource>>(None);
}
