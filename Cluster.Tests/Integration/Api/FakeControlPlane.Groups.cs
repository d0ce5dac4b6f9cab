using System.Collections.Concurrent;
using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

// A group is ready at once.
public sealed partial class FakeControlPlane
{
    private readonly ConcurrentDictionary<string, SnapshotGroupResource> _groups = new(StringComparer.Ordinal);

    public Task<ControlResult<CreatedSnapshotGroup>> CreateSnapshotGroupAsync(string name, IReadOnlyList<VolumeName> volumes, CancellationToken cancellation)
    {
        foreach (var volume in volumes)
        {
            if (Misses<CreatedSnapshotGroup>(volume, out var failed)) return failed;
        }
        var made = new SnapshotGroupResource
        {
            Name = name,
            State = SnapshotGroupResource.Ready,
            CreatedAt = DateTimeOffset.UnixEpoch,
            Snapshots = [.. volumes.Select(volume => new SnapshotGroupMemberResource(volume.Name, volume.Namespace, name, 10, DateTimeOffset.UnixEpoch, true))],
        };
        var known = _groups.GetOrAdd(name, made);
        if (known == made) return Answer<CreatedSnapshotGroup>(new CreatedSnapshotGroup(made, true));
        return known.Snapshots.SequenceEqual(made.Snapshots) ? Answer<CreatedSnapshotGroup>(new CreatedSnapshotGroup(known, false))
            : Answer<CreatedSnapshotGroup>(new ControlFailure(ControlStatus.Conflict, $"There is a snapshot group \"{name}\" of other volumes."));
    }

    public Task<ControlResult<IReadOnlyList<SnapshotGroupResource>>> ListSnapshotGroupsAsync(CancellationToken cancellation) =>
        Fails<IReadOnlyList<SnapshotGroupResource>>(out var failed) ? failed
            : Answer<IReadOnlyList<SnapshotGroupResource>>(_groups.Values.OrderBy(group => group.Name, StringComparer.Ordinal).ToArray());

    public Task<ControlResult<SnapshotGroupResource>> GetSnapshotGroupAsync(string name, CancellationToken cancellation) =>
        Fails<SnapshotGroupResource>(out var failed) ? failed
            : Answer(_groups.TryGetValue(name, out var found) ? found : NoGroup(name));

    public Task<ControlResult<SnapshotGroupResource>> DeleteSnapshotGroupAsync(string name, CancellationToken cancellation) =>
        Fails<SnapshotGroupResource>(out var failed) ? failed
            : Answer(_groups.TryRemove(name, out var found) ? found : NoGroup(name));

    /// <summary>All can be read.</summary>
    public Task<ControlResult<SnapshotGroupResource>> ForgetSnapshotGroupAsync(string name, CancellationToken cancellation) =>
        Fails<SnapshotGroupResource>(out var failed) ? failed
            : Answer(_groups.ContainsKey(name) ? new ControlFailure(ControlStatus.Conflict, $"The record of snapshot group \"{name}\" can be read.") : NoGroup(name));

    private static ControlResult<SnapshotGroupResource> NoGroup(string name) => new ControlFailure(ControlStatus.NotFound, $"There is no snapshot group \"{name}\".");
}
