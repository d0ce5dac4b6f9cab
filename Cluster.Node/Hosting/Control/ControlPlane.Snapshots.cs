using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    /// <summary>What snapshots share is told within that, or it is unknown: a node with an older version does not answer.</summary>
    private static readonly TimeSpan SharedAskMax = TimeSpan.FromSeconds(1);

    public async Task<ControlResult<CreatedSnapshot>> CreateSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation)
    {
        var made = await AskForSnapshotsAsync<VolumeProtocol.SnapshotView>(name, volume => new VolumeProtocol.CreateSnapshot(volume, snapshot), ChangeMax, cancellation);
        if (!made.IsOk) return new ControlFailure(made.Status, made.Reason);
        var view = made.Value!;
        // Nothing is its own yet, or it is asked for again and what is told here is only what it is.
        return new CreatedSnapshot(Of(name, new VolumeProtocol.SnapshotEntry(view.Name, view.Sequence, view.CreatedUnixMs, 0, 0)), view.Created);
    }

    public async Task<ControlResult<SnapshotListResource>> ListSnapshotsAsync(VolumeName name, CancellationToken cancellation)
    {
        // Asked for at the same time: an owner that does not know the question costs this long, and no more.
        var asked = AskForSnapshotsAsync<VolumeProtocol.SharedList>(name, volume => new VolumeProtocol.ListShared(volume), SharedAskMax, cancellation);
        var list = await AskForSnapshotsAsync<VolumeProtocol.SnapshotList>(name, volume => new VolumeProtocol.ListSnapshots(volume), AskMax, cancellation);
        var shared = await asked;
        if (!list.IsOk) return new ControlFailure(list.Status, list.Reason);
        var known = shared.IsOk ? shared.Value!.Snapshots.ToDictionary(share => share.Sequence, share => (ulong?)share.SharedBytes) : [];
        var snapshots = list.Value!.Snapshots.Select(entry => Of(name, entry) with { SharedBytes = known.GetValueOrDefault(entry.Sequence) });
        return new SnapshotListResource { StoredBytes = list.Value!.StoredBytes, Snapshots = [.. snapshots] };
    }

    public async Task<ControlResult<SnapshotResource>> GetSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation)
    {
        var list = await ListSnapshotsAsync(name, cancellation);
        if (!list.IsOk) return new ControlFailure(list.Status, list.Reason);
        if (list.Value!.Snapshots.FirstOrDefault(known => known.Name == snapshot) is { } found) return found;
        return new ControlFailure(ControlStatus.NotFound, $"Volume {name}: it has no snapshot \"{snapshot}\"; `myrmidon snapshot list {name}` tells which there are.");
    }

    public async Task<ControlResult<VolumeResource>> DeleteSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        if (!found.IsOk) return FailureOf(found);
        if (await WhyOfGroupAsync(parts, found.Value!.Entry.Id, snapshot, cancellation) is { } refused) return refused;
        return await ChangeSnapshotsAsync(name, volume => new VolumeProtocol.DeleteSnapshot(volume, snapshot), cancellation);
    }

    public Task<ControlResult<VolumeResource>> RestoreSnapshotAsync(VolumeName name, string snapshot, CancellationToken cancellation) =>
        ChangeSnapshotsAsync(name, volume => new VolumeProtocol.RestoreSnapshot(volume, snapshot), cancellation);

    public async Task<ControlResult<ChangedBlocksResource>> ChangedBlocksAsync(
        VolumeName name, string? from, string? to, ulong first, CancellationToken cancellation)
    {
        var changed = await AskForSnapshotsAsync<VolumeProtocol.ChangedRuns>(
            name, volume => new VolumeProtocol.ChangedBlocks(volume, from ?? "", to ?? "", first / Limits.BlockBytes), AskMax, cancellation);
        if (!changed.IsOk) return new ControlFailure(changed.Status, changed.Reason);
        return new ChangedBlocksResource
        {
            Runs = [.. changed.Value!.Runs.Select(run => Of(run, changed.Value!.SizeBytes))],
            Next = changed.Value!.IsEnd ? null : changed.Value!.UpTo * Limits.BlockBytes,
        };
    }

    private async Task<ControlResult<T>> AskForSnapshotsAsync<T>(
        VolumeName name, Func<VolumeId, IVolumeCommand> commandOf, TimeSpan atMost, CancellationToken cancellation)
        where T : class
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        return found.IsOk ? await AskOwnerAsync<T>(parts, name, commandOf(found.Value!.Entry.Id), atMost, cancellation) : FailureOf(found);
    }

    private async Task<ControlResult<VolumeResource>> ChangeSnapshotsAsync(VolumeName name, Func<VolumeId, IVolumeCommand> commandOf, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var entry = found.Value!.Entry;
        var done = await AskOwnerAsync<VolumeProtocol.Done>(parts, name, commandOf(entry.Id), ChangeMax, cancellation);
        return done.IsOk ? await DescribeAsync(parts, entry, cancellation) : new ControlFailure(done.Status, done.Reason);
    }

    private static SnapshotResource Of(VolumeName volume, VolumeProtocol.SnapshotEntry entry) => new()
    {
        Name = entry.Name,
        Volume = volume.Name,
        Namespace = volume.Namespace,
        Sequence = entry.Sequence,
        CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds((long)entry.CreatedUnixMs),
        UniqueBytes = entry.UniqueBytes,
        UniqueBlocks = entry.UniqueBlocks,
    };

    /// <summary>The volume may end within its last block.</summary>
    private static ChangedRunResource Of(BlockRange run, ulong sizeBytes) =>
        new(run.First * Limits.BlockBytes, Math.Min(run.End * Limits.BlockBytes, sizeBytes) - (run.First * Limits.BlockBytes));
}
