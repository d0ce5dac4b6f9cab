using Cluster.Csi.Csi.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>
/// Where a snapshot holds data, and where two of one volume differ, as streams of runs. A run may hold blocks that have not changed; none that has is left out. A stream that is broken off may be asked for
/// again from where it ended.
/// </summary>
internal sealed class SnapshotMetadataService(IVolumeControl control, CsiCalls calls) : SnapshotMetadata.SnapshotMetadataBase
{
    public override Task GetMetadataAllocated(GetMetadataAllocatedRequest request, IServerStreamWriter<GetMetadataAllocatedResponse> stream, ServerCallContext context)
    {
        var asked = new Asked("", request.SnapshotId, request.StartingOffset, request.MaxResults);
        return calls.RunAsync(new CsiCall(nameof(GetMetadataAllocated), request.SnapshotId), context, cancellation => RunAsync(
            CsiFields.Id(request.SnapshotId, "snapshot_id") ?? CsiFields.Map(request.Secrets, "secrets"), asked,
            (runs, bytes) => stream.WriteAsync(
                new GetMetadataAllocatedResponse { BlockMetadataType = BlockMetadataType.VariableLength, VolumeCapacityBytes = bytes, BlockMetadata = { runs } }, cancellation),
            cancellation));
    }

    public override Task GetMetadataDelta(GetMetadataDeltaRequest request, IServerStreamWriter<GetMetadataDeltaResponse> stream, ServerCallContext context)
    {
        var asked = new Asked(request.BaseSnapshotId, request.TargetSnapshotId, request.StartingOffset, request.MaxResults);
        return calls.RunAsync(new CsiCall(nameof(GetMetadataDelta), request.TargetSnapshotId), context, cancellation => RunAsync(
            CsiFields.Id(request.BaseSnapshotId, "base_snapshot_id") ?? CsiFields.Id(request.TargetSnapshotId, "target_snapshot_id") ?? CsiFields.Map(request.Secrets, "secrets"), asked,
            (runs, bytes) => stream.WriteAsync(
                new GetMetadataDeltaResponse { BlockMetadataType = BlockMetadataType.VariableLength, VolumeCapacityBytes = bytes, BlockMetadata = { runs } }, cancellation),
            cancellation));
    }

    /// <param name="Base">"": nothing, so that all that holds data is told.</param>
    private readonly record struct Asked(string Base, string Target, long Offset, int Max);

    /// <summary>The result is empty: what is told goes through the stream.</summary>
    private async Task<CsiResult<Empty>> RunAsync(CsiError? wrong, Asked asked, Func<IEnumerable<BlockMetadata>, long, Task> write, CancellationToken cancellation)
    {
        if (wrong is not null) return wrong;
        if (asked.Max < 0) return CsiError.Invalid($"The field max_results is {asked.Max}; give 0 (no bound) or more.");
        var edges = await EdgesAsync(asked, cancellation).ConfigureAwait(false);
        if (edges.Error is { } error) return error;
        var (volume, from, to) = edges.Value!;
        if (asked.Offset < 0 || (ulong)asked.Offset > volume.SizeBytes)
            return CsiError.OutOfRange($"The starting_offset is {asked.Offset}; volume {volume.FullName} has {volume.SizeBytes} bytes.");
        var most = asked.Max == 0 ? CsiLimits.MetadataEntriesMax : Math.Min(asked.Max, CsiLimits.MetadataEntriesMax);
        var isTold = false;
        for (ulong? next = (ulong)asked.Offset; next is { } at;)
        {
            var page = await control.ListChangesAsync(volume.FullName, from, to, at, cancellation).ConfigureAwait(false);
            if (page.Error is { } broken) return broken;
            // Runs are in whole blocks, and the offset may lie behind the end of the first one.
            var runs = page.Value!.Runs.Where(run => run.Offset + run.Length > (ulong)asked.Offset)
                .Select(run => new BlockMetadata { ByteOffset = (long)run.Offset, SizeBytes = (long)run.Length }).ToArray();
            foreach (var chunk in runs.Chunk(most)) await write(chunk, (long)volume.SizeBytes).ConfigureAwait(false);
            isTold |= runs.Length > 0;
            next = page.Value.Next;
        }
        // Where there is nothing to tell the capacity is told all the same.
        if (!isTold) await write([], (long)volume.SizeBytes).ConfigureAwait(false);
        return new Empty();
    }

    private sealed record Edges(VolumeFacts Volume, string? From, string To);

    private async Task<CsiResult<Edges>> EdgesAsync(Asked asked, CancellationToken cancellation)
    {
        if (!CsiFields.TrySnapshot(asked.Target, out var volume, out var to)) return NotFound(asked.Target);
        string? from = null;
        if (asked.Base.Length > 0)
        {
            if (!CsiFields.TrySnapshot(asked.Base, out var other, out from)) return NotFound(asked.Base);
            if (other != volume) return CsiError.Invalid($"Snapshots {asked.Base} and {asked.Target} are of different volumes.");
        }
        var found = await control.FindAsync(volume, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        foreach (var snapshot in from is null ? [to] : new[] { from, to })
        {
            var known = await control.GetSnapshotAsync(volume, snapshot, cancellation).ConfigureAwait(false);
            if (known.Error is { } error) return error;
        }
        return new Edges(found.Value!, from, to);
    }

    private static CsiError NotFound(string snapshot) => CsiError.NotFound($"There is no snapshot '{snapshot}'.");
}
