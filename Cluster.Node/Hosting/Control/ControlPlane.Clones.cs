using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    /// <summary>
    /// The origin keeps the snapshot, the clone is placed and opened, the origin is told that it may let go (docs/adr/0011). Killed anywhere on the way, the next attempt goes on, or the
    /// origin lets go by itself.
    /// </summary>
    private static async Task<ControlResult<VolumeResource>> CloneVolumeAsync(
        ControlParts parts, CreateVolumeRequest request, VolumeName name, ImmutableSortedDictionary<string, string> labels, CancellationToken cancellation)
    {
        var (wanted, snapshot) = (request.Source!, request.Source!.Snapshot ?? "");
        if (!VolumeName.TryParse(wanted.Volume, out var origin, out var reason)) return new ControlFailure(ControlStatus.Invalid, reason);
        var existing = await FindAsync(parts, name, null, cancellation);
        if (existing.IsOk) return await CloneAgainAsync(parts, request, name, labels, existing.Value!.Entry.Spec, cancellation);
        var found = await FindAsync(parts, origin, null, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var entry = found.Value!.Entry;
        if (TooSmall(request.SizeBytes, entry.Spec.SizeBytes, name, origin) is { } small) return small;
        var start = new VolumeProtocol.StartClone(entry.Id, snapshot, name.ToString());
        var started = await AskOwnerAsync<VolumeProtocol.CloneOrigin>(parts, origin, start, ChangeMax, cancellation);
        if (!started.IsOk) return new ControlFailure(started.Status, started.Reason);
        var made = await PlaceCloneAsync(parts, request, name, labels, started.Value!, cancellation);
        // Without an answer it may be on its way: the origin waits for a while, and then lets go.
        if (made.IsOk || made.Status is not (ControlStatus.TimedOut or ControlStatus.Unavailable))
            await AskOwnerAsync<VolumeProtocol.Done>(parts, origin, new VolumeProtocol.EndClone(entry.Id, name.ToString()), AskMax, cancellation);
        return made.IsOk ? await DescribeAsync(parts, made.Value!.Volume, cancellation) : new ControlFailure(made.Status, made.Reason);
    }

    private static async Task<ControlResult<PlacementProtocol.Found>> PlaceCloneAsync(
        ControlParts parts, CreateVolumeRequest request, VolumeName name, ImmutableSortedDictionary<string, string> labels, VolumeProtocol.CloneOrigin origin,
        CancellationToken cancellation)
    {
        // It may have grown since it was looked at.
        if (TooSmall(request.SizeBytes, origin.SizeBytes, name, origin.Source.OriginName) is { } small) return small;
        var size = request.SizeBytes == 0 ? origin.SizeBytes : request.SizeBytes;
        var command = new PlacementProtocol.CreateVolume(name.Namespace, name.Name, size, labels, origin.Source, origin.InSync);
        return await AskPlacementAsync<PlacementProtocol.Found>(parts, command, ChangeMax, cancellation);
    }

    /// <summary>Asked for again: the same clone, whatever became of its origin; anything else of that name is a conflict.</summary>
    private static async Task<ControlResult<VolumeResource>> CloneAgainAsync(
        ControlParts parts, CreateVolumeRequest request, VolumeName name, ImmutableSortedDictionary<string, string> labels, VolumeSpec spec, CancellationToken cancellation)
    {
        var isSame = spec.Source is { } source && VolumeName.TryParse(request.Source!.Volume, out var origin, out _) && source.OriginName == origin.ToString()
            && source.Snapshot == (request.Source!.Snapshot ?? "");
        if (!isSame) return new ControlFailure(ControlStatus.Conflict, $"Volume {name} exists and is no clone of that; choose another name.");
        var command = new PlacementProtocol.CreateVolume(name.Namespace, name.Name, request.SizeBytes == 0 ? spec.SizeBytes : request.SizeBytes, labels, spec.Source, []);
        var found = await AskPlacementAsync<PlacementProtocol.Found>(parts, command, ChangeMax, cancellation);
        return found.IsOk ? await DescribeAsync(parts, found.Value!.Volume, cancellation) : new ControlFailure(found.Status, found.Reason);
    }

    private static ControlFailure? TooSmall(ulong sizeBytes, ulong originBytes, VolumeName name, object origin) => sizeBytes == 0 || sizeBytes >= originBytes ? null
        : new ControlFailure(ControlStatus.Invalid, $"Volume {name} can't be smaller than what it is cloned from: {origin} has {originBytes} B; ask for as much, or more, or give no size.");
}
