using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Journal;

namespace Cluster.Node.Hosting.Control;

/// <summary>The volumes of group snapshots, as who makes those asks their owners. Every question ends within a limit of its own. Any thread.</summary>
internal interface IGroupVolumes
{
    /// <summary>Null once its owner serves it, or why it does not.</summary>
    Task<ControlFailure?> AwaitServedAsync(SnapshotGroupMember member);

    Task<ControlResult<VolumeProtocol.SnapshotPrepared>> PrepareAsync(SnapshotGroupMember member, Guid attempt, string name);

    Task<ControlResult<VolumeProtocol.SnapshotView>> CommitAsync(SnapshotGroupMember member, Guid attempt, string name);

    /// <summary>Null, or why the journal says that its snapshot can't go now.</summary>
    Task<string?> WhyKeptAsync(SnapshotGroupMember member);

    Task<ControlResult<VolumeProtocol.Done>> AbortAsync(SnapshotGroupMember member, Guid attempt);
}
