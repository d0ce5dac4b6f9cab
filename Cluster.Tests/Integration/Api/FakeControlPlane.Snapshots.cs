using System.Collections.Concurrent;
using Cluster.Messages.Model;
using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

// Each snapshot follows 10 writes, and each page of changes has one run of two blocks.
public sealed partial class FakeControlPlane
{
    private const int Pages = 3;

    private readonly ConcurrentDictionary<VolumeName, SnapshotResource[]> _snapshots = new();

    public Task<ControlResult<CreatedSnapshot>> CreateSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation)
    {
        if (Misses<CreatedSnapshot>(name, out var failed)) return failed;
        var all = _snapshots.GetValueOrDefault(name, []);
        if (all.FirstOrDefault(known => known.Name == snapshot) is { } found) return Answer<CreatedSnapshot>(new CreatedSnapshot(found, false));
        var made = new SnapshotResource
        {
            Name = snapshot,
            Volume = name.Name,
            Namespace = name.Namespace,
            Sequence = (ulong)(all.Length + 1) * 10,
            CreatedAt = DateTimeOffset.UnixEpoch.AddHours(all.Length),
            UniqueBytes = 8192,
            UniqueBlocks = 3,
            SharedBytes = snapshot == "tuesday" ? null : 16384,
        };
        SetSnapshots(name, [.. all, made]);
        return Answer<CreatedSnapshot>(new CreatedSnapshot(made, true));
    }

    public Task<ControlResult<SnapshotListResource>> ListSnapshotsAsync(VolumeName name, CancellationToken cancellation) =>
        Misses<SnapshotListResource>(name, out var failed)
            ? failed
            : Answer<SnapshotListResource>(new SnapshotListResource { StoredBytes = 1 << 20, Snapshots = _snapshots.GetValueOrDefault(name, []) });

    public Task<ControlResult<SnapshotResource>> GetSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation) =>
        MissesSnapshot<SnapshotResource>(name, snapshot, out var failed) ? failed : Answer<SnapshotResource>(_snapshots[name].First(known => known.Name == snapshot));

    public Task<ControlResult<VolumeResource>> DeleteSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation)
    {
        if (MissesSnapshot<VolumeResource>(name, snapshot, out var failed)) return failed;
        SetSnapshots(name, [.. _snapshots[name].Where(known => known.Name != snapshot)]);
        return GetVolumeAsync(name, cancellation);
    }

    public Task<ControlResult<VolumeResource>> RestoreSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation) =>
        MissesSnapshot<VolumeResource>(name, snapshot, out var failed) ? failed
        : _volumes[name].Attachment.Node is { } node
        ? Answer<VolumeResource>(new ControlFailure(ControlStatus.Conflict, $"Volume {name}: it is attached to {node}; detach it (myrmidon volume detach {name})."))
        : GetVolumeAsync(name, cancellation);

    public Task<ControlResult<ChangedBlocksResource>> ChangedBlocksAsync(VolumeName name, string? from, string? to, ulong first, CancellationToken cancellation)
    {
        foreach (var snapshot in new[] { from, to })
        {
            if (snapshot is not null && MissesSnapshot<ChangedBlocksResource>(name, snapshot, out var failed)) return failed;
        }
        if (Misses<ChangedBlocksResource>(name, out var missed)) return missed;
        // The first two pages have one run in common.
        var next = first + (2 * Limits.BlockBytes) + (first > 0 ? Limits.BlockBytes : 0UL);
        return Answer<ChangedBlocksResource>(new ChangedBlocksResource
        {
            Runs = [new ChangedRunResource(first, 2 * Limits.BlockBytes)],
            Next = first >= Pages * Limits.BlockBytes ? null : next,
        });
    }

    private void SetSnapshots(VolumeName name, SnapshotResource[] snapshots)
    {
        _snapshots[name] = snapshots;
        _volumes[name] = _volumes[name] with { Snapshots = snapshots.Length };
    }

    private bool Misses<T>(VolumeName name, out Task<ControlResult<T>> failed)
        where T : class
    {
        if (Fails(out failed)) return true;
        if (_volumes.ContainsKey(name)) return false;
        failed = Answer<T>(new ControlFailure(ControlStatus.NotFound, $"There is no volume \"{name}\"."));
        return true;
    }

    private bool MissesSnapshot<T>(VolumeName name, string snapshot, out Task<ControlResult<T>> failed)
        where T : class
    {
        if (Misses(name, out failed)) return true;
        if (_snapshots.GetValueOrDefault(name, []).Any(known => known.Name == snapshot)) return false;
        failed = Answer<T>(new ControlFailure(ControlStatus.NotFound, $"Volume {name}: it has no snapshot \"{snapshot}\"."));
        return true;
    }
}
