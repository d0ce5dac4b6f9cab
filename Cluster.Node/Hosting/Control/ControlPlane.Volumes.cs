using System.Collections.Immutable;
using System.Globalization;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    /// <summary>Between two looks at whether a move was made.</summary>
    private static readonly TimeSpan MovePause = TimeSpan.FromMilliseconds(100);

    public async Task<ControlResult<VolumeResource>> CreateVolumeAsync(CreateVolumeRequest request, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var labels = (request.Labels ?? []).ToImmutableSortedDictionary(StringComparer.Ordinal);
        if (WithReplicas(ref labels, request.Replicas) is { } contradiction) return contradiction;
        var scope = request.Namespace ?? VolumeSpec.DefaultNamespace;
        if (request.Source is not null) return await CloneVolumeAsync(parts, request, new VolumeName(scope, request.Name), labels, cancellation);
        var command = new PlacementProtocol.CreateVolume(scope, request.Name, request.SizeBytes, labels, null, []);
        var found = await AskPlacementAsync<PlacementProtocol.Found>(parts, command, ChangeMax, cancellation);
        return found.IsOk ? await DescribeAsync(parts, found.Value!.Volume, cancellation) : new ControlFailure(found.Status, found.Reason);
    }

    public async Task<ControlResult<IReadOnlyList<VolumeResource>>> ListVolumesAsync(string? scope, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var list = await AskPlacementAsync<PlacementProtocol.VolumeList>(
            parts, new PlacementProtocol.ListVolumes(scope ?? ""), AskMax, cancellation);
        if (!list.IsOk) return new ControlFailure(list.Status, list.Reason);
        using var slots = new SemaphoreSlim(DescribesMax);
        var described = await Task.WhenAll(list.Value!.Volumes.Select(async entry =>
        {
            await slots.WaitAsync(cancellation);
            try
            {
                return await DescribeAsync(parts, entry, cancellation);
            }
            finally
            {
                slots.Release();
            }
        }));
        return described.OrderBy(volume => volume.Namespace, StringComparer.Ordinal).ThenBy(volume => volume.Name, StringComparer.Ordinal)
            .ToArray();
    }

    public async Task<ControlResult<IReadOnlyList<VolumeName>>> ListVolumesWithAsync(string label, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var list = await AskPlacementAsync<PlacementProtocol.VolumeList>(parts, new PlacementProtocol.ListVolumes(""), AskMax, cancellation);
        if (!list.IsOk) return new ControlFailure(list.Status, list.Reason);
        return list.Value!.Volumes.Where(entry => entry.Phase != CataloguePhase.Deleting && entry.Spec.Labels.ContainsKey(label))
            .Select(entry => new VolumeName(entry.Spec.Namespace, entry.Spec.Name)).ToArray();
    }

    public async Task<ControlResult<VolumeResource>> GetVolumeAsync(VolumeName name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        return found.IsOk ? await DescribeAsync(parts, found.Value!.Entry, cancellation) : new ControlFailure(found.Status, found.Reason);
    }

    public async Task<ControlResult<VolumeResource>> DeleteVolumeAsync(
        VolumeName name, string? ifMatch, bool force, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, ifMatch, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var before = await DescribeAsync(parts, found.Value!.Entry, cancellation);
        var removed = await AskPlacementAsync<PlacementProtocol.Removed>(
            parts, new PlacementProtocol.DeleteVolume(name.ToString(), found.Value!.Expected, force, found.Value!.Entry.Id), ChangeMax, cancellation);
        return removed.IsOk ? before with { State = "deleting" } : await FailureAsync(parts, name, removed, cancellation);
    }

    public async Task<ControlResult<VolumeResource>> ChangeVolumeAsync(
        VolumeName name, ChangeVolumeRequest change, string? ifMatch, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, ifMatch, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var labels = (change.Labels ?? []).ToImmutableSortedDictionary(
            label => label.Key, label => label.Value ?? "", StringComparer.Ordinal);
        if (WithReplicas(ref labels, change.Replicas) is { } contradiction) return contradiction;
        var (entry, expected) = found.Value!;
        var command = new PlacementProtocol.ChangeVolume(name.ToString(), change.SizeBytes ?? 0, labels, expected, change.AllowShrink, entry.Id);
        var changed = await AskPlacementAsync<PlacementProtocol.Found>(parts, command, ChangeMax, cancellation);
        return changed.IsOk ? await DescribeAsync(parts, changed.Value!.Volume, cancellation)
            : await FailureAsync(parts, name, changed, cancellation);
    }

    /// <summary>The number of copies as the label that it is.</summary>
    private static ControlFailure? WithReplicas(ref ImmutableSortedDictionary<string, string> labels, int? replicas)
    {
        if (replicas is null) return null;
        var text = replicas.Value.ToString(CultureInfo.InvariantCulture);
        if (labels.TryGetValue(VolumeLabels.Replicas, out var label) && label != text)
            return new ControlFailure(ControlStatus.Invalid,
                $"The request asks for {text} copies and the label {VolumeLabels.Replicas} for {label}; give one of them.");
        labels = labels.SetItem(VolumeLabels.Replicas, text);
        return null;
    }

    public async Task<ControlResult<VolumeResource>> AttachAsync(
        VolumeName name, string node, string? ifMatch, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, ifMatch, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var known = await FindNodeAsync(parts, node, cancellation);
        if (!known.IsOk) return new ControlFailure(known.Status, known.Reason);
        var (entry, expected) = found.Value!;
        return await ChangeAttachmentAsync(
            parts, name, entry, new VolumeProtocol.Attach(entry.Id, known.Value!.Description.Id, node, expected), cancellation);
    }

    public async Task<ControlResult<VolumeResource>> DetachAsync(VolumeName name, string? ifMatch, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, ifMatch, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var (entry, expected) = found.Value!;
        return await ChangeAttachmentAsync(parts, name, entry, new VolumeProtocol.Detach(entry.Id, expected), cancellation);
    }

    private static async Task<ControlResult<VolumeResource>> ChangeAttachmentAsync(
        ControlParts parts, VolumeName name, VolumeEntry entry, IVolumeCommand change, CancellationToken cancellation)
    {
        var attached = await AskOwnerAsync<VolumeProtocol.Attached>(parts, name, change, ChangeMax, cancellation);
        return attached.IsOk ? await DescribeAsync(parts, entry, cancellation) : await FailureAsync(parts, name, attached, cancellation);
    }

    /// <summary>
    /// The wish is journaled, the shard allocation strategy fulfils it, and this waits until the owner says that it serves there.
    /// </summary>
    public Task<ControlResult<VolumeResource>> MoveAsync(VolumeName name, string node, CancellationToken cancellation) =>
        MoveAsync(name, node, isPinned: true, cancellation);

    /// <param name="isPinned">An operator wants it there: the owner does not go back to who uses the volume by itself, for a while.</param>
    private async Task<ControlResult<VolumeResource>> MoveAsync(VolumeName name, string node, bool isPinned, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var entry = found.Value!.Entry;
        var now = await DescribeAsync(parts, entry, cancellation);
        if (now.Owner == node) return isPinned && await StayAsync(parts, name, now, node, entry.Id, cancellation) is { } unpinned ? unpinned : now;
        var target = await FindNodeAsync(parts, node, cancellation);
        if (!target.IsOk) return new ControlFailure(target.Status, target.Reason);
        if (!now.Replicas.Any(replica => replica.Node == node && replica.State == "in-sync"))
            return new ControlFailure(ControlStatus.Conflict,
                $"Volume {name} can't move to '{node}', which holds no in-sync copy; in sync are {InSyncNodes(now)}.");
        if (target.Value!.Cordoned)
            return new ControlFailure(ControlStatus.Conflict,
                $"Volume {name} can't move to '{node}', which is cordoned; `myrmidon node uncordon {node}` takes it back.");
        // Before the move, so that none that is made by itself gets in between.
        if (isPinned && await PinAsync(parts, name, now, node, entry.Id, cancellation) is { } failure) return failure;
        try
        {
            await parts.Moves.RequestAsync(entry.Id, node, cancellation);
        }
        catch (MetaLogUnavailableException e)
        {
            return NoMove(name, e);
        }
        return await AwaitOwnerAsync(parts, name, entry, node, cancellation);
    }

    private static ControlFailure NoMove(VolumeName name, MetaLogUnavailableException e) =>
        new(ControlStatus.Unavailable, $"The journal took no move of volume {name}: {e.Message}");

    /// <summary>An operator wants it where it is: what was asked for before, and is not made yet, counts no more.</summary>
    private static async Task<ControlFailure?> StayAsync(
        ControlParts parts, VolumeName name, VolumeResource now, string node, VolumeId id, CancellationToken cancellation)
    {
        if (await PinAsync(parts, name, now, node, id, cancellation) is { } failure) return failure;
        try
        {
            await parts.Moves.RequestAsync(id, node, cancellation);
            return null;
        }
        catch (MetaLogUnavailableException e)
        {
            return NoMove(name, e);
        }
    }

    private static async Task<ControlFailure?> PinAsync(
        ControlParts parts, VolumeName name, VolumeResource now, string node, VolumeId id, CancellationToken cancellation)
    {
        try
        {
            await parts.Moves.PinAsync(id, node, now.Attachment.Generation, cancellation);
            return null;
        }
        catch (MetaLogUnavailableException e)
        {
            return NoMove(name, e);
        }
    }

    private static async Task<ControlResult<VolumeResource>> AwaitOwnerAsync(
        ControlParts parts, VolumeName name, VolumeEntry entry, string node, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(ChangeMax);
        while (!limit.IsCancellationRequested)
        {
            var now = await DescribeAsync(parts, entry, cancellation);
            if (now.Owner == node) return now;
            await Task.Delay(MovePause, cancellation);
        }
        return new ControlFailure(ControlStatus.TimedOut,
            $"Volume {name} has not moved to {node} within {ChangeMax.TotalSeconds} s; it will when it can.");
    }

    public async Task<ControlResult<IReadOnlyList<VolumeEventResource>>> ExplainAsync(VolumeName name, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var found = await FindAsync(parts, name, null, cancellation);
        if (!found.IsOk) return FailureOf(found);
        var events = new List<VolumeEventResource>();
        try
        {
            var stream = VolumeActor.PersistenceIdOf(found.Value!.Entry.Id);
            await foreach (var e in parts.Log.ReadEventsAsync(stream, 1, long.MaxValue, long.MaxValue, cancellation))
            {
                if (events.Count == 0 && e.SequenceNr > 1)
                    events.Add(new VolumeEventResource(e.SequenceNr - 1, "let-go", $"events 1 to {e.SequenceNr - 1} are not kept any more; what they came to is"));
                var at = new DateTime(e.TimestampTicks, DateTimeKind.Utc);
                events.Add(VolumeEventText.Of(e.SequenceNr, at, (VolumeEvent)EventCodec.Decode(e.Payload.Manifest, e.Payload.Bytes)));
            }
        }
        catch (MetaLogUnavailableException e)
        {
            return new ControlFailure(ControlStatus.Unavailable, $"The journal can't be read now: {e.Message}");
        }
        return events;
    }

    /// <param name="Expected">The revision that the caller has seen, to be compared where the change is decided; null: any.</param>
    private sealed record FoundVolume(VolumeEntry Entry, VolumeRevision? Expected);

    /// <summary>
    /// The catalogue's entry; Stale when the caller has seen another revision. That look is for the part which the change does not touch; the
    /// part which it does is compared again by its authority, at the change itself, so that of two who saw one revision only one wins.
    /// </summary>
    private static async Task<ControlResult<FoundVolume>> FindAsync(
        ControlParts parts, VolumeName name, string? ifMatch, CancellationToken cancellation)
    {
        var found = await AskPlacementAsync<PlacementProtocol.Found>(
            parts, new PlacementProtocol.GetVolume(name.ToString()), AskMax, cancellation);
        if (!found.IsOk) return new ControlFailure(found.Status, found.Reason);
        var entry = found.Value!.Volume;
        if (ifMatch is null) return new FoundVolume(entry, null);
        var revision = (await DescribeAsync(parts, entry, cancellation)).Revision;
        if (revision == ifMatch && VolumeRevision.TryParse(ifMatch, out var expected)) return new FoundVolume(entry, expected);
        return new ControlFailure(ControlStatus.Stale,
            $"Volume {name} is at revision {revision}, not at {ifMatch}; read it again and decide anew.", revision);
    }

    private static ControlFailure FailureOf(ControlResult<FoundVolume> found) => new(found.Status, found.Reason, found.Revision);

    /// <summary>The refusal of a change; a stale one with the volume's present revision.</summary>
    private static async Task<ControlFailure> FailureAsync<T>(
        ControlParts parts, VolumeName name, ControlResult<T> refused, CancellationToken cancellation)
        where T : class
    {
        if (refused.Status != ControlStatus.Stale) return new ControlFailure(refused.Status, refused.Reason);
        var now = await FindAsync(parts, name, null, cancellation);
        var revision = now.IsOk ? (await DescribeAsync(parts, now.Value!.Entry, cancellation)).Revision : null;
        return new ControlFailure(refused.Status, refused.Reason, revision);
    }

    private static async Task<VolumeResource> DescribeAsync(ControlParts parts, VolumeEntry entry, CancellationToken cancellation)
    {
        var view = await AskAsync<VolumeView>(
            parts, parts.Volumes, new VolumeProtocol.Describe(entry.Id), $"The owner of volume {entry.Spec.FullName}", AskMax, cancellation);
        return VolumeResources.Of(entry, view.Value, view.Reason);
    }

    private static string InSyncNodes(VolumeResource volume) => string.Join(", ", volume.Replicas
        .Where(replica => replica.State == "in-sync").Select(replica => replica.Node).DefaultIfEmpty("none"));
}
